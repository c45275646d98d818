"""Classes of one's own: requests, responses and the access log."""

import asyncio
import logging
from typing import Any

from gateway import web
from gateway.web import AbstractAccessLogger, AccessLogger, StreamReader

LINES: list[str] = []


class Request(web.BaseRequest):
    """A request that knows its user."""

    @property
    def user(self) -> str:
        return self.headers.get("X-User", "anonymous")


class TextStream(web.StreamResponse):
    """A response that takes text."""

    def __init__(self, *, status: int = 200, encoding: str = "utf-8") -> None:
        super().__init__(status=status)
        self.encoding = encoding

    async def prepare(self, request: web.BaseRequest) -> Any:
        self.headers["Content-Type"] = f"text/plain; charset={self.encoding}"
        return await super().prepare(request)

    async def write_text(self, text: str) -> None:
        await self.write(text.encode(self.encoding))


class Refusal(web.HTTPForbidden):
    """A refusal with a reason of its own."""

    def __init__(self, why: str) -> None:
        super().__init__(text=f"refused: {why}", headers={"X-Why": why})
        self.why = why


class KeptLogger(AccessLogger):
    """The usual line, kept."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        LINES.append(f"{request.method} {request.path} {response.status} {response.body_length}")
        super().log(request, response, time)


class Counter(AbstractAccessLogger):
    """Counts answers by status."""

    counts: dict[int, int] = {}  # noqa: RUF012 - one for all

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        self.counts[response.status] = self.counts.get(response.status, 0) + 1

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)


def make_request(
    message: Any,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: Any,
    task: "asyncio.Task[None]",
) -> Request:
    loop = asyncio.get_running_loop()
    return Request(message, payload, protocol, writer, task, loop, client_max_size=2**16)


async def handler(request: web.BaseRequest) -> web.StreamResponse:
    assert isinstance(request, Request)
    if request.user == "anonymous":
        raise Refusal("anonymous")
    again = request.clone(method="PUT", rel_url="/other", headers={"X-User": request.user})
    stream = TextStream()
    await stream.prepare(request)
    await stream.write_text(f"{request.user} may {request.method}, {again.method} {again.path}")
    return stream


def make_server() -> web.Server:
    return web.Server(
        handler,
        request_factory=make_request,
        access_log=logging.getLogger("access"),
        access_log_class=KeptLogger,
        access_log_format='%a "%r" %s %Tf',
        logger=logging.getLogger("server"),
        debug=True,
    )


def make_counting_server() -> web.Server:
    return web.Server(handler, request_factory=make_request, access_log_class=Counter)
