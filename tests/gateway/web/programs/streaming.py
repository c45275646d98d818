"""Responses in pieces: events, chunks, a compressed log, a body that is echoed as it comes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

from gateway import web


class EventSource(web.StreamResponse):
    """Server-sent events."""

    def __init__(self, *, retry_ms: int | None = None) -> None:
        super().__init__(status=200, headers={"Cache-Control": "no-cache"})
        self.content_type = "text/event-stream"
        self.charset = "utf-8"
        self.retry_ms = retry_ms

    async def send(self, data: object, event: str | None = None) -> None:
        lines = [f"event: {event}"] if event else []
        lines.append(f"data: {json.dumps(data)}")
        await self.write("\n".join([*lines, "", ""]).encode())


async def events(request: web.BaseRequest) -> EventSource:
    response = EventSource(retry_ms=500)
    await response.prepare(request)
    for number in range(int(request.query.get("count", 3))):
        await response.send({"number": number}, event="tick")
        await asyncio.sleep(0)
    await response.write_eof()
    return response


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(reason="Echoing")
    response.content_type = request.content_type
    if request.content_length is not None:
        response.content_length = request.content_length
    else:
        response.enable_chunked_encoding()
    await response.prepare(request)
    async for piece in request.content.iter_chunked(1024):
        await response.write(piece.upper())
    return response


async def lines(request: web.BaseRequest) -> web.Response:
    count = 0
    while line := await request.content.readline():
        count += line.endswith(b"\n")
    return web.Response(text=str(count))


async def log(request: web.BaseRequest) -> web.Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100):
            yield f"{number:9}: nothing happened\n".encode()

    response = web.Response(body=pieces(), content_type="text/plain")
    response.enable_compression(web.ContentCoding.gzip)
    response.set_cookie("seen", "log", max_age=3600, httponly=True, samesite="Lax")
    response.last_modified = 784111777
    assert response.last_modified is not None
    return response


async def handler(request: web.BaseRequest) -> web.StreamResponse:
    started = time.monotonic()
    try:
        response: web.StreamResponse
        if request.path == "/events":
            response = await events(request)
        elif request.path == "/lines":
            response = await lines(request)
        elif request.method == "POST":
            response = await echo(request)
        else:
            response = await log(request)
        response["took"] = time.monotonic() - started
        return response
    except ConnectionResetError:
        assert request.transport is None or request.transport.is_closing()
        raise


def make_server() -> web.Server:
    return web.Server(handler, access_log=None, handler_cancellation=True, lingering_time=5.0)
