"""How the servers of a comparison stand in each figure: what its tables and bars are made of."""

import msgspec

from loadtest.report.quantity import format_quantity, format_ratio
from loadtest.result import Comparison, Entry, Figure, Ratio, Result, is_percentile


class Place(msgspec.Struct, frozen=True):
    """One server in one figure; best and worst of its runs are None where it has none.

    ratio is the first server's against this one, or its own where that has an absolute goal.
    """

    server: str
    best: float | None
    worst: float | None
    absence: str | None
    ratio: Ratio | None


class Standing(msgspec.Struct, frozen=True):
    """One figure of a comparison, and the place of each server, in the comparison's order."""

    figure: str
    unit: str
    is_less_better: bool
    places: list[Place]

    @property
    def has_goal(self) -> bool:
        """Whether a goal is set for the ratio of any place."""
        return any(place.ratio and place.ratio.goal is not None for place in self.places)


def rank(comparison: Comparison) -> list[Standing]:
    """Return a standing per figure that has a ratio; of every figure where none has one."""
    figures = {ratio.figure: ratio.is_less_better for ratio in comparison.ratios}
    units = {each.name: each.unit for each in _figures(comparison)}
    if not figures:
        # More is better of what is counted per second, and less of everything else.
        figures = {name: not unit.endswith("/s") for name, unit in units.items()}
    units |= {name: "us" for name in figures if is_percentile(name)}
    return [_stand(comparison, name, units.get(name, ""), less) for name, less in figures.items()]


def find_best_runs(comparison: Comparison) -> list[Result]:
    """Return the run of each server that took part which is best in the first standing."""
    standings = rank(comparison)
    if not standings:
        return [entry.runs[0] for entry in comparison.entries if entry.runs]
    name, is_less_better = standings[0].figure, standings[0].is_less_better
    found = (entry.best_run(name, is_less_better=is_less_better) for entry in comparison.entries)
    return [run for run in found if run is not None]


def describe_absences(comparison: Comparison) -> list[str]:
    """Return a sentence for each server that did not take part, or not until the end."""
    return [
        f"{entry.server} {_describe_absence(entry)}: {entry.absence}"
        for entry in comparison.entries
        if entry.absence is not None
    ]


def format_value(ratio: Ratio, unit: str) -> str:
    """Return what was measured: a ratio, or the figure itself, which is in unit."""
    if ratio.value is None or ratio.against is None:
        return format_quantity(ratio.value, unit)
    return format_ratio(ratio.value)


def format_goal(ratio: Ratio, unit: str) -> str:
    """Return the goal of a ratio such as "at least 1.7 x"; nothing where there is none."""
    if ratio.goal is None:
        return ""
    direction = "most" if ratio.is_less_better else "least"
    return f"at {direction} {ratio.goal:g} {'x' if ratio.against is not None else unit}".rstrip()


def format_verdict(ratio: Ratio) -> str:
    """Return whether the goal is reached, in words; nothing where that cannot be said."""
    return {True: "reached", False: "not reached", None: ""}[ratio.is_reached]


def _describe_absence(entry: Entry) -> str:
    count = len(entry.runs)
    if not count:
        return "did not take part"
    return f"dropped out after {count} {'run' if count == 1 else 'runs'}"


def _figures(comparison: Comparison) -> list[Figure]:
    """Return the figures of all runs, those of the first server first."""
    return [figure for entry in comparison.entries for run in entry.runs for figure in run.figures]


def _stand(comparison: Comparison, name: str, unit: str, is_less_better: bool) -> Standing:
    ratios = {each.against: each for each in comparison.ratios if each.figure == name}
    first = comparison.entries[0].server if comparison.entries else None
    places = [
        _place(
            entry, name, is_less_better, ratios.get(None if entry.server == first else entry.server)
        )
        for entry in comparison.entries
    ]
    return Standing(name, unit, is_less_better, places)


def _place(entry: Entry, name: str, is_less_better: bool, ratio: Ratio | None) -> Place:
    best = entry.best(name, is_less_better=is_less_better)
    worst = entry.best(name, is_less_better=not is_less_better)
    return Place(entry.server, best, worst, entry.absence, ratio)
