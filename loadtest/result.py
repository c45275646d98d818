"""What came out of a run: the one shape that tables, JSON, reports and comparisons are made of."""

import re
from typing import Final

import msgspec

from loadtest.histogram import Histogram

# The percentiles that every table shows.
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
_PERCENTILE: Final = re.compile(r"p(\d+(?:\.\d+)?)")


def is_percentile(name: str) -> bool:
    """Tell whether a figure of that name is a percentile of the latency, in microseconds."""
    return _PERCENTILE.fullmatch(name) is not None


class Figure(msgspec.Struct, frozen=True):
    """One number that was measured, in unit; value is None where it could not be measured."""

    name: str
    value: float | None
    unit: str = ""


class Point(msgspec.Struct, frozen=True):
    """One second of a run: what happened in it.

    at_s is its end, in seconds since the measuring began. Shares are of one core; server_rss_kib
    and server_cpu_share are None where no process was given; percentiles are None in a second
    without any latency.
    """

    at_s: float
    events_per_s: float
    p50_us: int | None
    p99_us: int | None
    driver_cpu_share: float
    server_cpu_share: float | None
    server_rss_kib: int | None


class Result(msgspec.Struct, frozen=True, tag="result"):
    """One run of a scenario against one server.

    events names what events_per_s counts, such as deliveries. latency_us has (microseconds, count)
    in rising order, and is empty where no latency is measured. faults are what broke the promise,
    by name, those that are 0 included; warnings are sentences.
    """

    scenario: str
    server: str
    target: str
    started_at: str  # ISO 8601, UTC
    elapsed_s: float
    parameters: dict[str, str | int | float | bool | None]
    events: str
    figures: list[Figure]
    latency_us: list[tuple[int, int]]
    timeline: list[Point]
    faults: dict[str, int]
    warnings: list[str]
    is_interrupted: bool = False

    def histogram(self) -> Histogram:
        """Return the latencies as a histogram of microseconds."""
        return Histogram(self.latency_us)

    def figure(self, name: str) -> float | None:
        """Return the value of the figure of that name, None where there is none.

        The percentiles of the latency, in microseconds, are figures, too: "p50", "p99.9".
        """
        if self.latency_us and (percent := _PERCENTILE.fullmatch(name)):
            return self.histogram().percentile(float(percent[1]))
        return next((each.value for each in self.figures if each.name == name), None)

    @property
    def fault_count(self) -> int:
        """All faults together."""
        return sum(self.faults.values())


class Entry(msgspec.Struct, frozen=True):
    """One server in a comparison: its runs in order, or why it could not take part."""

    server: str
    runs: list[Result]
    absence: str | None = None

    def values(self, figure: str) -> list[float]:
        """Return what the runs measured of the figure of that name, in their order."""
        found = (run.figure(figure) for run in self.runs)
        return [value for value in found if value is not None]

    def best(self, figure: str, *, is_less_better: bool) -> float | None:
        """Return the best of values(figure), None where there is none."""
        choose = min if is_less_better else max
        return choose(self.values(figure), default=None)

    def best_run(self, figure: str, *, is_less_better: bool) -> Result | None:
        """Return the first run that measured best(figure); any where none measured it."""
        best = self.best(figure, is_less_better=is_less_better)
        return next((run for run in self.runs if run.figure(figure) == best), None)


class Ratio(msgspec.Struct, frozen=True):
    """The figure of the first server over that of another, of the best run of each.

    Where against is None nothing is divided: value is the first server's figure, in its own unit.
    value is None where a server has no such figure. goal is the least (or, where less is better,
    the most) that value should be; None where no goal is set.
    """

    figure: str
    against: str | None
    value: float | None
    is_less_better: bool
    goal: float | None = None

    @property
    def is_reached(self) -> bool | None:
        """Whether value is as good as goal; None where either is missing."""
        if self.value is None or self.goal is None:
            return None
        return self.value <= self.goal if self.is_less_better else self.value >= self.goal


class Comparison(msgspec.Struct, frozen=True, tag="comparison"):
    """One piece of work given in turns to several servers; the first entry is this gateway's."""

    work: str
    started_at: str
    machine: str
    entries: list[Entry]
    ratios: list[Ratio]

    def ratio(
        self,
        figure: str,
        against: str | None,
        *,
        is_less_better: bool = False,
        goal: float | None = None,
    ) -> Ratio:
        """Return the ratio that the entries give for that figure."""
        value = self.entries[0].best(figure, is_less_better=is_less_better)
        if against is not None:
            others = (entry for entry in self.entries if entry.server == against)
            other = next(others, Entry(against, []))
            divisor = other.best(figure, is_less_better=is_less_better)
            value = value / divisor if value is not None and divisor else None
        return Ratio(figure, against, value, is_less_better, goal)
