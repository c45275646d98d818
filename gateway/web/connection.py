"""One accepted socket: its bytes go to HTTP first, and to a receiver after an upgrade."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from socket import SO_KEEPALIVE, SOL_SOCKET
from typing import Any, Final, Protocol

from gateway.web.body.reader import StreamReader
from gateway.web.body.writer import BodyWriter
from gateway.web.conversation import Conversation
from gateway.web.flow import PeerLeft
from gateway.web.seams import Receiver
from gateway.web.settings import Shared
from gateway.web.sweep import Sweeps
from protocol.errors import StateError
from protocol.http1 import RequestHead

__all__ = ["Connection", "Owner", "Receiver"]

_NO_INFO: Final[dict[str, Any]] = {}  # shared by connections without TLS


class Owner(Protocol):
    """What a connection needs of its server."""

    @property
    def shared(self) -> Shared:
        """The options, the event loop and the clock."""

    @property
    def access_log(self) -> logging.Logger | None:
        """Where each answer is logged, None where it is not."""

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
        """Answer one request, and call connection.finish() whatever happens."""


class Connection(asyncio.Protocol):
    """One accepted socket, from accept to close.

    heard is true once bytes have come since it was last cleared. conversation is None when the
    connection no longer speaks HTTP and no handler runs.
    """

    __slots__ = (
        "_feed",
        "_kept_info",
        "_owner",
        "asyncio_transport",
        "conversation",
        "heard",
        "receiver",
    )

    asyncio_transport: asyncio.Transport
    _feed: Callable[[bytes], None]

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.conversation: Conversation | None = None
        self.heard = False
        self.receiver: Receiver | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        owner = self._owner
        self.asyncio_transport = transport
        conversation = Conversation(transport, owner.shared, partial(owner.answer, self))
        self.conversation = conversation
        self._feed = conversation.feed
        self._kept_info = _keep_info(transport)
        if owner.shared.settings.tcp_keepalive:
            _keep_alive(transport)
        owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Hand the bytes to the current feed."""
        self.heard = True
        self._feed(data)

    def eof_received(self) -> bool | None:
        """Take the end of the peer's bytes for its leaving, unless a receiver knows better."""
        if self.receiver is not None:
            return self.receiver.eof_received()
        if self.conversation is not None:
            self.conversation.feed_eof()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who reads or writes here that the peer left."""
        self._feed = _drop
        try:
            if self.receiver is not None:
                self.receiver.connection_lost(exc)
        finally:
            if self.conversation is not None:
                self.conversation.lose()
            if self.task is None:
                self._end()
            elif self._owner.shared.settings.handler_cancellation:
                self.cancel()

    def pause_writing(self) -> None:
        """Let writers wait; for how long is watched over while a handler runs."""
        if self.receiver is not None:
            self.receiver.pause_writing()
        if self.conversation is not None:
            self.conversation.pause_writing()

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self.conversation is not None:
            self.conversation.resume_writing()
        if self.receiver is not None:
            self.receiver.resume_writing()

    # What requests, responses and the server call.

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task of the handler that runs."""
        return self.conversation.task if self.conversation is not None else None

    @property
    def is_lost(self) -> bool:
        """Whether the peer left, or was left: what is written reaches nobody."""
        return self.asyncio_transport.is_closing()

    @property
    def is_last(self) -> bool:
        """Whether the connection closes after the request in hand, whatever its peer wants."""
        conversation = self.conversation
        return conversation is None or conversation.is_last

    @property
    def sweeps(self) -> Sweeps:
        """What visits connections at a period, shared by all of the server's."""
        return self._owner.shared.sweeps

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the asyncio transport knows under name."""
        if name in self._kept_info:
            return self._kept_info[name]
        return self.asyncio_transport.get_extra_info(name, default)

    def check_upgradable(self) -> Conversation:
        """Return the conversation that upgrade() would end, or raise what it would raise."""
        if self.is_lost:
            raise PeerLeft("The peer left")
        if self.conversation is None or self.receiver is not None:
            raise StateError("Only a connection that speaks HTTP can be upgraded")
        self.conversation.check_leavable()
        return self.conversation

    def upgrade(self, receiver: Receiver) -> None:
        """Give the socket to receiver: it hears from now on what asyncio tells this connection.

        Bytes that came behind the request are delivered before this returns: receiver must be
        ready. Raises ConnectionResetError if the peer left, and StateError where the body of the
        request has not arrived as a whole or there is no request; receiver then hears nothing.
        """
        conversation = self.check_upgradable()
        unparsed, is_writing_paused = conversation.leave()
        self.receiver = receiver
        self._feed = receiver.data_received
        if is_writing_paused:
            receiver.pause_writing()
        if unparsed:
            receiver.data_received(unparsed)

    def finish(self, keep_alive: bool) -> None:
        """Go on after a handler has ended."""
        conversation = self.conversation
        if conversation is not None:
            conversation.finish(keep_alive)
            if self._feed is _drop:
                self._end()
            elif self.receiver is not None:
                self.conversation = None

    def cancel(self) -> None:
        """Cancel the handler that runs, if one does."""
        task = self.task
        if task is not None:
            task.cancel()
            task.add_done_callback(self._finish_for)

    def _finish_for(self, task: "asyncio.Task[None]") -> None:
        """Go on after a handler that was cancelled before it began, so that it did not do it."""
        if self.task is task:
            self.finish(keep_alive=False)

    def close_when_done(self) -> None:
        """Close now if no request is in hand, otherwise after it; a receiver keeps its socket."""
        if self.conversation is not None:
            self.conversation.close_when_done()

    def shut_receiver_down(self) -> None:
        """Ask the receiver to finish, where there is one."""
        if self.receiver is not None:
            self.receiver.shutdown()

    # What programs know from aiohttp's RequestHandler.

    @property
    def transport(self) -> asyncio.Transport | None:
        """The asyncio transport, None once the peer left or was left."""
        return None if self.is_lost else self.asyncio_transport

    @property
    def connected(self) -> bool:
        """Whether what is written may still reach somebody."""
        return not self.is_lost

    @property
    def peername(self) -> Any:
        """The peer's address as asyncio has it, also after the peer left."""
        return self.asyncio_transport.get_extra_info("peername")

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context of an encrypted connection."""
        context: ssl.SSLContext | None = self.asyncio_transport.get_extra_info("sslcontext")
        return context

    @property
    def keepalive_timeout(self) -> float:
        """How long the connection may be idle after an answer, in seconds."""
        return self._owner.shared.settings.keepalive_timeout

    @property
    def logger(self) -> logging.Logger:
        """Where failures are logged."""
        return self._owner.shared.settings.logger

    @property
    def debug(self) -> bool:
        """Whether a peer is shown the traceback of a failure."""
        return self._owner.shared.settings.debug

    @property
    def access_log(self) -> logging.Logger | None:
        """Where each answer is logged, None where it is not."""
        return self._owner.access_log

    def keep_alive(self, val: bool) -> None:
        """Let the connection end after the request in hand where val is false."""
        if not val:
            self.close()

    def close(self) -> None:
        """Close now if no request is in hand, otherwise after it."""
        self.close_when_done()

    def force_close(self) -> None:
        """Close as soon as what is written is sent, whatever the handler does."""
        self.asyncio_transport.close()

    def __repr__(self) -> str:
        # asyncio shows it before it is connected, where a TLS handshake fails in debug mode.
        is_connected = hasattr(self, "asyncio_transport") and self.connected
        return f"<{type(self).__name__} {'connected' if is_connected else 'disconnected'}>"

    def _end(self) -> None:
        """Break the circles in which a connection refers to itself."""
        self.conversation = None
        self.receiver = None
        self._owner.closed(self)


def _drop(data: bytes) -> None:
    """Forget what comes after the end."""


def _keep_info(transport: asyncio.Transport) -> dict[str, Any]:
    """Return what an encrypted transport forgets when its socket is lost, and others do not."""
    context = transport.get_extra_info("sslcontext")
    if context is None:
        return _NO_INFO
    names = ("peername", "sockname")
    return {"sslcontext": context} | {name: transport.get_extra_info(name) for name in names}


def _keep_alive(transport: asyncio.Transport) -> None:
    """Let the kernel find out about peers that vanished."""
    socket = transport.get_extra_info("socket")
    if socket is not None:
        socket.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
