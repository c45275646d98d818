"""Line plots as SVG: light rules, and each line named at its end instead of in a legend."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from loadtest.report.axis import Axis, latency_axis, linear_axis, percentile_axis, time_axis
from loadtest.report.markup import Markup, element, join
from loadtest.report.quantity import format_quantity

_LEFT: Final = 62.0
_TOP: Final = 12.0
_BELOW: Final = 26.0
_LABEL_HEIGHT: Final = 14.0
_CHARACTER_WIDTH: Final = 7.0  # of the names' font, on average
_MAX_LABEL_LENGTH: Final = 20
# Colours that page.css has for lines and bars; the first is this gateway's.
COLOUR_COUNT: Final = 7


class Line(msgspec.Struct, frozen=True):
    """What one line shows: (x, y) from left to right; where y is None it is interrupted."""

    name: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 0

    def values(self) -> list[float]:
        """Return the y of all points that have one."""
        return [y for _, y in self.points if y is not None]


class Frame(msgspec.Struct, frozen=True):
    """How large a plot is, in pixels, and what it is called.

    names_length is how many characters beside the lines have room, so that plots with other names
    are as wide; is_filled colours the area below the first line.
    """

    title: str
    width: float = 516.0
    height: float = 200.0
    names_length: int = 0
    is_filled: bool = False


def plot_over_time(frame: Frame, lines: Sequence[Line], unit: str) -> Markup:
    """Return lines over seconds, from zero, in unit."""
    seconds = [x for line in lines for x, _ in line.points]
    values = [y for line in lines for y in line.values()]
    x_axis = time_axis(max(seconds), _LEFT, _find_right(frame, lines))
    y_axis = linear_axis(values, unit, frame.height - _BELOW, _TOP)
    return _draw(frame, lines, x_axis, y_axis, unit)


def plot_latency_over_time(frame: Frame, lines: Sequence[Line]) -> Markup:
    """Return lines of microseconds, on a logarithmic axis, over seconds."""
    seconds = [x for line in lines for x, _ in line.points]
    values = [y for line in lines for y in line.values()]
    x_axis = time_axis(max(seconds), _LEFT, _find_right(frame, lines))
    y_axis = latency_axis(values, frame.height - _BELOW, _TOP)
    return _draw(frame, lines, x_axis, y_axis, "us")


def plot_percentiles(frame: Frame, lines: Sequence[Line]) -> Markup:
    """Return lines of microseconds over 1/(1-p), both axes logarithmic."""
    highest = max(x for line in lines for x, _ in line.points)
    values = [y for line in lines for y in line.values()]
    x_axis = percentile_axis(highest, _LEFT, _find_right(frame, lines))
    y_axis = latency_axis(values, frame.height - _BELOW, _TOP)
    return _draw(frame, lines, x_axis, y_axis, "us")


def shorten(name: str) -> str:
    """Return a name that has room beside a plot."""
    return name if len(name) <= _MAX_LABEL_LENGTH else f"{name[: _MAX_LABEL_LENGTH - 1]}…"


def draw_svg(title: str, description: str, width: float, height: float, *parts: str) -> Markup:
    """Return parts as a picture with a title and a description for those who cannot see it."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
    )


def _find_right(frame: Frame, lines: Iterable[Line]) -> float:
    longest = max(frame.names_length, *(len(shorten(line.name)) for line in lines))
    return frame.width - 16 - longest * _CHARACTER_WIDTH


def _draw(frame: Frame, lines: Sequence[Line], x_axis: Axis, y_axis: Axis, unit: str) -> Markup:
    described = "; ".join(_describe(line, unit) for line in lines)
    # The first line is the one to look at: it is drawn last, over all others.
    drawn = [_draw_line(line, x_axis, y_axis, unit) for line in reversed(lines)]
    area = [_draw_area(lines[0], x_axis, y_axis)] if frame.is_filled else []
    parts = [_draw_grid(x_axis, y_axis), *area, *drawn, _draw_names(lines, x_axis, y_axis)]
    return draw_svg(frame.title, described, frame.width, frame.height, *parts)


def _describe(line: Line, unit: str) -> str:
    values = line.values()
    low, high = (format_quantity(each, unit) for each in (min(values), max(values)))
    return f"{line.name}: from {low} to {high}"


def _draw_grid(x_axis: Axis, y_axis: Axis) -> Markup:
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.place(tick.value)
        parts.append(
            element("path", class_="rule", d=f"M{x_axis.start:.1f} {y:.1f}H{x_axis.end:.1f}")
        )
        parts.append(element("text", tick.label, class_="tick y", x=x_axis.start - 8, y=y + 4))
    bottom = y_axis.start
    for tick in x_axis.ticks:
        x = x_axis.place(tick.value)
        parts.append(element("path", class_="mark", d=f"M{x:.1f} {bottom:.1f}v4"))
        parts.append(element("text", tick.label, class_="tick x", x=x, y=bottom + 18))
    parts.append(
        element("path", class_="mark", d=f"M{x_axis.start:.1f} {bottom:.1f}H{x_axis.end:.1f}")
    )
    return element("g", *parts)


def _trace(line: Line, x_axis: Axis, y_axis: Axis) -> str:
    """Return the path of a line, with a new beginning after each interruption."""
    path, command = [], "M"
    for x, y in line.points:
        if y is None:
            command = "M"
        else:
            path.append(f"{command}{x_axis.place(x):.1f} {y_axis.place(y):.1f}")
            command = "L"
    # A line with one point is drawn, too: as a dot, by its round cap.
    return "".join(path) + ("h0" if len(path) == 1 else "")


def _draw_line(line: Line, x_axis: Axis, y_axis: Axis, unit: str) -> Markup:
    path = _trace(line, x_axis, y_axis)
    title = element("title", _describe(line, unit))
    return element("path", title, class_=f"line c{line.colour % COLOUR_COUNT}", d=path)


def _draw_area(line: Line, x_axis: Axis, y_axis: Axis) -> Markup:
    points = [(x, y) for x, y in line.points if y is not None]
    first, last = x_axis.place(points[0][0]), x_axis.place(points[-1][0])
    path = _trace(Line(line.name, points), x_axis, y_axis)
    d = f"{path}L{last:.1f} {y_axis.start:.1f}H{first:.1f}Z"
    return element("path", class_=f"area c{line.colour % COLOUR_COUNT}", d=d)


def _draw_names(lines: Sequence[Line], x_axis: Axis, y_axis: Axis) -> Markup:
    """Return the names beside the ends of the lines, apart from one another."""
    ends = [_find_end(line, x_axis, y_axis) for line in lines]
    heights = _spread([y for _, y in ends], _TOP, y_axis.start)
    parts = []
    for line, (x, y), height in zip(lines, ends, heights, strict=True):
        colour = f"c{line.colour % COLOUR_COUNT}"
        if x_axis.end - x > 1 or abs(height - y) > 1:
            d = f"M{x:.1f} {y:.1f}L{x_axis.end + 7:.1f} {height:.1f}"
            parts.append(element("path", class_=f"leader {colour}", d=d))
        text = shorten(line.name)
        place = {"x": x_axis.end + 10, "y": height + 4}
        parts.append(element("text", text, class_=f"name {colour}", **place))
    return join(parts)


def _find_end(line: Line, x_axis: Axis, y_axis: Axis) -> tuple[float, float]:
    x, y = next((x, y) for x, y in reversed(line.points) if y is not None)
    return x_axis.place(x), y_axis.place(y)


def _spread(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Return heights moved apart by a label's height, as little as keeps them above bottom."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    spread = list(heights)
    limit = top
    for index in order:
        spread[index] = limit = max(spread[index], limit)
        limit += _LABEL_HEIGHT
    limit = bottom
    for index in reversed(order):
        spread[index] = limit = min(spread[index], limit)
        limit -= _LABEL_HEIGHT
    return spread
