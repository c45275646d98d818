"""The part of a page that shows several runs of one scenario side by side: before and after."""

from collections.abc import Sequence
from typing import Final

from loadtest.report.markup import Markup, element, table
from loadtest.report.plot import Frame, Line, plot_percentiles
from loadtest.report.quantity import format_moment, format_parameter, format_quantity
from loadtest.report.result_section import build_percentiles, figure, trace_percentiles
from loadtest.result import Result

_FRAME: Final = Frame("Latency by percentile of each run", 1072, 360)


def build_runs_section(runs: Sequence[tuple[Result, str]]) -> Markup:
    """Return what differs between runs of one scenario, each with the anchor of its own section."""
    results = [result for result, _ in runs]
    names = name_runs(results)
    links = [
        element("a", name, href=f"#{anchor}") for name, (_, anchor) in zip(names, runs, strict=True)
    ]
    rows = [
        ["started", *(format_moment(result.started_at) for result in results)],
        *_find_differences(results),
        *_build_figures(results),
        ["faults", *(f"{result.fault_count:,}" for result in results)],
    ]
    return element(
        "section",
        element("h2", f"{len(results)} runs of {results[0].scenario}, side by side"),
        element("div", table(["", *links], rows), class_="wide"),
        _build_latency(results, names),
    )


def name_runs(results: Sequence[Result]) -> list[str]:
    """Return what each run is called: by its server, or where that says too little by a number."""
    servers = [result.server for result in results]
    if len({*servers}) == len(servers):
        return servers
    return [f"run {number}" for number in range(1, len(servers) + 1)]


def _find_differences(results: Sequence[Result]) -> list[list[str]]:
    """Return a row for each parameter that is not the same in all runs."""
    rows = []
    for name in dict.fromkeys(name for result in results for name in result.parameters):
        values = [format_parameter(result.parameters.get(name)) for result in results]
        if len({*values}) > 1:
            rows.append([name.replace("_", " "), *values])
    return rows


def _build_figures(results: Sequence[Result]) -> list[list[str]]:
    units = {each.name: each.unit for result in results for each in result.figures}
    return [
        [name, *(format_quantity(result.figure(name), unit) for result in results)]
        for name, unit in units.items()
    ]


def _build_latency(results: Sequence[Result], names: Sequence[str]) -> Markup:
    measured = [
        (result, name) for result, name in zip(results, names, strict=True) if result.latency_us
    ]
    if not measured:
        return Markup()
    lines = [
        Line(name, trace_percentiles(result.histogram()), number)
        for number, (result, name) in enumerate(measured)
    ]
    plot = element("div", plot_percentiles(_FRAME, lines), class_="scroll")
    percentiles = build_percentiles(
        [result for result, _ in measured], [name for _, name in measured]
    )
    return element("div", figure(_FRAME.title, plot, class_="wide"), percentiles)
