"""The command line of the load scenarios, as a process."""

import asyncio
import errno
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.__main__ import COMMANDS, SCENARIOS
from protocol.frames import TEXT, encode_frame
from tests.loadtest.conftest import Listen
from tests.loadtest.wrong_server import SWITCHING

COMMAND = [sys.executable, "-m", "loadtest"]
NAMES = sorted({*SCENARIOS, *COMMANDS})


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_scenario_prints_its_figures_and_how_far_it_is(url: str) -> None:
    target = url.replace("http", "ws") + "/ws"
    finished = run("fanout", "--target", target, "--subscribers", "3", "--seconds", "0.1")
    assert (finished.returncode, finished.stderr) == (0, "opening connections\n")
    assert finished.stdout.startswith(f"fanout of gateway at {target}\n")
    assert "no faults: 0 missing, 0 surplus\n" in finished.stdout


async def test_a_broken_promise_is_told_by_the_exit_status(listen: Listen) -> None:
    async def echo_wrongly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        while await reader.readexactly(6 + 4):
            writer.write(encode_frame(TEXT, b"yyyy"))

    target = f"ws://{await listen(echo_wrongly)}/"
    arguments = ("echo", "--target", target, "--clients", "1", "--bytes", "4", "--seconds", "0.2")
    finished = await asyncio.to_thread(run, *arguments)
    assert finished.returncode == 1, finished.stderr
    assert "FAULTS: " in finished.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_a_run_gets_what_was_measured_so_far(number: signal.Signals) -> None:
    arguments = ("fanout", "--subscribers", "3", "--seconds", "50")
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_interrupts,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "opening connections\n"
        assert "deliveries/s" in process.stderr.readline()
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False)
    assert "interrupted after" in output
    port = int(output.partition("ws://127.0.0.1:")[2].partition("/")[0])
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def hear_interrupts() -> None:
    """Let Ctrl-C be heard, which a shell takes from what it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("scenario", sorted({*SCENARIOS} - {"reconnect"}))  # has no target
def test_a_target_at_which_nobody_listens_is_told_in_one_line(scenario: str) -> None:
    target = "ws://127.0.0.1:9/"
    finished = run(scenario, "--target", target)
    assert (finished.returncode, finished.stdout) == (1, "")
    told = finished.stderr.removeprefix("opening connections\n")
    assert told.startswith(f"loadtest: cannot reach {target}: ")
    assert told.endswith("; start a gateway there with `gateway serve`, or leave --target out\n")
    assert told.count("\n") == 1


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_process_that_does_not_exist_is_told_by_its_pid(scenario: str) -> None:
    pid = 2**22 + 1  # above the most that Linux gives
    finished = run(scenario, "--target", "ws://127.0.0.1:9/", "--pid", str(pid))
    assert (finished.returncode, finished.stdout) == (1, "")
    told = finished.stderr.removeprefix("opening connections\n")
    assert told == f"loadtest: there is no process of pid {pid}\n"


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


@pytest.mark.parametrize("scenario", ["fanout", "sse", "poll"])
def test_data_that_cannot_hold_its_number_is_refused(scenario: str) -> None:
    finished = run(scenario, "--bytes=11")
    assert finished.returncode == 2
    assert "expected at least 12 bytes, got '11'" in finished.stderr


@pytest.mark.parametrize("scenario", NAMES)
def test_each_scenario_explains_itself_by_examples(scenario: str) -> None:
    finished = run(scenario, "--help")
    assert finished.returncode == 0
    assert "examples:\n" in finished.stdout
    assert f"python -m loadtest {scenario}" in finished.stdout


def test_the_help_lists_all_with_a_line_each() -> None:
    finished = run("--help")
    assert finished.returncode == 0
    for name in NAMES:
        assert re.search(rf"^    {name}\s+[A-Z]", finished.stdout, re.MULTILINE), name


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


def test_a_process_without_its_target_is_refused() -> None:
    finished = run("idle", "--pid", "1")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "--pid is the process behind --target, which is missing" in finished.stderr
