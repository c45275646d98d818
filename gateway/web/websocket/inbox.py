"""From the callbacks of a WebSocketConnection to what a handler can await."""

import asyncio
from collections import deque
from typing import Final

from gateway.web.flow import WriteFlow
from gateway.web.sweep import Sweep
from gateway.web.websocket.connection import Listener, WebSocketConnection
from gateway.web.websocket.heartbeat import Heartbeat
from gateway.web.websocket.message import CLOSED_MESSAGE, CLOSING_MESSAGE, WSMessage, WSMsgType
from protocol.codes import CloseCode
from protocol.errors import WebSocketError
from protocol.frames import MAX_SHORT_BYTES

# Messages that nobody has received yet, as aiohttp bounds them. Above it nothing more is taken, so
# that the peer waits. It goes on when all are received: then it is not switched for every message,
# and only putting counts.
MAX_INBOX_BYTES: Final = 128 * 1024
# What an empty message takes: the tuple, the object in it, its place in the queue.
MESSAGE_OVERHEAD_BYTES: Final = 128

# By opcode.
DATA_TYPES: Final = (WSMsgType.CONTINUATION, WSMsgType.TEXT, WSMsgType.BINARY)
# A NamedTuple's own constructor is written in Python, and takes twice as long.
new_message: Final = tuple.__new__


class Inbox(Listener):
    """What one connection has received, oldest first, for one receiver; and the waiting to write.

    An empty inbox holds no queue. Above max_bytes of messages, each with MESSAGE_OVERHEAD_BYTES,
    nothing more is taken.
    """

    __slots__ = (
        "_decode_text",
        "_end_waiter",
        "_flow",
        "_heartbeat",
        "_is_ended",
        "_is_shut",
        "_later",
        "_max_bytes",
        "_next",
        "_size_bytes",
        "connection",
        "exception",
        "waiter",
    )

    connection: WebSocketConnection

    def __init__(self, *, decode_text: bool = True, max_bytes: int = MAX_INBOX_BYTES) -> None:
        self._decode_text = decode_text
        self._max_bytes = max_bytes
        self.exception: Exception | None = None  # what ended the connection, if an exception did
        self._next: WSMessage | None = None  # the oldest
        self._later: deque[WSMessage] | None = None  # those behind it, where there are any
        self._size_bytes = 0  # of what was put since the inbox was empty
        self.waiter: asyncio.Future[None] | None = None  # of the get() that is under way
        self._end_waiter: asyncio.Future[None] | None = None
        self._flow: WriteFlow | None = None
        self._heartbeat: Heartbeat | None = None
        self._is_shut = False
        self._is_ended = False

    def attach(self, connection: WebSocketConnection) -> None:
        """Take connection, whose listener this is, before its first bytes."""
        self.connection = connection

    def start_heartbeat(self, sweep: Sweep) -> None:
        """Look after the peer at every visit of sweep, until the end."""
        if not self._is_ended:
            self._heartbeat = Heartbeat(self.connection, sweep)

    @property
    def is_empty(self) -> bool:
        """Whether get() would wait, or say CLOSED."""
        return self._next is None

    async def get(self) -> WSMessage:
        """Return the oldest message, waiting for one; CLOSED once the connection is over.

        After the last one it reads on. Cancelling it loses no message.
        """
        while (message := self._next) is None:
            if self._is_ended:
                return CLOSED_MESSAGE
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None
        if self._later:
            self._next = self._later.popleft()
            return message
        self._next = self._later = None
        size_bytes, self._size_bytes = self._size_bytes, 0
        if size_bytes > self._max_bytes:
            self.connection.resume_reading()
        return message

    def shut(self) -> None:
        """Drop what waits and what comes; a get() that is under way returns CLOSING."""
        self._is_shut = True
        self._stop_heartbeat()
        self._next = self._later = None
        self._size_bytes = 0
        if self.waiter is not None:
            self._put(CLOSING_MESSAGE)

    async def wait_ended(self) -> None:
        """Wait until the connection is over."""
        if not self._is_ended:
            self._end_waiter = asyncio.get_running_loop().create_future()
            await self._end_waiter

    async def drain(self) -> None:
        """Wait while the peer reads too slowly; raise ConnectionResetError if it leaves."""
        if self._flow is not None:
            await self._flow.drain()

    def on_message(self, opcode: int, data: str | bytes) -> None:
        """Keep a message; a text as bytes if it is wanted so."""
        if not self._decode_text and isinstance(data, str):
            data = data.encode()
        self._put(new_message(WSMessage, (DATA_TYPES[opcode], data, "")), len(data))

    def on_ping(self, payload: bytes) -> None:
        """Keep a ping that the handler answers itself."""
        self._put(WSMessage(WSMsgType.PING, payload, ""))

    def on_pong(self, payload: bytes) -> None:
        """Keep a pong for a handler that wants to see it."""
        self._put(WSMessage(WSMsgType.PONG, payload, ""))

    def on_close(self, code: int, reason: str) -> None:
        """Keep the close frame: what came before it is received, and may be answered, first."""
        data = 0 if code == CloseCode.NO_STATUS_RECEIVED else code
        self._put(WSMessage(WSMsgType.CLOSE, data, reason))

    def on_error(self, error: WebSocketError) -> None:
        """Tell the peer what it did wrong, but let what came before be answered first."""
        if self._next is None:
            self.connection.close()
        else:
            self.exception = error
            self._put(WSMessage(WSMsgType.ERROR, error, None))

    def on_pause_writing(self) -> None:
        """Make drain() wait."""
        if self._flow is None:
            self._flow = WriteFlow(self.connection.asyncio_transport)
        self._flow.pause()

    def on_resume_writing(self) -> None:
        """Let drain() return."""
        if self._flow is not None:
            self._flow.resume()

    def on_closed(self, code: int, reason: str, exc: Exception | None) -> None:
        """End every waiting; an end that is neither polite nor a lost connection is a message."""
        is_news = exc is not None and exc is not self.exception
        self.exception = exc
        self._is_ended = True
        self._stop_heartbeat()
        if is_news and not isinstance(exc, ConnectionError) and not self._is_shut:
            self._put(WSMessage(WSMsgType.ERROR, exc, None))
        _wake(self.waiter)
        _wake(self._end_waiter)
        if self._flow is not None:
            self._flow.lose()

    def _stop_heartbeat(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None

    def _put(self, message: WSMessage, size_bytes: int = MAX_SHORT_BYTES) -> None:
        """Append message and wake its receiver; pause reading when it is one too many.

        What is none of text or binary counts as a control frame, however short.
        """
        if self._next is None:
            self._next = message
        elif self._later is None:
            self._later = deque((message,))
        else:
            self._later.append(message)
        self._size_bytes += size_bytes + MESSAGE_OVERHEAD_BYTES
        if self._size_bytes > self._max_bytes:
            self.connection.pause_reading()
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    """Let a waiter go on, if there is one that still waits."""
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
