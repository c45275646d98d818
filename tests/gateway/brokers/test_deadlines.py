"""What is due when: every stream once, in time, a bounded number at a time."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.brokers.deadlines import Deadlines
from gateway.config import ChannelsConfig
from gateway.stream import Stream

CONFIG = ChannelsConfig()


def made(name: str = "a") -> Stream:
    return Stream(name, "e", CONFIG, lambda: 0.0)


def names(streams: list[Stream]) -> str:
    return "".join(each.name for each in streams)


def test_a_stream_is_taken_in_the_first_second_that_is_not_before_its_deadline() -> None:
    deadlines = Deadlines()
    stream = made()
    deadlines.book(stream, 10.2)
    assert deadlines.take_due(10.9, 9) == []
    assert not deadlines.has_due(10.9)
    assert deadlines.has_due(11.0)
    assert deadlines.take_due(11.0, 9) == [stream]
    assert deadlines.take_due(99.0, 9) == []


def test_a_deadline_on_the_second_is_not_a_second_late() -> None:
    deadlines = Deadlines()
    stream = made()
    deadlines.book(stream, 10.0)
    assert deadlines.take_due(10.0, 9) == [stream]


def test_a_later_booking_changes_nothing_and_an_earlier_one_moves_the_stream() -> None:
    deadlines = Deadlines()
    stream = made()
    deadlines.book(stream, 10)
    deadlines.book(stream, 20)
    deadlines.book(stream, 5)
    deadlines.book(stream, 5)
    assert deadlines.take_due(5, 9) == [stream]
    assert deadlines.take_due(30, 9) == []


def test_a_taken_stream_can_be_booked_again_for_later() -> None:
    deadlines = Deadlines()
    stream = made()
    deadlines.book(stream, 5)
    deadlines.take_due(5, 9)
    deadlines.book(stream, 8)
    assert deadlines.take_due(7, 9) == []
    assert deadlines.take_due(8, 9) == [stream]


def test_the_longest_due_come_first_and_the_rest_in_the_next_calls() -> None:
    deadlines = Deadlines()
    for name, due in zip("abcde", (30, 10, 20, 50, 40), strict=True):
        deadlines.book(made(name), due)
    assert names(deadlines.take_due(60, 2)) == "bc"
    assert deadlines.has_due(60)
    assert names(deadlines.take_due(45, 9)) == "ae"
    assert not deadlines.has_due(45)
    assert names(deadlines.take_due(60, 1)) == "d"
    assert not deadlines.has_due(60)


def test_a_cancelled_stream_is_not_taken_and_cancelling_twice_does_nothing() -> None:
    deadlines = Deadlines()
    stream, other = made("a"), made("b")
    deadlines.book(stream, 5)
    deadlines.book(other, 5)
    deadlines.cancel(stream)
    deadlines.cancel(stream)
    assert deadlines.take_due(5, 9) == [other]


def test_cleared_streams_are_due_no_more_and_can_be_booked_again() -> None:
    deadlines = Deadlines()
    stream = made()
    deadlines.book(stream, 5)
    deadlines.clear()
    assert deadlines.take_due(9, 9) == []
    deadlines.book(stream, 7)
    assert deadlines.take_due(9, 9) == [stream]


def test_a_day_of_seconds_that_have_become_empty_is_not_walked_in_one_call() -> None:
    deadlines = Deadlines()
    moved, last = made("a"), made("b")
    for due in range(1000, 0, -1):
        deadlines.book(moved, due)
    deadlines.book(last, 1000)
    deadlines.cancel(moved)
    calls = 0
    while deadlines.has_due(1e9):
        calls += 1
        taken = deadlines.take_due(1e9, 100)
    assert calls == 10
    assert taken == [last]


ACTIONS = st.lists(
    st.tuples(st.just("book"), st.integers(0, 5), st.floats(0, 100))
    | st.tuples(st.just("cancel"), st.integers(0, 5), st.just(0.0))
    | st.tuples(st.just("take"), st.integers(0, 4), st.floats(0, 100)),
    max_size=60,
)


@given(ACTIONS)
def test_whatever_is_booked_is_taken_once_at_its_earliest_deadline(actions) -> None:
    deadlines = Deadlines()
    streams = [made(str(index)) for index in range(6)]
    model: dict[Stream, int] = {}
    for action, number, time in actions:
        if action == "book":
            stream = streams[number]
            deadlines.book(stream, time)
            model[stream] = min(model.get(stream, 1000), math.ceil(time))
        elif action == "cancel":
            deadlines.cancel(streams[number])
            model.pop(streams[number], None)
        else:  # with a clock that may as well jump back
            due = sorted(second for second in model.values() if second <= time)
            taken = deadlines.take_due(time, number)
            assert [model.pop(stream) for stream in taken] == due[: len(taken)]
            assert len(taken) == min(number, len(due)) or deadlines.has_due(time)
        assert {stream: stream.due_s for stream in streams if stream.due_s is not None} == model
    left = []
    while deadlines.has_due(1000):
        left += deadlines.take_due(1000, 3)
    assert len(left) == len(model)
    assert set(left) == set(model)
