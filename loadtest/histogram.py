"""Latencies as a high dynamic range histogram: from a microsecond to hours, three digits of each.

A value below 2,048 is kept as it is, a larger one to 1 part in 1,024 of it, so percentiles are as
exact as anybody reads them, in memory that grows with the spread of the values, not their number.
"""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

# A value keeps this many bits behind its highest one: 10 bits are three decimal digits.
_KEPT_BITS: Final = 10
_EXACT_BELOW: Final = 2 << _KEPT_BITS


class Histogram:
    """How often each value was recorded; values are whole numbers from 0 on, here microseconds."""

    __slots__ = ("_counts", "count")

    def __init__(self, buckets: list[tuple[int, int]] | None = None) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        for value, count in buckets or ():
            self.record(value, count)

    def record(self, value: int, count: int = 1) -> None:
        """Count value so many times; one below 0, of a clock that was set back, counts as 0."""
        if value >= _EXACT_BELOW:
            shift = value.bit_length() - 1 - _KEPT_BITS
            value = value >> shift << shift
        elif value < 0:
            value = 0
        self.count += count
        self._counts[value] = self._counts.get(value, 0) + count

    def add(self, other: "Histogram") -> None:
        """Count everything that other has counted."""
        for value, count in other.buckets():
            self.record(value, count)

    def buckets(self) -> list[tuple[int, int]]:
        """Return (value, count), smallest value first: what makes the same histogram again."""
        return sorted(self._counts.items())

    def percentile(self, percent: float) -> int:
        """Return the smallest value that at least percent of all values do not exceed; 0 if none.

        Of a value that was rounded it is the lower end.
        """
        return self.percentiles([percent])[0]

    def percentiles(self, percents: list[float]) -> list[int]:
        """Return percentile() of each of percents, for one look through the values."""
        if not self.count:
            return [0] * len(percents)
        buckets = self.buckets()
        sums = list(accumulate(count for _, count in buckets))
        # Rounded, as 0.07 % of 10,000 must not be a little more than 7.
        found = (bisect_left(sums, round(self.count * percent / 100, 6)) for percent in percents)
        return [buckets[min(index, len(buckets) - 1)][0] for index in found]

    def mean(self) -> float:
        """Return the mean of all values, 0 if there is none."""
        total = sum(value * count for value, count in self._counts.items())
        return total / self.count if self.count else 0.0

    def maximum(self) -> int:
        """Return the largest value, 0 if there is none."""
        return max(self._counts, default=0)
