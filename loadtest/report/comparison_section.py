"""The part of a page that shows a comparison: bars per figure, and all latencies in one plot."""

from typing import Final

from loadtest.report.bars import draw_bars, draw_strip
from loadtest.report.markup import Markup, element, join, table
from loadtest.report.plot import Frame, Line, plot_percentiles
from loadtest.report.quantity import format_moment, format_quantity
from loadtest.report.result_section import (
    build_notices,
    build_parameters,
    build_percentiles,
    figure,
    trace_percentiles,
)
from loadtest.report.standing import (
    Standing,
    describe_absences,
    find_best_runs,
    format_goal,
    format_value,
    format_verdict,
    rank,
)
from loadtest.result import Comparison, Ratio

_FRAME: Final = Frame("Latency by percentile, best run of each server", 1072, 360)
_LEGEND: Final = (
    "A bar is the best round of a server, the line across it the worst. Multiples are the first"
    " server's figure over that of the other."
)


def build_comparison_section(comparison: Comparison, anchor: str, heading: Markup) -> Markup:
    """Return the section of a page that shows comparison below heading; anchor is its id."""
    runs = [run for entry in comparison.entries for run in entry.runs]
    rounds = max((len(entry.runs) for entry in comparison.entries), default=0)
    meta = f"{format_moment(comparison.started_at)} · rounds: {rounds} · {comparison.machine}"
    return element(
        "section",
        heading,
        element("p", meta, class_="meta"),
        _build_absences(comparison),
        build_notices(runs),
        build_parameters(runs[0]) if runs else "",
        element("p", _LEGEND, class_="note"),
        element("div", *map(_build_standing, rank(comparison)), class_="multiples"),
        _build_latency(comparison),
        _build_rounds(comparison),
        id=anchor,
    )


def build_goals(comparisons: list[tuple[Comparison, str]]) -> Markup:
    """Return the table of all goals; each comparison comes with the anchor of its section."""
    header = ["figure", "against", "measured", "goal", "worse, goal, better", "verdict"]
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    groups = []
    for comparison, anchor in comparisons:
        rows = [row for standing in rank(comparison) for row in _build_rows(standing)]
        # With one comparison the page's heading says what work it is.
        work = [] if len(comparisons) == 1 else [_build_work(comparison, anchor)]
        groups.append(element("tbody", *work, *rows))
    content = element("table", element("thead", head), *groups, class_="goals")
    return element("div", content, class_="scroll")


def _build_work(comparison: Comparison, anchor: str) -> Markup:
    link = element("a", comparison.work, href=f"#{anchor}")
    return element("tr", element("th", link, scope="colgroup", colspan="6", class_="work"))


def _build_rows(standing: Standing) -> list[Markup]:
    """Return a row per goal of one figure, which only the first of them names."""
    ratios = [
        place.ratio
        for place in standing.places
        if place.ratio is not None and place.ratio.goal is not None
    ]
    rows = [_build_cells(ratio, standing.unit) for ratio in ratios]
    if rows:
        name = element("th", standing.figure, scope="rowgroup", rowspan=f"{len(rows)}")
        rows[0].insert(0, name)
    return [element("tr", *cells) for cells in rows]


def _build_cells(ratio: Ratio, unit: str) -> list[Markup]:
    verdict = {True: "good", False: "bad", None: None}[ratio.is_reached]
    return [
        element("td", ratio.against or ""),
        element("td", format_value(ratio, unit), class_="measured"),
        element("td", format_goal(ratio, unit)),
        element("td", draw_strip(ratio)),
        element("td", element("span", format_verdict(ratio), class_=verdict)),
    ]


def _build_standing(standing: Standing) -> Markup:
    direction = "less" if standing.is_less_better else "more"
    caption = join([standing.figure, element("span", f", {direction} is better", class_="of")])
    return figure(caption, element("div", draw_bars(standing), class_="scroll"))


def _build_latency(comparison: Comparison) -> Markup:
    colours = {entry.server: number for number, entry in enumerate(comparison.entries)}
    runs = [run for run in find_best_runs(comparison) if run.latency_us]
    if not runs:
        return Markup()
    lines = [
        Line(run.server, trace_percentiles(run.histogram()), colours.get(run.server, 0))
        for run in runs
    ]
    plot = element("div", plot_percentiles(_FRAME, lines), class_="scroll")
    percentiles = build_percentiles(runs, [run.server for run in runs])
    return join([figure(_FRAME.title, plot, class_="wide"), percentiles])


def _build_absences(comparison: Comparison) -> Markup:
    lines = (element("li", text, class_="absent") for text in describe_absences(comparison))
    return element("ul", *lines, class_="notices")


def _build_rounds(comparison: Comparison) -> Markup:
    """Return every figure of every run."""
    runs = [(n, run) for entry in comparison.entries for n, run in enumerate(entry.runs, 1)]
    names = dict.fromkeys(each.name for _, run in runs for each in run.figures)
    rows = []
    for number, run in runs:
        units = {each.name: each.unit for each in run.figures}
        cells = (format_quantity(run.figure(name), units.get(name, "")) for name in names)
        rows.append([run.server, f"{number}", *cells])
    content = table(["server", "round", *names], rows)
    return element("details", element("summary", "Every round"), content)
