"""The part of a page that shows one run: its figures, and plots with the same numbers as tables."""

from collections.abc import Callable, Sequence
from typing import Final

from loadtest.histogram import Histogram
from loadtest.report.markup import Markup, element, table
from loadtest.report.plot import (
    Frame,
    Line,
    plot_latency_over_time,
    plot_over_time,
    plot_percentiles,
)
from loadtest.report.quantity import format_moment, format_parameter, format_quantity
from loadtest.result import PERCENTILES, Point, Result

# Points of a latency curve for each tenfold of 1/(1-p): more than a screen can show apart.
_POINTS_PER_DECADE: Final = 40
# "server" and "driver", the longest names of lines over time.
_NAMES_LENGTH: Final = 6
_SECOND_COLOUR: Final = 6
_WIDE: Final = Frame("Latency by percentile", 860, 320)

Read = Callable[[Point], float | None]
# What the lines of each plot over time are called, and show; the first is the one to look at.
_RATE: Final[dict[str, Read]] = {"": lambda point: point.events_per_s}
_LATENCY: Final[dict[str, Read]] = {
    "p99": lambda point: point.p99_us,
    "p50": lambda point: point.p50_us,
}
_CPU: Final[dict[str, Read]] = {
    "server": lambda point: _percent(point.server_cpu_share),
    "driver": lambda point: _percent(point.driver_cpu_share),
}
_MEMORY: Final[dict[str, Read]] = {"": lambda point: point.server_rss_kib}


def build_result_section(result: Result, anchor: str, heading: Markup) -> Markup:
    """Return the section of a page that shows result below heading; anchor is its id."""
    return element(
        "section",
        heading,
        element("p", _describe_run(result), class_="meta"),
        build_notices([result]),
        _build_figures(result),
        build_parameters(result),
        _build_latency(result),
        _build_timeline(result),
        id=anchor,
    )


def build_notices(results: Sequence[Result]) -> Markup:
    """Return what broke the promise, what interrupted the runs, and their warnings."""
    lines: dict[tuple[str, str], None] = {}
    has_many = len({result.server for result in results}) > 1
    for result in results:
        prefix = f"{result.server}: " if has_many else ""
        if result.fault_count:
            lines["fault", f"{prefix}Faults: {_format_faults(result)}"] = None
        if result.is_interrupted:
            elapsed = format_quantity(result.elapsed_s, "s")
            lines["warning", f"{prefix}Interrupted after {elapsed}"] = None
        lines |= {("warning", f"{prefix}{text}"): None for text in result.warnings}
    if results and not any(result.fault_count for result in results):
        counted = _format_faults(results[0])
        lines["fine", f"No faults: {counted}" if counted else "No faults were counted"] = None
    return element(
        "ul", *(element("li", text, class_=kind) for kind, text in lines), class_="notices"
    )


def build_parameters(result: Result) -> Markup:
    """Return the parameters of a run as a list of terms."""
    pairs = (
        element(
            "div", element("dt", name.replace("_", " ")), element("dd", format_parameter(value))
        )
        for name, value in result.parameters.items()
    )
    return element("dl", *pairs, class_="parameters")


def build_percentiles(results: Sequence[Result], names: Sequence[str]) -> Markup:
    """Return a table with a column per run, under these names, and a row per percentile."""
    histograms = [result.histogram() for result in results]
    rows = [[f"{percent:g} %"] for percent in PERCENTILES]
    columns = [histogram.percentiles([*PERCENTILES]) for histogram in histograms]
    for row, values in zip(rows, zip(*columns, strict=True), strict=True):
        row += [format_quantity(value, "us") for value in values]
    rows.append(["largest", *(format_quantity(each.maximum(), "us") for each in histograms)])
    rows.append(["mean", *(format_quantity(each.mean(), "us") for each in histograms)])
    rows.append(["measured", *(f"{each.count:,}" for each in histograms)])
    return table(["latency", *names], rows)


def trace_percentiles(histogram: Histogram) -> list[tuple[float, float]]:
    """Return the latency at 1/(1-p), from the smallest to the largest that was measured."""
    decades = len(str(histogram.count)) * _POINTS_PER_DECADE
    steps = [10 ** (number / _POINTS_PER_DECADE) for number in range(decades)]
    steps = [step for step in steps if step < histogram.count]
    found = histogram.percentiles([100 - 100 / step for step in steps])
    largest = (float(histogram.count), float(histogram.maximum()))
    return [*zip(steps, map(float, found), strict=True), largest]


def figure(caption: str, *content: str, **attributes: str) -> Markup:
    """Return content under a caption."""
    return element("figure", element("figcaption", caption), *content, **attributes)


def _describe_run(result: Result) -> str:
    elapsed = format_quantity(result.elapsed_s, "s")
    return f"{result.target} · {format_moment(result.started_at)} · {elapsed}"


def _format_faults(result: Result) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in result.faults.items())


def _build_figures(result: Result) -> Markup:
    tiles = []
    for each in result.figures:
        style = "absent" if each.value is None else None
        value = element("dd", format_quantity(each.value, each.unit), class_=style)
        tiles.append(element("div", element("dt", each.name), value))
    return element("dl", *tiles, class_="figures")


def _build_latency(result: Result) -> Markup:
    histogram = result.histogram()
    if not histogram.count:
        return Markup()
    plot = plot_percentiles(_WIDE, [Line(result.events, trace_percentiles(histogram))])
    return element(
        "div",
        figure("Latency by percentile", element("div", plot, class_="scroll")),
        build_percentiles([result], [result.events]),
        class_="beside",
    )


def _build_timeline(result: Result) -> Markup:
    """Return four plots over time, and their numbers, of what was measured over time."""
    points = result.timeline
    if not points:
        return Markup()
    plots = [
        _plot(f"{result.events} per second", "/s", _lines(points, _RATE), is_filled=True),
        _plot("Latency", "us", _lines(points, _LATENCY)),
        _plot("Processor, share of a core", "%", _lines(points, _CPU)),
        _plot("Resident memory of the server", "KiB", _lines(points, _MEMORY), is_filled=True),
    ]
    numbers = element("details", element("summary", "Second by second"), _build_seconds(result))
    return element("div", element("div", *plots, class_="multiples"), numbers)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _lines(points: Sequence[Point], reads: dict[str, Read]) -> list[Line]:
    """Return a line for each that has any value, the first in the colour to look at."""
    lines = [
        Line(name, [(point.at_s, read(point)) for point in points], _SECOND_COLOUR if number else 0)
        for number, (name, read) in enumerate(reads.items())
    ]
    return [line for line in lines if line.values()]


def _plot(title: str, unit: str, lines: list[Line], *, is_filled: bool = False) -> Markup:
    title = title[:1].upper() + title[1:]
    if not lines:
        return figure(title, element("p", "not measured", class_="absent"))
    frame = Frame(title, names_length=_NAMES_LENGTH, is_filled=is_filled)
    if unit == "us":
        plot = plot_latency_over_time(frame, lines)
    else:
        plot = plot_over_time(frame, lines, unit)
    return figure(title, element("div", plot, class_="scroll"))


def _build_seconds(result: Result) -> Markup:
    header = ["second", result.events, "p50", "p99", "server CPU", "driver CPU", "server memory"]
    rows = (
        [
            f"{point.at_s:.1f}",
            format_quantity(point.events_per_s, "/s"),
            format_quantity(point.p50_us, "us"),
            format_quantity(point.p99_us, "us"),
            format_quantity(_percent(point.server_cpu_share), "%"),
            format_quantity(_percent(point.driver_cpu_share), "%"),
            format_quantity(point.server_rss_kib, "KiB"),
        ]
        for point in result.timeline
    )
    return table(header, rows)
