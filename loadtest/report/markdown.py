"""Comparisons as a Markdown table of ratios, as a README shows them."""

from collections.abc import Iterable, Sequence

from loadtest.report.quantity import format_moment
from loadtest.report.standing import Standing, format_goal, format_value, rank
from loadtest.result import Comparison, Ratio


def format_markdown(comparisons: Sequence[Comparison]) -> str:
    """Return a row per figure that has a goal, then when and on what it was measured."""
    rows = [
        _row([_describe(comparison, standing), *_format_ratios(standing)])
        for comparison in comparisons
        for standing in rank(comparison)
        if standing.has_goal
    ]
    lines = [_row(["work", "goal", "measured"]), "|---|---|---|", *rows]
    return "\n".join([*lines, "", *_format_captions(comparisons)])


def _describe(comparison: Comparison, standing: Standing) -> str:
    return f"{comparison.work}: {standing.figure}"


def _format_ratios(standing: Standing) -> tuple[str, str]:
    """Return the goals of one figure, and what was measured."""
    ratios = [place.ratio for place in standing.places if place.ratio]
    goals = (
        _join(format_goal(each, standing.unit), each) for each in ratios if each.goal is not None
    )
    measured = (_format_measured(each, standing.unit) for each in ratios)
    return ", ".join(goals), ", ".join(measured)


def _format_measured(ratio: Ratio, unit: str) -> str:
    text = _join(format_value(ratio, unit), ratio)
    return f"**{text}, not reached**" if ratio.is_reached is False else text


def _join(text: str, ratio: Ratio) -> str:
    return text if ratio.against is None else f"{text} {ratio.against}"


def _format_captions(comparisons: Iterable[Comparison]) -> list[str]:
    """Return a sentence per machine and day."""
    days: dict[tuple[str, str], int] = {}
    for comparison in comparisons:
        day = format_moment(comparison.started_at).partition(" ")[0]
        rounds = max((len(entry.runs) for entry in comparison.entries), default=0)
        key = (day, comparison.machine)
        days[key] = max(days.get(key, 0), rounds)
    return [
        f"Measured on {day}, the best of {rounds} runs of each; {_escape(machine)}."
        for (day, machine), rounds in days.items()
    ]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    """Return text that stays in its cell, and brings no HTML along."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
