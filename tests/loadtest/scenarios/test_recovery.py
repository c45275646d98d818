"""The recovery storm against a real node, and against one that keeps less than is asked for."""

import asyncio
import json
from itertools import pairwise

import pytest

from gateway.config import ChannelsConfig, Config, ServerConfig
from gateway.node import Node
from loadtest.clients.follower import Transcript
from loadtest.errors import LoadError
from loadtest.run import Plan, run
from protocol.frames import TEXT, encode_frame
from tests.loadtest.wrong_server import SWITCHING, serve_wrongly

NO_FAULTS = {"missing": 0, "repeated": 0, "gaps": 0, "lost connections": 0}


@pytest.mark.parametrize("workers", [1, 2])
async def test_every_session_gets_all_that_it_missed(target: str, workers: int) -> None:
    options = {"sessions": 7, "behind": 150, "bytes": 300}
    result = await run(Plan("recovery", target, options, workers=workers))
    assert result.figure("deliveries") == 7 * 150
    assert result.histogram().count == 7
    assert result.figure("longest time to live") == result.histogram().maximum()
    assert result.faults == NO_FAULTS


async def test_a_log_that_is_too_short_is_told_before() -> None:
    config = Config(server=ServerConfig(port=0), channels=ChannelsConfig(history_count=99))
    node = Node(config)
    await node.start()
    try:
        target = f"ws://127.0.0.1:{node.port}/ws"
        assert (await run(Plan("recovery", target, {"sessions": 2, "behind": 99}))).faults == (
            NO_FAULTS
        )
        with pytest.raises(LoadError, match=r"larger channels\.history_count"):
            await run(Plan("recovery", target, {"sessions": 2, "behind": 100}))
    finally:
        await node.stop()


def push(**fields: object) -> bytes:
    return encode_frame(TEXT, json.dumps(fields, separators=(",", ":")).encode())


async def test_what_a_session_was_not_given_or_given_twice_is_counted() -> None:
    channel = ""

    async def script(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal channel
        place = {"epoch": "e", "offset": 4}
        if number == 0:  # the publisher
            writer.write(SWITCHING)
            for _ in range(4):
                command = await reader.readuntil(b'"data"')
                writer.write(push(type="published", id=1, channel="", **place))
            channel = json.loads(command.rpartition(b'"channel": ')[2].partition(b",")[0])
        elif number in (1, 5):
            body = json.dumps({"positions": {channel: place}}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
            return
        else:
            writer.write(SWITCHING)
            await reader.readuntil(b'"subscribe"')
            log = Transcript(channel, f'"{"x" * 62}"', 4)
            first, second, third, fourth = (
                log.bytes[start:end] for start, end in pairwise(log.ends)
            )
            given = {3: [first, third, fourth], 4: [first, second, second, third, fourth]}
            subscribed = push(
                type="subscribed", id=1, channel="", epoch="e", offset=0, recovered=True
            )
            writer.write(b"".join([subscribed, *given.get(number, [])]))
        await reader.read(-1)

    async with serve_wrongly(script) as target:
        result = await run(Plan("recovery", target, {"sessions": 2, "behind": 4}))
    assert result.figure("deliveries") == 7
    assert result.faults == {**NO_FAULTS, "missing": 1, "repeated": 1}
