"""The parameters of /sse and /poll as a table, and following several channels or none."""

import asyncio

import pytest

from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig, HubConfig
from gateway.hub import Hub
from gateway.query import Query
from gateway.transports.wanted import CHANNEL_PARAMETERS, Wanted, follow_all, read_wanted
from protocol.codes import ErrorCode
from protocol.cursor import MAX_OFFSET, Position, encode_cursor
from protocol.errors import MessageError
from tests.gateway.sessions import quiet_presence

A5 = encode_cursor({"a": Position("e", 5)})
AB = encode_cursor({"a": Position("e", 1), "b": Position("f", 2)})


def read(query: str, last_event_id: str | None = None) -> list[Wanted]:
    """Return what query wants where three channels are the most."""
    parameters = Query(query, CHANNEL_PARAMETERS)
    return read_wanted(parameters, max_channels=3, last_event_id=last_event_id)


@pytest.mark.parametrize(
    ("query", "last_event_id", "expected"),
    [
        ("channel=a", None, [("a", None)]),
        ("channel=b&channel=a", None, [("b", None), ("a", None)]),
        ("channel=a%20b%26%C3%A9", None, [("a b&é", None)]),
        ("channel=a+b", None, [("a b", None)]),
        (f"channel=a&cursor={A5}", None, [("a", ("e", 5))]),
        (f"cursor={A5}&channel=a", None, [("a", ("e", 5))]),
        (f"channel=b&channel=a&cursor={AB}", None, [("b", ("f", 2)), ("a", ("e", 1))]),
        (f"channel=c&channel=a&cursor={A5}", None, [("c", None), ("a", ("e", 5))]),
        (f"channel=c&cursor={A5}", None, [("c", None)]),
        ("channel=a", A5, [("a", ("e", 5))]),
        ("channel=a", "", [("a", None)]),
        (f"channel=a&cursor={AB}", A5, [("a", ("e", 5))]),
        (f"channel=a&cursor={AB}", "", [("a", ("e", 1))]),
        ("channel=a&cursor=nonsense", A5, [("a", ("e", 5))]),
        ("channel=a&epoch=e&offset=1", None, [("a", ("e", 1))]),
        ("channel=a&epoch=e&offset=1", A5, [("a", ("e", 5))]),
        ("channel=a&epoch=&offset=0", None, [("a", ("", 0))]),
        (f"channel=a&epoch=e&offset={MAX_OFFSET}", None, [("a", ("e", MAX_OFFSET))]),
        (
            "channel=a&epoch=e&offset=1&channel=b&epoch=f&offset=2",
            None,
            [("a", ("e", 1)), ("b", ("f", 2))],
        ),
        (
            "offset=1&offset=2&epoch=e&epoch=f&channel=a&channel=b",
            None,
            [("a", ("e", 1)), ("b", ("f", 2))],
        ),
    ],
)
def test_each_channel_is_wanted_from_where_the_parameters_say(query, last_event_id, expected):
    assert [each[:2] for each in read(query, last_event_id)] == expected


@pytest.mark.parametrize("overflow", ["gap", "latest", "disconnect"])
def test_an_overflow_policy_is_wanted_for_all_channels(overflow):
    wanted = read(f"channel=a&overflow={overflow}&channel=b")
    assert wanted == [("a", None, overflow), ("b", None, overflow)]


@pytest.mark.parametrize(
    ("query", "last_event_id", "code", "words"),
    [
        ("", None, "invalid_field", "channel"),
        (f"cursor={A5}", None, "invalid_field", "channel"),
        ("channel=", None, "invalid_channel", "''"),
        ("channel=a%0A", None, "invalid_channel", "control"),
        ("channel=" + "x" * 256, None, "invalid_channel", "255"),
        ("channel=a&channel=b&channel=a", None, "already_subscribed", "twice"),
        ("channel=a&channel=b&channel=c&channel=d", None, "invalid_field", "3"),
        ("channel=a&cursor=", None, "invalid_cursor", "empty"),
        ("channel=a&cursor=nonsense", None, "invalid_cursor", "checksum"),
        (f"channel=a&cursor={A5[:-1]}", None, "invalid_cursor", ""),
        (f"channel=a&cursor={A5}&cursor={A5}", None, "invalid_field", "cursor"),
        ("channel=a", "nonsense", "invalid_cursor", "checksum"),
        (f"channel=a&cursor={A5}", "nonsense", "invalid_cursor", "checksum"),
        ("channel=a&epoch=e", None, "invalid_field", "epoch and offset"),
        ("channel=a&offset=1", None, "invalid_field", "epoch and offset"),
        ("channel=a&epoch=e&offset=1&offset=2", None, "invalid_field", "epoch and offset"),
        ("channel=a&channel=b&epoch=e&offset=1", None, "invalid_field", "epoch and offset"),
        ("channel=a&epoch=e&epoch=f&offset=1&offset=2", None, "invalid_field", "epoch and offset"),
        ("channel=a&epoch=e&offset=", None, "invalid_field", "offset"),
        ("channel=a&epoch=e&offset=-1", None, "invalid_field", "-1"),
        ("channel=a&epoch=e&offset=1.0", None, "invalid_field", "1.0"),
        ("channel=a&epoch=e&offset=%D9%A1", None, "invalid_field", "integer"),
        (f"channel=a&epoch=e&offset={MAX_OFFSET + 1}", None, "invalid_field", str(MAX_OFFSET)),
        (f"channel=a&epoch=e&offset=1&cursor={A5}", None, "invalid_field", "not both"),
        ("channel=a&channels=b", None, "invalid_field", "channels"),
        ("Channel=a", None, "invalid_field", "Channel"),
        ("channel=a&overflow=", None, "invalid_field", "gap, latest, disconnect"),
        ("channel=a&overflow=Gap", None, "invalid_field", "gap, latest, disconnect"),
        ("channel=a&overflow=gap&overflow=gap", None, "invalid_field", "twice"),
    ],
)
def test_what_is_wrong_is_refused_with_words_for_it(query, last_event_id, code, words):
    with pytest.raises(MessageError) as caught:
        read(query, last_event_id)
    assert caught.value.code == ErrorCode(code)
    assert words in caught.value.message


class World:
    """A hub on a broker that holds two channels, and the time, which stands still."""

    def __init__(self) -> None:
        self.now = 0.0
        config = ChannelsConfig(max_channels=2, allowed_overflows=("gap", "latest"))
        self.broker = MemoryBroker(config, clock=lambda: self.now)
        call_soon = asyncio.get_running_loop().call_soon
        self.hub = Hub(self.broker, HubConfig(), call_soon, quiet_presence(call_soon))

    def count_kept(self) -> int:
        """Return how many channels the broker keeps although they are unused for long."""
        self.now += 1_000_000
        self.broker.forget_unused()
        return self.broker.channel_count


async def start_world() -> World:
    world = World()
    await world.broker.start(world.hub.deliver)
    return world


async def test_all_wanted_channels_are_followed_in_their_order() -> None:
    world = await start_world()
    streams = await follow_all(world.hub, read("channel=b&channel=a"))
    assert [stream.name for stream in streams] == ["b", "a"]
    assert world.count_kept() == 2


async def test_where_one_channel_cannot_be_followed_none_is() -> None:
    world = await start_world()
    with pytest.raises(MessageError) as caught:
        await follow_all(world.hub, read("channel=a&channel=b&channel=c"))
    assert caught.value.code == ErrorCode.OVERLOADED
    assert world.count_kept() == 0


async def test_where_one_channel_does_not_allow_the_policy_none_is_followed() -> None:
    world = await start_world()
    with pytest.raises(MessageError) as caught:
        await follow_all(world.hub, read("channel=a&channel=b&overflow=disconnect"))
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert "allowed: gap, latest" in caught.value.message
    assert world.count_kept() == 0
