"""How servers stand to each other in the figures of a comparison."""

import pytest
from msgspec.structs import replace

from loadtest.report.standing import (
    describe_absences,
    find_best_runs,
    format_goal,
    format_value,
    format_verdict,
    rank,
)
from loadtest.result import Entry, Ratio
from tests.loadtest.report.samples import MEMORY, RATE, make_comparison


def test_each_figure_with_a_ratio_is_a_standing_with_a_place_for_each_server() -> None:
    rate, memory = rank(make_comparison())
    assert (rate.figure, rate.unit, rate.is_less_better) == (RATE, "/s", False)
    assert (memory.figure, memory.unit, memory.is_less_better) == (MEMORY, "KiB", True)
    places = [(place.server, place.best, place.worst) for place in rate.places]
    assert places == [
        ("gateway", 6e6, 5.5e6),
        ("aiohttp", 92e3, 80e3),
        ("uWebSockets", 4e5, 3.9e5),
        ("nchan", None, None),
    ]
    assert rate.places[3].absence == "nginx is not installed"


def test_a_ratio_stands_at_the_server_it_is_against_and_an_own_goal_at_the_first() -> None:
    rate, memory = rank(make_comparison())
    goals = [place.ratio.goal if place.ratio else None for place in rate.places]
    assert goals == [None, 30, 16, 5]
    assert [place.ratio is not None for place in memory.places] == [True, False, False, False]


def test_percentiles_are_in_microseconds() -> None:
    comparison = make_comparison()
    ratio = comparison.ratio("p99", "aiohttp", is_less_better=True)
    (standing,) = rank(replace(comparison, ratios=[ratio]))
    assert (standing.unit, standing.places[0].best) == ("us", 3000)


def test_without_ratios_every_figure_is_a_standing_and_only_rates_are_better_when_higher() -> None:
    standings = rank(replace(make_comparison(), ratios=[]))
    directions = {standing.figure: standing.is_less_better for standing in standings}
    assert directions == {RATE: False, MEMORY: True, "closed": True}


def test_the_best_runs_are_those_of_the_first_figure() -> None:
    runs = find_best_runs(make_comparison())
    assert [(run.server, run.figure(RATE)) for run in runs] == [
        ("gateway", 6e6),
        ("aiohttp", 92e3),
        ("uWebSockets", 4e5),
    ]


def test_without_any_figure_the_first_runs_are_the_best() -> None:
    comparison = make_comparison()
    entries = [
        replace(entry, runs=[replace(run, figures=[]) for run in entry.runs])
        for entry in comparison.entries
    ]
    runs = find_best_runs(replace(comparison, entries=entries, ratios=[]))
    assert [run.server for run in runs] == ["gateway", "aiohttp", "uWebSockets"]


def test_those_who_are_absent_from_the_start_or_later_are_told_with_the_reason() -> None:
    comparison = make_comparison()
    gateway, aiohttp, _, nchan = comparison.entries
    crashed = Entry("uWebSockets", aiohttp.runs[:1], "it crashed")
    comparison = replace(comparison, entries=[gateway, aiohttp, crashed, nchan])
    assert describe_absences(comparison) == [
        "uWebSockets dropped out after 1 run: it crashed",
        "nchan did not take part: nginx is not installed",
    ]


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (Ratio(RATE, "a", 65.2, False, 30), ("65.2 x", "at least 30 x", "reached")),
        (Ratio(RATE, "a", 1.29, False, 1.7), ("1.29 x", "at least 1.7 x", "not reached")),
        (Ratio(MEMORY, None, 4.1, True, 4), ("4.10 KiB", "at most 4 KiB", "not reached")),
        (Ratio(MEMORY, "a", None, True, 0.7), ("not measured", "at most 0.7 x", "")),
        (Ratio(MEMORY, "a", 2.0, True), ("2.00 x", "", "")),
    ],
)
def test_a_ratio_is_told_in_words(ratio: Ratio, words: tuple[str, str, str]) -> None:
    told = (format_value(ratio, "KiB"), format_goal(ratio, "KiB"), format_verdict(ratio))
    assert told == words
