"""A server that takes any upgrade and subscription, and then does what a test makes of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from protocol.frames import TEXT, encode_frame

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
SUBSCRIBED = encode_frame(
    TEXT,
    b'{"type":"subscribed","id":1,"channel":"news","epoch":"e","offset":0,"recovered":false}',
)
OPENED = SWITCHING + SUBSCRIBED

# What a connection gets: its number, from 0 on, and its two ends.
Script = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serve_wrongly(script: Script) -> AsyncIterator[str]:
    """Give the ws:// URL of a server that runs script for each connection, and then closes it."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        number, count = count, count + 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await script(number, reader, writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"ws://{host}:{port}/ws"
