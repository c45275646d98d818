"""The search for silent losses, for some seconds against a gateway that is killed and restarted."""

import asyncio
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from loadtest.errors import LoadError
from loadtest.result import Result
from loadtest.run import Plan, run
from loadtest.scenario import OWN_GATEWAY

NO_FAULTS = dict.fromkeys(("lost", "duplicated", "reordered", "unannounced", "wrong"), 0)
TRANSPORTS = {"websocket json", "websocket msgpack", "sse", "longpoll", "history"}
OPTIONS = {"clients": 24, "seed": 4}

# Two of them, however long the machine takes for it. How much is tried meanwhile is up to the
# machine, so the tests ask for little.
RESTARTS = {"restarts": 2, "restart_every": 2.0, "stall": 0.7}


async def search(target: str, seconds: float, **options: object) -> Result:
    """Return the result of a search, which must have found nothing."""
    result = await run(Plan("losses", target, {**OPTIONS, **options}, seconds=seconds))
    assert result.faults == NO_FAULTS
    assert result.figure("clients caught up") == 24
    assert kinds(result, "visits by ") == TRANSPORTS
    return result


def kinds(result: Result, what: str) -> set[str]:
    return {each.name.removeprefix(what) for each in result.figures if each.name.startswith(what)}


async def test_nothing_is_lost_silently_while_the_gateway_is_killed_and_drained() -> None:
    result = await search(OWN_GATEWAY, 60, **RESTARTS)
    assert result.figure("restarts") == 2
    assert (result.figure("deliveries") or 0) > 300
    assert (result.figure("gaps for epoch") or 0) > 0
    assert (result.figure("publications repeated") or 0) > 0


async def test_nothing_acknowledged_is_lost_where_logs_are_kept_on_disk() -> None:
    result = await search(OWN_GATEWAY, 60, data=True, **RESTARTS)
    assert result.figure("restarts") == 2
    assert (result.figure("deliveries") or 0) > 300
    assert (result.figure("publications repeated") or 0) > 0
    assert kinds(result, "gaps for ") <= {"expired", "slow"}


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_a_running_gateway_is_searched_without_restarts(url: str, scheme: str) -> None:
    result = await search(url.replace("http", scheme), 2, stall=0.3)
    assert result.figure("restarts") == 0
    assert (result.figure("deliveries") or 0) > 100
    assert "epoch" not in kinds(result, "gaps for ")


async def test_interrupting_it_gives_what_was_checked_so_far() -> None:
    has_begun = asyncio.Event()
    plan = Plan("losses", OWN_GATEWAY, {**OPTIONS, "restart": "none"}, seconds=3600)
    running = asyncio.create_task(
        run(plan, lambda point: has_begun.set() if point.events_per_s else None)
    )
    await has_begun.wait()
    running.cancel()
    result = await running
    assert result.is_interrupted
    assert result.figure("deliveries")
    assert result.figure("clients caught up") == 0
    assert result.faults == NO_FAULTS


async def test_a_target_that_is_no_gateway_is_told_at_once() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever).start()
        target = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(LoadError, match=f"^{target} does not answer as a gateway: "):
            await run(Plan("losses", target, OPTIONS))
        server.shutdown()


async def test_it_is_a_single_worker_that_knows_of_all() -> None:
    with pytest.raises(LoadError, match="leave --workers out"):
        await run(Plan("losses", OWN_GATEWAY, OPTIONS, workers=2))
