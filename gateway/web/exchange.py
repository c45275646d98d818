"""One request and its answer: what a handler returns, raises or forgets becomes a response."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from gateway.web.access_log import AbstractAccessLogger
from gateway.web.body import BodyWriter, StreamReader
from gateway.web.connection import Connection
from gateway.web.exceptions import HTTPException, HTTPGatewayTimeout, HTTPInternalServerError
from gateway.web.request import BaseRequest
from gateway.web.response import Response, StreamResponse
from gateway.web.settings import Settings
from protocol.errors import HTTPError
from protocol.http1 import RequestHead

Handler: TypeAlias = Callable[[BaseRequest], Awaitable[StreamResponse]]
RequestFactory: TypeAlias = Callable[
    [RequestHead, StreamReader | None, Connection, BodyWriter, "asyncio.Task[None]"], BaseRequest
]


class Responder:
    """What a server does for each request, with one handler."""

    __slots__ = ("_access_logger", "_settings", "handler", "request_factory", "requests_count")

    def __init__(
        self,
        handler: Handler,
        request_factory: RequestFactory,
        settings: Settings,
        access_logger: AbstractAccessLogger | None,
    ) -> None:
        self.handler = handler
        self.request_factory = request_factory
        self.requests_count = 0
        self._settings = settings
        self._access_logger = access_logger

    async def answer(
        self,
        connection: Connection,
        head: RequestHead,
        body: StreamReader | None,
        writer: BodyWriter,
    ) -> None:
        """Handle one request, send its response and let the connection go on; a task of its own.

        Whatever leaves this without a response, cancelling for one, closes the connection.
        """
        self.requests_count += 1
        keep_alive = False
        try:
            task = asyncio.current_task()
            assert task is not None
            request = self.request_factory(head, body, connection, writer, task)
            keep_alive = await self._respond(request, writer)
        finally:
            connection.finish(keep_alive)

    async def _respond(self, request: BaseRequest, writer: BodyWriter) -> bool:
        """Return whether the connection may serve another request."""
        access_logger = self._access_logger
        if access_logger is not None and not access_logger.enabled:
            access_logger = None
        started = asyncio.get_running_loop().time() if access_logger is not None else 0.0
        response = await self._handle(request)
        if response is None or not await self._send(request, response, writer):
            return False
        if access_logger is not None:
            took_s = asyncio.get_running_loop().time() - started
            access_logger.log(request, response, took_s)
        return writer.is_complete and bool(response.keep_alive)

    async def _handle(self, request: BaseRequest) -> StreamResponse | None:
        """Return what answers request, None if there is nobody left to answer."""
        try:
            response = await self.handler(request)
        except HTTPException as exc:
            return exc
        except HTTPError as error:  # of the request's body, while the handler read it
            return _closing(Response(status=error.status, text=f"{error.status}: {error.message}"))
        except TimeoutError:
            self._settings.logger.debug("Handling a request from %s timed out", request.remote)
            return _closing(HTTPGatewayTimeout())
        except Exception as error:
            if isinstance(error, ConnectionResetError) and request.protocol.is_lost:
                return None  # the peer left, which is no fault of the handler's
            self._settings.logger.exception("Error handling request from %s", request.remote)
            return self._explain(error)
        if not isinstance(response, StreamResponse):
            self._settings.logger.error(
                "A handler must return a response, not %r, to the request from %s",
                response,
                request.remote,
            )
            return self._explain(None)
        return response

    async def _send(
        self, request: BaseRequest, response: StreamResponse, writer: BodyWriter
    ) -> bool:
        """Return whether something was sent, response or, where that is impossible, a 500."""
        if writer.has_sent_head and not response.prepared:
            return False  # another response has begun, which can only be broken off
        try:
            await response.prepare(request)
            await response.write_eof()
        except Exception as error:
            if isinstance(error, ConnectionResetError) and request.protocol.is_lost:
                return False
            self._settings.logger.exception("Error sending a response to %s", request.remote)
            if writer.has_sent_head:
                return False
            return await self._send(request, self._explain(error), writer)
        return True

    def _explain(self, error: Exception | None) -> Response:
        text = "500 Internal Server Error\n\nServer got itself in trouble"
        if self._settings.debug and error is not None:
            text = "500 Internal Server Error\n\n" + "".join(traceback.format_exception(error))
        return _closing(HTTPInternalServerError(text=text))


def _closing(response: Response) -> Response:
    response.force_close()
    return response
