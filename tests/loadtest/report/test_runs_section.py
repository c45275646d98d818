"""Several runs of one scenario, side by side on a page."""

from loadtest.report.runs_section import build_runs_section, name_runs
from loadtest.result import Result
from tests.loadtest.report.parsing import Parsed
from tests.loadtest.report.samples import MEMORY, RATE, make_result


def build(*results: Result) -> Parsed:
    anchored = [(result, f"part-{number}") for number, result in enumerate(results, 1)]
    return Parsed(build_runs_section(anchored))


def find_row(section: Parsed, name: str) -> list[str]:
    row = section.texts.index(name)
    return section.texts[row : row + 3]


def test_figures_and_faults_of_all_runs_stand_beside_one_another() -> None:
    section = build(make_result(), make_result(rate=3e6, faults={"missing": 2, "repeated": 3}))
    assert "2 runs of fanout, side by side" in section.texts
    assert find_row(section, RATE) == [RATE, "5.98 M/s", "3.00 M/s"]
    assert find_row(section, MEMORY) == [MEMORY, "3.05 KiB", "3.05 KiB"]
    assert find_row(section, "faults") == ["faults", "0", "5"]


def test_a_figure_that_one_run_has_not_is_said_not_to_be_measured_there() -> None:
    section = build(make_result(), make_result(figures=[]))
    assert find_row(section, RATE) == [RATE, "5.98 M/s", "not measured"]


def test_only_parameters_that_differ_are_told() -> None:
    section = build(
        make_result(parameters={"in_flight": 1, "subscribers": 1000}),
        make_result(parameters={"in_flight": 64, "subscribers": 1000}),
    )
    assert find_row(section, "in flight") == ["in flight", "1", "64"]
    assert "subscribers" not in section.texts


def test_runs_are_named_by_their_servers_where_these_differ_and_lead_to_their_sections() -> None:
    section = build(make_result("before"), make_result("after"))
    assert [link["href"] for link in section.find("a")] == ["#part-1", "#part-2"]
    assert find_row(section, "before")[:2] == ["before", "after"]
    assert name_runs([make_result(), make_result()]) == ["run 1", "run 2"]


def test_latencies_of_all_runs_that_have_any_are_in_one_plot() -> None:
    none = make_result("none", latency_us=[])
    section = build(make_result("before"), none, make_result("after"))
    assert len(section.find("svg")) == 1
    assert section.texts.count("before: from 900 µs to 9.00 ms") == 1
    assert section.texts.count("after: from 900 µs to 9.00 ms") == 1
    assert build(none, none).find("svg") == []
