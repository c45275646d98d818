"""Pings at an interval, for a WebSocket whose handler asked for them."""

import asyncio
from collections.abc import Callable

from gateway.web.websocket.connection import WebSocketConnection
from protocol.frames import PING


class Heartbeat:
    """One ping per interval; a peer from which nothing comes within half of it is given up.

    Whatever the peer sends counts, a part of a frame too, whether anybody receives it or not.
    """

    __slots__ = ("_connection", "_interval_s", "_timer")

    def __init__(self, connection: WebSocketConnection, interval_s: float) -> None:
        self._connection = connection
        self._interval_s = interval_s
        self._timer = asyncio.get_running_loop().call_later(interval_s, self._beat)

    def stop(self) -> None:
        """Send no more pings."""
        self._timer.cancel()

    def _beat(self) -> None:
        self._connection.heard = False
        self._connection.send(PING, b"")
        self._call_later(self._check)

    def _check(self) -> None:
        if self._connection.heard:
            self._call_later(self._beat)
        elif not self._connection.is_closing:  # else the closing handshake has its own timeout
            silence_s = self._interval_s / 2
            self._connection.abort(TimeoutError(f"No PONG received after {silence_s} seconds"))

    def _call_later(self, step: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval_s / 2, step)
