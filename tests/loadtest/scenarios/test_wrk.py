"""Requests by wrk: what its report tells, and what a run makes of it."""

import asyncio
import os

import pytest

from loadtest.errors import LoadError
from loadtest.result import Point
from loadtest.run import Plan, run
from loadtest.scenarios import wrk
from loadtest.scenarios.wrk import read_report
from tests.loadtest.conftest import Listen, Talk

REPORT = """\
Running 1s test @ http://127.0.0.1:41061/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.11ms    1.27ms  13.61ms   91.20%
    Req/Sec    31.42k     2.67k   35.52k    80.00%
  31264 requests in 1.00s, 4.26MB read
"""
END = """\
Requests/sec:  31224.24
Transfer/sec:      4.26MB
"""


def test_a_report_tells_of_requests_and_of_what_went_wrong() -> None:
    counts = {"requests": 31264, "wrong": 0, "failed": 0}
    assert read_report(REPORT + END) == counts
    wrong = "  Non-2xx or 3xx responses: 31\n"
    assert read_report(REPORT + wrong + END) == {**counts, "wrong": 31}
    failed = "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
    assert read_report(REPORT + failed + END) == {**counts, "failed": 4321}


def test_something_else_is_no_report() -> None:
    assert read_report("unable to connect to 127.0.0.1:9 Connection refused\n") is None


def need_wrk() -> None:
    """Skip a test where there is no wrk, which continuous integration has."""
    if not wrk.is_installed():
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("there is no wrk")


def answering(status: bytes) -> Talk:
    """Return what answers each request so."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nOK")

    return answer


@pytest.mark.parametrize(("status", "is_wrong"), [(b"200 OK", False), (b"404 Not Found", True)])
async def test_requests_are_counted_as_wrk_does(
    listen: Listen, status: bytes, is_wrong: bool
) -> None:
    need_wrk()
    target = f"http://{await listen(answering(status))}/"
    result = await run(Plan("wrk", target, {"connections": 3}, 1.0))
    count = result.figure("requests")
    assert count
    assert (result.figure("driver CPU") or 0) > 0.05  # what wrk used, which Python waits for
    assert result.faults == {"failed": 0, "wrong": count if is_wrong else 0}


async def test_an_interrupted_run_has_what_wrk_has_counted_so_far(listen: Listen) -> None:
    need_wrk()
    target = f"http://{await listen(answering(b'200 OK'))}/"
    plan = Plan("wrk", target, {"connections": 3}, 60.0)

    def interrupt(point: Point) -> None:
        running.cancel()

    running = asyncio.create_task(run(plan, interrupt))
    result = await running
    assert result.is_interrupted
    assert result.figure("requests")


async def test_without_wrk_another_scenario_is_named(
    monkeypatch: pytest.MonkeyPatch, listen: Listen
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setenv("PATH", "")
    with pytest.raises(LoadError, match="wrk is not installed; the scenario `response` needs none"):
        await run(Plan("wrk", f"http://{await listen(answer)}/", {"connections": 3}, 1.0))
