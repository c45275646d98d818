"""One accepted socket: its bytes go to the current feed, HTTP first, a receiver after an upgrade."""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Receiver(Protocol):
    """What reads and writes a connection after an upgrade; it owns the asyncio transport then."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of the new protocol, in order; the first ones may have come with the head."""

    def eof_received(self) -> bool | None:
        """Hear that the peer sends no more; a true answer keeps the asyncio transport open."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear, once, that the socket is closed."""

    def pause_writing(self) -> None:
        """Hear that the asyncio transport is above its high-water mark."""

    def resume_writing(self) -> None:
        """Hear that the asyncio transport has drained."""


class Connection(asyncio.Protocol):
    """One accepted socket, from accept to close."""

    __slots__ = ("_feed", "_receiver", "asyncio_transport", "heard")

    asyncio_transport: asyncio.Transport
    heard: bool
    _feed: Callable[[bytes], None]
    _receiver: Receiver | None

    def data_received(self, data: bytes) -> None:
        """Hand the bytes to the current feed."""
        self.heard = True
        self._feed(data)

    def upgrade(self, receiver: Receiver) -> None:
        """Give the socket to receiver: from now on it hears what asyncio tells this connection.

        Bytes that arrived behind the head are delivered before this returns, so receiver must be ready.
        Raises ConnectionResetError if the peer has left already; receiver then hears nothing.
        """
        self._receiver = receiver
        self._feed = receiver.data_received
