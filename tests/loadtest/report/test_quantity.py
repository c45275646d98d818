"""Quantities, as people read them."""

import pytest

from loadtest.report.quantity import (
    format_moment,
    format_number,
    format_parameter,
    format_quantity,
    format_ratio,
)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_234_567, "/s", "1.23 M/s"),
        (92_400.0, "/s", "92.4 k/s"),
        (999, "/s", "999 /s"),
        (0.5, "/s", "0.5 /s"),
        (4.6, "us", "4.60 µs"),
        (0.162, "us", "0.162 µs"),
        (999.9, "us", "1.00 ms"),
        (1_499_000, "us", "1.50 s"),
        (12.5, "ms", "12.5 ms"),
        (0.25, "s", "250 ms"),
        (3.0, "KiB", "3.00 KiB"),
        (0.5, "KiB", "512 B"),
        (2048, "MiB", "2.00 GiB"),
        (64, "bytes", "64.0 B"),
        (0, "us", "0 µs"),
        (-3, "KiB", "-3.00 KiB"),
        (44.7, "%", "44.7 %"),
        (2.5, "us per delivery", "2.50 µs per delivery"),
        (93_412, "", "93,412"),
        (1.0, "", "1"),
        (0.98, "of a core", "0.98 of a core"),
        (None, "us", "not measured"),
    ],
)
def test_a_quantity_has_three_digits_and_the_unit_that_keeps_it_short(
    value: float | None, unit: str, text: str
) -> None:
    assert format_quantity(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00012345, "0.000123"), (9.999, "10.0"), (64.66, "64.7"), (12345.6, "12,346")],
)
def test_a_number_has_three_digits_or_all_in_front_of_its_point(value: float, text: str) -> None:
    assert format_number(value) == text


def test_a_ratio_is_so_many_times() -> None:
    assert format_ratio(65.0001) == "65.0 x"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1000, "1,000"), (5.0, "5"), (0.25, "0.25"), (True, "yes"), (None, "none"), ("json", "json")],
)
def test_a_parameter_is_shown_as_it_was_given(value: float | str | None, text: str) -> None:
    assert format_parameter(value) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2026-11-28T22:14:05Z", "2026-11-28 22:14 UTC"),
        ("2026-11-28T23:14:05+01:00", "2026-11-28 22:14 UTC"),
        ("some day", "some day"),
    ],
)
def test_a_moment_is_shown_in_utc_and_what_is_none_as_it_is(moment: str, text: str) -> None:
    assert format_moment(moment) == text
