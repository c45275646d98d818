"""The table of ratios, as a README shows it."""

from msgspec.structs import replace

from loadtest.report.markdown import format_markdown
from tests.loadtest.report.samples import MEMORY, RATE, WORK, make_comparison


def test_each_figure_is_a_row_of_work_goal_and_measured() -> None:
    assert format_markdown([make_comparison()]).splitlines() == [
        "| work | goal | measured |",
        "|---|---|---|",
        f"| {WORK}: {RATE} | at least 30 x aiohttp, at least 16 x uWebSockets, at least 5 x nchan"
        " | 65.2 x aiohttp, **15.0 x uWebSockets, not reached**, not measured nchan |",
        f"| {WORK}: {MEMORY} | at most 4 KiB | 3.05 KiB |",
        "",
        "Measured on 2026-11-28, the best of 2 runs of each; 2 cores of a sample CPU, Python 3.11.",
    ]


def test_a_figure_without_a_goal_has_no_row() -> None:
    comparison = make_comparison()
    no_goals = [replace(ratio, goal=None) for ratio in comparison.ratios]
    assert WORK not in format_markdown([replace(comparison, ratios=no_goals)])


def test_comparisons_of_one_day_and_machine_share_the_caption() -> None:
    other = replace(make_comparison(), started_at="2026-11-29T01:00:00Z")
    text = format_markdown([make_comparison(), make_comparison(), other])
    assert text.count("Measured on 2026-11-28") == 1
    assert text.count("Measured on 2026-11-29") == 1


def test_what_is_not_text_of_a_cell_is_escaped() -> None:
    hostile = "a|b\n<script>"
    text = format_markdown([replace(make_comparison(), work=hostile, machine=hostile)])
    assert "| a\\|b &lt;script>: deliveries" in text
    assert "each; a\\|b &lt;script>." in text
