"""Quantities as people read them: three digits, in the unit that keeps them short."""

from datetime import UTC, datetime
from typing import Final

_TIMES: Final = [(1.0, "µs"), (1e3, "ms"), (1e6, "s")]
_SIZES: Final = [(1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB")]
_RATES: Final = [(1.0, "/s"), (1e3, "k/s"), (1e6, "M/s"), (1e9, "G/s")]
# For each unit in which something is measured: how many of the first of its scale it is.
_SCALES: Final = {
    "us": (1.0, _TIMES),
    "ms": (1e3, _TIMES),
    "s": (1e6, _TIMES),
    "B": (1.0, _SIZES),
    "bytes": (1.0, _SIZES),
    "KiB": (2.0**10, _SIZES),
    "MiB": (2.0**20, _SIZES),
    "/s": (1.0, _RATES),
}
NOT_MEASURED: Final = "not measured"


def format_quantity(value: float | None, unit: str = "") -> str:
    """Return value, which is in unit, such as "1.23 M/s"; words for None.

    What follows the first space of unit is kept ("us per delivery"), as is a unit unknown here.
    """
    if value is None:
        return NOT_MEASURED
    if not unit and value % 1 == 0:
        return f"{value:,.0f}"
    size, name = find_scale(value, unit)
    return f"{format_number(value / size)} {name}".rstrip()


def find_scale(value: float, unit: str) -> tuple[float, str]:
    """Return the unit that keeps value short, and how many of unit one of it is."""
    unit, space, rest = unit.partition(" ")
    if unit not in _SCALES:
        return 1.0, f"{unit}{space}{rest}"
    factor, scale = _SCALES[unit]
    # Rounded before the choice: 999.9 µs are 1.00 ms.
    rounded = abs(_round(value * factor))
    size, name = next((step for step in reversed(scale) if rounded >= step[0]), scale[0])
    return size / factor, f"{name}{space}{rest}"


def format_tick(value: float, unit: str) -> str:
    """Return a round quantity, with no more digits than it needs: "5 ms"."""
    number, space, name = format_quantity(value, unit).partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number}{space}{name}"


def format_number(value: float) -> str:
    """Return a number with three digits that count, or with all in front of its point."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    value = _round(value)
    if abs(value) >= 1:
        return f"{value:.{3 - len(str(int(abs(value))))}f}"
    return f"{value:.9f}".rstrip("0")


def format_ratio(value: float) -> str:
    """Return a ratio such as "2.15 x"."""
    return f"{format_number(value)} x"


def format_parameter(value: str | float | bool | None) -> str:
    """Return the value of a parameter."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}".removesuffix(".0")
    return value


def format_moment(text: str) -> str:
    """Return an ISO 8601 time as "2026-11-28 22:00 UTC"; as it is where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _round(value: float) -> float:
    return float(f"{value:.3g}")
