"""Axes: their marks, and where values lie."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.axis import Axis, latency_axis, linear_axis, percentile_axis, time_axis

VALUES = st.lists(st.floats(0, 1e12), max_size=5)


def labels(axis: Axis) -> list[str]:
    return [tick.label for tick in axis.ticks]


@pytest.mark.parametrize(
    ("highest", "unit", "expected"),
    [
        (5.98e6, "/s", ["0", "2", "4", "6 M/s"]),
        (98.5, "%", ["0", "50", "100 %"]),
        (39_000, "KiB", ["0", "10", "20", "30", "40 MiB"]),
        (1_500_000, "KiB", ["0", "0.5", "1", "1.5 GiB"]),
        (0.16, "us", ["0", "0.05", "0.1", "0.15", "0.2 µs"]),
        (0, "%", ["0", "0.5", "1 %"]),
        (5e-324, "%", ["0", "0.5", "1 %"]),
    ],
)
def test_a_linear_axis_has_round_marks_from_zero_in_a_short_unit(
    highest: float, unit: str, expected: list[str]
) -> None:
    assert labels(linear_axis([highest], unit, 0, 100)) == expected


@given(VALUES, st.sampled_from(["/s", "us", "KiB", "%", ""]))
def test_no_value_exceeds_a_linear_axis_of_a_few_marks(values: list[float], unit: str) -> None:
    axis = linear_axis(values, unit, 100, 0)
    assert axis.high >= max(values, default=0) * (1 - 1e-6)
    assert 2 <= len(axis.ticks) <= 6


@pytest.mark.parametrize(
    ("highest", "expected"),
    [(20, ["0", "5", "10", "15", "20 s"]), (3.2, ["0", "1", "2", "3 s"]), (0, ["0", "0.5", "1 s"])],
)
def test_a_time_axis_ends_with_the_values(highest: float, expected: list[str]) -> None:
    axis = time_axis(highest, 0, 100)
    assert labels(axis) == expected
    assert axis.place(highest or 1) == 100


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([900, 9000], ["500 µs", "1 ms", "2 ms", "5 ms", "10 ms"]),
        ([3, 40_000_000], ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s"]),
        ([1000, 1000], ["1 ms", "2 ms"]),
        ([0], ["1 µs", "2 µs"]),
        ([], ["1 µs", "2 µs"]),
    ],
)
def test_a_latency_axis_has_fine_marks_where_there_is_room(
    values: list[float], expected: list[str]
) -> None:
    assert labels(latency_axis(values, 0, 100)) == expected


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=5))
def test_all_latencies_lie_within_their_axis_in_order(values: list[int]) -> None:
    axis = latency_axis(values, 200, 10)
    pixels = [axis.place(value) for value in sorted(values)]
    assert pixels == sorted(pixels, reverse=True)
    assert axis.low <= max(min(values), 1) * (1 + 1e-6)
    assert axis.high >= max(values) * (1 - 1e-6)
    assert len(axis.ticks) >= 2


def test_each_further_nine_of_a_percentile_is_equally_far() -> None:
    axis = percentile_axis(100_000, 0, 500)
    assert labels(axis) == ["50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]
    pixels = [axis.place(tick.value) for tick in axis.ticks[1:]]
    for before, after in itertools.pairwise(pixels):
        assert after - before == pytest.approx(100)


def test_a_percentile_axis_of_very_many_values_leaves_marks_out() -> None:
    assert len(percentile_axis(10**9, 0, 500).ticks) <= 7


def test_values_outside_an_axis_lie_at_its_ends() -> None:
    axis = Axis(1, 10, 0, 100, [])
    assert (axis.place(-5), axis.place(50)) == (0, 100)
