"""Who ends while a flush has reached others and not them is told where they stand, not the others.

It takes more turns than one, and more luck than plays of the promise have.
"""

from collections.abc import Iterator

import pytest

from gateway.broker import Draft
from gateway.config import Config, HubConfig
from protocol.publication import Data
from tests.gateway.promise.answers import PollLink
from tests.gateway.promise.links import EventStreamLink, WebSocketLink
from tests.gateway.promise.world import World

ENOUGH = 1 << 20


@pytest.fixture
def world() -> Iterator[World]:
    """Return a world whose flushes write to one subscriber a turn, the latest kind first."""
    config = Config(hub=HubConfig(turn_deliveries=1))
    made = World(config, "prompt", segment_bytes=ENOUGH, is_strict=True)
    yield made
    made.close()


def flush_to_others(world: World) -> None:
    """Have a publication reach one of ten WebSockets, and nobody who came before them."""
    others = [world.open(WebSocketLink, ENOUGH, is_json=True) for _ in range(10)]
    for other in others:
        other.subscribe("a", None, None, is_cursor=False)
    world.loop.settle()
    world.broker.publish("a", [Draft(Data(b"1"))])
    world.loop.turn()
    assert sorted(each.judge.told["a"].offset for each in others) == [0] * 9 + [1]


def test_a_poll_that_times_out_does_not_answer_with_the_position_of_others(world: World) -> None:
    poll = world.open(PollLink, ENOUGH, channels=["a"], start={}, timeout_s=20)
    world.loop.settle()
    flush_to_others(world)
    world.loop.now += 20
    while not poll.unread_count:
        world.loop.turn()
    world.check()
    poll.read()
    assert poll.known["a"].offset == 0


def test_an_event_stream_that_is_closed_does_not_say_the_position_of_others(world: World) -> None:
    stream = world.open(EventStreamLink, ENOUGH, channels=["a"], start={})
    world.loop.settle()
    (session,) = world.node.hub.sessions
    flush_to_others(world)
    session.transport.disconnect(1012, "the node is shutting down")
    world.loop.settle()
    world.check()
    stream.read()
    assert stream.known["a"].offset == 0
