"""python-websockets on uvloop, with compression and keepalive pings off.

The hub publishes by broadcast(), which encodes a frame once and writes it to all without waiting,
as the library's documentation advises for many subscribers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from loadtest.peers.program import BACKLOG_COUNT, HOST, MAX_MESSAGE_BYTES, run

_SUBSCRIBERS: Final = defaultdict[str, set[ServerConnection]](set)


async def _hub(connection: ServerConnection) -> None:
    assert connection.request is not None
    channel = connection.request.path[1:]
    _SUBSCRIBERS[channel].add(connection)
    try:
        async for message in connection:
            _publish(str(message))
    finally:
        _SUBSCRIBERS[channel].discard(connection)


def _publish(message: str) -> None:
    channel, _, data = message.partition(" ")
    broadcast(_SUBSCRIBERS[channel], data)


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def _serve(handler: Callable[[ServerConnection], Awaitable[None]], port: int) -> None:
    async with serve(
        handler,
        HOST,
        port,
        compression=None,
        ping_interval=None,
        max_size=MAX_MESSAGE_BYTES,
        backlog=BACKLOG_COUNT,
    ):
        await asyncio.Event().wait()


def _start(handler: Callable[[ServerConnection], Awaitable[None]], port: int) -> None:
    uvloop.run(_serve(handler, port))


if __name__ == "__main__":
    run({"hub": partial(_start, _hub), "echo": partial(_start, _echo)})
