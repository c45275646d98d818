"""Targets and the names of sockets; more of both is tested with requests."""

import pytest
from yarl import URL

from gateway.web.addressing import address_of, parse_target


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/a%2Fb?c=%26#d", "/a%2Fb?c=%26#d"),
        ("//host/a", "//host/a"),
        ("http://host:81/a?b", "http://host:81/a?b"),
        ("*", "*"),
    ],
)
def test_a_target_stays_as_it_was_encoded(target, url):
    parsed = parse_target(target)
    assert str(parsed) == str(URL(url, encoded=True)) or parsed.raw_path == url
    assert parsed.absolute == target.startswith("http:")


def test_a_socket_has_the_host_of_its_name_or_its_whole_name():
    assert address_of(("::1", 80, 0, 0)) == "::1"
    assert address_of("/run/socket") == "/run/socket"
    assert address_of(None) == ""
