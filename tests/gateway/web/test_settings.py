"""The options of a server, and the limits that follow from them."""

import pytest

from gateway.web.settings import Options, Settings
from protocol.http1 import HeadLimits


def test_every_option_is_a_setting():
    assert set(Options.__annotations__) <= set(Settings.__struct_fields__)


def test_settings_are_those_of_aiohttp_where_it_has_them():
    settings = Settings()
    assert (settings.keepalive_timeout, settings.lingering_time) == (3630, 10)
    assert (settings.tcp_keepalive, settings.debug, settings.handler_cancellation) == (
        *(True, False, False),
    )
    assert settings.read_bufsize == 65536
    assert settings.logger.name == "gateway.web"


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Settings().debug = True


@pytest.mark.parametrize(
    ("option", "failure"),
    [
        ({"head_timeout_s": None}, TypeError),
        ({"max_headers": "100"}, TypeError),
        ({"max_connections": -1}, ValueError),
        ({"body_timeout_s": float("nan")}, ValueError),
    ],
)
def test_an_impossible_number_is_refused_by_name_before_a_connection_meets_it(option, failure):
    with pytest.raises(failure, match=f"{next(iter(option))} must be"):
        Settings(**option)


def test_times_may_be_whole_zero_and_endless():
    settings = Settings(keepalive_timeout=75, lingering_time=0, body_timeout_s=float("inf"))
    assert (settings.keepalive_timeout, settings.lingering_time) == (75, 0)


def test_the_limits_of_heads_are_the_defaults_unless_set():
    assert Settings().head_limits == HeadLimits()
    limits = Settings(max_line_size=100, max_field_size=200, max_headers=3).head_limits
    assert (limits.max_line_bytes, limits.max_field_bytes, limits.max_fields_count) == (100, 200, 3)


def test_a_head_has_room_for_the_longest_line_and_field():
    limits = Settings(max_line_size=20_000, max_field_size=30_000).head_limits
    assert limits.max_head_bytes == 50_000
    assert Settings(max_line_size=1).head_limits.max_head_bytes == HeadLimits().max_head_bytes
