"""What slow subscribers cost, in small; tests/gateway/test_node_memory.py has it in earnest."""

import asyncio
import json

import pytest

from loadtest.errors import LoadError
from loadtest.run import Plan, run
from protocol.frames import TEXT, encode_frame
from tests.loadtest.wrong_server import OPENED, SWITCHING, serve_wrongly


async def test_a_run_in_which_nobody_falls_behind_is_told_so(target: str) -> None:
    options = {"subscribers": 4, "stalled": 1, "megabytes": 1}
    result = await run(Plan("slow", target, options, workers=2))
    assert result.figure("publications") == 16
    assert result.figure("deliveries") == 64
    assert result.figure("missed by the stalled") == 0
    assert result.figure("server memory growth") is None
    assert result.faults == {
        "incomplete": 0,
        "out of order": 0,
        "stalled without a gap": 1,
        "gaps of others": 0,
    }


async def test_latencies_are_those_of_who_reads(target: str) -> None:
    result = await run(Plan("slow", target, {"subscribers": 4, "stalled": 1, "megabytes": 1}))
    assert result.histogram().count == 3 * 16


def push(**fields: object) -> bytes:
    return encode_frame(TEXT, json.dumps(fields, separators=(",", ":")).encode())


async def test_each_subscriber_who_was_given_something_else_is_counted() -> None:
    last = push(type="message", channel="news", offset=16, data="")
    before = [push(type="message", channel="news", offset=n, data="") for n in range(1, 16)]
    gap = push(type="gap", channel="news", epoch="e", reason="slow", **{"from": 1, "to": 15})
    given = [
        [*before, last],  # who stalls comes last, and should have a gap
        [gap, last],
        [*before[:5], *before[6:], last],
        [*before, *before[-1:], last],
    ]
    everybody = asyncio.Barrier(4)

    async def script(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if number == 4:
            writer.write(SWITCHING)
            for _ in range(16):
                await reader.readuntil(b'"publish"')
                writer.write(push(type="published", id=1, channel="news", epoch="e", offset=1))
        else:
            writer.write(OPENED)
            await reader.readuntil(b'"subscribe"')
            await everybody.wait()
            writer.write(b"".join(given[number - 3]))
        await reader.read(-1)

    async with serve_wrongly(script) as target:
        result = await run(Plan("slow", target, {"subscribers": 4, "stalled": 1, "megabytes": 1}))
    assert result.faults == {
        "incomplete": 0,
        "out of order": 2,
        "stalled without a gap": 1,
        "gaps of others": 1,
    }


async def test_a_publication_that_is_refused_for_good_ends_the_run() -> None:
    async def script(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(SWITCHING if number == 2 else OPENED)
        if number == 2:
            await reader.readuntil(b'"publish"')
            writer.write(push(type="error", id=1, code="unauthorized", message="no", retry=False))
        await reader.read(-1)

    async with serve_wrongly(script) as target:
        with pytest.raises(LoadError, match="refused to publish: unauthorized: no"):
            await run(Plan("slow", target, {"subscribers": 2, "stalled": 1}))


async def test_somebody_must_read(target: str) -> None:
    with pytest.raises(LoadError, match="must read"):
        await run(Plan("slow", target, {"subscribers": 5, "stalled": 5}))
