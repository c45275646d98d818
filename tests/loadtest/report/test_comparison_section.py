"""What a page says of a comparison."""

from msgspec.structs import replace

from loadtest.report.comparison_section import build_comparison_section, build_goals
from loadtest.report.markup import element
from loadtest.result import Comparison, Entry
from tests.loadtest.report.parsing import Parsed
from tests.loadtest.report.samples import MEMORY, RATE, WORK, make_comparison


def build(comparison: Comparison) -> Parsed:
    return Parsed(build_comparison_section(comparison, "part-1", element("h2", "Some work")))


def test_a_comparison_has_bars_for_each_figure_and_one_plot_of_all_latencies() -> None:
    section = build(make_comparison())
    assert len(section.find("svg")) == 3
    lines = [each["class"] for each in section.find("path") if "line" in (each["class"] or "")]
    assert lines == ["line c2", "line c1", "line c0"]


def test_latencies_of_all_servers_stand_in_one_table() -> None:
    texts = build(make_comparison()).texts
    start = texts.index("latency")
    assert texts[start : start + 4] == ["latency", "gateway", "aiohttp", "uWebSockets"]


def test_machine_rounds_and_absent_servers_are_told() -> None:
    texts = build(make_comparison()).texts
    assert "2026-11-28 22:14 UTC · rounds: 2 · 2 cores of a sample CPU, Python 3.11" in texts
    assert "nchan did not take part: nginx is not installed" in texts


def test_every_round_stands_in_a_table() -> None:
    texts = build(make_comparison()).texts
    rows = texts[texts.index("Every round") :]
    start = rows.index("aiohttp")
    assert rows[start : start + 5] == ["aiohttp", "1", "80.0 k/s", "3.05 KiB", "7"]
    assert len([text for text in rows if text == "gateway"]) == 2


def test_warnings_name_the_server() -> None:
    comparison = make_comparison()
    (run, *_) = comparison.entries[0].runs
    entries = [Entry("gateway", [replace(run, warnings=["it was hot"])]), *comparison.entries[1:]]
    assert "gateway: it was hot" in build(replace(comparison, entries=entries)).texts


def test_a_comparison_in_which_nobody_took_part_says_why() -> None:
    entries = [Entry("nchan", [], "nginx is not installed")]
    section = build(replace(make_comparison(), entries=entries, ratios=[]))
    assert "nchan did not take part: nginx is not installed" in section.texts
    assert section.find("svg") == []


def test_each_goal_is_a_row_of_their_table() -> None:
    texts = Parsed(build_goals([(make_comparison(), "part-1")])).texts
    row = texts.index("aiohttp")
    assert texts[row - 1 : row + 4] == [RATE, "aiohttp", "65.2 x", "at least 30 x", "reached"]
    row = texts.index("uWebSockets")
    assert texts[row : row + 4] == ["uWebSockets", "15.0 x", "at least 16 x", "not reached"]
    row = texts.index(MEMORY)
    assert texts[row : row + 4] == [MEMORY, "3.05 KiB", "at most 4 KiB", "reached"]


def test_a_ratio_without_a_goal_stands_only_beside_its_bar() -> None:
    comparison = make_comparison()
    (first, *_) = comparison.ratios
    comparison = replace(comparison, ratios=[first, comparison.ratio(RATE, "uWebSockets")])
    assert "15.0 x" in build(comparison).texts
    assert "15.0 x" not in Parsed(build_goals([(comparison, "part-1")])).texts


def test_goals_of_several_comparisons_are_under_their_work_which_leads_to_its_section() -> None:
    other = replace(make_comparison(), work="something else")
    both = Parsed(build_goals([(make_comparison(), "part-1"), (other, "part-2")]))
    assert [link["href"] for link in both.find("a")] == ["#part-1", "#part-2"]
    assert WORK in both.texts
    assert "something else" in both.texts
    assert WORK not in Parsed(build_goals([(make_comparison(), "part-1")])).texts
