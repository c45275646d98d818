"""Axes of plots: where values lie in pixels, and which values are marked."""

import math
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from loadtest.report.quantity import find_scale, format_tick

_STEPS: Final = (1, 2, 5)
# An axis for nothing but less than this is one for nothing: its marks would be unreadable.
_SMALLEST: Final = 1e-9
# Marks of a logarithmic axis are at 1, 2 and 5 up to so many powers of ten, above only at 1.
_MAX_FINE_DECADES: Final = 2.5
# As many as have room beside one another in the widest plot.
_MAX_PERCENTILE_MARKS: Final = 6


class Tick(msgspec.Struct, frozen=True):
    """A marked value of an axis."""

    value: float
    label: str


class Axis(msgspec.Struct, frozen=True):
    """From low to high, drawn from pixel start to pixel end, which may be the smaller one."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[Tick]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return the pixel of value; that of low or high for what is outside."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def linear_axis(values: Iterable[float], unit: str, start: float, end: float) -> Axis:
    """Return an axis from 0 to a round value that no value exceeds; its last mark has the unit."""
    highest = max(values, default=0.0)
    if highest < _SMALLEST:
        highest = 1.0
    size, name = find_scale(highest, unit)
    step = _round_up(highest / size / 4)
    count = math.ceil(highest / size / step - 1e-9)
    ticks = [Tick(number * step * size, f"{number * step:,.10g}") for number in range(count + 1)]
    ticks[-1] = Tick(ticks[-1].value, f"{ticks[-1].label} {name}".rstrip())
    return Axis(0.0, ticks[-1].value, start, end, ticks)


def time_axis(highest_s: float, start: float, end: float) -> Axis:
    """Return an axis of seconds that ends where the values do."""
    highest_s = highest_s or 1.0
    marked = linear_axis([highest_s], "", start, end)
    ticks = [tick for tick in marked.ticks if tick.value <= highest_s]
    ticks[-1] = Tick(ticks[-1].value, f"{ticks[-1].label} s")
    return Axis(0.0, highest_s, start, end, ticks)


def latency_axis(values_us: Iterable[float], start: float, end: float) -> Axis:
    """Return a logarithmic axis of microseconds, between round values around all values."""
    positive = [max(value, 1.0) for value in values_us] or [1.0]
    low, high = _round_down(min(positive)), _round_up(max(positive))
    if low == high:
        high = _round_up(low * 1.1)
    return Axis(low, high, start, end, _mark_decades(low, high), is_log=True)


def percentile_axis(highest: float, start: float, end: float) -> Axis:
    """Return a logarithmic axis of 1/(1-p): 90 %, 99 % and 99.9 % are equally far apart."""
    highest = max(highest, 10.0)
    decades = math.floor(math.log10(highest) + 1e-9)
    step = math.ceil(decades / _MAX_PERCENTILE_MARKS)
    marked = [2, *(10**nines for nines in range(1, decades + 1, step))]
    ticks = [Tick(value, f"{100 - 100 / value:.10g} %") for value in marked]
    return Axis(1.0, highest, start, end, ticks, is_log=True)


def _mark_decades(low: float, high: float) -> list[Tick]:
    is_fine = math.log10(high / low) <= _MAX_FINE_DECADES
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [step * 10.0**power for power in powers for step in (_STEPS if is_fine else (1,))]
    within = [value for value in values if low * 0.999 <= value <= high * 1.001]
    return [Tick(value, format_tick(value, "us")) for value in within]


def _round_up(value: float) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that is not below value."""
    return _find_step(value, min, lambda step: step >= value * (1 - 1e-9))


def _round_down(value: float) -> float:
    return _find_step(value, max, lambda step: step <= value * (1 + 1e-9))


def _find_step(
    value: float, choose: Callable[[Iterable[float]], float], is_fine: Callable[[float], bool]
) -> float:
    power = math.floor(math.log10(value))
    steps = [step * 10.0**each for each in (power, power + 1) for step in _STEPS]
    return choose(step for step in steps if is_fine(step))
