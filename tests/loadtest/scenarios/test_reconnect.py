"""Reconnect storms with a real gateway, which is restarted."""

import asyncio

import pytest

from loadtest.clients.connection import parse_target
from loadtest.clients.subscriber import Subscriber
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.recorder import Recorder
from loadtest.run import Plan, run
from loadtest.scenario import OWN_GATEWAY
from loadtest.scenarios import reconnect
from protocol.cursor import Position

NO_FAULTS = {"missing": 0, "repeated": 0, "stayed away": 0, "gaps though logs are kept": 0}


async def test_after_a_drain_everybody_comes_back_and_is_told_what_is_gone() -> None:
    result = await run(Plan("reconnect", OWN_GATEWAY, {"subscribers": 20}))
    assert result.figure("returns") == 20
    assert result.histogram().count == 20
    assert result.figure("gaps") == 20
    assert result.figure("returns without a gap") == 0
    assert (result.figure("deliveries") or 0) > 20
    assert result.faults == NO_FAULTS
    assert result.warnings == []


async def test_what_is_kept_on_disk_outlives_a_kill() -> None:
    options = {"subscribers": 10, "restarts": 2, "signal": "kill", "data": True, "rate": 200.0}
    result = await run(Plan("reconnect", OWN_GATEWAY, options))
    assert result.figure("returns without a gap") == result.figure("returns") == 20
    assert result.figure("gaps") == 0
    assert (result.figure("down for") or 0) > 0
    assert result.faults == NO_FAULTS


async def test_another_target_cannot_be_restarted(target: str) -> None:
    with pytest.raises(LoadError, match="no --target"):
        await run(Plan("reconnect", target, {}))


async def test_a_connection_that_got_nowhere_comes_back_no_second_time() -> None:
    job = Job("reconnect", OWN_GATEWAY, "gateway", "k", 0.0, {"subscribers": 1})
    share = reconnect.Share(job, Recorder())
    share.come_back(0, Subscriber(parse_target("ws://127.0.0.1/ws")))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await share.close()


@pytest.mark.parametrize(
    ("position", "count"),
    [(Position("e", 7), 0), (Position("e", 4), 3), (Position("d", 7), 7), (None, 7)],
)
def test_what_somebody_has_not_got_at_the_end_is_missing(
    position: Position | None, count: int
) -> None:
    assert reconnect.count_missing(position, Position("e", 7)) == count
