"""One request and its answer: what a handler returns, raises or forgets becomes a response."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from gateway.web.access_log import AbstractAccessLogger
from gateway.web.body.errors import RequestPayloadError
from gateway.web.body.reader import StreamReader
from gateway.web.body.writer import BodyWriter
from gateway.web.connection import Connection
from gateway.web.error_pages import failure_page
from gateway.web.exceptions import (
    HTTPException,
    HTTPGatewayTimeout,
)
from gateway.web.flow import PeerLeft
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.settings import Settings
from gateway.web.stream_response import StreamResponse
from protocol.http1 import RequestHead

Handler: TypeAlias = Callable[[BaseRequest], Awaitable[StreamResponse]]
# The second is a StreamReader, or None where the request has no body; programs say the former.
RequestFactory: TypeAlias = Callable[
    [RequestHead, Any, Connection, BodyWriter, "asyncio.Task[None]"], BaseRequest
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
        task = connection.task
        assert task is not None
        try:
            response: StreamResponse | None = None
            request = self.request_factory(head, body, connection, writer, task)
            started = task.get_loop().time() if self._access_logger is not None else 0.0
            try:
                response = await self.handler(request)
                if type(response) is Response and response.send_plain(request):
                    if writer.is_paused:
                        await writer.drain()
                else:
                    _check_returned(response)
                    await response.prepare(request)
                    await response.write_eof()
            except Exception as error:
                if response is None or not _is_peers_leaving(error):
                    response = await self._recover(error, request)
            if response is not None:
                keep_alive = writer.is_complete and bool(response.keep_alive)
                if self._access_logger is not None and self._access_logger.enabled:
                    took_s = task.get_loop().time() - started
                    self._access_logger.log(request, response, took_s)
        except asyncio.CancelledError as error:
            # The task keeps it, and the frames of its traceback, this one, too, hold the task and
            # all that was to be sent: a cycle, which would wait for the collector.
            del task, request, response
            error.__traceback__ = None
            raise
        except (KeyboardInterrupt, SystemExit):
            # It ends the event loop, and that tells of it: asyncio need not, for the task.
            task.add_done_callback(asyncio.Task.exception)
            raise
        except BaseException:  # of a request factory, an access logger, or a reckless handler
            self._settings.logger.exception("Error around the handler")
        finally:
            connection.finish(keep_alive)

    async def _recover(self, error: Exception, request: BaseRequest) -> StreamResponse | None:
        """Send what tells the peer of error, unless another response has begun; return it.

        It is returned, for the access log, also where the peer left before it was sent.
        """
        response = self._response_to(error, request)
        if response is None or request.writer.has_sent_head:
            return None
        try:
            await response.prepare(request)
            await response.write_eof()
        except Exception as failure:
            if _is_peers_leaving(failure):
                return response
            if isinstance(error, HTTPException):
                return await self._recover(failure, request)
            if not request.protocol.is_lost:
                self._log(failure, request)
            return None
        return response

    def _response_to(self, error: Exception, request: BaseRequest) -> StreamResponse | None:
        """Return the response to a handler's failure, None where the failure is the peer's."""
        if _is_peers_leaving(error):
            return None
        if isinstance(error, HTTPException) and not request.writer.has_sent_head:
            return error
        if isinstance(error, RequestPayloadError):
            text = f"{error.status}: {error.message}"
            return _closing(Response(status=error.status, text=text))
        if isinstance(error, TimeoutError):
            self._settings.logger.debug("Handling the request from %s timed out", request.remote)
            return _closing(HTTPGatewayTimeout())
        self._log(error, request)
        accept = request.headers.get("Accept", "")
        return failure_page(error, accept=accept, debug=self._settings.debug)

    def _log(self, error: Exception, request: BaseRequest) -> None:
        logger = self._settings.logger
        logger.error("Error handling request from %s", request.remote, exc_info=error)


def _is_peers_leaving(error: Exception) -> bool:
    """Return whether the handler failed because its peer left: alone, or several tasks of it."""
    if isinstance(error, ExceptionGroup):
        return error.split(PeerLeft)[1] is None
    return isinstance(error, PeerLeft)


def _closing(response: Response) -> Response:
    response.force_close()
    return response


def _check_returned(response: object) -> None:
    """Raise TypeError for what is no response; warn of what should have been raised."""
    if not isinstance(response, StreamResponse):
        raise TypeError(f"A handler must return a response, not {response!r}")
    if isinstance(response, HTTPException):
        message = "Returning an HTTPException is deprecated: raise it"
        warnings.warn(message, DeprecationWarning, stacklevel=3)
