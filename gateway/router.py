"""Which endpoint answers a request: one table of paths and methods."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote

from gateway.answers import refuse, refuse_error
from gateway.web.request import BaseRequest
from gateway.web.stream_response import StreamResponse
from protocol.codes import ErrorCode
from protocol.errors import MessageError

Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]
ChannelHandler = Callable[[BaseRequest, str], Awaitable[StreamResponse]]
# The handlers of one path by method.
Methods = Mapping[str, Handler]


class Router:
    """The handler of the gateway's server.

    routes are by path; channel_routes answer GET of /channels/{channel}/NAME, by name. While
    is_draining, drain_routes take their place, and anything else is answered with 503.
    """

    def __init__(
        self,
        routes: Mapping[str, Methods],
        channel_routes: Mapping[str, ChannelHandler],
        drain_routes: Mapping[str, Methods],
    ) -> None:
        self.is_draining = False
        self._routes = routes
        self._channel_routes = channel_routes
        self._drain_routes = drain_routes

    async def __call__(self, request: BaseRequest) -> StreamResponse:
        """Return the answer of the endpoint that request names, or an error in JSON."""
        routes = self._drain_routes if self.is_draining else self._routes
        methods = routes.get(request.raw_path)  # most targets are a path and nothing else
        if methods is None:
            methods = routes.get(request.rel_url.raw_path)
        if methods is None and self.is_draining:
            text = "this node is shutting down; connect again, to another or later"
            return refuse(503, ErrorCode.SHUTTING_DOWN, text, headers={"Retry-After": "1"})
        if methods is None:
            return await self._answer_channel(request, request.rel_url.raw_path)
        handler = methods.get(request.method)
        return _refuse_method(request, methods) if handler is None else await handler(request)

    async def _answer_channel(self, request: BaseRequest, path: str) -> StreamResponse:
        parts = path.split("/")
        is_channel_path = len(parts) == 4 and parts[1] == "channels"
        handler = self._channel_routes.get(parts[3]) if is_channel_path else None
        if handler is None:
            known = [*self._routes, *(f"/channels/CHANNEL/{name}" for name in self._channel_routes)]
            text = f"there is no {path[:80]!r}; there are {', '.join(known)}"
            return refuse(404, ErrorCode.NOT_FOUND, text)
        if request.method not in ("GET", "HEAD"):
            return _refuse_method(request, {"GET": self, "HEAD": self})
        try:
            channel = unquote(parts[2], errors="strict")
        except UnicodeDecodeError:
            text = "the channel name in the path is not UTF-8"
            return refuse_error(MessageError(ErrorCode.INVALID_CHANNEL, text))
        return await handler(request, channel)


def _refuse_method(request: BaseRequest, methods: Methods) -> StreamResponse:
    allow = ", ".join(methods)
    text = f"{request.method} is not possible here; use {allow}"
    return refuse(405, ErrorCode.METHOD_NOT_ALLOWED, text, headers={"Allow": allow})
