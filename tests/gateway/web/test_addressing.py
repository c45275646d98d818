"""Targets and the names of sockets; more of both is tested with requests."""

import pytest
from yarl import URL

from gateway.web.addressing import address_of, host_of, parse_absolute, parse_target


@pytest.mark.parametrize(
    ("target", "relative", "absolute"),
    [
        ("/a%2Fb?c=%26#d", "/a%2Fb?c=%26#d", None),
        ("//host/a", "//host/a", None),
        ("/a?b=http://c", "/a?b=http://c", None),
        ("http://host:81/a?b", "/a?b", "http://host:81/a?b"),
        ("http://host", "/", "http://host"),
        ("*", "*", None),
    ],
)
def test_a_target_stays_as_it_was_encoded(target, relative, absolute):
    parsed, whole = parse_target(target), parse_absolute(target)
    assert parsed.raw_path_qs == relative.partition("#")[0]
    assert parsed.fragment == relative.partition("#")[2]
    assert not parsed.absolute
    assert whole == (None if absolute is None else URL(absolute, encoded=True))


def test_a_socket_has_the_host_of_its_name_or_its_whole_name():
    assert address_of(("::1", 80, 0, 0)) == "::1"
    assert address_of("/run/socket") == "/run/socket"
    assert address_of(None) == ""


def test_the_name_of_a_socket_becomes_a_host_that_a_url_can_hold():
    assert host_of(("127.0.0.1", 80)) == "127.0.0.1"
    assert host_of(("::1", 80, 0, 0)) == "[::1]"
    assert host_of(("fe80::1%eth0", 80, 0, 2)) == "[fe80::1]"
    assert host_of("/run/socket") == host_of(None) == "localhost"
