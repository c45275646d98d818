"""The search for silent losses, for some seconds against a gateway that is killed and restarted."""

import json
import re
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

FAULTS = ("lost", "duplicated", "reordered", "unannounced", "wrong")
VISITED = {"websocket json", "websocket msgpack", "sse", "longpoll", "history"}
COMMAND = (sys.executable, "-m", "loadtest", "losses", "--clients", "24", "--seed", "4")

# Two of them, however long the machine takes for it. How much is tried meanwhile is up to the
# machine, so the tests ask for little.
RESTARTS = ("--restarts", "2", "--restart-every", "2", "--stall", "0.7", "--seconds", "60")


def search(*options: str) -> dict[str, Any]:
    """Return the result of a search, which must have found nothing."""
    command = [*COMMAND, "--json", *options]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    result: dict[str, Any] = json.loads(finished.stdout)
    assert {kind: result[kind] for kind in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert result["all_caught_up"]
    assert set(result["visits"]) == VISITED
    return result


def test_nothing_is_lost_silently_while_the_gateway_is_killed_and_drained() -> None:
    result = search(*RESTARTS)
    assert result["restarts"] == 2
    assert result["deliveries_checked"] > 300
    assert result["gaps"]["epoch"] > 0
    assert result["publications_repeated"] > 0


def test_nothing_acknowledged_is_lost_where_logs_are_kept_on_disk() -> None:
    result = search("--data", *RESTARTS)
    assert result["restarts"] == 2
    assert result["deliveries_checked"] > 300
    assert result["publications_repeated"] > 0
    assert result["gaps"].keys() <= {"expired", "slow"}


def test_a_running_gateway_is_searched_without_restarts(url: str) -> None:
    result = search("--target", url, "--seconds", "2", "--stall", "0.3")
    assert result["restarts"] == 0
    assert result["deliveries_checked"] > 100
    assert "epoch" not in result["gaps"]


def test_interrupting_prints_what_was_checked_so_far() -> None:
    process = subprocess.Popen(
        [*COMMAND, "--restart", "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    while not re.search(r"[1-9]\d* deliveries", process.stderr.readline()):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert re.search(r"^deliveries checked +[1-9]", stdout, re.MULTILINE)
    assert re.search(r"^all caught up +False$", stdout, re.MULTILINE)


def test_a_target_that_is_no_gateway_is_told_at_once() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever).start()
        target = f"http://127.0.0.1:{server.server_port}"
        command = [*COMMAND, "--target", target]
        finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        server.shutdown()
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith(f"loadtest: {target} does not answer as a gateway: ")


@pytest.mark.parametrize("target", ["ws://127.0.0.1/", "127.0.0.1:80"])
def test_a_target_of_another_kind_is_refused(target: str) -> None:
    command = [*COMMAND, "--target", target]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 1
    assert "is not an http:// URL" in finished.stderr
