"""The suite that `gateway bench` runs, as a process."""

from pathlib import Path

from loadtest.report.saved import load


def test_the_suite_measures_a_few_scenarios_and_shows_them_in_one_table(
    commands, tmp_path: Path
) -> None:
    path = tmp_path / "suite.json"
    status, output, errors = commands.run("bench", "suite", "--quick", "--json", str(path))
    assert status == 0, errors
    results = load(path)
    assert [result.scenario for result in results] == [
        "fanout",
        "fanout",
        "connect",
        "idle",
        "command",
    ]
    assert {result.fault_count for result in results} == {0}
    header, *rows = output.splitlines()[1:]
    assert header.split() == ["rate", "CPU", "each", "p50", "p99", "memory", "each"]
    assert [row.split(" ")[0] for row in rows] == [
        "fan-out",
        "fan-out",
        "5,000",
        "5,000",
        "request",
    ]


def test_ctrl_c_ends_the_suite_with_what_it_has_so_far(commands) -> None:
    started = commands.start("bench")
    started.read_until("fanout: gateway, round 1 of 1: ", "stderr")
    status, output, errors = started.interrupt()
    assert (status, "Traceback" in errors) == (130, False)
    assert "server on core" in output
