"""Results as a terminal shows them: aligned, as plain text, at most 100 columns wide."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from loadtest.report.quantity import format_moment, format_parameter, format_quantity
from loadtest.report.standing import (
    Standing,
    describe_absences,
    find_best_runs,
    format_goal,
    format_value,
    format_verdict,
    rank,
)
from loadtest.result import PERCENTILES, Comparison, Result

_WIDTH: Final = 100
# Of a cell: what the widest table, that of a figure in a comparison, has room for; and any other.
_MAX_SERVER_LENGTH: Final = 20
_MAX_NAME_LENGTH: Final = 60
_LATENCY_HEADER: Final = [*(f"p{percent:g}" for percent in PERCENTILES), "max"]


def format_result(result: Result) -> str:
    """Return what one run measured, in lines without a last line end."""
    server = "" if result.server in ("", result.scenario) else f" of {result.server}"
    parts = [
        *_wrap(f"{result.scenario}{server} at {result.target}", indent=""),
        *_wrap(f"{format_moment(result.started_at)}, {_describe_duration(result)}"),
        *_wrap(_format_parameters(result)),
        "",
        *align([[each.name, format_quantity(each.value, each.unit)] for each in result.figures]),
        *_format_latency([result]),
        "",
        *_format_faults([result]),
        *_format_warnings([result]),
    ]
    return "\n".join(parts)


def format_results(results: Iterable[Result]) -> str:
    """Return what each run measured, with an empty line between two."""
    return "\n\n".join(format_result(result) for result in results)


def format_comparison(comparison: Comparison) -> str:
    """Return how the servers stand to each other, in lines without a last line end."""
    runs = [run for entry in comparison.entries for run in entry.runs]
    lines = [
        *_wrap(comparison.work, indent=""),
        *_wrap(f"{format_moment(comparison.started_at)}; {comparison.machine}"),
    ]
    for standing in rank(comparison):
        lines += ["", *_format_standing(standing)]
    lines += [
        *_format_latency(find_best_runs(comparison)),
        *_format_absences(comparison),
        "",
        *_format_faults(runs),
        *_format_warnings(runs),
        *_format_score(comparison),
    ]
    return "\n".join(lines)


def _describe_duration(result: Result) -> str:
    verb = "interrupted after" if result.is_interrupted else "ran"
    return f"{verb} {format_quantity(result.elapsed_s, 's')}"


def _format_parameters(result: Result) -> str:
    parameters = result.parameters.items()
    return " ".join(f"{name}={format_parameter(value)}" for name, value in parameters)


def _format_latency(results: list[Result]) -> list[str]:
    """Return a table of percentiles, with a row per run; nothing where no latency was measured."""
    rows = []
    for result in results:
        histogram = result.histogram()
        values = [*histogram.percentiles([*PERCENTILES]), histogram.maximum()]
        if histogram.count:
            name = "" if len(results) == 1 else _shorten(result.server, _MAX_SERVER_LENGTH)
            rows.append([name, *(format_quantity(value, "us") for value in values)])
    if not rows:
        return []
    heading = "latency" if len(results) == 1 else "latency, best run"
    return ["", *align([[heading, *_LATENCY_HEADER], *rows])]


def _format_standing(standing: Standing) -> list[str]:
    header = ["", "best", "worst", "ratio", *(["goal"] if standing.has_goal else [])]
    rows = [header]
    for place in standing.places:
        if place.best is None and place.absence is not None:
            continue
        row = [_shorten(place.server, _MAX_SERVER_LENGTH)]
        row += [format_quantity(each, standing.unit) for each in (place.best, place.worst)]
        if place.ratio:
            row.append(format_value(place.ratio, standing.unit) if place.ratio.against else "")
            row += [format_goal(place.ratio, standing.unit), format_verdict(place.ratio)]
        rows.append(row)
    direction = "less" if standing.is_less_better else "more"
    return [*_wrap(f"{standing.figure} ({direction} is better)"), *align(rows, indent="    ")]


def _format_absences(comparison: Comparison) -> list[str]:
    lines = [line for text in describe_absences(comparison) for line in _wrap(text)]
    return ["", *lines] if lines else []


def _format_faults(runs: list[Result]) -> list[str]:
    """Return every kind of fault with how often it was, for each server that has any."""
    faulty = [run for run in runs if run.fault_count]
    if not faulty:
        names = dict.fromkeys(name for run in runs for name in run.faults)
        return _wrap(f"no faults: {', '.join(f'0 {name}' for name in names)}") if names else []
    is_one = len({run.server for run in runs}) == 1
    lines = []
    for run in faulty:
        faults = ", ".join(f"{count:,} {name}" for name, count in run.faults.items())
        lines += _wrap(f"FAULTS: {faults}" if is_one else f"FAULTS of {run.server}: {faults}")
    return lines


def _format_warnings(runs: list[Result]) -> list[str]:
    is_one = len({run.server for run in runs}) == 1
    warnings = dict.fromkeys(
        f"warning: {text}" if is_one else f"warning: {run.server}: {text}"
        for run in runs
        for text in run.warnings
    )
    return [line for warning in warnings for line in _wrap(warning)]


def _format_score(comparison: Comparison) -> list[str]:
    verdicts = [ratio.is_reached for ratio in comparison.ratios if ratio.goal is not None]
    if not verdicts:
        return []
    unknown = verdicts.count(None)
    suffix = f", {unknown} not measured" if unknown else ""
    return [f"  goals reached: {verdicts.count(True)} of {len(verdicts)}{suffix}"]


def _wrap(text: str, indent: str = "  ") -> list[str]:
    further = f"{indent}  "
    return textwrap.wrap(_clean(text), _WIDTH, initial_indent=indent, subsequent_indent=further)


def align(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Return rows as lines: the first column to the left, all others to the right."""
    cells = [[_shorten(_clean(cell), _MAX_NAME_LENGTH) for cell in row] for row in rows]
    columns = range(max((len(row) for row in cells), default=0))
    widths = [max(len(row[column]) for row in cells if column < len(row)) for column in columns]
    lines = []
    for row in cells:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        )
        lines.append(f"{indent}{'  '.join([first, *others])}".rstrip())
    return lines


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _clean(text: str) -> str:
    """Return text without what would move the cursor or change the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
