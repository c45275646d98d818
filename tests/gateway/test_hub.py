"""The promise: every publication in order, once, or a gap that says which ones will not be seen.

A state machine plays publishers, clients that stall, leave and come back on other transports, and a
clock, against the real hub, broker, encoders and poll collection; only sockets are scripted.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig, Config, HubConfig
from gateway.heartbeat import Heartbeat
from gateway.hub import Hub, Start
from gateway.session import Encode, Positions, Session
from gateway.stream import Draft, Stream
from gateway.transports.longpoll import PollTransport
from gateway.transports.sse import EventStreamEndpoint, EventStreamTransport
from gateway.transports.wanted import Wanted
from protocol.cursor import Position, decode_cursor
from protocol.messages import JSON, Push
from protocol.publication import Data, Publication

CHANNELS = ("a", "b", "c")


def encode_lines(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Stands for JSON frames: one line per publication."""
    return b"".join([JSON.encode_message(stream.name, each) + b"\n" for each in publications])


def encode_more_lines(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Stands for a second encoding in use in the same channel."""
    return encode_lines(stream, publications, _)


class ScriptedTransport:
    """A session's socket: full at capacity_bytes, empty after read()."""

    def __init__(self, hub: Hub, encode: Encode, capacity_bytes: int = 1 << 20) -> None:
        self.hub = hub
        self.capacity_bytes = capacity_bytes
        self.unread = b""
        self.write_count = 0
        self.session = Session(self, encode)
        hub.attach(self.session)

    def write(self, data: bytes) -> None:
        self.unread += data
        self.write_count += 1
        if len(self.unread) > self.capacity_bytes and not self.session.is_paused:
            self.hub.pause(self.session)

    def push(self, push: Push, positions: Positions) -> None:
        self.write(JSON.encode(push) + b"\n")

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        self.hub.detach(self.session)

    def read(self) -> list[dict[str, Any]]:
        taken, self.unread = self.unread, b""
        if self.session.is_paused:
            self.hub.resume(self.session)
        return [json.loads(line) for line in taken.splitlines()]


class ScriptedSocket:
    """The asyncio transport of an event stream: full at capacity_bytes, empty after read()."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.unread = b""
        self.stream: EventStreamTransport | None = None

    def set_write_buffer_limits(self, high: int) -> None:
        """Keep the capacity that the test has chosen."""

    def write(self, data: bytes) -> None:
        self.unread += data
        stream = self.stream
        if len(self.unread) > self.capacity_bytes and stream and not stream.session.is_paused:
            stream.pause_writing()


class EventStream:
    """A real event stream on a scripted socket; the client knows its position from ids alone."""

    def __init__(self, hub: Hub, endpoint: EventStreamEndpoint, capacity_bytes: int) -> None:
        self.socket = ScriptedSocket(capacity_bytes)
        request = SimpleNamespace(protocol=SimpleNamespace(asyncio_transport=self.socket))
        self.transport = EventStreamTransport(endpoint, request, CHANNELS)
        self.socket.stream = self.transport
        self.session = self.transport.session
        hub.attach(self.session)

    def read(self) -> list[dict[str, Any]]:
        taken, self.socket.unread = self.socket.unread, b""
        if self.session.is_paused:
            self.transport.resume_writing()
        events = []
        for block in taken.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            push = json.loads(fields.get("data", '{"type": "id"}'))
            events.append(push | {"cursor_after": fields.get("id")})
        return events


class World:
    """A hub with a memory broker, whose turns and time pass only when told to."""

    def __init__(
        self, channels: ChannelsConfig | None = None, hub: HubConfig | None = None
    ) -> None:
        self.now = 1_000_000.0
        self.callbacks: list[Callable[[], None]] = []
        self.broker = MemoryBroker(channels or ChannelsConfig(), clock=lambda: self.now)
        self.hub = Hub(self.broker, hub or HubConfig(), self.callbacks.append)
        self.run(self.broker.start(self.hub.deliver))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def publish(self, channel: str, text: str = "x") -> Position:
        async def publish() -> Position:
            return await self.broker.publish(channel, Draft(Data(json.dumps(text).encode())))

        return self.run(publish())

    def subscribe(self, transport: ScriptedTransport, channel: str, start: Start = None) -> None:
        self.begin(transport.session, {channel: start})

    def follow(self, channels: Iterable[str]) -> list[Stream]:
        async def follow() -> list[Stream]:
            return [await self.hub.follow(channel) for channel in channels]

        return self.run(follow())

    def begin(self, session: Session, starts: dict[str, Start]) -> None:
        for stream, start in zip(self.follow(starts), starts.values(), strict=True):
            subscribed, gap = self.hub.subscribe(session, stream, start)
            session.push(subscribed)
            if gap is not None:
                session.push(gap)
        self.hub.start(session)

    def turn(self) -> bool:
        """Run one turn; return whether there was anything to do."""
        callbacks, self.callbacks[:] = tuple(self.callbacks), []
        for callback in callbacks:
            callback()
        return bool(callbacks)

    def settle(self) -> None:
        for _ in range(1000):
            if not self.turn():
                return
        pytest.fail("the hub never comes to rest")


@pytest.fixture
def world():
    return World()


def types(pushes: list[dict[str, Any]]) -> list[str]:
    return [each["type"] for each in pushes]


def offsets(pushes: list[dict[str, Any]]) -> list[int]:
    return [each["offset"] for each in pushes if each["type"] == "message"]


# --- single facts -------------------------------------------------------------------------------


def test_a_subscriber_gets_what_is_published_after_its_reply(world: World) -> None:
    world.publish("a", "before")
    reader = ScriptedTransport(world.hub, encode_lines)
    world.subscribe(reader, "a")
    world.publish("a", "after")
    world.settle()
    subscribed, message = reader.read()
    assert subscribed["type"] == "subscribed"
    assert subscribed["offset"] == 1
    assert (message["offset"], message["data"]) == (2, "after")


def test_publications_of_one_turn_are_one_write_per_subscriber(world: World) -> None:
    readers = [ScriptedTransport(world.hub, encode_lines) for _ in range(3)]
    for reader in readers:
        world.subscribe(reader, "a")
        reader.read()
        reader.write_count = 0
    for _ in range(5):
        world.publish("a")
    assert not any(reader.write_count for reader in readers)
    world.settle()
    assert [reader.write_count for reader in readers] == [1, 1, 1]
    assert offsets(readers[0].read()) == [1, 2, 3, 4, 5]


def test_a_batch_is_encoded_once_per_encoding(world: World) -> None:
    calls = []

    def counting(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
        calls.append(len(publications))
        return b"\n"

    for _ in range(4):
        world.subscribe(ScriptedTransport(world.hub, counting), "a")
    world.subscribe(ScriptedTransport(world.hub, encode_lines), "a")
    world.publish("a")
    world.publish("a")
    world.settle()
    assert calls == [2]


def test_a_stalled_reader_is_owed_nothing_and_reads_on_from_the_log(world: World) -> None:
    reader = ScriptedTransport(world.hub, encode_lines, capacity_bytes=0)
    world.subscribe(reader, "a")
    for _ in range(50):
        world.publish("a")
        world.settle()
    assert reader.write_count == 1  # the reply alone filled the socket
    seen: list[int] = []
    while len(seen) < 50:
        seen += offsets(reader.read())
        world.settle()
    assert seen == list(range(1, 51))


def test_a_reader_that_falls_out_of_the_log_is_told_the_exact_gap() -> None:
    world = World(ChannelsConfig(history_count=2, lag_count=3))
    reader = ScriptedTransport(world.hub, encode_lines, capacity_bytes=0)
    world.subscribe(reader, "a")
    for _ in range(10):
        world.publish("a")
        world.settle()
    reader.capacity_bytes = 1 << 20
    reader.read()
    world.settle()
    gap, *messages = reader.read()
    assert (gap["type"], gap["from"], gap["to"], gap["reason"]) == ("gap", 1, 7, "slow")
    assert offsets(messages) == [8, 9, 10]


def test_one_turn_writes_no_more_than_its_budget() -> None:
    world = World(hub=HubConfig(turn_deliveries=10))
    readers = [ScriptedTransport(world.hub, encode_lines) for _ in range(35)]
    for reader in readers:
        world.subscribe(reader, "a")
        reader.read()
    world.publish("a")
    counts = []
    while world.turn():
        counts.append(sum(1 for reader in readers if reader.read()))
    assert counts == [10, 10, 10, 5]


def test_whoever_subscribes_or_leaves_in_the_middle_of_a_flush_loses_and_repeats_nothing() -> None:
    world = World(hub=HubConfig(turn_deliveries=2))
    readers = [ScriptedTransport(world.hub, encode_lines) for _ in range(6)]
    for reader in readers:
        world.subscribe(reader, "a")
        reader.read()
    world.publish("a")
    world.turn()
    late = ScriptedTransport(world.hub, encode_lines)
    world.subscribe(late, "a")
    waiting = [reader for reader in readers if not reader.unread]
    world.hub.pause(waiting[0].session)
    world.hub.detach(waiting[1].session)
    world.publish("a")
    world.settle()
    world.hub.resume(waiting[0].session)
    world.settle()
    assert waiting[1].read() == []
    assert offsets(waiting[0].read()) == [1, 2]
    subscribed, *messages = late.read()
    assert offsets(messages) == list(range(subscribed["offset"] + 1, 3))


def test_unsubscribing_ends_delivery_at_once(world: World) -> None:
    reader = ScriptedTransport(world.hub, encode_lines)
    world.subscribe(reader, "a")
    reader.read()
    world.publish("a")
    world.hub.unsubscribe(reader.session, "a")
    world.settle()
    assert reader.read() == []
    assert world.hub.channels == {}


def test_a_detached_session_leaves_nothing_behind(world: World) -> None:
    reader = ScriptedTransport(world.hub, encode_lines)
    for channel in CHANNELS:
        world.subscribe(reader, channel)
    world.hub.detach(reader.session)
    world.hub.detach(reader.session)
    assert not world.hub.sessions
    assert not world.hub.channels


def test_the_last_n_are_given_first(world: World) -> None:
    for _ in range(5):
        world.publish("a")
    reader = ScriptedTransport(world.hub, encode_lines)
    world.subscribe(reader, "a", 2)
    world.settle()
    subscribed, *messages = reader.read()
    assert (subscribed["offset"], subscribed["recovered"]) == (3, False)
    assert offsets(messages) == [4, 5]


def test_a_position_of_this_log_is_recovered_and_one_of_another_is_a_gap(world: World) -> None:
    for _ in range(3):
        end = world.publish("a")
    reader = ScriptedTransport(world.hub, encode_lines)
    world.subscribe(reader, "a", Position(end.epoch, 1))
    stranger = ScriptedTransport(world.hub, encode_lines)
    world.subscribe(stranger, "a", Position("elsewhere", 1))
    world.settle()
    subscribed, *messages = reader.read()
    assert (subscribed["offset"], subscribed["recovered"]) == (1, True)
    assert offsets(messages) == [2, 3]
    subscribed, gap, *messages = stranger.read()
    assert (subscribed["offset"], subscribed["recovered"]) == (0, False)
    assert (gap["reason"], gap["from"], gap["to"], gap["epoch"]) == ("epoch", 1, 0, end.epoch)
    assert offsets(messages) == [1, 2, 3]


def test_a_failing_socket_takes_no_delivery_from_the_others(world: World) -> None:
    class Broken(ScriptedTransport):
        def write(self, data: bytes) -> None:
            raise RuntimeError("unable to perform operation; the handler is closed")

        def push(self, push: Push, positions: Positions) -> None:
            pass

    readers = [
        (Broken if number % 2 else ScriptedTransport)(world.hub, encode_lines)
        for number in range(10)
    ]
    for reader in readers:
        world.subscribe(reader, "a")
        reader.read()
    world.publish("a")
    world.settle()
    assert [len(reader.read()) for reader in readers] == [1, 0] * 5


async def test_a_poll_that_ends_in_the_middle_of_a_flush_has_the_cursor_of_what_it_was_given() -> (
    None
):
    callbacks: list[Callable[[], None]] = []
    broker = MemoryBroker(ChannelsConfig())
    hub = Hub(broker, HubConfig(turn_deliveries=1), callbacks.append)
    await broker.start(hub.deliver)
    polls = [PollTransport(hub, 1000) for _ in range(2)]
    for poll in polls:
        hub.attach(poll.session)
        hub.subscribe(poll.session, await hub.follow("a"), None)
        hub.start(poll.session)
    await broker.publish("a", Draft(Data(b"1")))
    callbacks.pop()()
    answers = [json.loads(poll.take_answer()) for poll in polls]
    assert sorted(len(answer["messages"]) for answer in answers) == [0, 1]
    for answer in answers:
        assert decode_cursor(answer["cursor"])["a"].offset == len(answer["messages"])


# --- the state machine --------------------------------------------------------------------------


class Client:
    """What one client knows, and its judgement of every push."""

    def __init__(self, published: dict[tuple[str, str, int], str]) -> None:
        self.published = published
        self.seen: dict[str, Position] = {}
        self.transport: ScriptedTransport | EventStream | None = None

    def judge(self, push: dict[str, Any]) -> None:
        channel = push.get("channel", "")
        position = self.seen.get(channel)
        if push["type"] == "subscribed":
            if position is not None and push["epoch"] == position.epoch:
                assert push["offset"] in (position.offset, 0)
            self.seen[channel] = Position(push["epoch"], push["offset"])
        elif push["type"] == "gap":
            if position is None or push["epoch"] != position.epoch or push["reason"] == "epoch":
                assert (push["reason"], push["from"]) == ("epoch", 1)
            else:
                assert push["from"] == position.offset + 1
                assert push["to"] >= push["from"]
            self.seen[channel] = Position(push["epoch"], push["to"])
        elif push["type"] == "message":
            assert position is not None
            assert push["offset"] == position.offset + 1, "lost, repeated or out of order"
            assert push["data"] == self.published[channel, position.epoch, push["offset"]]
            self.seen[channel] = Position(position.epoch, push["offset"])
        if push.get("cursor_after"):
            assert decode_cursor(push["cursor_after"]) == self.seen

    def read(self) -> None:
        if self.transport is not None:
            for push in self.transport.read():
                self.judge(push)


clients = st.integers(0, 3)
channels = st.sampled_from(CHANNELS)
kinds = st.sampled_from([encode_lines, encode_more_lines])


class Promise(RuleBasedStateMachine):
    """Everything a network and a careless client can do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            ChannelsConfig(
                history_count=6, history_age_s=30, lag_count=8, lag_bytes=200, lag_age_s=20
            ),
            HubConfig(turn_deliveries=3, catch_up_bytes=150),
        )
        self.published: dict[tuple[str, str, int], str] = {}
        heartbeat = Heartbeat(None, 25.0)  # never started: nobody is pinged here
        self.endpoint = EventStreamEndpoint(self.world.hub, heartbeat, Config())
        self.clients = [Client(self.published) for _ in range(4)]

    @rule(channel=channels, count=st.integers(1, 6))
    def publish(self, channel: str, count: int) -> None:
        for _ in range(count):
            self.world.run(self._publish_one(channel))

    async def _publish_one(self, channel: str) -> None:
        text = f"{len(self.published)}"
        draft = Draft(Data(json.dumps(text).encode()))
        epoch, offset = await self.world.broker.publish(channel, draft)
        self.published[channel, epoch, offset] = text

    @rule()
    def turn(self) -> None:
        self.world.turn()

    @rule(client=clients)
    def read(self, client: int) -> None:
        self.clients[client].read()

    @rule(client=clients, capacity=st.sampled_from([0, 100, 1000]), encode=kinds)
    def connect(self, client: int, capacity: int, encode: Encode) -> None:
        chosen = self.clients[client]
        self.drop(client)
        chosen.transport = ScriptedTransport(self.world.hub, encode, capacity)
        for channel, position in tuple(chosen.seen.items()):
            self.world.subscribe(chosen.transport, channel, position)

    @rule(client=clients, capacity=st.sampled_from([0, 100, 1000]))
    def connect_event_stream(self, client: int, capacity: int) -> None:
        chosen = self.clients[client]
        self.drop(client)
        starts: dict[str, Start] = {name: chosen.seen.get(name) for name in CHANNELS}
        chosen.transport = EventStream(self.world.hub, self.endpoint, capacity)
        streams = self.world.follow(starts)
        chosen.transport.transport.begin(streams, [Wanted(*each) for each in starts.items()])

    @rule(client=clients)
    def drop(self, client: int) -> None:
        """Vanish; what was in the socket is lost, and the client goes on from what it has seen."""
        chosen = self.clients[client]
        if chosen.transport is not None:
            self.world.hub.detach(chosen.transport.session)
            chosen.transport = None

    @rule(client=clients, channel=channels, history=st.none() | st.integers(1, 9))
    def subscribe(self, client: int, channel: str, history: int | None) -> None:
        chosen = self.clients[client]
        if isinstance(chosen.transport, EventStream):
            return
        if chosen.transport and channel not in chosen.transport.session.subscriptions:
            chosen.seen.pop(channel, None)
            self.world.subscribe(chosen.transport, channel, history)

    @rule(client=clients, channel=channels)
    def unsubscribe(self, client: int, channel: str) -> None:
        chosen = self.clients[client]
        transport = chosen.transport
        if not isinstance(transport, ScriptedTransport):
            return
        chosen.read()
        if channel in transport.session.subscriptions:
            self.world.hub.unsubscribe(transport.session, channel)
            chosen.seen.pop(channel, None)

    @rule(client=clients, turns=st.integers(0, 3), max_bytes=st.sampled_from([1, 200, 10_000]))
    def poll(self, client: int, turns: int, max_bytes: int) -> None:
        chosen = self.clients[client]
        self.drop(client)
        self.world.run(self._poll(chosen, turns, max_bytes))

    async def _poll(self, client: Client, turns: int, max_bytes: int) -> None:
        transport = PollTransport(self.world.hub, max_bytes)
        hub, session = self.world.hub, transport.session
        hub.attach(session)
        for channel in CHANNELS:
            stream = await hub.follow(channel)
            subscribed, gap = hub.subscribe(session, stream, client.seen.get(channel))
            if channel not in client.seen or subscribed.epoch != client.seen[channel].epoch:
                client.seen[channel] = Position(subscribed.epoch, subscribed.offset)
            if gap is not None:
                session.push(gap)
        hub.start(session)
        for _ in range(turns):
            for channel in CHANNELS:
                await self._publish_one(channel)
            self.world.turn()
        answer = json.loads(transport.take_answer())
        told = [*answer["gaps"], *answer["messages"]]
        for push in sorted(told, key=lambda each: each.get("from", each.get("offset"))):
            client.judge(push)
        assert decode_cursor(answer["cursor"]) == client.seen

    @rule(seconds=st.sampled_from([1, 15, 40]))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds
        self.world.broker.forget_unused()

    @invariant()
    def logs_are_bounded(self) -> None:
        for channel in self.world.hub.channels.values():
            if not channel.is_dirty:
                assert channel.stream.last - channel.stream.first + 1 <= 8
                assert channel.stream.lagging_count == len(channel.lagging)

    @precondition(lambda self: not self.world.callbacks)
    @invariant()
    def nobody_waits_for_a_turn_that_never_comes(self) -> None:
        for client in self.clients:
            if client.transport and not client.transport.session.is_paused:
                assert not self.world.hub.is_behind(client.transport.session)

    def teardown(self) -> None:
        for client in self.clients:
            if client.transport is not None:
                getattr(client.transport, "socket", client.transport).capacity_bytes = 1 << 20
        for _ in range(3):
            for client in self.clients:
                client.read()
            self.world.settle()
        for client in self.clients:
            if client.transport is not None:
                client.read()
                for name, subscription in client.transport.session.subscriptions.items():
                    assert subscription.is_live
                    assert client.seen[name] == subscription.stream.end


TestPromise = Promise.TestCase
TestPromise.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
