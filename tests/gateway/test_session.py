"""One session: who it is, where it stands in each channel, and how pushes reach its transport."""

from collections.abc import Callable, Sequence

import pytest

from gateway.broker import Draft
from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig, HubConfig
from gateway.hub import Hub
from gateway.session import Positions, Session
from gateway.stream import Stream
from protocol.cursor import Position
from protocol.messages import Pong, Push
from protocol.publication import Data, Publication
from tests.gateway.sessions import quiet_presence


def encode_nothing(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    return b"."


class ScriptedTransport:
    """Keeps what it is given."""

    encode_push = None

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.pushed: list[tuple[Push, Positions]] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def push(self, push: Push, positions: Positions) -> None:
        self.pushed.append((push, positions))

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        raise AssertionError("nobody asked for it")


class Node:
    """A hub whose turns are run by hand."""

    def __init__(self, **limits: int) -> None:
        self.turns: list[Callable[[], None]] = []
        self.broker = MemoryBroker(ChannelsConfig())
        call_soon = self.turns.append
        self.hub = Hub(self.broker, HubConfig(**limits), call_soon, quiet_presence(call_soon))

    async def join(self, *channels: str) -> Session:
        """Return a session that has subscribed to channels from now."""
        session = Session(ScriptedTransport(), encode_nothing)
        self.hub.attach(session)
        for channel in channels:
            self.hub.subscribe(session, await self.hub.follow(channel), None)
        self.hub.start(session)
        return session

    async def publish(self, channel: str) -> Position:
        (place,) = await self.broker.publish(channel, [Draft(Data(b"1"))])
        return place

    def turn(self) -> None:
        self.turns.pop()()


@pytest.fixture
async def node() -> Node:
    return await start()


async def start(**limits: int) -> Node:
    node = Node(**limits)
    await node.broker.start(node.hub.deliver)
    return node


def test_a_new_session_is_nobody_subscribed_to_nothing_and_takes_writes() -> None:
    session = Session(ScriptedTransport(), encode_nothing)
    assert (session.user, session.subscriptions, session.positions()) == (None, {}, {})
    assert (session.is_paused, session.error_count) == (False, 0)


def test_no_two_sessions_have_one_id_and_none_can_be_guessed_from_another() -> None:
    ids = [Session(ScriptedTransport(), encode_nothing).id for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert len({each[:6] for each in ids}) == 1000  # they share no counter or prefix


def test_a_session_keeps_the_user_it_was_made_for() -> None:
    assert Session(ScriptedTransport(), encode_nothing, "ann").user == "ann"


def test_a_push_reaches_the_transport_with_the_positions_of_the_session() -> None:
    transport = ScriptedTransport()
    session = Session(transport, encode_nothing)
    session.push(Pong(id=1))
    assert transport.pushed == [(Pong(id=1), session.position_of)]


async def test_a_live_session_stands_where_the_last_flush_ended(node: Node) -> None:
    session = await node.join("a")
    epoch = (await node.publish("a")).epoch
    assert session.position_of("a") == (epoch, 0)
    node.turn()
    assert session.position_of("a") == (epoch, 1)
    assert session.transport.written == [b"."]


async def test_a_lagging_session_stands_where_it_fell_behind(node: Node) -> None:
    session, witness = await node.join("a"), await node.join("a")
    await node.publish("a")
    node.turn()
    node.hub.pause(session)
    end = await node.publish("a")
    node.turn()
    assert session.position_of("a") == (end.epoch, 1)
    assert witness.position_of("a") == end


async def test_a_session_that_waits_in_a_flush_stands_before_it_once_it_is_paused() -> None:
    node = await start(turn_deliveries=1)
    sessions = [await node.join("a") for _ in range(2)]
    end = await node.publish("a")
    node.turn()
    (waiting,) = [each for each in sessions if not each.transport.written]
    (served,) = [each for each in sessions if each.transport.written]
    for session in sessions:
        node.hub.pause(session)
    assert waiting.position_of("a") == (end.epoch, 0)
    assert served.position_of("a") == end


async def test_positions_are_in_the_order_of_subscribing(node: Node) -> None:
    session = await node.join("b", "a", "c")
    ends = {channel: await node.publish(channel) for channel in ("c", "b")}
    node.turn()
    assert list(session.positions()) == ["b", "a", "c"]
    assert session.positions()["b"] == ends["b"]
    assert session.positions()["c"] == ends["c"]
    assert session.positions()["a"].offset == 0


async def test_there_is_no_position_in_a_channel_not_subscribed_to(node: Node) -> None:
    session = await node.join("a")
    node.hub.unsubscribe(session, "a")
    assert session.positions() == {}
    with pytest.raises(KeyError):
        session.position_of("a")


async def test_each_session_has_a_position_of_its_own(node: Node) -> None:
    early = await node.join("a")
    end = await node.publish("a")
    node.turn()
    node.hub.pause(early)
    late = await node.join("a")
    await node.publish("a")
    node.turn()
    assert early.position_of("a") == end
    assert late.position_of("a") == (end.epoch, 2)
