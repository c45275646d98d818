"""Pings at an interval, for a WebSocket whose handler asked for them."""

from gateway.web.flow import count_unread_bytes
from gateway.web.sweep import Sweep
from gateway.web.websocket.connection import WebSocketConnection
from protocol.frames import PING


class Heartbeat:
    """A ping to a peer that was not heard between two visits; it has until the next to be heard.

    The period of the sweep is half of the interval: nobody is silent for a whole interval without a
    ping, a peer that only answers gets one per interval, and one that is gone is given up half an
    interval after its ping, so within one and a half of what was last heard.

    Whatever the peer sends counts, a part of a frame too, whether anybody receives it or not. Where
    the ping has to wait behind what was written before, so does what the peer takes of that, for as
    long as it takes more.
    """

    __slots__ = ("_connection", "_is_pinged", "_sweep", "_unread_bytes")

    def __init__(self, connection: WebSocketConnection, sweep: Sweep) -> None:
        self._connection = connection
        self._sweep = sweep
        self._is_pinged = False
        self._unread_bytes = 0  # before the last ping, and then whenever it was looked for
        sweep.add(self)

    def stop(self) -> None:
        """Send no more pings."""
        self._sweep.remove(self)

    def beat(self) -> None:
        """Ping a peer that was not heard since the last visit; give up one pinged by that."""
        connection = self._connection
        if connection.heard:
            connection.heard = self._is_pinged = False
            return
        unread_bytes = count_unread_bytes(connection.asyncio_transport)
        if not self._is_pinged:
            connection.send(PING, b"")
            self._is_pinged = True
        elif unread_bytes >= self._unread_bytes and not connection.is_closing:
            # A closing handshake has its own timeout.
            silence_s = self._sweep.period_s
            connection.abort(TimeoutError(f"No PONG received after {silence_s} seconds"))
        self._unread_bytes = unread_bytes
