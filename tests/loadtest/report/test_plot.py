"""Line plots: where their lines go, and what is written beside them."""

import itertools
import re
from xml.etree import ElementTree

import pytest

from loadtest.report.plot import (
    Frame,
    Line,
    plot_latency_over_time,
    plot_over_time,
    plot_percentiles,
)

FRAME = Frame("Deliveries", height=200)
SVG = ElementTree.Element


def find(svg: SVG, style: str) -> list[SVG]:
    return [each for each in svg.iter() if style in each.get("class", "").split()]


def find_texts(svg: SVG, style: str) -> list[str | None]:
    return [each.text for each in find(svg, style)]


def find_points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def trace(svg: SVG, number: int = 0) -> list[tuple[float, float]]:
    """Return the pixels of the line of that number, as they were given."""
    return find_points(find(svg, "line")[::-1][number].get("d", ""))


def test_a_line_goes_through_its_points_from_zero_upwards() -> None:
    line = Line("all", [(0, 0), (5, 100), (10, 50)])
    svg = ElementTree.fromstring(plot_over_time(FRAME, [line], "/s"))
    (x0, y0), (x1, y1), (x2, y2) = trace(svg)
    assert x0 < x1 < x2
    assert x1 - x0 == x2 - x1
    assert y0 > y2 > y1
    assert abs((y0 + y1) / 2 - y2) < 0.2


def test_a_line_is_interrupted_where_nothing_was_measured() -> None:
    line = Line("p99", [(1, 10), (2, 20), (3, None), (4, 30), (5, 40)])
    svg = ElementTree.fromstring(plot_latency_over_time(FRAME, [line]))
    (path,) = find(svg, "line")
    assert re.findall("[ML]", path.get("d", "")) == ["M", "L", "M", "L"]


def test_a_single_point_is_seen_as_a_dot() -> None:
    svg = ElementTree.fromstring(plot_over_time(FRAME, [Line("all", [(1, 5)])], "%"))
    assert find(svg, "line")[0].get("d", "").endswith("h0")


def test_a_plot_says_in_words_what_it_shows() -> None:
    lines = [Line("server", [(1, 90), (2, 98)]), Line("driver", [(1, 40), (2, 45)], 6)]
    svg = ElementTree.fromstring(plot_over_time(Frame("CPU & more"), lines, "%"))
    assert svg.get("role") == "img"
    assert svg[0].text == "CPU & more"
    assert svg[1].text == "server: from 90.0 % to 98.0 %; driver: from 40.0 % to 45.0 %"


@pytest.mark.parametrize("height", [0, 5, 100])
def test_lines_are_named_in_their_colours_and_apart_from_one_another(height: float) -> None:
    scale = Line("all", [(1, 100)])
    ends = [(1.0, height), (2.0, height)]
    lines = [scale, *(Line(f"server {number}", ends, number) for number in range(1, 6))]
    svg = ElementTree.fromstring(plot_over_time(Frame("CPU"), lines, "%"))
    names = find(svg, "name")
    assert [name.text for name in names] == [line.name for line in lines]
    assert [name.get("class") for name in names] == [f"name c{number}" for number in range(6)]
    heights = sorted(float(name.get("y", "")) for name in names)
    assert all(after - before >= 13.9 for before, after in itertools.pairwise(heights))
    assert 0 < heights[0] < heights[-1] < 190


def test_names_that_have_moved_are_led_to_from_the_ends() -> None:
    lines = [Line(name, [(1, 10), (2, 10)], number) for number, name in enumerate("ab")]
    svg = ElementTree.fromstring(plot_over_time(FRAME, lines, "%"))
    assert len(find(svg, "leader")) == 1


def test_the_curves_of_latencies_have_both_axes_logarithmic() -> None:
    line = Line("all", [(1, 100), (10, 1000), (100, 10_000)])
    svg = ElementTree.fromstring(plot_percentiles(FRAME, [line]))
    (x0, y0), (x1, y1), (x2, y2) = trace(svg)
    assert abs((x0 + x2) / 2 - x1) < 0.2
    assert abs((y0 + y2) / 2 - y1) < 0.2
    assert find_texts(svg, "x") == ["50 %", "90 %", "99 %"]
    assert find_texts(svg, "tick")[:3] == ["100 µs", "200 µs", "500 µs"]


def test_names_are_escaped_and_shortened() -> None:
    name = "<script>alert(1)</script> and more"
    svg = plot_over_time(FRAME, [Line(name, [(1, 5), (2, 6)])], "%")
    assert "<script" not in svg
    assert find_texts(ElementTree.fromstring(svg), "name") == ["<script>alert(1)</s…"]


def test_what_lies_below_a_line_is_filled_where_asked_for() -> None:
    lines = [Line("all", [(1, 5), (2, 6)])]
    filled = ElementTree.fromstring(plot_over_time(Frame("a", is_filled=True), lines, "%"))
    assert len(find(filled, "area")) == 1
    assert find(ElementTree.fromstring(plot_over_time(FRAME, lines, "%")), "area") == []


def test_plots_with_room_for_the_same_names_are_equally_wide() -> None:
    widths = []
    for name in ("", "driver"):
        frame = Frame("a", names_length=6)
        svg = ElementTree.fromstring(plot_over_time(frame, [Line(name, [(0, 1), (9, 1)])], "%"))
        widths.append(trace(svg)[-1][0])
    assert widths[0] == widths[1]
