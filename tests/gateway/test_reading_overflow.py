"""What each overflow policy tells a reader whose position has left the log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ChannelConfig, ChannelsConfig, HubConfig
from gateway.reading import choose_overflow
from protocol.cursor import Position
from protocol.errors import MessageError
from tests.gateway.laggards import KEPT, Reader, publish, stalled, subscribe, told, wake
from tests.gateway.world import World, encode_lines


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


def test_who_was_live_after_its_cursor_had_expired_is_slow_the_next_time() -> None:
    world = World(KEPT)
    place = publish(world, *"xxxxabaa")
    reader = Reader(world.hub, encode_lines)
    subscribe(world, reader, Position(place.epoch, 2), "latest")
    world.settle()
    reader.read()
    world.hub.pause(reader.session)
    publish(world, *"aaaaaaaa")
    world.settle()
    assert wake(world, reader) == [(9, 15, "slow"), 16]


@pytest.mark.parametrize("overflow", ["gap", "latest"])
def test_a_reader_of_a_log_that_keeps_nothing_is_told_one_gap_and_goes_live(overflow) -> None:
    world = World(ChannelsConfig(history_count=0, lag_count=0))
    reader = stalled(world, overflow)
    publish(world, *"abc")
    world.settle()
    assert wake(world, reader) == [(1, 3, "slow")]
    publish(world, "d")
    world.settle()
    assert told(reader) == [4]


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
