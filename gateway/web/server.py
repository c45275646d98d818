"""The server: makes a connection of every accepted socket, watches over them, and ends them."""

import asyncio
import logging
from contextvars import copy_context
from typing import Final, Unpack

from gateway.web.access_log import AbstractAccessLogger, AccessLogger
from gateway.web.connection import Connection
from gateway.web.exchange import Handler, RequestFactory, Responder
from gateway.web.request import BaseRequest
from gateway.web.settings import Options, Settings, Shared

SWEEP_S: Final = 1.0  # how late a timeout may be noticed
TURNS_TO_LOSE: Final = (
    3  # of the loop, until asyncio has told that aborted sockets are lost, TLS too
)
WARNING_INTERVAL_S: Final = 60.0  # between two warnings about the same cause
ACCESS_LOGGER: Final = logging.getLogger("gateway.access")


class Server:
    """A protocol factory for loop.create_server(), with the connections it made.

    handler is called with each request and returns the response. The options are those of
    gateway.web.settings.Settings; unknown ones raise TypeError, as numbers that are none do, and
    negative ones ValueError. It needs a running event loop, or loop.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        request_factory: RequestFactory | None = None,
        handler_cancellation: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        access_log: logging.Logger | None = ACCESS_LOGGER,
        access_log_class: type[AbstractAccessLogger] = AccessLogger,
        access_log_format: str = AccessLogger.LOG_FORMAT,
        **options: Unpack[Options],
    ) -> None:
        unknown = options.keys() - Options.__annotations__.keys()
        if unknown:
            raise TypeError(f"Server() got unknown options: {', '.join(sorted(unknown))}")
        settings = Settings(handler_cancellation=handler_cancellation, **options)
        self.shared = Shared(settings, loop or asyncio.get_running_loop())
        access_logger = (
            access_log_class(access_log, access_log_format) if access_log is not None else None
        )
        self.access_log = access_log
        self._responder = Responder(
            handler, request_factory or BaseRequest, settings, access_logger
        )
        self.answer = self._responder.answer
        self._connections: dict[Connection, None] = {}  # a set that keeps its order
        self._sweeping: asyncio.TimerHandle | None = None
        self._awaited: dict[Connection, asyncio.Future[None]] = {}  # done when it has ended
        self._is_closing = False
        self._no_warning_before_s = self.shared.loop.time()

    def __call__(self) -> Connection:
        """Return a connection for a socket that has just been accepted."""
        return Connection(self)

    @property
    def connections(self) -> list[Connection]:
        """The open connections, oldest first, as a list of its own."""
        return [connection for connection in self._connections if not connection.is_lost]

    @property
    def requests_count(self) -> int:
        """How many requests have begun to be handled."""
        return self._responder.requests_count

    @property
    def request_handler(self) -> Handler:
        """The handler."""
        return self._responder.handler

    @property
    def request_factory(self) -> RequestFactory:
        """What makes the request that the handler gets."""
        return self._responder.request_factory

    @property
    def handler_cancellation(self) -> bool:
        """Whether a handler is cancelled when its peer leaves."""
        return self.shared.settings.handler_cancellation

    def pre_shutdown(self) -> None:
        """Close idle connections now and the others after the response in hand."""
        self._is_closing = True
        for connection in tuple(self._connections):
            connection.close_when_done()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """End every connection; return when all handlers have.

        Handlers and receivers have timeout seconds to finish, for ever by default. After that
        handlers are cancelled and have as long again. Receivers are asked to finish by their
        shutdown(); those that have not lose their sockets at the end. Cancelling it drops every
        connection now.
        """
        self.pre_shutdown()
        try:
            for connection in tuple(self._connections):
                connection.shut_receiver_down()
            await self._wait_for_ends(timeout)
            for connection in self._connections:
                connection.cancel()
            await self._wait_for_ends(timeout)
        finally:
            self._drop_all()
        for _ in range(TURNS_TO_LOSE):
            await asyncio.sleep(0)

    def reopen(self) -> None:
        """Take connections again after a shutdown."""
        self._is_closing = False

    async def _wait_for_ends(self, timeout_s: float | None) -> None:
        """Wait for all connections to end; several tasks may."""
        for connection in self._connections:
            self._awaited.setdefault(connection, self.shared.loop.create_future())
        if self._awaited:
            await asyncio.wait(tuple(self._awaited.values()), timeout=timeout_s)

    def _drop_all(self) -> None:
        """Drop what is still there, and look after nothing any more."""
        for connection in tuple(self._connections):
            connection.asyncio_transport.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    # What connections call.

    def opened(self, connection: Connection) -> None:
        """Watch over connection, unless it comes too late."""
        if self._sweeping is None:
            self.shared.now = self.shared.loop.time()
            self.shared.context = copy_context()  # of whoever listens
            self._sweeping = self.shared.loop.call_later(SWEEP_S, self._sweep)
        self._connections[connection] = None
        if 0 < self.shared.settings.max_connections < len(self._connections):
            connection.asyncio_transport.abort()
            self._warn_of_bound()
        elif self._is_closing:
            connection.close_when_done()

    def closed(self, connection: Connection) -> None:
        """Forget connection, which has neither a socket nor a handler any more."""
        del self._connections[connection]
        awaited = self._awaited.pop(connection, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(None)

    def _warn_of_bound(self) -> None:
        """Tell the operator, now and then, that connections are dropped."""
        now = self.shared.loop.time()
        if now >= self._no_warning_before_s:
            self._no_warning_before_s = now + WARNING_INTERVAL_S
            settings = self.shared.settings
            settings.logger.warning(
                "Dropping new connections: there are max_connections=%s", settings.max_connections
            )

    def _sweep(self) -> None:
        """Look after every connection that speaks HTTP: one timer for all of them."""
        loop = self.shared.loop
        now = self.shared.now = loop.time()
        for connection in tuple(self._connections):
            conversation = connection.conversation
            if conversation is not None and (
                conversation.deadline < now or conversation.write_deadline < now
            ):
                try:
                    conversation.expire()
                except Exception:  # which must not take their timeouts from all the others
                    self.shared.settings.logger.exception("Error when a timeout passed")
                    connection.asyncio_transport.abort()
        self._sweeping = loop.call_later(SWEEP_S, self._sweep) if self._connections else None
