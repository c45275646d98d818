"""Requests and frames that are wrong: no traceback, no 500, and nothing is left behind."""

import asyncio
import contextlib
import re
import socket
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.web.request import BaseRequest
from gateway.web.response import Response, StreamResponse
from gateway.web.websocket.response import WebSocketResponse, WSMsgType
from tests.gateway.web.ledger import Watched, eventually, turns, watched

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789"
CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;x=y\r\nabcd\r\n0\r\nT: v\r\n\r\n"
)
RICH = (
    b"GET http://user@a:80/p%41th/%FF?q=1&r=%zz&&#f HTTP/1.1\r\nHost: a:80\r\n"
    b'Cookie: a=b; c="d"\r\n'
    b'Accept: */*\r\nRange: bytes=0-5\r\nIf-None-Match: W/"x", *\r\nContent-Type: text/a; b="c"\r\n'
    b'If-Modified-Since: Sat, 28 Nov 2026 16:00:00 GMT\r\nForwarded: for=1;by="[::1]", for=2\r\n'
    b'If-Range: "x"\r\nIf-Match: *\r\nIf-Unmodified-Since: now\r\nExpect: 100-continue\r\n\r\n'
)
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\n\r\n"
)
MASK = b"\x11\x22\x33\x44"


def frame(first: int, payload: bytes = b"", mask: bytes = MASK) -> bytes:
    """Return a frame as clients send it."""
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    if len(payload) < 126:
        return bytes([first, 0x80 | len(payload)]) + mask + masked
    return bytes([first, 0xFE]) + len(payload).to_bytes(2, "big") + mask + masked


DEFLATED = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692 section 7.2.3.1, "Hello"
FRAMES = b"".join(
    [
        frame(0x81, b"text"),
        frame(0x01, b"te") + frame(0x89, b"ping") + frame(0x80, b"xt"),
        frame(0xC1, DEFLATED),
        frame(0x82, bytes(126)),
        frame(0x8A),
        frame(0x88, b"\x03\xe8bye"),
    ]
)
VALID = [GET, POST, CHUNKED, RICH, GET + POST + CHUNKED + GET, HANDSHAKE + FRAMES]

# What a request may ask of the handler without asking for an error.
ASKED = (
    *("method", "path", "path_qs", "raw_path", "query", "query_string", "rel_url", "url", "host"),
    *("scheme", "secure", "remote", "version", "headers", "raw_headers", "cookies", "forwarded"),
    *("content_type", "charset", "content_length", "if_match", "if_none_match", "if_range"),
    *("if_modified_since", "if_unmodified_since", "keep_alive", "body_exists", "can_read_body"),
)
STATUSES = {200, 101, 100, 400, 405, 408, 411, 413, 414, 415, 417, 426, 431, 501, 505}


async def handler(request: BaseRequest) -> StreamResponse:
    """Ask for everything a request knows, and echo it or what a WebSocket brings."""
    known = [getattr(request, name) for name in ASKED]
    repr(request)
    if request.path == "/ws":
        websocket = WebSocketResponse(protocols=["chat"])
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
        return websocket
    await request.read()
    return Response(text=str(len(known)))


def find_statuses(answer: bytes) -> set[int]:
    """Return the statuses in what a server sent."""
    return {int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)}


async def tell(attack: Watched, pieces: tuple[bytes, ...]) -> bytes:
    """Send pieces one by one, then the end; return what was answered until the server closed."""
    loop = asyncio.get_running_loop()
    with attack.connect() as client:
        client.setblocking(False)
        answer = b""
        with contextlib.suppress(OSError):
            for piece in pieces:
                await loop.sock_sendall(client, piece)
                await turns(3)
            client.shutdown(socket.SHUT_WR)
            while data := await loop.sock_recv(client, 65536):
                answer += data
        return answer


# --- known kinds ----------------------------------------------------------------------------------

LONG = b"x" * 20_000
WRONG_REQUESTS = {
    "nothing": b"\r\n\r\n",
    "noise": bytes(range(256)),
    "zeros": bytes(1000),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http0.9": b"GET /\r\n\r\n",
    "version": GET.replace(b"1.1", b"9.9"),
    "method": b"G@T" + GET[3:],
    "lower case": b"get" + GET[3:],
    "long method": LONG + GET,
    "long target": GET.replace(b"/ ", b"/" + LONG + b" "),
    "long field": GET.replace(b"\r\n\r\n", b"\r\nX: " + LONG + b"\r\n\r\n"),
    "long name": GET.replace(b"\r\n\r\n", b"\r\n" + LONG + b": x\r\n\r\n"),
    "many fields": GET.replace(b"\r\n\r\n", b"\r\n" + b"X: x\r\n" * 200 + b"\r\n"),
    "no host": GET.replace(b"Host: a\r\n", b""),
    "two hosts": GET.replace(b"\r\n\r\n", b"\r\nHost: b\r\n\r\n"),
    "bad host": GET.replace(b"Host: a", b"Host: a b"),
    "bad port": GET.replace(b"Host: a", b"Host: a:99999"),
    "bad address": GET.replace(b"Host: a", b"Host: [::zz]"),
    "bare lf": GET.replace(b"\r\n", b"\n"),
    "bare cr": GET.replace(b"\r\n", b"\r"),
    "nul": GET.replace(b"Host: a", b"Host: a\r\nX: \0"),
    "fold": GET.replace(b"Host: a", b"Host: a\r\n X: b"),
    "space before colon": GET.replace(b"Host:", b"Host :"),
    "no name": GET.replace(b"Host: a", b"Host: a\r\n: b"),
    "non-ascii target": GET.replace(b"/ ", b"/\xff\xfe "),
    "percent": GET.replace(b"/ ", b"/%zz%f%FF?%zz=%FF#% "),
    "bracket target": GET.replace(b"/ ", b"http://[::1/ "),
    "port target": GET.replace(b"/ ", b"http://a:b/ "),
    "huge port target": GET.replace(b"/ ", b"http://a:99999/ "),
    "double slash": GET.replace(b"/ ", b"//[/:@ "),
    "asterisk": GET.replace(b"/ ", b"* "),
    "connect": b"CONNECT a:99999 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": POST.replace(b"\r\n\r\n", b"\r\nContent-Length: 8\r\n\r\n", 1),
    "signed length": POST.replace(b": 9", b": +9"),
    "negative length": POST.replace(b": 9", b": -9"),
    "huge length": POST.replace(b": 9", b": " + b"9" * 30),
    "large length": POST.replace(b": 9", b": 9999999999"),
    "hex length": POST.replace(b": 9", b": 0x9"),
    "length and coding": CHUNKED.replace(b"Host", b"Content-Length: 4\r\nHost"),
    "unknown coding": CHUNKED.replace(b"chunked", b"gzip"),
    "two codings": CHUNKED.replace(b"chunked", b"gzip, chunked"),
    "chunked twice": CHUNKED.replace(b"chunked", b"chunked, chunked"),
    "chunked 1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "chunk size": CHUNKED.replace(b"4;x=y", b"zz"),
    "huge chunk": CHUNKED.replace(b"4;x=y", b"f" * 30),
    "signed chunk": CHUNKED.replace(b"4;x=y", b"-4"),
    "chunk end": CHUNKED.replace(b"abcd\r\n", b"abcdefgh"),
    "long extension": CHUNKED.replace(b";x=y", b";x=" + LONG),
    "long trailer": CHUNKED.replace(b"T: v", b"T: " + LONG),
    "many trailers": CHUNKED.replace(b"T: v\r\n", b"T: v\r\n" * 300),
    "bad expectation": POST.replace(b"\r\n\r\n", b"\r\nExpect: more\r\n\r\n", 1),
    "bad gzip": POST.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1),
    "bad deflate": CHUNKED.replace(b"Host", b"Content-Encoding: deflate\r\nHost"),
    "bad brotli": POST.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n", 1),
    "bad cookies": GET.replace(b"\r\n\r\n", b'\r\nCookie: =;;a="\xff;[]={}; $x\r\n\r\n'),
    "bad dates": GET.replace(b"\r\n\r\n", b"\r\nIf-Modified-Since: Sun, 99 Foo -1\r\n\r\n"),
    "big dates": GET.replace(
        b"\r\n\r\n", b"\r\nIf-Modified-Since: Sat, 28 Nov 99999 16:00:00 GMT\r\n\r\n"
    ),
    "bad etags": GET.replace(b"\r\n\r\n", b'\r\nIf-None-Match: W/", "\xff\r\nIf-Range: W/\r\n\r\n'),
    "bad type": POST.replace(b"\r\n\r\n", b'\r\nContent-Type: ;;a/b/c="\\\r\n\r\n', 1),
    "bad forwarded": GET.replace(b"\r\n\r\n", b'\r\nForwarded: for="\\,;=,by=;;\r\n\r\n'),
    "bad key": HANDSHAKE.replace(b"dGhl", b"????"),
    "bad version": HANDSHAKE.replace(b": 13", b": 99"),
    "bad extension": HANDSHAKE.replace(b"client_max", b';;="'),
    "post upgrade": b"POST" + HANDSHAKE[3:],
    "body upgrade": HANDSHAKE.replace(b"Host", b"Content-Length: 5\r\nHost") + b"12345",
    "early data behind": GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"x" * 100,
}
WRONG_FRAMES = {
    "unmasked": b"\x81\x01a",
    "rsv1": frame(0xC2, b"\xff\xff\xff"),
    "rsv2": frame(0xA1),
    "rsv3": frame(0x91),
    "rsv1 control": frame(0xC9),
    "reserved opcode": frame(0x83),
    "reserved control": frame(0x8B),
    "fragmented control": frame(0x09),
    "long control": frame(0x89, bytes(126)),
    "continues nothing": frame(0x80, b"x"),
    "inside a message": frame(0x01) + frame(0x81),
    "rsv1 continuation": frame(0x01) + frame(0xC0),
    "long length": b"\x82\xfe\x00\x01" + MASK + b"a",
    "longest length": b"\x82\xff" + b"\xff" * 8 + MASK,
    "too big": b"\x82\xff\x00\x00\x00\x00\x7f\x00\x00\x00" + MASK,
    "half a code": frame(0x88, b"\x03"),
    "bad code": frame(0x88, b"\x03\xed"),
    "bad reason": frame(0x88, b"\x03\xe8\xff"),
    "bad text": frame(0x81, b"\xff"),
    "half a character": frame(0x81, b"\xe2\x82"),
    "surrogate": frame(0x01, b"\xed\xa0") + frame(0x80, b"\x80"),
    "bad deflate": frame(0xC1, b"\xff\xff\xff\xff"),
    "reserved block": frame(0xC1, b"\x06\x00"),
    "cut deflate": frame(0xC1, DEFLATED[:3]),
    "bad text in deflate": frame(0xC1, b"\xfa\x07\x00"),
    "after close": frame(0x88) + frame(0x81, b"late"),
    "http": GET,
}


@pytest.mark.parametrize("is_debugging", [False, True])
async def test_no_wrong_request_makes_an_error_of_ours(is_debugging: bool) -> None:
    async with watched(handler, debug=is_debugging) as attack:
        for kind, wire in WRONG_REQUESTS.items():
            for pieces in ((wire,), (wire[:30], wire[30:60], wire[60:])):
                found = find_statuses(await tell(attack, pieces))
                assert found <= STATUSES, kind


@pytest.mark.parametrize("behind", ["together", "later"])
async def test_no_wrong_frame_makes_an_error_of_ours(behind: str) -> None:
    async with watched(handler) as attack:
        for kind, wire in WRONG_FRAMES.items():
            pieces = (HANDSHAKE + wire,) if behind == "together" else (HANDSHAKE, wire)
            answer = await tell(attack, pieces)
            assert find_statuses(answer) == {101}, kind


# --- mutations ------------------------------------------------------------------------------------

TOKENS = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b":",
            b";",
            b",",
            b"=",
            b'"',
            b"\\",
            b"%",
        ),
        *(b"chunked", b"close", b"upgrade", b"0\r\n\r\n", b"Content-Length: 3\r\n", b"HTTP/1.0"),
        *(b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"\xff", b"\x80", b"/"),
        *(b"Connection: Upgrade\r\n", b"[", b"]", b"@", b"#", b"?", b"//", b"9" * 20, b"f" * 17),
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, ...]:
    """Draw a valid conversation with a few things changed, in pieces."""
    wire = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(wire)))
        stop = min(len(wire), start + draw(st.integers(0, 12)))
        kept = bytes(wire[start:stop])
        change: Any = draw(
            st.one_of(st.just(b""), st.just(kept * 2), TOKENS, st.binary(min_size=1, max_size=8))
        )
        wire[start:stop] = change
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=3)))
    bounds = [0, *cuts, len(wire)]
    pieces = [bytes(wire[start:stop]) for start, stop in pairwise(bounds)]
    return tuple(piece for piece in pieces if piece)


@settings(max_examples=60)
@given(wires=st.lists(mutated(), min_size=1, max_size=8))
async def test_no_mutation_makes_an_error_of_ours(wires: list[tuple[bytes, ...]]) -> None:
    async with watched(handler) as attack:
        answers = await asyncio.gather(*(tell(attack, pieces) for pieces in wires))
        await eventually(lambda: attack.ended_count == len(wires))
    for pieces, answer in zip(wires, answers, strict=True):
        assert find_statuses(answer) <= STATUSES, pieces
