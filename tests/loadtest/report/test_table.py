"""What a terminal shows of results, as its reader meets it."""

from msgspec.structs import replace

from loadtest.report.table import format_comparison, format_result, format_results
from loadtest.result import Entry, Figure, Result
from tests.loadtest.report.samples import RATE, make_comparison, make_result

LONG = "a name much longer than any column of a table could ever be made for, and a sentence too"


def words_of(text: str, start: str) -> list[str]:
    """Return the words of the one line that starts so."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith(start)]
    return line.split()


def test_a_run_is_told_with_its_target_parameters_and_figures() -> None:
    text = format_result(make_result())
    assert text.startswith("fanout of gateway at ws://127.0.0.1:8080/ws\n  2026-11-28 22:14 UTC, ")
    assert "ran 3.00 s\n" in text
    assert "  subscribers=1,000 in_flight=64 open_loop=no rate=none\n" in text
    assert words_of(text, RATE)[-2:] == ["5.98", "M/s"]
    assert words_of(text, "memory")[-2:] == ["3.05", "KiB"]
    assert words_of(text, "closed") == ["closed", "7"]


def test_numbers_of_a_column_end_at_the_same_place() -> None:
    lines = format_result(make_result()).splitlines()
    figures = [line for line in lines if line.startswith(("  deliveries", "  memory", "  closed"))]
    assert len({len(line) for line in figures}) == 1


def test_latencies_are_percentiles_and_the_largest() -> None:
    lines = format_result(make_result()).splitlines()
    (row,) = [row for row, line in enumerate(lines) if line.startswith("  latency")]
    assert lines[row].split() == ["latency", "p50", "p90", "p99", "p99.9", "max"]
    values = ["900 µs", "1.20 ms", "3.00 ms", "9.00 ms", "9.00 ms"]
    assert lines[row + 1].split() == " ".join(values).split()


def test_where_no_latency_was_measured_none_is_shown() -> None:
    assert "p99" not in format_result(make_result(latency_us=[]))


def test_what_could_not_be_measured_is_said() -> None:
    text = format_result(make_result(figures=[Figure("CPU per delivery", None, "us")]))
    assert "CPU per delivery  not measured\n" in text


def test_no_faults_are_said_and_faults_stand_out() -> None:
    assert "\n  no faults: 0 missing, 0 repeated" in format_result(make_result())
    faulty = format_result(make_result(faults={"missing": 3_000, "repeated": 0}))
    assert "\n  FAULTS: 3,000 missing, 0 repeated" in faulty
    assert "no faults" not in faulty


def test_warnings_and_an_interruption_are_told() -> None:
    text = format_result(
        make_result(is_interrupted=True, elapsed_s=3.2, warnings=["the driver used 97 % of a core"])
    )
    assert "interrupted after 3.20 s\n" in text
    assert text.endswith("\n  warning: the driver used 97 % of a core")


def test_several_runs_come_one_after_the_other() -> None:
    first, second = make_result("first"), make_result("second")
    both = format_results([first, second])
    assert both == f"{format_result(first)}\n\n{format_result(second)}"


def test_a_comparison_has_a_row_per_server_with_best_worst_ratio_goal_and_verdict() -> None:
    text = format_comparison(make_comparison())
    assert "fan-out 1 to 1,000, 64 in flight\n" in text
    assert "2 cores of a sample CPU" in text
    rate = text[: text.index("memory per connection")]
    assert words_of(rate, "gateway") == ["gateway", "6.00", "M/s", "5.50", "M/s"]
    aiohttp = "aiohttp 92.0 k/s 80.0 k/s 65.2 x at least 30 x reached"
    assert words_of(rate, "aiohttp") == aiohttp.split()
    missed = "uWebSockets 400 k/s 390 k/s 15.0 x at least 16 x not reached"
    assert words_of(rate, "uWebSockets") == missed.split()


def test_without_a_goal_there_is_no_column_for_it() -> None:
    comparison = make_comparison()
    no_goals = [replace(ratio, goal=None) for ratio in comparison.ratios]
    text = format_comparison(replace(comparison, ratios=no_goals))
    headers = [line.split() for line in text.splitlines() if line.strip().startswith("best")]
    assert headers[0] == ["best", "worst", "ratio"]


def test_a_goal_of_the_gateway_alone_stands_in_its_row() -> None:
    text = format_comparison(make_comparison())
    memory = text[text.index("memory per connection") : text.index("latency, best run")]
    words = "gateway 3.05 KiB 3.05 KiB at most 4 KiB reached"
    assert words_of(memory, "gateway") == words.split()


def test_a_server_that_could_not_take_part_is_told_with_the_reason() -> None:
    text = format_comparison(make_comparison())
    assert "\n  nchan did not take part: nginx is not installed\n" in text


def test_a_server_that_dropped_out_keeps_the_row_of_what_it_had_measured() -> None:
    comparison = make_comparison()
    gateway, aiohttp, *_ = comparison.entries
    text = format_comparison(
        replace(comparison, entries=[gateway, replace(aiohttp, absence="it crashed")])
    )
    rate = text[: text.index("memory per connection")]
    assert words_of(rate, "aiohttp")[:3] == ["aiohttp", "92.0", "k/s"]
    assert "\n  aiohttp dropped out after 2 runs: it crashed\n" in text


def test_a_comparison_ends_with_how_many_goals_are_reached() -> None:
    last = format_comparison(make_comparison()).splitlines()[-1]
    assert last == "  goals reached: 2 of 4, 1 not measured"


def test_latencies_of_a_comparison_are_those_of_the_best_run_of_each_server() -> None:
    comparison = make_comparison()
    slow = make_result("aiohttp", 100e3, latency_us=[(2_000_000, 10)])
    entries = [
        Entry("aiohttp", [*entry.runs, slow]) if entry.server == "aiohttp" else entry
        for entry in comparison.entries
    ]
    text = format_comparison(replace(comparison, entries=entries))
    latency = text[text.index("latency, best run") :]
    assert words_of(latency, "aiohttp")[:3] == ["aiohttp", "2.00", "s"]
    assert words_of(latency, "gateway")[:3] == ["gateway", "900", "µs"]


def with_runs(run: Result) -> str:
    comparison = make_comparison()
    entries = [Entry("gateway", [run, run]), *comparison.entries[1:]]
    return format_comparison(replace(comparison, entries=entries))


def test_faults_and_warnings_of_a_comparison_name_the_server() -> None:
    text = with_runs(make_result(faults={"missing": 2}, warnings=["it was hot"]))
    assert "\n  FAULTS of gateway: 2 missing\n" in text
    assert text.count("warning: gateway: it was hot\n") == 1


def test_no_line_is_wider_than_100_columns() -> None:
    widest = make_result(LONG, target=f"ws://{LONG}", warnings=[LONG, LONG * 3])
    widest = replace(widest, figures=[Figure(LONG, 123.4, "/s"), Figure(RATE, None, "/s")])
    comparison = make_comparison()
    unmeasured = [Entry(f"{LONG} 2", [replace(widest, server=f"{LONG} 2", figures=[])])]
    comparison = replace(comparison, entries=[*comparison.entries, *unmeasured])
    ratios = [comparison.ratio(RATE, f"{LONG} 2", goal=1e-5), *comparison.ratios]
    crowded = format_comparison(replace(comparison, ratios=ratios))
    assert "not measured  at least 1e-05 x" in crowded
    for line in "\n".join([format_result(widest), with_runs(widest), crowded]).splitlines():
        assert len(line) <= 100


def test_what_would_change_a_terminal_is_not_printed() -> None:
    evil = "\x1b[2J\x07gateway"
    text = format_result(make_result(evil, warnings=[evil], figures=[Figure(evil, 1)]))
    assert "\x1b" not in text + with_runs(make_result(evil))
    assert "?[2J?gateway" in text
