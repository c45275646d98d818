"""The same handlers and the same bytes on aiohttp and here: the answers agree, but for a table.

The versions compared are aiohttp 3.13 and this one; a difference is either listed below, with its
reason, or a mistake. The other files of this folder go through one theme each.
"""

import io
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web as aiohttp_web

from gateway import web
from tests.gateway.web.differential.peers import (
    GET,
    HOST,
    LAST,
    Difference,
    Handler,
    Peers,
    check,
    post,
)

GET_CLOSE = b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
GET_10 = b"GET / HTTP/1.0\r\n\r\n"
GET_10_KEEP = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n"

SAMPLE_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"  # RFC 6455 section 1.3
HANDSHAKE = HOST + b"Upgrade: websocket\r\n" + SAMPLE_KEY


def post_chunked(*lines: bytes) -> bytes:
    head = [b"POST / HTTP/1.1", b"Host: example.org", b"Transfer-Encoding: chunked", b""]
    return b"\r\n".join([*head, *lines])


# Handlers.


async def text(web: ModuleType, request: Any) -> Any:
    return web.Response(text="žluť")


async def empty(web: ModuleType, request: Any) -> Any:
    return web.Response()


async def octets(web: ModuleType, request: Any) -> Any:
    return web.Response(body=b"\x00\xff", status=201, reason="Made", headers={"X-A": "b"})


async def html(web: ModuleType, request: Any) -> Any:
    return web.Response(text="<p>", content_type="text/html", charset="iso-8859-2")


async def json(web: ModuleType, request: Any) -> Any:
    return web.json_response({"a": [1, None, "č"]}, status=202)


async def no_content(web: ModuleType, request: Any) -> Any:
    return web.Response(status=204, body=b"ignored")


async def not_modified(web: ModuleType, request: Any) -> Any:
    response = web.Response(status=304)
    response.etag = "abc"
    response.last_modified = 784111777
    return response


async def cookies(web: ModuleType, request: Any) -> Any:
    response = web.Response()
    response.set_cookie("a", "b c;d", max_age=5, httponly=True, samesite="Lax", secure=True)
    response.set_cookie("e", "f", domain="example.org", path="/x")
    response.del_cookie("g")
    return response


async def string_body(web: ModuleType, request: Any) -> Any:
    return web.Response(body="text")


async def memory_file(web: ModuleType, request: Any) -> Any:
    return web.Response(body=io.BytesIO(b"file"))


async def generator(web: ModuleType, request: Any) -> Any:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return web.Response(body=pieces(), content_type="text/css")


async def chunked(web: ModuleType, request: Any) -> Any:
    response = web.Response(text="chunk")
    response.enable_chunked_encoding()
    return response


async def stream(web: ModuleType, request: Any) -> Any:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    await response.write(b"one")
    await response.write(b"")
    await response.write_eof(b"two")
    return response


async def stream_with_length(web: ModuleType, request: Any) -> Any:
    response = web.StreamResponse()
    response.content_length = 5
    await response.prepare(request)
    await response.write(b"one")
    await response.write(b"two")
    return response


async def silent_stream(web: ModuleType, request: Any) -> Any:
    response = web.StreamResponse()
    await response.prepare(request)
    return response


async def forced_close(web: ModuleType, request: Any) -> Any:
    response = web.Response(text="bye")
    response.force_close()
    return response


async def copied_coding(web: ModuleType, request: Any) -> Any:
    return web.Response(text="x", headers={"Transfer-Encoding": "chunked"})


async def own_connection_header(web: ModuleType, request: Any) -> Any:
    return web.Response(text="x", headers={"Connection": "close"})


async def short_of_its_length(web: ModuleType, request: Any) -> Any:
    return web.Response(body=b"12", headers={"Content-Length": "3"})


async def two_lines_in_a_header(web: ModuleType, request: Any) -> Any:
    return web.Response(headers={"X": "a\r\nY: b"})


async def found(web: ModuleType, request: Any) -> Any:
    raise web.HTTPFound("/a b?c=č")


async def not_found(web: ModuleType, request: Any) -> Any:
    raise web.HTTPNotFound


async def not_allowed(web: ModuleType, request: Any) -> Any:
    raise web.HTTPMethodNotAllowed(request.method, ["PUT", "DELETE"], headers={"X-A": "b"})


async def exception_with_text(web: ModuleType, request: Any) -> Any:
    raise web.HTTPConflict(text="<p>", content_type="text/html", reason="Clash")


async def reset_content(web: ModuleType, request: Any) -> Any:
    raise web.HTTPResetContent


async def failing(web: ModuleType, request: Any) -> Any:
    raise ValueError


async def failing_later(web: ModuleType, request: Any) -> Any:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"one")
    raise ValueError


async def forgetful(web: ModuleType, request: Any) -> Any:
    return None


async def too_slow(web: ModuleType, request: Any) -> Any:
    raise TimeoutError


async def echo(web: ModuleType, request: Any) -> Any:
    body = await request.read()
    lines = [
        *(request.method, request.path, request.path_qs, request.query_string),
        *(request.host, str(request.url), request.scheme),
        *(request.content_type, str(request.charset), str(request.content_length)),
        *(str(request.body_exists), str(request.keep_alive), str(request.query.getall("c", []))),
        *(f"{name}={value}" for name, value in request.cookies.items()),
        *(f"{name}: {value}" for name, value in request.headers.items()),
    ]
    return web.Response(text="\n".join([*lines, body.decode()]))


async def websocket(web: ModuleType, request: Any) -> Any:
    response = web.WebSocketResponse(protocols=("b", "a"))
    await response.prepare(request)
    await response.close()
    return response


CASES: dict[str, tuple[Handler, bytes]] = {
    "text": (text, GET),
    "text to HEAD": (text, HEAD),
    "text, closing": (text, GET_CLOSE),
    "text in 1.0": (text, GET_10),
    "text in 1.0, keeping alive": (text, GET_10_KEEP),
    "text, three times": (text, GET * 3),
    "empty": (empty, GET),
    "empty to HEAD": (empty, HEAD),
    "octets": (octets, GET),
    "html": (html, GET),
    "json": (json, GET),
    "204": (no_content, GET),
    "304": (not_modified, GET),
    "cookies": (cookies, GET),
    "str as body": (string_body, GET),
    "file in memory": (memory_file, GET),
    "file in memory to HEAD": (memory_file, HEAD),
    "generator": (generator, GET),
    "chunked": (chunked, GET),
    "chunked in 1.0": (chunked, GET_10),
    "stream": (stream, GET),
    "stream to HEAD": (stream, HEAD),
    "stream in 1.0": (stream, GET_10),
    "stream in 1.0, keeping alive": (stream, GET_10_KEEP),
    "stream with length": (stream_with_length, GET),
    "stream with length to HEAD": (stream_with_length, HEAD),
    "silent stream": (silent_stream, GET),
    "forced close": (forced_close, GET),
    "copied Transfer-Encoding": (copied_coding, GET),
    "own Connection header": (own_connection_header, GET),
    "short of its length": (short_of_its_length, GET),
    "two lines in a header": (two_lines_in_a_header, GET),
    "302": (found, GET),
    "404": (not_found, GET),
    "404 to HEAD": (not_found, HEAD),
    "405": (not_allowed, GET),
    "409": (exception_with_text, GET),
    "205": (reset_content, GET),
    "500": (failing, GET),
    "500 after the head": (failing_later, GET),
    "no response": (forgetful, GET),
    "timeout": (too_slow, GET),
    "echo": (echo, post(b"body", b"Content-Type: text/plain; charset=utf-8", b"Cookie: a=b; c=d")),
    "echo of chunks": (
        echo,
        post_chunked(b"3;x=y", b"one", b"3", b"two", b"0", b"X-Trailer: z", b"", b""),
    ),
    "echo of an absolute target": (echo, b"GET http://a.example/b?c HTTP/1.1\r\n" + HOST + b"\r\n"),
    "echo of no body": (echo, GET),
    "echo of UTF-8 in a header": (echo, GET[:-2] + "X: č\r\n\r\n".encode()),
    "echo of an encoded path": (
        echo,
        b"GET /%C4%8D%2F/../a+b?c=%26+d HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    "unread body": (text, post(b"body")),
    "unread chunks": (text, post_chunked(b"3", b"one", b"0", b"", b"")),
    "too large": (echo, post(bytes(2**20))),
    "other upgrade": (text, GET[:-2] + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"),
    "no Host": (text, b"GET / HTTP/1.1\r\n\r\n"),
    "Expect": (echo, post(b"body", b"Expect: 100-continue")),
    "WebSocket": (
        websocket,
        b"GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\n"
        + HANDSHAKE
        + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: x, a, b\r\n\r\n"
        + b"\x88\x82\x00\x00\x00\x00\x03\xe8",
    ),
    "WebSocket of another version": (
        websocket,
        b"GET / HTTP/1.1\r\nConnection: Upgrade, close\r\n"
        + HANDSHAKE
        + b"Sec-WebSocket-Version: 14\r\n\r\n",
    ),
}

# What differs on purpose: what only our answer has, what only theirs has, and why.
DIFFERENCES: dict[str, tuple[bytes, bytes, str]] = {
    "304": (b"ETag: ", b"Etag: ", "spelled as RFC 9110 does"),
    "WebSocket": (b": Upgrade\r\n", b": upgrade\r\n", "spelled as RFC 6455 does"),
    "stream to HEAD": (b"\r\n\r\nHTTP", b"onetwo", "no body answers HEAD: RFC 9110 section 9.3.2"),
    "stream with length to HEAD": (
        *(b"\r\n\r\nHTTP", b"onetw"),
        "no body answers HEAD: RFC 9110 section 9.3.2",
    ),
    "stream in 1.0, keeping alive": (
        *(b"onetwo", b"onetwoHTTP/1.1 200"),
        "without length or chunks only the end of the connection ends the body",
    ),
    "short of its length": (
        *(b"12", b"12HTTP/1.1 200"),
        "the client waits for a third byte and must not take the next answer's first for it",
    ),
    "copied Transfer-Encoding": (
        *(b"", b"Transfer-Encoding"),
        "the header would lie about the framing: the way of request smuggling",
    ),
    "own Connection header": (
        *(b"\r\n\r\nx", b"xHTTP/1.1 200"),
        "a close that was announced is done",
    ),
    "two lines in a header": (
        *(b"HTTP/1.1 500 ", b""),
        "the client is told that the server failed instead of being left without answer",
    ),
    "chunked in 1.0": (b"HTTP/1.0 500 ", b"", "as above"),
    "no response": (
        *(b"trouble", b"500: Internal"),
        "a handler that forgets its response has failed like any other",
    ),
    "timeout": (b"504: Gateway Timeout", b"Content-Length: 0", "a status that explains itself"),
    "no Host": (b" 400 Bad Request", b" 200 OK", "RFC 9112 section 3.2, and aiohttp since 3.14"),
    "WebSocket of another version": (
        *(b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13", b"HTTP/1.1 400 "),
        "RFC 6455 section 4.4: the client learns which version is spoken",
    ),
    "echo of an encoded path": (
        *(b"example.org/%C4%8D%2F/../a+b", b"example.org/a+b"),
        "request.url has the path that was asked for, as request.path does",
    ),
}

# Names of aiohttp.web that belong to its application layer: routes, middlewares, cleanup.
APPLICATION = {
    *("AbstractResource", "AbstractRoute", "AbstractRouteDef", "AppKey", "AppRunner"),
    *("Application", "CleanupError", "DynamicResource", "NotAppKeyWarning", "PlainResource"),
    *("PrefixedSubAppResource", "Request", "Resource", "ResourceRoute", "RouteDef"),
    *("RouteTableDef", "StaticDef", "StaticResource", "UrlDispatcher", "UrlMappingMatchInfo"),
    *("View", "delete", "get", "head", "middleware", "normalize_path_middleware", "options"),
    *("patch", "post", "put", "route", "run_app", "static", "view"),
}


def test_every_name_of_the_low_level_server_is_here() -> None:
    assert set(aiohttp_web.__all__) - set(web.__all__) == APPLICATION
    assert all(hasattr(web, name) for name in web.__all__)


def ending(wire: bytes) -> bytes:
    """Return wire with what ends its connection, unless it does so itself."""
    return wire if b"close" in wire or wire.startswith(GET_10) else wire + LAST


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_answers_are_the_same_unless_the_table_says_why_not(name: str, peers: Peers) -> None:
    handler, wire = CASES[name]

    ours, theirs = await peers.ask(handler, ending(wire))

    different = DIFFERENCES.get(name)
    check(ours, theirs, Difference(*different) if different else None)
