"""Visitors who come and go, at a real node and at one that does not treat all of them well."""

import asyncio
import json

import pytest

from gateway.node import Node
from loadtest.errors import LoadError
from loadtest.run import Plan, run
from protocol.frames import TEXT, encode_frame
from tests.loadtest.wrong_server import OPENED, SWITCHING, serve_wrongly

NO_FAULTS = {"missing": 0, "repeated": 0, "lost connections": 0, "failed visits": 0}


@pytest.mark.parametrize("vanishing", [0, 100])
async def test_many_visit_and_all_of_them_leave(target: str, node: Node, vanishing: int) -> None:
    options = {"visitors": 6, "stay": 0.05, "vanishing": vanishing, "rate": 300.0}
    result = await run(Plan("churn", target, options, seconds=1, workers=2))
    assert (result.figure("visits") or 0) > 12
    assert (result.figure("publications") or 0) > 30
    assert (result.figure("deliveries") or 0) > 30
    assert result.histogram().count > 6
    assert result.faults == NO_FAULTS


async def test_the_number_of_visitors_stays_the_same(target: str, node: Node) -> None:
    counts = []
    options = {"visitors": 5, "stay": 0.2}
    await run(
        Plan("churn", target, options, seconds=3.5), lambda _: counts.append(len(node.hub.sessions))
    )
    assert max(counts) <= 2 * 5 + 1  # some of whom have vanished a moment ago, and the publisher
    assert min(counts) >= 1


def push(**fields: object) -> bytes:
    return encode_frame(TEXT, json.dumps(fields, separators=(",", ":")).encode())


def message(offset: int) -> bytes:
    return push(type="message", channel="", offset=offset, data="")


async def test_what_is_wrong_within_a_visit_is_counted() -> None:
    # What visitors are given, in the order of their coming; the fourth is refused.
    given = [[1, 2, 4], [1, 2, 2, 3], [1]]

    async def script(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if number == 0:  # the publisher
            writer.write(SWITCHING)
            while await reader.readuntil(b'"publish"'):
                writer.write(push(type="published", id=1, channel="", epoch="e", offset=1))
        elif number == 4:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
            await writer.drain()
        else:
            offsets = given[number - 1] if number <= 3 else []
            writer.write(OPENED + b"".join(message(offset) for offset in offsets))
            await reader.readuntil(b'"subscribe"')
            if number != 3:
                await reader.read(-1)

    async with serve_wrongly(script) as target:
        options = {"visitors": 3, "stay": 0.1, "vanishing": 100}
        result = await run(Plan("churn", target, options, seconds=2))
    assert result.faults == {
        "missing": 1,
        "repeated": 1,
        "lost connections": 1,
        "failed visits": 1,
    }


async def test_a_share_above_all_is_refused(target: str) -> None:
    with pytest.raises(LoadError, match="percentage, not 101"):
        await run(Plan("churn", target, {"vanishing": 101}))
