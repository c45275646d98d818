"""Lean WebSocket connections for load: they hand on what arrives, and make no object per message.

The driver must not be the bottleneck, so it computes how long every delivery is instead of decoding
what arrives; a lost or repeated delivery shows as a wrong count.
"""

import asyncio
import json
from collections.abc import Callable
from urllib.parse import urlsplit

from loadtest.errors import LoadError, Unreachable
from protocol.frames import TEXT, encode_masked_frame

_REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9hZHRlc3QgbG9hZHRlcw==\r\n\r\n"
)
# RFC 6455 section 5.3 wants unpredictable keys because of proxies, which do not stand in between.
_KEY = b"\0\0\0\0"
# A handshake, a welcome and a reply are below this; more before the reply is not our protocol.
_MAX_OPENING_BYTES = 64 * 1024

# Connections that are opened at the same time: below the smallest usual listen backlog.
_OPENING_COUNT = 64


# What is told of every piece of data: which connection it came on, and the data.
OnData = Callable[["LoadConnection", bytes], None]


class LoadConnection(asyncio.Protocol):
    """One connection: once it has read marker it gives on_data what arrives, as it arrives."""

    asyncio_transport: asyncio.Transport

    def __init__(self, marker: bytes, on_data: OnData) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._marker = marker
        self._on_data = on_data
        self._opening = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the asyncio transport, which asyncio types too widely."""
        self.asyncio_transport = transport

    def data_received(self, data: bytes) -> None:
        """Look for the marker, then hand on."""
        if self.opened.done():
            self._on_data(self, data)
            return
        self._opening += data
        if self._marker in self._opening:
            self.opened.set_result(None)
        elif len(self._opening) > _MAX_OPENING_BYTES or self._is_refused:
            self._fail(f"the target answered {self._opening[:200]!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail an opening that was not finished."""
        self._fail(f"the target closed the connection: {exc or 'no reason given'}")

    def send(self, messages: list[bytes]) -> None:
        """Send text messages in one write."""
        self.asyncio_transport.write(
            b"".join(encode_masked_frame(TEXT, each, _KEY) for each in messages)
        )

    @property
    def _is_refused(self) -> bool:
        return self._opening[:12] != b"HTTP/1.1 101"[: len(self._opening)]

    def _fail(self, reason: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(LoadError(reason))


async def connect(target: str, first: bytes, marker: bytes, on_data: OnData) -> LoadConnection:
    """Return a connection to target, a ws:// URL, that has sent first and has read marker.

    Raises LoadError, Unreachable where no connection comes about.
    """
    url = urlsplit(target)
    if url.scheme != "ws" or url.hostname is None:
        raise LoadError(f"{target!r} is not a ws:// URL")
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_connection(
            lambda: LoadConnection(marker, on_data), url.hostname, url.port or 80
        )
    except OSError as error:
        raise Unreachable(target, error) from error
    connection.asyncio_transport.write(
        _REQUEST.format(path=url.path or "/ws", host=url.netloc).encode()
    )
    connection.send([first])
    await connection.opened
    return connection


async def open_subscribers(
    target: str, count: int, channel: str, on_data: OnData
) -> list[LoadConnection]:
    """Return count connections that are subscribed to channel; raises as connect does."""
    first = json.dumps({"type": "subscribe", "id": 1, "channel": channel}).encode()
    connections: list[LoadConnection] = []
    try:
        while len(connections) < count:
            opening = (
                connect(target, first, b'"type":"subscribed"', on_data)
                for _ in range(min(_OPENING_COUNT, count - len(connections)))
            )
            connections += await asyncio.gather(*opening)
    except BaseException:
        for connection in connections:
            connection.asyncio_transport.abort()
        raise
    return connections
