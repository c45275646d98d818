"""The connect storm against a real node, and against servers that do not take everybody."""

import asyncio

import pytest

from gateway.node import Node
from loadtest.run import Plan, run
from tests.loadtest.wrong_server import OPENED, SWITCHING, serve_wrongly


@pytest.mark.parametrize("options", [{}, {"rate": 200.0}, {"bare": True}], ids=str)
async def test_all_are_opened_and_each_has_a_latency(
    target: str, options: dict[str, object]
) -> None:
    result = await run(Plan("connect", target, {"connections": 20, **options}, workers=2))
    assert result.figure("connections") == 20
    assert result.histogram().count == 20
    assert result.faults == {"failed": 0, "lost": 0}


async def test_only_who_is_not_bare_subscribes(target: str, node: Node) -> None:
    before = node.hub.subscription_count
    await run(Plan("connect", target, {"connections": 3, "bare": True}))
    assert node.hub.subscription_count == before


async def test_each_round_ends_by_resets_that_leave_no_port_waiting() -> None:
    resets = asyncio.Semaphore(0)

    async def script(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(OPENED)
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
        resets.release()

    async with serve_wrongly(script) as target:
        result = await run(Plan("connect", target, {"connections": 5, "rounds": 4}))
        for _ in range(21):  # with the one that only looks
            await resets.acquire()
    assert result.figure("connections") == 20


async def test_the_rate_bounds_how_fast_it_goes(target: str) -> None:
    result = await run(Plan("connect", target, {"connections": 11, "rate": 20.0}))
    assert result.elapsed_s >= 0.5


async def test_connections_that_are_refused_are_counted_by_reason() -> None:
    async def script(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        full = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
        writer.write(full if number > 3 else OPENED)
        await reader.read(-1)

    async with serve_wrongly(script) as target:  # the first connection only looks
        result = await run(Plan("connect", target, {"connections": 10}))
    assert result.figure("connections") == 3
    (reason, count), (lost, lost_count) = result.faults.items()
    assert reason.startswith("failed: the target answered b'HTTP/1.1 503 Service Unavailable")
    assert (count, lost, lost_count) == (7, "lost", 0)


async def test_connections_that_are_closed_again_are_counted() -> None:
    async def script(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(SWITCHING)
        if number not in (2, 4):
            await reader.read(-1)

    async with serve_wrongly(script) as target:
        # Slow enough that the end of each is heard before the last has come.
        options = {"connections": 5, "bare": True, "rate": 10.0}
        result = await run(Plan("connect", target, options, dialect="plain"))
    assert result.faults == {"failed": 0, "lost": 2}
