"""The histogram of latencies, against the sorted list of what was recorded."""

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadtest.histogram import Histogram

VALUES = st.lists(st.integers(0, 5000) | st.integers(0, 2**45), min_size=1)
PERCENTS = [0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0]
HOUR_US = 3600 * 10**6


def histogram_of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def find_exactly(values: list[int], percent: float) -> int:
    """Return the percentile as the definition says, in exact arithmetic."""
    rank = math.ceil(len(values) * Fraction(str(percent)) / 100)
    return sorted(values)[max(rank, 1) - 1]


@given(VALUES)
@example(list(range(1000)))
@example([0] * 999 + [HOUR_US])
def test_percentiles_are_those_of_the_sorted_list_to_one_part_in_1024(values: list[int]) -> None:
    found = histogram_of(values).percentiles(PERCENTS)
    for percent, value in zip(PERCENTS, found, strict=True):
        exact = find_exactly(values, percent)
        assert exact - exact / 1024 <= value <= exact


@given(st.lists(st.integers(0, 2047), min_size=1))
def test_values_below_2048_are_exact(values: list[int]) -> None:
    found = histogram_of(values).percentiles(PERCENTS)
    assert found == [find_exactly(values, percent) for percent in PERCENTS]


@pytest.mark.parametrize(
    ("percent", "count"),
    [(99.9, 1000), (99.9, 10**9), (0.07, 10**4), (0.14, 10**5), (33.33, 10**6)],
)
def test_a_percentile_that_falls_on_a_value_is_that_value(percent: float, count: int) -> None:
    lower = round(count * percent / 100)
    histogram = Histogram([(1, lower), (2, count - lower)])
    assert histogram.percentile(percent) == 1
    assert histogram.percentile(percent + 0.01) == 2


@given(VALUES, VALUES)
def test_a_merged_histogram_is_that_of_both_lists(first: list[int], second: list[int]) -> None:
    merged = histogram_of(first)
    merged.add(histogram_of(second))
    together = histogram_of(first + second)
    assert merged.buckets() == together.buckets()
    assert merged.count == together.count


@given(VALUES)
def test_the_buckets_make_the_same_histogram_again(values: list[int]) -> None:
    histogram = histogram_of(values)
    again = Histogram(histogram.buckets())
    assert again.buckets() == histogram.buckets()
    assert again.count == len(values)
    assert again.percentiles(PERCENTS) == histogram.percentiles(PERCENTS)


def test_a_value_may_be_recorded_many_times_at_once() -> None:
    histogram = Histogram()
    histogram.record(5, 3)
    histogram.record(9)
    assert histogram.buckets() == [(5, 3), (9, 1)]
    assert histogram.count == 4


def test_mean_and_maximum_are_those_of_the_values() -> None:
    histogram = histogram_of([1, 2, 9])
    assert histogram.mean() == 4
    assert histogram.maximum() == 9


def test_a_value_below_zero_counts_as_zero() -> None:
    assert histogram_of([-5, 7]).buckets() == [(0, 1), (7, 1)]


def test_where_nothing_was_recorded_everything_is_zero() -> None:
    histogram = Histogram()
    assert histogram.percentiles([50, 99.9]) == [0, 0]
    assert (histogram.count, histogram.mean(), histogram.maximum()) == (0, 0, 0)


def test_memory_grows_with_the_spread_not_with_the_number() -> None:
    histogram = histogram_of(list(range(0, HOUR_US, HOUR_US // 200_000)))
    assert len(histogram.buckets()) < 2048 + 1024 * 22
