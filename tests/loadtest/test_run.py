"""Runs of the engine: worker processes against a node in the test's own process."""

import asyncio
import os
import socket

import pytest

from loadtest.errors import LoadError
from loadtest.result import Point
from loadtest.run import Plan, run

OPTIONS = {"subscribers": 6, "in_flight": 3}


async def test_a_run_counts_what_all_its_workers_counted(target: str) -> None:
    result = await run(Plan("fanout", target, OPTIONS, seconds=0.3, workers=2))
    publications = result.figure("publications")
    assert publications
    assert result.figure("deliveries") == publications * 6
    assert result.faults == {"missing": 0, "surplus": 0}
    assert result.parameters == {**OPTIONS, "seconds": 0.3, "workers": 2}
    assert (result.scenario, result.target, result.events) == ("fanout", target, "deliveries")
    assert not result.is_interrupted


async def test_the_seconds_of_a_run_add_up_to_nearly_all_of_it(target: str) -> None:
    points: list[Point] = []
    result = await run(Plan("fanout", target, OPTIONS, seconds=2.2), points.append)
    assert points == result.timeline
    assert len(points) >= 2
    deliveries = result.figure("deliveries")
    assert deliveries is not None
    passed_s, sum_of_points = 0.0, 0.0
    for point in points:
        sum_of_points += point.events_per_s * (point.at_s - passed_s)
        passed_s = point.at_s
    assert 0 < sum_of_points <= deliveries * 1.001
    assert all(point.p99_us is not None for point in points)


async def test_latencies_are_those_of_the_deliveries(target: str) -> None:
    result = await run(Plan("fanout", target, OPTIONS, seconds=0.3))
    assert result.histogram().count == result.figure("deliveries")
    assert 0 < (result.figure("p50") or 0) <= (result.figure("p99.9") or 0)


async def test_with_its_pid_the_server_is_looked_at(target: str) -> None:
    result = await run(Plan("fanout", target, OPTIONS, seconds=1.2, pid=os.getpid()))
    assert (result.figure("server CPU per event") or 0) > 0
    assert (result.figure("server memory") or 0) > 1000
    assert result.timeline[0].server_rss_kib
    assert result.timeline[0].server_cpu_share is not None
    assert result.warnings == []


async def test_without_its_pid_that_is_said(target: str) -> None:
    result = await run(Plan("fanout", target, OPTIONS, seconds=0.1))
    assert result.figure("server CPU per event") is None
    assert result.figure("server memory") is None
    assert "--pid" in result.warnings[0]


async def test_a_run_that_is_cancelled_shows_what_it_has_measured(target: str) -> None:
    has_begun = asyncio.Event()
    plan = Plan("fanout", target, OPTIONS, seconds=3600, workers=2)
    running = asyncio.create_task(run(plan, lambda _: has_begun.set()))
    await has_begun.wait()
    running.cancel()
    result = await running
    assert result.is_interrupted
    assert result.figure("deliveries")
    assert result.timeline


async def test_a_target_that_does_not_listen_is_told_once() -> None:
    with socket.socket() as sock:  # bound, but not listening
        sock.bind(("127.0.0.1", 0))
        target = f"ws://127.0.0.1:{sock.getsockname()[1]}/ws"
        with pytest.raises(LoadError, match=f"^cannot reach {target}: ") as caught:
            await run(Plan("fanout", target, OPTIONS, workers=2))
    assert caught.value.__cause__ is None


async def test_a_target_that_answers_something_else_is_quoted(target: str) -> None:
    with pytest.raises(LoadError, match="404 Not Found"):
        await run(Plan("fanout", target.replace("/ws", "/nothing"), OPTIONS))


async def test_a_process_that_does_not_exist_is_named(target: str) -> None:
    pid = 2**22 + 1  # above the most that Linux gives
    with pytest.raises(LoadError, match=f"no process of pid {pid}"):
        await run(Plan("fanout", target, OPTIONS, pid=pid))


async def test_a_server_that_is_gone_at_the_end_is_told(target: str) -> None:
    short = await asyncio.create_subprocess_exec("sleep", "0.5")
    with pytest.raises(LoadError, match=f"the server of pid {short.pid} is gone"):
        await run(Plan("fanout", target, OPTIONS, seconds=30, pid=short.pid))
    await short.wait()
