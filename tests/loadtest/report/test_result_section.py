"""What a page says of one run."""

import pytest

from loadtest.histogram import Histogram
from loadtest.report.markup import element
from loadtest.report.result_section import build_result_section, trace_percentiles
from loadtest.result import Figure, Point
from tests.loadtest.report.parsing import Parsed
from tests.loadtest.report.samples import RATE, make_result


def build(**changes: object) -> Parsed:
    return Parsed(build_result_section(make_result(**changes), "part-1", element("h2", "A run")))


def test_figures_and_parameters_are_shown_with_their_names() -> None:
    texts = build().texts
    assert texts[: texts.index("subscribers")][-6:] == [
        RATE,
        "5.98 M/s",
        "memory per connection",
        "3.05 KiB",
        "closed",
        "7",
    ]
    assert texts[texts.index("in flight") + 1] == "64"
    assert "ws://127.0.0.1:8080/ws · 2026-11-28 22:14 UTC · 3.00 s" in texts


def test_percentiles_stand_in_a_table_beside_their_curve() -> None:
    section = build()
    texts = section.texts
    assert texts[texts.index("99 %", texts.index("latency")) + 1] == "3.00 ms"
    assert texts[texts.index("largest") + 1] == "9.00 ms"
    assert texts[texts.index("measured") + 1] == "100"
    assert "deliveries: from 900 µs to 9.00 ms" in texts


def test_rate_latency_processor_and_memory_are_plotted_over_time() -> None:
    section = build()
    assert len(section.find("svg")) == 5
    for words in ("p99: from 3.00 ms to 3.00 ms", "server: from 98.0 % to 98.0 %"):
        assert any(text.startswith(words) for text in section.texts)
    assert "Resident memory of the server" in section.texts
    lines = [each["class"] for each in section.find("path") if "line" in (each["class"] or "")]
    # Of the curve of latencies, the rate, p50 behind p99, the driver behind the server, memory.
    assert [(line or "")[-2:] for line in lines] == ["c0", "c0", "c6", "c0", "c6", "c0", "c0"]


def test_the_seconds_of_the_plots_stand_in_a_table() -> None:
    texts = build().texts
    start = texts.index("Second by second")
    row = texts.index("2.0", start)
    assert texts[row : row + 7] == [
        "2.0",
        "5.62 M/s",
        "1.00 ms",
        "3.00 ms",
        "98.0 %",
        "45.0 %",
        "40.0 MiB",
    ]


def test_without_a_server_process_memory_is_not_plotted_and_said_so() -> None:
    section = build(timeline=[Point(1.0, 5.0, 10, 20, 0.5, None, None)])
    assert len(section.find("svg")) == 4
    assert "not measured" in section.texts
    assert not any(text.startswith("server: from") for text in section.texts)


def test_without_latencies_or_seconds_there_is_no_plot() -> None:
    section = build(latency_us=[], timeline=[])
    assert section.find("svg") == []
    assert "latency" not in section.texts


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({}, "fine", "No faults: 0 missing, 0 repeated"),
        ({"faults": {}}, "fine", "No faults were counted"),
        ({"faults": {"missing": 3000}}, "fault", "Faults: 3,000 missing"),
        ({"is_interrupted": True}, "warning", "Interrupted after 3.00 s"),
        ({"warnings": ["it was hot"]}, "warning", "it was hot"),
    ],
)
def test_faults_warnings_and_interruptions_stand_out(
    changes: dict[str, object], kind: str, text: str
) -> None:
    section = build(**changes)
    assert text in section.texts
    assert kind in [attributes.get("class") for attributes in section.find("li")]


def test_a_run_with_faults_is_not_said_to_have_none() -> None:
    assert not any("No faults" in text for text in build(faults={"missing": 1}).texts)


def test_what_could_not_be_measured_is_said() -> None:
    texts = build(figures=[Figure("CPU per delivery", None, "us")]).texts
    assert texts[texts.index("CPU per delivery") + 1] == "not measured"


def test_a_curve_goes_from_the_smallest_to_the_largest_latency() -> None:
    points = trace_percentiles(Histogram([(100, 900), (200, 90), (5000, 10)]))
    assert points[0] == (1, 100)
    assert points[-1] == (1000, 5000)
    assert {y for x, y in points if 11 < x < 99} == {200}
    assert len(points) < 200


def test_the_curve_of_a_single_latency_is_that_latency() -> None:
    assert trace_percentiles(Histogram([(7, 1)])) == [(1, 7)]
