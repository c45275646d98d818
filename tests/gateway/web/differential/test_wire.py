"""A response's bytes are aiohttp's for every status, kind of body, method and version.

Where they differ, one of a few rules says so.
"""

import io
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest

from tests.gateway.web.differential.peers import LAST, Handler, Peers, request, statuses

pytestmark = pytest.mark.asyncio(loop_scope="module")

STATUSES = (103, 200, 204, 205, 299, 302, 304, 404, 500)
REQUESTS: dict[str, bytes] = {
    "GET": request(b"GET / HTTP/1.1"),
    "GET, closing": request(b"GET / HTTP/1.1", b"Connection: close"),
    "HEAD": request(b"HEAD / HTTP/1.1"),
    "POST, keeping alive": request(b"POST / HTTP/1.1", b"Connection: keep-alive"),
    "OPTIONS": request(b"OPTIONS / HTTP/1.1"),
    "GET in 1.0": request(b"GET / HTTP/1.0"),
    "GET in 1.0, keeping alive": request(b"GET / HTTP/1.0", b"Connection: keep-alive"),
    "HEAD in 1.0, keeping alive": request(b"HEAD / HTTP/1.0", b"Connection: keep-alive"),
}


async def pieces() -> AsyncIterator[bytes]:
    yield b"bo"
    yield b"dy"


def chunked(response: Any) -> Any:
    response.enable_chunked_encoding()
    return response


BODIES: dict[str, Callable[[ModuleType, int], Any]] = {
    "none": lambda module, status: module.Response(status=status),
    "text": lambda module, status: module.Response(status=status, text="body"),
    "bytes": lambda module, status: module.Response(status=status, body=b"body"),
    "str": lambda module, status: module.Response(status=status, body="body"),
    "empty": lambda module, status: module.Response(status=status, body=b""),
    "file": lambda module, status: module.Response(status=status, body=io.BytesIO(b"body")),
    "pieces": lambda module, status: module.Response(status=status, body=pieces()),
    "json": lambda module, status: module.json_response({}, status=status),
    "chunks": lambda module, status: chunked(module.Response(status=status, text="body")),
    "stated": lambda module, status: module.Response(
        status=status, body=b"body", headers={"Content-Length": "4"}
    ),
}


def answering(body: str, status: int) -> Handler:
    async def handle(module: ModuleType, request: Any) -> Any:
        return BODIES[body](module, status)

    return handle


def streaming(status: int, length: int | None) -> Handler:
    async def handle(module: ModuleType, request: Any) -> Any:
        response = module.StreamResponse(status=status)
        response.content_length = length
        await response.prepare(request)
        await response.write(b"bo")
        await response.write_eof(b"dy")
        return response

    return handle


HANDLERS: dict[str, Callable[[int], Handler]] = {
    **{body: lambda status, body=body: answering(body, status) for body in BODIES},
    "stream": lambda status: streaming(status, None),
    "stream of a length": lambda status: streaming(status, 4),
}


def rule_of(kind: str, status: int, asked: str) -> Callable[[bytes, bytes], bool]:
    """Return what must be true of our answer and theirs."""
    may_have_body = status >= 200 and status not in (204, 304) and "HEAD" not in asked
    if kind == "chunks" and "1.0" in asked:
        # The client is told that the server failed, instead of being left without an answer.
        return lambda ours, theirs: ours.startswith(b"HTTP/1.0 500 ") and theirs == b""
    if "stream" in kind and not may_have_body:
        # What is written where no body may be would be read as the next answer's beginning.
        return lambda ours, theirs: b"body" not in ours and ours == theirs.replace(b"body", b"")
    if kind in ("stream", "pieces") and asked == "GET in 1.0, keeping alive" and may_have_body:
        # Without length and chunks only the end of the connection ends the body.
        return lambda ours, theirs: ours.endswith(b"body") and theirs.startswith(ours + b"HTTP")
    return lambda ours, theirs: ours == theirs


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", HANDLERS)
async def test_the_bytes_are_the_same(kind: str, status: int, peers: Peers) -> None:
    for asked, wire in REQUESTS.items():
        ends = "closing" in asked or asked == "GET in 1.0"
        ours, theirs = await peers.ask(HANDLERS[kind](status), wire if ends else wire + LAST)
        assert rule_of(kind, status, asked)(ours, theirs), (asked, ours, theirs)
        assert statuses(ours)[0] in (status, 500)
