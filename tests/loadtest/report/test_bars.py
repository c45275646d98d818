"""Bars of a comparison, and the strips that show how far a goal is."""

from xml.etree import ElementTree

import pytest

from loadtest.report.bars import draw_bars, draw_strip
from loadtest.report.standing import Place, Standing, rank
from loadtest.result import Ratio
from tests.loadtest.report.samples import RATE, make_comparison


def draw(standing: Standing) -> ElementTree.Element:
    return ElementTree.fromstring(draw_bars(standing))


def draw_rates() -> ElementTree.Element:
    return draw(rank(make_comparison())[0])


def find_texts(svg: ElementTree.Element) -> list[list[str | None]]:
    """Return the texts of each row."""
    return [[text.text for text in row.iter("text")] for row in svg.iter("g")]


def test_each_server_has_its_name_its_best_and_the_ratio() -> None:
    assert find_texts(draw_rates()) == [
        ["gateway", "6.00 M/s"],
        ["aiohttp", "92.0 k/s", "65.2 x"],
        ["uWebSockets", "400 k/s", "15.0 x"],
        ["nchan", "did not take part"],
    ]


def test_bars_are_as_long_as_what_was_measured() -> None:
    lengths = [float(bar.get("width", "")) for bar in draw_rates().iter("rect")]
    assert lengths[0] == 220
    assert lengths[0] / lengths[2] == pytest.approx(15, rel=0.01)


def test_a_line_marks_the_worst_round() -> None:
    bars = list(draw_rates().iter("rect"))
    (x, _) = next(draw_rates().iter("path")).get("d", "").removeprefix("M").split(" ")
    left, length = float(bars[0].get("x", "")), float(bars[0].get("width", ""))
    assert (float(x) - left) / length == pytest.approx(5.5 / 6, rel=0.01)


def test_a_value_stands_behind_the_line_of_a_worst_that_is_larger() -> None:
    standing = Standing("CPU", "us", True, [Place("gateway", 1.0, 4.0, None, None)])
    svg = draw(standing)
    (value,) = [text for text in svg.iter("text") if text.get("class") == "value"]
    (x, _) = next(svg.iter("path")).get("d", "").removeprefix("M").split(" ")
    assert float(value.get("x", "")) > float(x)


def test_bars_are_described_in_words_with_the_reasons_of_those_absent() -> None:
    svg = draw_rates()
    assert svg[0].text == RATE
    assert svg[1].text is not None
    assert svg[1].text.startswith("gateway: best 6.00 M/s, worst 5.50 M/s; aiohttp: ")
    assert svg[1].text.endswith("; nchan: nginx is not installed")


def test_a_figure_that_was_not_measured_is_said_not_to_be() -> None:
    standing = Standing("CPU", "us", True, [Place("gateway", None, None, None, None)])
    assert find_texts(draw(standing)) == [["gateway", "not measured"]]


@pytest.mark.parametrize(
    ("value", "is_less_better", "goal", "x", "verdict"),
    [
        (10, False, 10, 60, "good"),
        (80, False, 10, 115, "good"),
        (1000, False, 10, 115, "good"),
        (1.25, False, 10, 5, "bad"),
        (0.5, True, 0.5, 60, "good"),
        (4, True, 0.5, 5, "bad"),
    ],
)
def test_a_strip_goes_to_the_right_where_the_goal_is_exceeded(
    value: float, is_less_better: bool, goal: float, x: float, verdict: str
) -> None:
    svg = ElementTree.fromstring(draw_strip(Ratio("CPU", "aiohttp", value, is_less_better, goal)))
    (circle,) = svg.iter("circle")
    assert circle.get("class") == verdict
    assert float(circle.get("cx", "")) == pytest.approx(x)


@pytest.mark.parametrize(("value", "goal"), [(None, 5), (5, None), (0, 5)])
def test_without_a_goal_or_a_value_there_is_no_strip(
    value: float | None, goal: float | None
) -> None:
    assert draw_strip(Ratio("CPU", "aiohttp", value, False, goal)) == ""
