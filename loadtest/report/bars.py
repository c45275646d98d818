"""Bars as SVG: how the servers stand in one figure, and how far a ratio is from its goal."""

import math
from typing import Final

from loadtest.report.axis import Axis, linear_axis
from loadtest.report.markup import Markup, element
from loadtest.report.plot import COLOUR_COUNT, draw_svg, shorten
from loadtest.report.quantity import format_quantity
from loadtest.report.standing import Place, Standing, format_value
from loadtest.result import Ratio

_WIDTH: Final = 520.0
_ROW_HEIGHT: Final = 26.0
_BAR_HEIGHT: Final = 14.0
_LEFT: Final = 136.0
_LONGEST: Final = 220.0  # of a bar: what names, values and ratios leave
_BASELINE: Final = 17.0  # of text in a row
_STRIP_WIDTH: Final = 120.0
_STRIP_HEIGHT: Final = 14.0
# A ratio that is so many times better or worse than its goal is drawn at the edge.
_STRIP_SPAN: Final = 8.0


def draw_bars(standing: Standing) -> Markup:
    """Return a bar per server, as long as its best, with a line at its worst, and the ratios."""
    values = [each or 0.0 for place in standing.places for each in (place.best, place.worst)]
    axis = linear_axis(values, standing.unit, 0, _LONGEST)
    rows = [
        element(
            "g",
            *_draw_row(place, standing.unit, axis, f"c{number % COLOUR_COUNT}"),
            transform=f"translate(0 {number * _ROW_HEIGHT:g})",
        )
        for number, place in enumerate(standing.places)
    ]
    description = "; ".join(_describe(place, standing.unit) for place in standing.places)
    return draw_svg(standing.figure, description, _WIDTH, _ROW_HEIGHT * len(rows), *rows)


def draw_strip(ratio: Ratio) -> Markup:
    """Return how far a ratio is from its goal, to the right where it is better; none without goal.

    It says nothing that the table around it does not say, so it is hidden from screen readers.
    """
    advantage = _find_advantage(ratio)
    if advantage is None:
        return Markup()
    middle, y = _STRIP_WIDTH / 2, _STRIP_HEIGHT / 2
    share = math.log(min(max(advantage, 1 / _STRIP_SPAN), _STRIP_SPAN)) / math.log(_STRIP_SPAN)
    x = middle + share * (middle - 5)
    verdict = "good" if ratio.is_reached else "bad"
    return element(
        "svg",
        element("path", class_="rule", d=f"M0 {y:g}H{_STRIP_WIDTH:g}"),
        element("path", class_="goal", d=f"M{middle:g} 0V{_STRIP_HEIGHT:g}"),
        element("path", class_=f"reach {verdict}", d=f"M{middle:g} {y:g}H{x:.1f}"),
        element("circle", class_=verdict, cx=x, cy=y, r=4),
        viewBox=f"0 0 {_STRIP_WIDTH:g} {_STRIP_HEIGHT:g}",
        class_="strip",
        aria_hidden="true",
    )


def _find_advantage(ratio: Ratio) -> float | None:
    """Return how many times better than its goal a ratio is."""
    if not ratio.value or not ratio.goal:
        return None
    return ratio.goal / ratio.value if ratio.is_less_better else ratio.value / ratio.goal


def _draw_row(place: Place, unit: str, axis: Axis, colour: str) -> list[Markup]:
    name = shorten(place.server)
    style = "tick y" if place.best is None else f"name y {colour}"
    parts = [element("text", name, class_=style, x=_LEFT - 10, y=_BASELINE)]
    if place.best is None:
        text = format_quantity(None) if place.absence is None else "did not take part"
        return [*parts, element("text", text, class_="tick", x=_LEFT, y=_BASELINE)]
    length = max(axis.place(place.best), 1.0)
    y = (_ROW_HEIGHT - _BAR_HEIGHT) / 2
    parts.append(
        element(
            "rect", class_=f"bar {colour}", x=_LEFT, y=y, width=length, height=_BAR_HEIGHT, rx=2
        )
    )
    if place.worst is not None:
        x = _LEFT + axis.place(place.worst)
        parts.append(element("path", class_="worst", d=f"M{x:.1f} {y:g}v{_BAR_HEIGHT:g}"))
        length = max(length, axis.place(place.worst))
    value = format_quantity(place.best, unit)
    parts.append(element("text", value, class_="value", x=_LEFT + length + 8, y=_BASELINE))
    if place.ratio and place.ratio.against is not None:
        text = format_value(place.ratio, unit)
        parts.append(element("text", text, class_="tick y", x=_WIDTH - 4, y=_BASELINE))
    return parts


def _describe(place: Place, unit: str) -> str:
    if place.best is None:
        return f"{place.server}: {place.absence or format_quantity(None)}"
    best, worst = format_quantity(place.best, unit), format_quantity(place.worst, unit)
    return f"{place.server}: best {best}, worst {worst}"
