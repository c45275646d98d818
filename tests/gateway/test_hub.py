"""The hub, one fact at a time; test_hub_promise.py plays them all against one another."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gateway.broker import Draft
from gateway.brokers.memory import MemoryBroker
from gateway.budget import Budget, Share
from gateway.config import ChannelsConfig, HubConfig
from gateway.hub import Hub
from gateway.session import Positions
from gateway.stream import Stream
from gateway.transports.longpoll import PollTransport
from protocol.cursor import Position, decode_cursor
from protocol.errors import MessageError
from protocol.messages import Push
from protocol.publication import Data, Publication
from tests.gateway.sessions import quiet_presence
from tests.gateway.world import CHANNELS, ScriptedTransport, World, encode_lines


@pytest.fixture
def world():
    return World()


def types(pushes: list[dict[str, Any]]) -> list[str]:
    return [each["type"] for each in pushes]


def offsets(pushes: list[dict[str, Any]]) -> list[int]:
    return [each["offset"] for each in pushes if each["type"] == "message"]


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


def test_one_turn_encodes_no_more_for_many_channels_than_counts_as_its_writes() -> None:
    def encode_little(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
        return b"\n"

    world = World(hub=HubConfig(turn_deliveries=20))
    channels = [str(number) for number in range(20)]
    readers = [ScriptedTransport(world.hub, encode_little) for _ in channels]
    for reader, channel in zip(readers, channels, strict=True):
        world.subscribe(reader, channel)
        reader.read()
        world.publish(channel, "x" * 1024)
    counts = []
    while world.turn():
        counts.append(sum(reader.write_count == 2 for reader in readers))
    # 8 for what there is to encode, however little becomes of it, and 1 for the write.
    assert counts == [3, 6, 9, 12, 15, 18, 20]


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
    call_soon = callbacks.append
    hub = Hub(broker, HubConfig(turn_deliveries=1), call_soon, quiet_presence(call_soon))
    await broker.start(hub.deliver)
    polls = [PollTransport(hub, 1000, Share(Budget("answers", 1000))) for _ in range(2)]
    for poll in polls:
        hub.attach(poll.session)
        hub.subscribe(poll.session, await hub.follow("a"), None)
        hub.start(poll.session)
    await broker.publish("a", [Draft(Data(b"1"))])
    callbacks.pop()()
    answers = [json.loads(poll.take_answer()) for poll in polls]
    assert sorted(len(answer["messages"]) for answer in answers) == [0, 1]
    for answer in answers:
        assert decode_cursor(answer["cursor"])["a"].offset == len(answer["messages"])


def test_a_busy_channel_does_not_keep_another_waiting() -> None:
    world = World(hub=HubConfig(turn_deliveries=4))
    for _ in range(20):
        world.subscribe(ScriptedTransport(world.hub, encode_lines), "hot")
    quiet = ScriptedTransport(world.hub, encode_lines)
    world.subscribe(quiet, "quiet")
    quiet.read()
    world.publish("hot")
    world.publish("quiet")
    for _ in range(10):
        world.publish("hot")
        world.turn()
    assert offsets(quiet.read()) == [1]


def test_an_encoding_that_fails_ends_its_sessions_and_nobody_elses(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
        raise ValueError("cannot be encoded")

    healthy = ScriptedTransport(world.hub, encode_lines)
    failing = ScriptedTransport(world.hub, fail)
    for reader in (healthy, failing):
        world.subscribe(reader, "a")
    late = ScriptedTransport(world.hub, fail)
    world.publish("a")
    world.settle()
    world.subscribe(late, "a", 1)
    world.publish("a")
    world.settle()
    assert offsets(healthy.read()) == [1, 2]
    assert world.hub.sessions == {healthy.session}
    assert len(caplog.records) == 2


def test_who_falls_behind_amid_a_flush_misses_nothing_that_is_kept_for_lagging_subscribers() -> (
    None
):
    world = World(ChannelsConfig(history_count=0), HubConfig(turn_deliveries=1))
    readers = [ScriptedTransport(world.hub, encode_lines) for _ in range(3)]
    for reader in readers:
        world.subscribe(reader, "a")
        reader.read()
    world.publish("a")
    world.turn()
    world.publish("a")  # a log without history has no room for the first any more
    for reader in readers:
        world.hub.pause(reader.session)
    world.settle()
    for reader in readers:
        world.hub.resume(reader.session)
    world.settle()
    assert [offsets(reader.read()) for reader in readers] == [[1, 2]] * 3
    assert world.hub.gap_count == 0


def test_a_channel_whose_subscribers_leave_amid_a_flush_keeps_no_more_than_its_history() -> None:
    world = World(ChannelsConfig(history_count=1), HubConfig(turn_deliveries=1))
    readers = [ScriptedTransport(world.hub, encode_lines) for _ in range(3)]
    for reader in readers:
        world.subscribe(reader, "a")
    stream = world.hub.channels["a"].stream
    for _ in range(2):
        world.publish("a")
    world.turn()
    for reader in readers:
        world.hub.detach(reader.session)
    world.settle()
    assert (stream.first, stream.last) == (2, 2)


def test_what_subscribers_cannot_be_given_is_refused_and_not_kept() -> None:
    channels = ChannelsConfig(history_count=10, lag_count=10)
    world = World(channels, HubConfig(turn_deliveries=1))
    for _ in range(2):
        world.subscribe(ScriptedTransport(world.hub, encode_lines), "a")
    stream = world.hub.channels["a"].stream
    while not stream.is_overfull:
        world.publish("a")
    assert stream.last < 1100
    with pytest.raises(MessageError) as refused:
        world.publish("a")
    assert refused.value.code == "overloaded"
    world.settle()
    assert world.publish("a").offset == stream.last
