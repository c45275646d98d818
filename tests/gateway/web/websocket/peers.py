"""Servers of a WebSocketResponse and their clients: `websockets`, and raw sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect

from gateway.web.request import BaseRequest
from gateway.web.server import Server
from gateway.web.websocket.response import WebSocketResponse, WSMsgType

KEY = bytes(4)  # masks nothing
HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPTED = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
BIG = 1 << 20

Handler = Callable[[BaseRequest], Awaitable[Any]]


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[tuple[Server, int]]:
    """Serve handler on the loopback; give the server and its port."""
    server = Server(handler, access_log=None, **options)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield server, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(1)


class Raw:
    """A client that sends what it is told to, right or wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def shake_hands(self, behind: bytes = b"", offer: bytes = b"") -> None:
        extensions = b"Sec-WebSocket-Extensions: %b\r\n" % offer if offer else b""
        self.writer.write(HANDSHAKE[:-2] + extensions + b"\r\n" + behind)
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert ACCEPTED in head

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self, count: int) -> bytes:
        return await self.reader.readexactly(count)

    async def read_close(self) -> int:
        """Return the code of the close frame that comes next."""
        first, size = await self.read(2)
        assert first == 0x88
        return int.from_bytes((await self.read(size))[:2], "big")


@asynccontextmanager
async def raw_client(port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def opening(
    open_client: Callable[[int], Any], offer: bytes = b"", **options: Any
) -> AsyncIterator[tuple[WebSocketResponse, Any]]:
    """Give both ends of an open WebSocket; the server's handler waits until the test is over."""
    websocket = WebSocketResponse(**options)
    is_open, is_over = asyncio.Event(), asyncio.Event()

    async def handler(request: BaseRequest) -> WebSocketResponse:
        await websocket.prepare(request)
        is_open.set()
        await is_over.wait()
        return websocket

    async with serving(handler) as (_, port), open_client(port) as client:
        if isinstance(client, Raw):
            await client.shake_hands(offer=offer)
        await is_open.wait()
        try:
            yield websocket, client
        finally:
            is_over.set()


def opened(offered: Any = None, extensions: Any = None, **options: Any) -> Any:
    """As opening(), with a client of `websockets` that offers subprotocols and extensions."""

    def client(port: int) -> Any:
        return connect(
            f"ws://127.0.0.1:{port}/chat",
            subprotocols=offered,
            extensions=extensions,
            compression=None,
            max_size=None,
        )

    return opening(client, **options)


def raw_opened(**options: Any) -> Any:
    """As opening(), with a Raw client; offer is its Sec-WebSocket-Extensions header."""
    return opening(raw_client, **options)


async def echo(request: BaseRequest) -> WebSocketResponse:
    websocket = WebSocketResponse(max_msg_size=2 * BIG)
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
    return websocket
