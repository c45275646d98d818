"""One accepted socket: its bytes go to HTTP first, and to a receiver after an upgrade."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from enum import Enum, auto
from http import HTTPStatus
from math import inf
from socket import SO_KEEPALIVE, SOL_SOCKET
from typing import Any, Final, Protocol

from gateway.web.body import BodyWriter, StreamReader
from gateway.web.exceptions import PayloadAccessError
from gateway.web.flow import WriteFlow
from gateway.web.intake import Intake
from gateway.web.seams import Receiver
from gateway.web.settings import Settings
from protocol.errors import HTTPError, StateError
from protocol.http1 import (
    HTTP_11,
    EndOfRequest,
    HeadLimits,
    RequestHead,
    encode_head,
)

__all__ = ["Connection", "Owner", "Receiver"]

# Bytes behind a request that must wait for its answer; beyond, the peer's TCP window holds them.
MAX_WAITING_BYTES: Final = 64 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Owner(Protocol):
    """What a connection needs of its server."""

    @property
    def settings(self) -> Settings:
        """The options."""

    @property
    def head_limits(self) -> HeadLimits:
        """The limits that the options set for a request's head."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop."""

    @property
    def context(self) -> Context:
        """The context in which requests begin."""

    @property
    def now(self) -> float:
        """The event loop's time, up to a second old."""

    def opened(self, connection: "Connection") -> None:
        """Take note of a new connection."""

    def closed(self, connection: "Connection") -> None:
        """Take note that connection has neither a socket nor a handler any more."""

    def answer(
        self,
        connection: "Connection",
        head: RequestHead,
        body: StreamReader | None,
        writer: BodyWriter,
    ) -> Coroutine[Any, Any, None]:
        """Answer one request and call connection.finish() whatever happens."""


class Phase(Enum):
    """What a connection is doing."""

    IDLE = auto()  # between two requests, or before the first
    HEAD = auto()  # a head has begun to arrive
    HANDLING = auto()  # a handler runs
    DRAINING = auto()  # the request is answered, and the rest of its body dropped as it comes
    CLOSING = auto()  # nothing is sent any more, and what comes is dropped
    UPGRADED = auto()  # a receiver has the socket
    LOST = auto()


# An attribute of an Enum class is a call in Python 3.11; these names are not.
_IDLE, _HEAD, _HANDLING, _DRAINING, _CLOSING, _UPGRADED, _LOST = Phase


class Connection(asyncio.Protocol):
    """One accepted socket, from accept to close.

    deadline is when expire() is due, by the event loop's time. heard is true once bytes have come
    since it was last cleared.
    """

    __slots__ = (
        "_awaits_continue",
        "_body",
        "_feed",
        "_flow",
        "_intake",
        "_is_last",
        "_is_reading_paused",
        "_owner",
        "_phase",
        "_writer",
        "asyncio_transport",
        "deadline",
        "heard",
        "receiver",
        "task",
    )

    asyncio_transport: asyncio.Transport
    _flow: WriteFlow
    _writer: BodyWriter

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._phase = _IDLE
        self._intake = Intake(owner.head_limits)
        self._feed: Callable[[bytes], None] = self._feed_http
        self._body: StreamReader | None = None  # of the request in hand, unless it has none
        self._awaits_continue = False  # whether the peer holds the body back until it is told to
        self._is_last = False  # whether the connection closes after the request in hand
        self._is_reading_paused = False
        self.deadline = inf
        self.heard = False
        self.receiver: Receiver | None = None
        self.task: asyncio.Task[None] | None = None  # the handler of the request in hand

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        self.asyncio_transport = transport
        self._flow = WriteFlow(transport)
        self.deadline = self._owner.now + self._owner.settings.head_timeout_s
        if self._owner.settings.tcp_keepalive:
            _keep_alive(transport)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Hand the bytes to the current feed."""
        self.heard = True
        self._feed(data)

    def eof_received(self) -> bool | None:
        """Take the end of the peer's bytes for its leaving, unless a receiver knows better."""
        if self.receiver is not None:
            return self.receiver.eof_received()
        if self._phase is _HEAD and isinstance(error := self._intake.end(), HTTPError):
            self._refuse(error)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who reads or writes here that the peer left."""
        self._phase = _LOST
        self.deadline = inf
        self._flow.lose()
        if self._body is not None:
            self._body.set_exception(ConnectionResetError("The peer left"))
        if self.receiver is not None:
            self.receiver.connection_lost(exc)
        if self.task is None:
            self._owner.closed(self)
        elif self._owner.settings.handler_cancellation:
            self.task.cancel()

    def pause_writing(self) -> None:
        """Let writers wait."""
        (self.receiver.pause_writing if self.receiver is not None else self._flow.pause)()

    def resume_writing(self) -> None:
        """Let writers go on."""
        (self.receiver.resume_writing if self.receiver is not None else self._flow.resume)()

    # What requests, responses and the server call.

    @property
    def is_lost(self) -> bool:
        """Whether the peer left, or was left: what is written reaches nobody."""
        return self._phase is _LOST or self.asyncio_transport.is_closing()

    @property
    def is_last(self) -> bool:
        """Whether the connection closes after the request in hand, whatever its peer wants."""
        return self._is_last or self._awaits_continue

    def upgrade(self, receiver: Receiver) -> None:
        """Give the socket to receiver: it hears from now on what asyncio tells this connection.

        Bytes that came behind the request are delivered before this returns: receiver must be
        ready. Raises ConnectionResetError if the peer left, and StateError where the body of the
        request has not arrived as a whole; receiver then hears nothing.
        """
        if self.is_lost:
            raise ConnectionResetError("The peer left")
        if self._is_body_incoming:
            raise StateError("The body of a request must be read before the connection is upgraded")
        self._phase = _UPGRADED
        self.deadline = inf
        self.receiver = receiver
        self._feed = receiver.data_received
        waiting = self._intake.take_unparsed()
        self._regulate_reading()
        if self._flow.is_paused:
            receiver.pause_writing()
        if waiting:
            receiver.data_received(waiting)

    def finish(self, keep_alive: bool) -> None:
        """Go on after the handler: to the next request, the rest of the body, or the end."""
        self.task = None
        if self._phase is _HANDLING:
            body = self._body
            if body is not None:
                body.set_exception(PayloadAccessError("The request has been answered"))
            if not keep_alive or self._is_last or self._awaits_continue:
                self._close()
            elif body is None or body.is_eof():
                self._become_idle()
            else:
                self._drain_body()
        elif self._phase is _LOST:
            self._owner.closed(self)

    @property
    def is_ending(self) -> bool:
        """Whether the connection will end by itself, once told to by the server."""
        if self._phase is _UPGRADED:
            return self.task is not None or hasattr(self.receiver, "shutdown")
        return True

    def shut_receiver_down(self) -> None:
        """Ask the receiver to finish, where there is one that knows how to."""
        shutdown = getattr(self.receiver, "shutdown", None)
        if shutdown is not None:
            shutdown()

    def close_when_done(self) -> None:
        """Close now if no request is in hand, otherwise after it; a receiver keeps its socket."""
        self._is_last = True
        if self._phase in (_IDLE, _HEAD, _DRAINING):
            self._close()

    def expire(self) -> None:
        """Act upon the deadline."""
        _ON_EXPIRY[self._phase](self)

    # The request in hand.

    def _feed_http(self, data: bytes) -> None:
        if self._phase is _IDLE and (head := self._intake.repeated(data)) is not None:
            self._handle(head)
        else:
            self._intake.add(data)
            self._advance()

    def _advance(self) -> None:
        """Take events until the next one must wait, or more bytes are needed."""
        intake = self._intake
        while self._wants_event and (event := intake.take()) is not None:
            _ON_EVENT[type(event)](self, event)
        if self._phase is _IDLE and not intake.is_idle:
            self._phase = _HEAD
            self.deadline = self._owner.now + self._owner.settings.head_timeout_s
        self._regulate_reading()

    @property
    def _wants_event(self) -> bool:
        if self._phase is _IDLE or self._phase is _HEAD:
            return True
        return self._body is not None and not self._body.is_eof() and not self._body.is_full

    @property
    def _is_body_incoming(self) -> bool:
        return self._body is not None and not self._body.is_eof()

    def _begin(self, head: RequestHead) -> None:
        if head.has_body:
            self._open_body(head)
        else:
            self._intake.take()  # its EndOfRequest, which came with it
        self._handle(head)

    def _handle(self, head: RequestHead) -> None:
        """Begin the handler's task."""
        owner = self._owner
        self._phase = _HANDLING
        writer = self._writer = BodyWriter(self._flow)
        self.task = owner.loop.create_task(owner.answer(self, head, self._body, writer))

    def _open_body(self, head: RequestHead) -> None:
        self._body = StreamReader(self._owner.settings.read_bufsize, self._go_on_with_body)
        expectation = head.headers.get("Expect", "")
        self._awaits_continue = head.version >= HTTP_11 and expectation.lower() == "100-continue"
        self.deadline = inf
        if not self._awaits_continue:
            self._expect_body()

    def _expect_body(self) -> None:
        self.deadline = self._owner.now + self._owner.settings.body_timeout_s

    def _go_on_with_body(self) -> None:
        """Let more of the body come: the handler wants it."""
        if self._awaits_continue:
            self._awaits_continue = False
            self._expect_body()
            if not self._writer.bytes_sent and not self.is_lost:
                self.asyncio_transport.write(CONTINUE)
        self._advance()

    def _take_body(self, data: bytes) -> None:
        assert self._body is not None
        self._awaits_continue = False
        self._body.feed_data(data)
        if self._phase is _HANDLING:
            self._expect_body()

    def _end_body(self, _event: EndOfRequest) -> None:
        assert self._body is not None
        self._awaits_continue = False
        self._body.feed_eof()
        self.deadline = inf
        if self._phase is _DRAINING:
            self._become_idle()

    def _break_off(self, error: HTTPError) -> None:
        """Answer a broken head; let the handler see a broken body."""
        if self._body is None:
            self._refuse(error)
            return
        self._is_last = True
        self.deadline = inf
        self._body.set_exception(error)
        if self._phase is _DRAINING:
            self._close()

    # Between requests, and the end.

    def _become_idle(self) -> None:
        self._phase = _IDLE
        self._body = None
        self.deadline = self._owner.now + self._owner.settings.keepalive_timeout
        if not self._intake.is_idle:
            # Not at once: the next request would inherit this one's context variables.
            self._owner.loop.call_soon(self._advance, context=self._owner.context)

    def _drain_body(self) -> None:
        self._phase = _DRAINING
        self.deadline = self._owner.now + self._owner.settings.lingering_time
        if self._owner.settings.lingering_time > 0:
            self._advance()
        else:
            self._close()

    def _refuse(self, error: HTTPError) -> None:
        """Answer what is no request, and close."""
        phrase = HTTPStatus(error.status).phrase
        text = f"{error.status} {phrase}\n\n{error.message}\n".encode()
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(text)),
            "Connection": "close",
        }
        self.asyncio_transport.write(encode_head(HTTP_11, error.status, phrase, headers) + text)
        self._owner.settings.logger.debug("Refused a request: %s %s", error.status, error.message)
        self._close(may_get_more=True)

    def _close(self, *, may_get_more: bool = False) -> None:
        """Send what is written and close, not before the peer has read it.

        A socket closed while the peer still sends is reset, and an answer not read yet goes with
        it. So the peer is told that nothing follows, and heard out for the lingering time.
        """
        settings = self._owner.settings
        may_get_more = may_get_more or self._is_body_incoming or not self._intake.is_idle
        self._phase = _CLOSING
        self._feed = _drop
        if may_get_more and settings.lingering_time > 0:
            self.deadline = self._owner.now + settings.lingering_time
            if self.asyncio_transport.can_write_eof():
                self.asyncio_transport.write_eof()
            self._intake.take_unparsed()
            self._regulate_reading()
        else:
            self.deadline = self._owner.now + settings.head_timeout_s
            self.asyncio_transport.close()

    def _stall(self) -> None:
        if not self._is_body_incoming:  # the deadline is one of before the request
            self.deadline = inf
        elif self._is_reading_paused:  # it is the handler that is slow
            self._expect_body()
        else:
            self._break_off(HTTPError(408, "The body did not arrive in time"))

    def _abort(self) -> None:
        self.asyncio_transport.abort()

    def _regulate_reading(self) -> None:
        """Let the peer send, unless more waits here than should."""
        is_full = self._intake.unparsed_bytes > MAX_WAITING_BYTES or (
            self._body is not None and self._body.is_full
        )
        if is_full is not self._is_reading_paused and not self.is_lost:
            self._is_reading_paused = is_full
            transport = self.asyncio_transport
            (transport.pause_reading if is_full else transport.resume_reading)()


_ON_EVENT: Final[dict[type, Callable[[Connection, Any], None]]] = {
    RequestHead: Connection._begin,  # noqa: SLF001
    bytes: Connection._take_body,  # noqa: SLF001
    EndOfRequest: Connection._end_body,  # noqa: SLF001
    HTTPError: Connection._break_off,  # noqa: SLF001
}

_ON_EXPIRY: Final[dict[Phase, Callable[[Connection], None]]] = {
    _IDLE: Connection._close,  # noqa: SLF001
    _HEAD: lambda connection: connection._refuse(  # noqa: SLF001
        HTTPError(408, "The head did not arrive in time")
    ),
    _HANDLING: Connection._stall,  # noqa: SLF001
    _DRAINING: Connection._abort,  # noqa: SLF001
    _CLOSING: Connection._abort,  # noqa: SLF001
}


def _drop(data: bytes) -> None:
    """Forget what comes after the end."""


def _keep_alive(transport: asyncio.Transport) -> None:
    """Let the kernel find out about peers that vanished."""
    socket = transport.get_extra_info("socket")
    if socket is not None:
        socket.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
