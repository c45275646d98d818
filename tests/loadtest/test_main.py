"""The command line of the load scenarios, as a process."""

import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.__main__ import SCENARIOS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_scenario_prints_its_figures(url: str) -> None:
    target = url.replace("http", "ws") + "/ws"
    finished = run("fanout", "--target", target, "--subscribers", "3", "--seconds", "0.1")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "missing bytes           0\n" in finished.stdout


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_target_at_which_nobody_listens_is_told_in_one_line(scenario: str) -> None:
    target = ("http" if scenario == "losses" else "ws") + "://127.0.0.1:9/"
    finished = run(scenario, "--target", target)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith(f"loadtest: cannot reach {target}: ")
    assert finished.stderr.endswith("; start a gateway there with `gateway serve`\n")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("scenario", ["connect", "fanout", "idle", "slow"])
def test_a_process_that_does_not_exist_is_told_by_its_pid(scenario: str) -> None:
    pid = 2**22 + 1  # above the most that Linux gives
    finished = run(scenario, "--pid", str(pid))
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == f"loadtest: there is no process of pid {pid}\n"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "many"])
def test_a_number_that_makes_no_sense_is_named(value: str) -> None:
    finished = run("fanout", f"--seconds={value}")
    assert finished.returncode == 2
    assert f"expected a number above 0, got '{value}'" in finished.stderr


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "²"])
def test_a_count_that_makes_no_sense_is_named(value: str) -> None:
    finished = run("fanout", f"--subscribers={value}")
    assert finished.returncode == 2
    assert f"expected a whole number above 0, got '{value}'" in finished.stderr


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_explains_itself_by_examples(scenario: str) -> None:
    finished = run(scenario, "--help")
    assert finished.returncode == 0
    assert "examples:\n" in finished.stdout
    assert f"python -m loadtest {scenario}" in finished.stdout


def test_what_a_scenario_measured_is_saved_and_shown_again_by_report(tmp_path: Path) -> None:
    saved, page = tmp_path / "run.json", tmp_path / "run.html"
    measured = run(
        *("fanout", "--subscribers", "3", "--seconds", "0.1"),
        *("--json", str(saved), "--html", str(page)),
    )
    assert measured.returncode == 0, measured.stderr
    again = run("report", str(saved))
    assert (again.returncode, again.stdout, again.stderr) == (0, measured.stdout, "")
    assert "<h1>fanout of gateway</h1>" in page.read_text(encoding="utf-8")
