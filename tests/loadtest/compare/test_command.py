"""`python -m loadtest compare` as a process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.compare.servers import SERVERS
from loadtest.compare.works import WORKS
from loadtest.report.saved import load
from loadtest.result import Comparison


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest", "compare", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_a_work_is_given_to_all_its_servers_and_what_they_measured_is_saved(tmp_path: Path) -> None:
    finished = run("fanout", "--quick", "--json", str(tmp_path / "ratios.json"))
    assert finished.returncode == 0, finished.stderr
    (saved,) = load(tmp_path / "ratios.json")
    assert isinstance(saved, Comparison)
    servers = [SERVERS[each.server] for each in WORKS["fanout"].contestants]
    absences = {server.name: server.find_absence() for server in servers}
    assert {each.server: each.absence for each in saved.entries} == absences
    for entry in saved.entries:
        assert [run.fault_count for run in entry.runs] == ([] if entry.absence else [0])
    ratios = {each.against: each.value for each in saved.ratios if each.figure == "rate"}
    assert {name for name, value in ratios.items() if value} == {
        name for name, absence in absences.items() if name != "gateway" and absence is None
    }
    assert finished.stdout.startswith(saved.work)


def test_the_list_tells_every_work_who_takes_part_and_what_is_to_be_reached() -> None:
    finished = run("--list")
    assert finished.returncode == 0
    assert all(f"\n{name} " in f"\n{finished.stdout}" for name in WORKS)
    assert "gateway, aiohttp, websockets, picows, uWebSockets" in finished.stdout
    assert "goal: rate at least 1.7 x aiohttp\n" in finished.stdout
    assert "goal: memory per connection at most 4\n" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fanuot"], "there is no 'fanuot'; there are fanout, "),
        (["--server-cpus", "1000"], "expected cores among [0"),
        (["--load-cpus", "one"], "got 'one'"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(arguments: list[str], complaint: str) -> None:
    finished = run(*arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert complaint in finished.stderr


def test_ctrl_c_shows_and_saves_what_was_measured_so_far(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtest", "compare", "fanout", "--seconds", "0.1"]
    with subprocess.Popen(
        [*command, "--json", str(tmp_path / "ratios.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    ) as process:
        assert process.stderr is not None
        while "aiohttp, round 1 of 3: " not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False)
    (saved,) = load(tmp_path / "ratios.json")
    assert isinstance(saved, Comparison)
    runs = {entry.server: len(entry.runs) for entry in saved.entries}
    assert runs["gateway"] == 1
    assert sum(runs.values()) < 3
    assert output.startswith(saved.work)


def hear_interrupts() -> None:
    """Let Ctrl-C be heard, which a shell takes from what it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
