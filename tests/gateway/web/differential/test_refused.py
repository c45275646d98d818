"""What no handler ever sees: the status here, and aiohttp's, for each malformed request.

aiohttp answers nearly everything with 400; ours names what is wrong, and refuses more.
"""

from types import ModuleType
from typing import Any

import pytest

from tests.gateway.web.differential.peers import GET, HOST, LAST, Peers, get, request, statuses

pytestmark = pytest.mark.asyncio(loop_scope="module")


def start(line: bytes) -> bytes:
    return request(line)


def coded(*codings: bytes) -> bytes:
    lines = [b"Transfer-Encoding: " + coding for coding in codings]
    return request(b"POST / HTTP/1.1", *lines, body=b"0\r\n\r\n")


def host(*values: bytes) -> bytes:
    lines = b"".join([b"Host: " + value + b"\r\n" for value in values])
    return b"GET / HTTP/1.1\r\n" + lines + b"\r\n"


def length(value: bytes) -> bytes:
    return request(b"POST / HTTP/1.1", b"Content-Length: " + value, body=b"a")


# Refused by both.
BOTH: dict[str, tuple[bytes, int, int]] = {
    "two lengths": (get(b"Content-Length: 1", b"Content-Length: 2"), 400, 400),
    "the same length twice": (get(b"Content-Length: 1", b"Content-Length: 1"), 400, 400),
    "length and coding": (get(b"Content-Length: 3", b"Transfer-Encoding: chunked"), 400, 400),
    "signed length": (length(b"+1"), 400, 400),
    "negative length": (length(b"-1"), 400, 400),
    "length with an underscore": (length(b"1_0"), 400, 400),
    "length in hexadecimal": (length(b"0x1"), 400, 400),
    "length of two numbers": (length(b"1, 1"), 400, 400),
    "length in other digits": (length(b"\xd9\xa1"), 400, 400),
    "length beyond all bounds": (length(b"9" * 30), 400, 400),
    "empty length": (length(b""), 400, 400),
    "coding that is not chunked": (coded(b"gzip"), 400, 400),
    "identity as coding": (coded(b"identity"), 400, 400),
    "chunked that is not last": (coded(b"chunked, gzip"), 400, 400),
    "coding in 1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(400, 400),
    ),
    "misspelt coding": (coded(b"xchunked"), 400, 400),
    "folded header": (get(b"X: a", b" b"), 400, 400),
    "space before the colon": (get(b"X : a"), 400, 400),
    "space before the name": (get(b" X: a"), 400, 400),
    "empty name": (get(b": a"), 400, 400),
    "line without a colon": (get(b"X"), 400, 400),
    "name that is no token": (get(b"X(: a"), 400, 400),
    "NUL in a header": (get(b"X: a\0b"), 400, 400),
    "bare CR in a header": (get(b"X: a\rb"), 400, 400),
    "bell in a header": (get(b"X: a\x07b"), 400, 400),
    "two Hosts": (host(b"a", b"b"), 400, 400),
    "unknown method": (start(b"G@T / HTTP/1.1"), 400, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, 400),
    "no target": (start(b"GET HTTP/1.1"), 400, 400),
    "space in the target": (start(b"GET /a b HTTP/1.1"), 400, 400),
    "control character in the target": (start(b"GET /\x01 HTTP/1.1"), 400, 400),
    "bytes beyond ASCII in the target": (start("GET /č HTTP/1.1".encode()), 400, 400),
    "relative target": (start(b"GET a HTTP/1.1"), 400, 400),
    "no version": (b"GET /\r\n\r\n", 505, 400),
    "version 2": (start(b"GET / HTTP/2.0"), 505, 400),
    "version 1.2": (start(b"GET / HTTP/1.2"), 505, 400),
    "version of a letter": (start(b"GET / HTTP/1.x"), 400, 400),
    "another protocol": (start(b"GET / HTTPS/1.1"), 400, 400),
    "long target": (start(b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414, 400),
    "long value": (get(b"X: " + b"a" * 9000), 431, 400),
    "long name": (get(b"X" * 9000 + b": a"), 431, 400),
    "many headers": (get(*[b"X: a"] * 200), 431, 400),
}
# Refused by ours only: what aiohttp answers with 200.
OURS: dict[str, tuple[bytes, int, int]] = {
    "two spaces": (start(b"GET /  HTTP/1.1"), 400, 200),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400, 200),
    "Host of two words": (host(b"a b"), 400, 200),
    "Host with a user": (host(b"user@a"), 400, 200),
    "Host with a path": (host(b"a/b"), 400, 200),
    "Host with a named port": (host(b"a:b"), 400, 200),
    "Host with a port beyond 65535": (host(b"1.2.3.4:99999"), 400, 200),
    "Host beyond ASCII": (host("č".encode()), 400, 200),
    "fragment in the target": (start(b"GET /a#b HTTP/1.1"), 400, 200),
    "further coding": (coded(b"gzip, chunked"), 501, 200),
}
CASES = {**BOTH, **OURS}


async def answer(module: ModuleType, request: Any) -> Any:
    return module.Response(text=request.path)


@pytest.mark.parametrize("name", CASES)
async def test_a_malformed_request_is_refused_and_nothing_behind_it_is_answered(
    name: str, peers: Peers
) -> None:
    wire, status, their_status = CASES[name]

    ours, theirs = await peers.ask(answer, wire + LAST)

    assert statuses(ours) == [status]
    assert statuses(theirs)[0] == their_status
    assert b"\r\nConnection: close\r\n" in ours
    assert GET not in ours + theirs


@pytest.mark.parametrize("method", [b"get", b"BREW"])
async def test_any_token_is_a_method(method: bytes, peers: Peers) -> None:
    ours, theirs = await peers.ask(answer, request(method + b" / HTTP/1.1") + LAST)

    assert statuses(ours) == [200, 200]  # RFC 9110 section 9.1: what it means is the handler's
    assert statuses(theirs) == [400]


# What is wrong inside of a body is the handler's to hear of, when it reads.
BODIES: dict[str, tuple[bytes, int, int]] = {
    "chunk size in hexadecimal notation": (b"0x1\r\na\r\n0\r\n\r\n", 400, 400),
    "chunk size with a sign": (b"-1\r\na\r\n0\r\n\r\n", 400, 400),
    "chunk size with an underscore": (b"1_0\r\na\r\n0\r\n\r\n", 400, 400),
    "empty chunk size": (b"\r\na\r\n0\r\n\r\n", 400, 400),
    "line feed in an extension": (b"1;a\nb\r\na\r\n0\r\n\r\n", 400, 400),
    "more than the chunk": (b"1\r\nab\r\n0\r\n\r\n", 400, 400),
    "bare LF after the size": (b"1\na\r\n0\r\n\r\n", 400, 400),
    "chunk size beyond all bounds": (b"f" * 20 + b"\r\na\r\n0\r\n\r\n", 400, 400),
}


async def read(module: ModuleType, request: Any) -> Any:
    return module.Response(body=await request.read())


@pytest.mark.parametrize("name", BODIES)
async def test_a_malformed_body_is_answered_and_nothing_behind_it(name: str, peers: Peers) -> None:
    body, status, their_status = BODIES[name]
    wire = request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=body)

    ours, theirs = await peers.ask(read, wire + LAST)

    assert statuses(ours) == [status]
    assert statuses(theirs) == [their_status]
    assert HOST not in ours
