"""Pings at an interval, for a WebSocket whose handler asked for them."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

from gateway.web.websocket.connection import WebSocketConnection
from protocol.frames import PING

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows does not tell
    ioctl = None  # type: ignore[assignment]


class Heartbeat:
    """One ping per interval; a peer from which nothing comes within half of it is given up.

    Whatever the peer sends counts, a part of a frame too, whether anybody receives it or not. Where
    the ping has to wait behind what was written before, so does what the peer takes of that, for as
    long as it takes more.
    """

    __slots__ = ("_connection", "_interval_s", "_timer", "_unread_bytes")

    def __init__(self, connection: WebSocketConnection, interval_s: float) -> None:
        self._connection = connection
        self._interval_s = interval_s
        self._unread_bytes = 0  # before the last ping, and then whenever it was looked for
        self._timer = asyncio.get_running_loop().call_later(interval_s, self._beat)

    def stop(self) -> None:
        """Send no more pings."""
        self._timer.cancel()

    def _beat(self) -> None:
        self._connection.heard = False
        self._unread_bytes = self._count_unread_bytes()
        self._connection.send(PING, b"")
        self._call_later(self._check)

    def _check(self) -> None:
        unread_bytes = self._count_unread_bytes()
        if self._connection.heard:
            self._call_later(self._beat)
        elif unread_bytes < self._unread_bytes:
            self._unread_bytes = unread_bytes
            self._call_later(self._check)
        elif not self._connection.is_closing:  # else the closing handshake has its own timeout
            silence_s = self._interval_s / 2
            self._connection.abort(TimeoutError(f"No PONG received after {silence_s} seconds"))

    def _count_unread_bytes(self) -> int:
        """Return how much of what was written the peer's machine has not taken.

        The kernel's buffer is part of it where it tells: on a slow path that holds half a minute.
        """
        connection = self._connection
        socket = connection.asyncio_transport.get_extra_info("socket")
        kernel_bytes = 0
        if ioctl is not None and socket is not None and socket.fileno() >= 0:
            with suppress(OSError):
                kernel_bytes = int.from_bytes(ioctl(socket, TIOCOUTQ, bytes(4)), sys.byteorder)
        return connection.write_buffer_bytes + kernel_bytes

    def _call_later(self, step: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval_s / 2, step)
