"""Reading on: what laggards share, what a turn may cost, and what each overflow policy tells."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker import Draft
from gateway.config import ChannelConfig, ChannelsConfig, HubConfig
from gateway.hub import Start
from gateway.reading import CHUNK_COUNT, MEMO_BYTES, choose_overflow
from gateway.session import Positions
from gateway.stream import Stream
from protocol.cursor import Position
from protocol.errors import MessageError
from protocol.messages import Overflow
from protocol.publication import Data, Publication
from tests.gateway.world import ScriptedTransport, World, encode_lines


class Counting:
    """An encoding that counts what it encodes."""

    def __init__(self) -> None:
        self.count = 0
        self.size_bytes = 0

    def __call__(
        self, stream: Stream, publications: Sequence[Publication], positions: Positions
    ) -> bytes:
        data = encode_lines(stream, publications, positions)
        self.count += len(publications)
        self.size_bytes += len(data)
        return data


class Reader(ScriptedTransport):
    """A session that remembers with which code it was ended."""

    code: int | None = None

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        self.code = code
        super().disconnect(code, reason)


def publish(world: World, *keys: str | None, channel: str = "a", text: str = "x") -> Position:
    """Publish one publication for each key; return the place of the last."""
    drafts = [Draft(Data(json.dumps(text).encode()), key) for key in keys]

    async def publish() -> Position:
        return (await world.broker.publish(channel, drafts))[-1]

    place: Position = world.run(publish())
    return place


def subscribe(
    world: World,
    reader: ScriptedTransport,
    start: Start = None,
    overflow: Overflow | None = None,
    channel: str = "a",
) -> None:
    (stream,) = world.follow([channel])
    subscribed, gap = world.hub.subscribe(reader.session, stream, start, overflow)
    reader.push(subscribed, reader.session.position_of)
    if gap is not None:
        reader.push(gap, reader.session.position_of)
    world.hub.start(reader.session)


def stalled(world: World, overflow: Overflow | None = None) -> Reader:
    """Return a reader that was live, and whose socket takes no more."""
    reader = Reader(world.hub, encode_lines)
    subscribe(world, reader, overflow=overflow)
    reader.read()
    world.hub.pause(reader.session)
    return reader


def wake(world: World, reader: ScriptedTransport) -> list[Any]:
    """Return what a stalled reader is given when it reads again."""
    world.hub.resume(reader.session)
    world.settle()
    return told(reader)


def told(reader: ScriptedTransport) -> list[Any]:
    """Return what has come: the offset of each message, and (from, to, reason) of each gap."""
    return [
        push["offset"] if push["type"] == "message" else (push["from"], push["to"], push["reason"])
        for push in reader.read()
        if push["type"] != "subscribed"
    ]


# --- what is shared ---


def test_who_resumes_the_same_backlog_shares_what_is_encoded() -> None:
    world, encode = World(), Counting()
    place = publish(world, *[None] * 300)
    readers = [Reader(world.hub, encode) for _ in range(20)]
    for reader in readers:
        subscribe(world, reader, Position(place.epoch, 0))
    world.settle()
    assert [told(reader) for reader in readers] == [[*range(1, 301)]] * 20
    assert encode.count == 300


def test_who_begins_elsewhere_soon_meets_the_others() -> None:
    world, encode = World(), Counting()
    place = publish(world, *[None] * 300)
    readers = [Reader(world.hub, encode) for _ in range(20)]
    for offset, reader in enumerate(readers):
        subscribe(world, reader, Position(place.epoch, offset))
    world.settle()
    for offset, reader in enumerate(readers):
        assert told(reader) == [*range(offset + 1, 301)]
    assert encode.count <= 300 + 19 * CHUNK_COUNT


def test_nothing_is_kept_for_sharing_once_nobody_reads_on() -> None:
    world, encode = World(), Counting()
    place = publish(world, *[None] * 10)
    for round_count in (1, 2):
        reader = Reader(world.hub, encode)
        subscribe(world, reader, Position(place.epoch, 0))
        world.settle()
        assert told(reader) == [*range(1, 11)]
        assert encode.count == round_count * 10


def test_what_is_kept_for_sharing_is_bounded() -> None:
    size_bytes = 10_000
    count = 3 * MEMO_BYTES // size_bytes
    world = World(ChannelsConfig(history_bytes=1 << 30))
    encode = Counting()
    place = publish(world, *[None] * count, text="x" * size_bytes)
    first = Reader(world.hub, encode, capacity_bytes=1 << 30)
    subscribe(world, first, Position(place.epoch, 0))
    while encode.count < count - 50:
        world.turn()
    second = Reader(world.hub, encode, capacity_bytes=1 << 30)
    subscribe(world, second, Position(place.epoch, 0))
    world.settle()
    assert told(first) == told(second) == [*range(1, count + 1)]
    assert encode.count > count + (count - MEMO_BYTES // size_bytes) / 2


def test_an_encoding_with_cursors_is_shared_where_they_are_the_same() -> None:
    world, encode = World(), Counting()
    place = publish(world, *[None] * 30)
    other = publish(world, *[None] * 2, channel="b")
    readers = [Reader(world.hub, encode) for _ in range(9)]
    for number, reader in enumerate(readers):
        reader.session.cursor_channels = ("a", "b")
        world.hub.pause(reader.session)
        subscribe(world, reader, Position(place.epoch, 0))
        subscribe(world, reader, Position(other.epoch, number % 3), channel="b")
    for reader in readers:
        world.hub.resume(reader.session)
    world.settle()
    assert [len(told(reader)) for reader in readers] == [32, 31, 30] * 3
    assert encode.count == 3 * 30 + 2 + 1


def test_one_turn_encodes_no_more_than_its_budget_and_a_chunk() -> None:
    world = World(
        ChannelsConfig(history_bytes=1 << 30),
        HubConfig(turn_encoded_bytes=4000, catch_up_bytes=2000),
    )
    encode = Counting()
    place = publish(world, *[None] * 400, text="x" * 500)
    readers = [Reader(world.hub, encode) for _ in range(100)]
    for offset, reader in enumerate(readers):
        subscribe(world, reader, Position(place.epoch, offset * 3))
    sizes = []
    while world.turn():
        sizes.append(encode.size_bytes)
        encode.size_bytes = 0
    assert max(sizes) <= 4000 + 2 * 2000
    assert [len(told(reader)) for reader in readers] == [400 - offset * 3 for offset in range(100)]


# --- overflow policies ---

KEPT = ChannelsConfig(history_count=4, lag_count=4)


def test_gap_tells_the_range_and_goes_on_with_the_oldest_kept() -> None:
    world = World(KEPT)
    reader = stalled(world)
    publish(world, *"abababab")
    world.settle()
    assert wake(world, reader) == [(1, 4, "slow"), 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("xxxxabab", [(1, 6, "slow"), 7, 8]),
        ("xxxxabaa", [(1, 5, "slow"), 6, (7, 7, "slow"), 8]),
        ("xxxxabcd", [(1, 4, "slow"), 5, 6, 7, 8]),
        ("xxxxaaaa", [(1, 7, "slow"), 8]),
        ("xxxxbaca", [(1, 4, "slow"), 5, (6, 6, "slow"), 7, 8]),
        ([None] * 8, [(1, 7, "slow"), 8]),
        ([None] * 5 + ["a", None, "a"], [(1, 6, "slow"), 7, 8]),
        ("abab", [1, 2, 3, 4]),
    ],
)
def test_latest_gives_the_newest_of_each_key_and_tells_all_else(keys, expected) -> None:
    world = World(KEPT)
    reader = stalled(world, "latest")
    publish(world, *keys)
    world.settle()
    assert wake(world, reader) == expected


def test_latest_is_judged_once_and_what_comes_later_is_given_as_usual() -> None:
    world = World(ChannelsConfig(history_count=8, lag_count=8), HubConfig(catch_up_bytes=256))
    reader = stalled(world, "latest")
    publish(world, *"xxxxxxaabbccdd")
    world.settle()
    world.hub.resume(reader.session)
    world.turn()
    publish(world, "d", "d", "d")
    world.settle()
    assert told(reader) == [
        *[(1, 7, "slow"), 8, (9, 9, "slow"), 10, (11, 11, "slow"), 12, (13, 13, "slow"), 14],
        *[15, 16, 17],
    ]


def test_latest_is_judged_anew_where_the_log_leaves_a_reader_behind_again() -> None:
    world = World(KEPT)
    reader = stalled(world, "latest")
    publish(world, *"xxxxabcd")
    world.settle()
    reader.capacity_bytes = 0
    world.hub.resume(reader.session)
    world.settle()
    publish(world, *"ccddccdd")
    world.settle()
    reader.capacity_bytes = 1 << 20
    assert told(reader) == [(1, 4, "slow"), 5, 6, 7, 8]
    world.settle()
    assert told(reader) == [(9, 13, "slow"), 14, (15, 15, "slow"), 16]


def test_a_cursor_that_has_expired_is_answered_with_the_latest_too() -> None:
    world = World(KEPT)
    place = publish(world, *"xxxxabaa")
    reader = Reader(world.hub, encode_lines)
    subscribe(world, reader, Position(place.epoch, 2), "latest")
    world.settle()
    assert told(reader) == [(3, 5, "expired"), 6, (7, 7, "expired"), 8]


def test_disconnect_ends_the_session_of_a_reader_that_was_live() -> None:
    world = World(KEPT)
    reader, witness = stalled(world, "disconnect"), stalled(world)
    publish(world, *"abcde")
    world.settle()
    assert (wake(world, reader), reader.code) == ([], 3001)
    assert wake(world, witness) == [(1, 1, "slow"), 2, 3, 4, 5]


def test_disconnect_sends_nobody_away_whose_position_is_in_the_log() -> None:
    world = World(KEPT)
    reader = stalled(world, "disconnect")
    publish(world, *"abcd")
    world.settle()
    assert (wake(world, reader), reader.code) == ([1, 2, 3, 4], None)


def test_who_comes_back_after_disconnect_is_told_the_gap_and_not_sent_away_again() -> None:
    world = World(KEPT)
    place = publish(world, *"abcdef")
    reader = Reader(world.hub, encode_lines, capacity_bytes=0)
    subscribe(world, reader, Position(place.epoch, 0), "disconnect")
    publish(world, *"gh")
    world.settle()
    reader.capacity_bytes = 1 << 20
    world.settle()
    first = told(reader)
    world.settle()
    assert [*first, *told(reader)] == [(1, 2, "expired"), (3, 4, "slow"), 5, 6, 7, 8]
    assert reader.code is None


def test_a_reader_that_stays_slow_is_told_one_gap_each_time_it_reads() -> None:
    world = World(KEPT)
    reader = stalled(world)
    reader.capacity_bytes = 0
    for first in (1, 101, 201):
        publish(world, *[None] * 100)
        world.settle()
        assert wake(world, reader) == [(first, first + 95, "slow"), *range(first + 96, first + 100)]
        world.hub.pause(reader.session)


@given(
    keys=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=60),
    kept=st.integers(1, 20),
    room=st.sampled_from([256, 400, 64 * 1024]),
    turns=st.integers(0, 3),
    later=st.lists(st.sampled_from(["a", None]), max_size=5),
)
def test_latest_tells_every_offset_once_and_gives_just_the_newest(
    keys: list[str | None], kept: int, room: int, turns: int, later: list[str | None]
) -> None:
    world = World(
        ChannelsConfig(history_count=kept + 5, lag_count=0), HubConfig(catch_up_bytes=room)
    )
    reader = stalled(world, "latest")
    publish(world, *keys)
    world.settle()
    newest = {key: offset for offset, key in enumerate(keys, start=1)}
    end = len(keys)
    given = sorted(newest.values()) if end > kept + 5 else [*range(1, end + 1)]
    first_kept = end - (kept + 5) + 1
    given = [offset for offset in given if offset >= first_kept]
    world.hub.resume(reader.session)
    for _ in range(turns):
        world.turn()
    if later:
        end = publish(world, *later).offset
    world.settle()
    reached = 0
    messages = []
    for each in told(reader):
        first, last = (each, each) if isinstance(each, int) else each[:2]
        assert first == reached + 1 <= last
        reached = last
        messages += [each] if isinstance(each, int) else []
    assert reached == end
    if not later:
        assert messages == given


@pytest.mark.parametrize(
    ("wish", "chosen"), [(None, "latest"), ("gap", "gap"), ("latest", "latest")]
)
def test_a_subscriber_may_choose_among_the_policies_of_its_channel(wish, chosen) -> None:
    config = ChannelConfig(overflow="latest", allowed_overflows=("gap", "latest"))
    assert choose_overflow(config, wish) == chosen


def test_a_policy_that_is_not_allowed_is_refused_with_those_that_are() -> None:
    config = ChannelConfig(overflow="latest", allowed_overflows=("gap", "latest"))
    with pytest.raises(MessageError) as refused:
        choose_overflow(config, "disconnect")
    assert refused.value.code == "invalid_field"
    assert refused.value.message.endswith("allowed: gap, latest")
