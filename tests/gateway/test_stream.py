"""One channel's log: what it keeps, what it gives to read, what it says is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ChannelsConfig
from gateway.stream import LogMemory, Missing, Stream
from protocol.cursor import Position
from protocol.publication import Data, Publication


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def append(stream: Stream, text: str = "x", now: float | None = None) -> None:
    data = Data(f'"{text}"'.encode())
    stream.append(Publication(stream.last + 1, data, stream.used if now is None else now))


def made(count: int = 0, clock: Clock | None = None, **bounds: float) -> Stream:
    stream = Stream("news", "e1", ChannelsConfig(**bounds), clock or Clock())
    for _ in range(count):
        append(stream)
    return stream


def offsets(stream: Stream, after: int | None = None, max_bytes: int = 1 << 20) -> list[int]:
    start = stream.first - 1 if after is None else after
    return [each.offset for each in stream.read(start, stream.last, max_bytes=max_bytes)]


def test_offsets_begin_at_one_and_have_no_hole() -> None:
    assert offsets(made(3)) == [1, 2, 3]


def test_an_empty_log_ends_at_offset_zero() -> None:
    stream = made()
    assert (stream.first, stream.last, stream.end) == (1, 0, Position("e1", 0))
    assert stream.is_empty


def test_the_count_bound_drops_the_oldest_first() -> None:
    assert offsets(made(5, history_count=2)) == [4, 5]


def test_the_byte_bound_drops_the_oldest_first() -> None:
    assert offsets(made(5, history_bytes=7)) == [4, 5]  # each is 3 bytes: "x"


def test_a_publication_above_the_byte_bound_is_not_kept() -> None:
    stream = made(1, history_bytes=2)
    assert stream.is_empty
    assert stream.first == 2


def test_the_age_bound_applies_to_a_log_that_nobody_touches() -> None:
    clock = Clock()
    stream = made(2, clock, history_age_s=10)
    clock.now += 9.9
    append(stream, now=clock.now)
    clock.now += 0.1
    stream.trim()
    assert offsets(stream) == [3]


def test_what_live_subscribers_have_not_been_given_is_kept_whatever_the_bounds_say() -> None:
    stream = made(2, history_count=0)
    stream.delivered = 2
    append(stream)
    append(stream)
    assert offsets(stream) == [3, 4]
    stream.delivered = 4
    stream.trim()
    assert stream.is_empty


def test_the_lag_bounds_apply_only_while_somebody_lags() -> None:
    stream = made(0, history_count=1, lag_count=3)
    stream.lagging_count = 1
    for _ in range(5):
        append(stream)
    assert offsets(stream) == [3, 4, 5]
    stream.lagging_count = 0
    stream.trim()
    assert offsets(stream) == [5]


def test_a_cleared_log_takes_no_memory_and_goes_on_with_its_offsets() -> None:
    memory = LogMemory()
    stream = Stream("news", "e1", ChannelsConfig(), Clock(), memory)
    for _ in range(3):
        append(stream)
    stream.clear()
    stream.clear()
    assert (memory.used_bytes, stream.is_empty, stream.end) == (0, True, Position("e1", 3))
    append(stream)
    assert offsets(stream) == [4]


def test_reading_stops_at_the_byte_limit_but_gives_at_least_one() -> None:
    stream = made(5)
    assert offsets(stream, 1, max_bytes=6) == [2, 3]
    assert offsets(stream, 1, max_bytes=1) == [2]
    assert offsets(stream, 5, max_bytes=1) == []


@pytest.mark.parametrize(
    ("position", "after", "missing"),
    [
        (Position("e1", 10), 10, None),
        (Position("e1", 7), 7, None),
        (Position("e1", 6), 7, Missing(7, 7, "expired")),
        (Position("e1", 0), 7, Missing(1, 7, "expired")),
        (Position("e1", 11), 7, Missing(1, 7, "epoch")),
        (Position("e0", 8), 7, Missing(1, 7, "epoch")),
    ],
)
def test_resuming_tells_exactly_what_is_missing(
    position: Position, after: int, missing: Missing | None
) -> None:
    assert made(10, history_count=3).resume(position) == (after, missing)


def test_another_epoch_is_told_even_where_nothing_of_this_one_is_missing() -> None:
    assert made(2).resume(Position("e0", 9)) == (0, Missing(1, 0, "epoch"))


def page(stream: Stream, position: Position | None, *, limit: int = 3, is_reverse: bool = False):
    found = stream.page(position, limit=limit, max_bytes=1 << 20, is_reverse=is_reverse)
    return [each.offset for each in found.publications], found.position.offset, found.missing


def test_pages_forward_begin_at_the_oldest_and_join_without_a_hole() -> None:
    stream = made(10, history_count=5)
    assert page(stream, None) == ([6, 7, 8], 8, None)
    assert page(stream, Position("e1", 8)) == ([9, 10], 10, None)
    assert page(stream, Position("e1", 10)) == ([], 10, None)
    assert page(stream, Position("e1", 2)) == ([6, 7, 8], 8, Missing(3, 5, "expired"))


def test_pages_backward_begin_at_the_newest_and_join_without_a_hole() -> None:
    stream = made(10, history_count=5)
    assert page(stream, None, is_reverse=True) == ([10, 9, 8], 7, None)
    assert page(stream, Position("e1", 7), is_reverse=True) == ([7, 6], 5, None)
    assert page(stream, Position("e1", 5), is_reverse=True) == ([], 0, Missing(1, 5, "expired"))
    assert page(stream, Position("e1", 0), is_reverse=True) == ([], 0, None)
    assert page(stream, Position("e0", 5), is_reverse=True)[2] == Missing(1, 5, "epoch")


def test_a_page_is_bounded_in_bytes_in_both_directions() -> None:
    stream = made(5)
    for is_reverse, expected in ((False, [1, 2]), (True, [5, 4])):
        found = stream.page(None, limit=5, max_bytes=6, is_reverse=is_reverse)
        assert [each.offset for each in found.publications] == expected


@given(
    st.lists(st.integers(0, 40), max_size=60),
    st.integers(0, 12),
    st.integers(0, 200),
)
def test_a_log_never_exceeds_its_bounds_and_never_has_a_hole(
    sizes: list[int], count: int, size: int
) -> None:
    stream = made(0, history_count=count, history_bytes=size)
    for each in sizes:
        append(stream, "x" * each)
        kept = stream.read(stream.first - 1, stream.last, max_bytes=1 << 20)
        assert len(kept) <= count
        assert sum(publication.size_bytes for publication in kept) <= size
        assert [publication.offset for publication in kept] == list(
            range(stream.first, stream.last + 1)
        )
