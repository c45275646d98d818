"""The same client bytes to a WebSocketResponse of aiohttp and to ours: both sides see the same.

Over 400 lines, so that cases, differences and reasons are read together.

What the handler sees is compared, and what the client is sent, frame by frame; compressed messages
as what they become, and close frames without their reason, in which ours says what went wrong.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import signature
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from aiohttp import WSCloseCode, WSMessage

from protocol.deflate import deflate_message
from protocol.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode_masked_frame
from tests.gateway.web.differential.peers import MODULES, Peers, get

# Of WebSocketResponse: aiohttp has the first from 3.14 on.
OWN_OPTIONS = {"decode_text", "max_inbox_bytes"}
KEY = bytes(4)  # masks nothing
UPGRADE = (
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)

# What a handler does, given the module, the request, and where to write down what it sees.
Handler = Callable[[ModuleType, Any, list[Any]], Awaitable[Any]]


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    return encode_masked_frame(opcode, payload, KEY, fin=fin, rsv1=rsv1)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


BYE = close(1000)


class Outcome(NamedTuple):
    """What came of one conversation."""

    status: int
    headers: dict[str, str]
    frames: list[tuple[int, bytes]]
    seen: list[Any]


def parse_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the frames of a server: the first byte, and the payload made comparable."""
    frames, inflater = [], zlib.decompressobj(-15)
    while data:
        size, head_bytes = data[1], 2
        if size >= 126:
            head_bytes = 4 if size == 126 else 10
            size = int.from_bytes(data[2:head_bytes], "big")
        first, payload = data[0], data[head_bytes : head_bytes + size]
        data = data[head_bytes + size :]
        if first & 0x40:
            payload = inflater.decompress(payload + b"\x00\x00\xff\xff")
        frames.append((first, payload[:2] if first == 0x88 else payload))
    return frames


HEADERS = ("Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "X")


def parse_outcome(answer: bytes, seen: list[Any]) -> Outcome:
    head, _, rest = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = {name.title(): value for name, value in (line.split(": ", 1) for line in lines)}
    status = int(status_line.split()[1])
    return Outcome(
        status,
        {name: headers[name.title()] for name in HEADERS if name.title() in headers},
        parse_frames(rest) if status == 101 else [],
        seen,
    )


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    async with Peers().listening() as listening:
        yield listening


async def converse(peers: Peers, handler: Handler, wire: bytes) -> list[Outcome]:
    """Return what comes of our server and theirs."""
    seen: dict[ModuleType, list[Any]] = {module: [] for module in MODULES}

    async def handle(module: ModuleType, request: Any) -> Any:
        try:
            return await handler(module, request, seen[module])
        except Exception as error:
            seen[module].append(type(error).__name__)
            raise

    answers = await peers.ask(handle, wire)
    return [
        parse_outcome(answer, seen[module]) for answer, module in zip(answers, MODULES, strict=True)
    ]


# Handlers. Each prepares a WebSocketResponse with the options of its case, and then does this.

Body = Callable[[ModuleType, Any, list[Any]], Awaitable[None]]


def describe(message: Any) -> tuple[Any, ...]:
    """Return a message without the types that must differ."""
    data = message.data
    if isinstance(data, bytearray):
        data = bytes(data)
    if isinstance(data, Exception):
        data = type(data).__name__
    return message.type.name, data, message.extra


async def note(seen: list[Any], awaitable: Awaitable[Any]) -> None:
    """Write down what awaitable returns or raises."""
    try:
        result = await awaitable
        seen.append(describe(result) if hasattr(result, "extra") else result)
    except Exception as error:
        kinds = (ConnectionResetError, RuntimeError, TypeError, ValueError, TimeoutError)
        seen.append(next((kind.__name__ for kind in kinds if isinstance(error, kind)), error))


async def receive_all(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    for _ in range(8):
        await note(seen, websocket.receive())
        seen.append(websocket.closed)


async def loop(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    async for message in websocket:
        seen.append(describe(message))
        if message.type is web.WSMsgType.TEXT:
            await websocket.send_str(message.data)
        elif message.type is web.WSMsgType.BINARY:
            await websocket.send_bytes(message.data)


async def send_all_kinds(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    await websocket.send_str("t\u00e9xt")
    await websocket.send_bytes(b"bytes")
    await websocket.send_bytes(bytearray(b"array"))
    await websocket.send_bytes(memoryview(b"view"))
    await websocket.send_json({"a": 1})
    await websocket.send_json("a", dumps=repr)
    await websocket.send_frame(b"frame", web.WSMsgType.TEXT)
    await websocket.send_frame(b"frame", web.WSMsgType.PING)
    await websocket.ping()
    await websocket.ping(b"ping")
    await websocket.pong(b"pong")
    await websocket.send_str("x" * 126)
    await websocket.send_bytes(b"x" * 70_000)
    await websocket.send_str("")


async def send_what_cannot_be_sent(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    for data in (b"a", 1, None):
        await note(seen, websocket.send_str(data))
    for data in ("a", 1, None):
        await note(seen, websocket.send_bytes(data))
    await note(seen, websocket.send_json(object()))
    await note(seen, websocket.send_frame("a", web.WSMsgType.TEXT))
    await note(seen, websocket.write(b"a"))


async def close_and_go_on(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    await note(seen, websocket.close(code=4001, message=b"reason"))
    seen.append((websocket.closed, websocket.close_code, websocket.exception()))
    await note(seen, websocket.close())
    for _ in range(6):
        await note(seen, websocket.receive())
    for send in (websocket.send_str("a"), websocket.send_bytes(b"a"), websocket.send_json(1)):
        await note(seen, send)
    for send in (websocket.ping(), websocket.pong(), websocket.send_frame(b"a", 1)):
        await note(seen, send)
    await note(seen, websocket.receive_str())


async def receive_by_type(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    await note(seen, websocket.receive_str())
    await note(seen, websocket.receive_bytes())
    await note(seen, websocket.receive_json())
    await note(seen, websocket.receive_json(loads=len))
    await note(seen, websocket.receive_json())
    await note(seen, websocket.receive_str())
    await note(seen, websocket.receive_bytes())
    message = await websocket.receive()
    seen.append((message.json(), message.json(loads=len)))


async def receive_twice_at_once(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    first = asyncio.ensure_future(websocket.receive())
    await asyncio.sleep(0)
    await note(seen, websocket.receive())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def receive_too_long(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    await note(seen, websocket.receive_str())
    await note(seen, websocket.receive(timeout=0.01))
    await note(seen, websocket.receive_bytes(timeout=0.01))
    seen.append(websocket.closed)
    await websocket.send_str("still here")


async def close_elsewhere(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    receiving = asyncio.ensure_future(note(seen, websocket.receive()))
    await asyncio.sleep(0)
    await note(seen, websocket.close())
    await receiving


async def leave(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    """Return to the server, which closes."""


async def prepare_again(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    seen.append((websocket.prepared, websocket.status, websocket.ws_protocol))
    try:
        websocket.can_prepare(None)
    except RuntimeError:
        seen.append("RuntimeError")


async def tell_compression(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    seen.append(websocket.compress)
    for text in ("Hello", "Hello" * 9, "x" * 5000, "", "Hello"):
        await websocket.send_str(text)
    await websocket.send_bytes(b"Hello" * 9)
    await websocket.ping(b"Hello" * 9)
    await loop(web, websocket, seen)


def offer(extensions: bytes) -> bytes:
    return get(*UPGRADE, b"Sec-WebSocket-Extensions: " + extensions)


HELLO = frame(TEXT, b"Hello")
DEFLATED = frame(TEXT, deflate_message(b"Hello" * 9), rsv1=True)

# (what the handler does, the options of the response, what the client sends behind the handshake)
CASES: dict[str, tuple[Body, dict[str, Any], bytes]] = {
    "echo": (loop, {}, HELLO + frame(BINARY, b"\xff") + BYE),
    "echo of a long message": (loop, {}, frame(TEXT, b"x" * 70_000) + BYE),
    "echo of fragments": (
        loop,
        {},
        frame(TEXT, b"a", fin=False)
        + frame(PING, b"p")
        + frame(CONTINUATION, b"b", fin=False)
        + frame(CONTINUATION, "\u00e9".encode())
        + BYE,
    ),
    "echo of nothing": (loop, {}, frame(TEXT) + frame(BINARY) + BYE),
    "pings and pongs": (receive_all, {}, frame(PING, b"a") + frame(PONG, b"b") + HELLO + BYE),
    "autoping off": (
        receive_all,
        {"autoping": False},
        frame(PING, b"a") + frame(PONG, b"b") + HELLO + BYE,
    ),
    "close": (receive_all, {}, BYE),
    "close with a reason": (receive_all, {}, close(1000, b"reason")),
    "close with another code": (receive_all, {}, close(4000, b"reason")),
    "close without a code": (receive_all, {}, frame(CLOSE)),
    "close, autoclose off": (receive_all, {"autoclose": False}, close(1000, b"reason")),
    "close behind messages": (receive_all, {}, HELLO + HELLO + BYE),
    "sends": (send_all_kinds, {}, BYE),
    "what cannot be sent": (send_what_cannot_be_sent, {}, BYE),
    "our close": (close_and_go_on, {}, BYE),
    "our close, answered with another code": (close_and_go_on, {}, close(4002)),
    "our close behind messages": (close_and_go_on, {}, HELLO + HELLO + BYE),
    "messages by type": (
        receive_by_type,
        {},
        HELLO
        + frame(BINARY, b"b")
        + frame(TEXT, b'{"a": 1}')
        + HELLO
        + frame(TEXT, b"{")
        + frame(BINARY, b"b")
        + HELLO
        + frame(TEXT, b"12")
        + BYE,
    ),
    "two receivers": (receive_twice_at_once, {"timeout": 0.01}, b""),
    "timeouts": (receive_too_long, {"timeout": 0.01}, HELLO),
    "a timeout for all": (receive_too_long, {"timeout": 0.01, "receive_timeout": 0.01}, HELLO),
    "a close elsewhere": (close_elsewhere, {"timeout": 0.01}, b""),
    "a handler that returns": (leave, {}, BYE),
    "prepared": (prepare_again, {}, BYE),
    "compression": (tell_compression, {}, HELLO + DEFLATED + DEFLATED + BYE),
    "compression off": (tell_compression, {"compress": False}, HELLO + BYE),
    "a reserved opcode": (receive_all, {}, HELLO + b"\x83\x80" + KEY),
    "a reserved bit": (receive_all, {}, b"\xa1\x80" + KEY),
    "RSV1 without extension": (receive_all, {"compress": False}, DEFLATED),
    "a long ping": (receive_all, {}, b"\x89\xfe\x00\x7e" + KEY + bytes(126)),
    "a fragmented ping": (receive_all, {}, b"\x09\x80" + KEY),
    "a continuation of nothing": (receive_all, {}, frame(CONTINUATION, b"a")),
    "a message inside another": (receive_all, {}, frame(TEXT, b"a", fin=False) + HELLO),
    "half a close code": (receive_all, {}, frame(CLOSE, b"\x03")),
    "a close code below 3000 that there is not": (receive_all, {}, close(1016)),
    "close code 1006": (receive_all, {}, close(1006)),
    "close code 5000": (receive_all, {}, close(5000)),
    "a close reason that is not UTF-8": (receive_all, {}, close(1000, b"\xff")),
    "a text that is not UTF-8": (receive_all, {}, frame(TEXT, b"\xff")),
    "a message above the limit": (receive_all, {"max_msg_size": 4}, HELLO),
    "a message as large as the limit": (receive_all, {"max_msg_size": 5}, HELLO + BYE),
    "a message below the limit": (receive_all, {"max_msg_size": 6}, HELLO + BYE),
    "a frame that is not masked": (receive_all, {}, b"\x81\x01a" + BYE),
    "a length in more bytes than it needs": (
        receive_all,
        {},
        b"\x81\xfe\x00\x01" + KEY + b"a" + BYE,
    ),
    "a bomb": (
        receive_all,
        {"max_msg_size": 1000},
        frame(TEXT, deflate_message(bytes(100_000)), rsv1=True),
    ),
    "a ping inside a compressed message": (
        receive_all,
        {},
        frame(TEXT, b"\xf2\x48", fin=False, rsv1=True)
        + frame(PING, b"p")
        + frame(CONTINUATION, b"\xcd\xc9\xc9\x07\x00")
        + BYE,
    ),
}

EXTENDED = {"compression", "a bomb", "a ping inside a compressed message"}

ERROR = ("ERROR", "WebSocketError", None)
OVER = [("CLOSED", None, None), True] * 4 + ["RuntimeError", True] * 2


def ended(*seen: Any) -> list[Any]:
    """Return what receive_all sees where the end comes with the last of seen."""
    return ([*seen, True] + OVER + ["RuntimeError", True] * 8)[:16]


# What differs on purpose: by part of the outcome ours and theirs, and why.
DIFFERENCES: dict[str, tuple[dict[str, tuple[Any, Any]], str]] = {
    "close with another code": (
        {"frames": ([(0x88, b"\x0f\xa0")], [(0x88, b"\x03\xe8")])},
        "RFC 6455 section 5.5.1: the answer usually repeats the code",
    ),
    "close without a code": (
        {"frames": ([(0x88, b"")], [(0x88, b"\x03\xe8")])},
        "RFC 6455 section 5.5.1: the answer usually repeats the code, or its absence",
    ),
    "close code 1006": (
        {
            "frames": ([(0x88, b"\x03\xea")], [(0x88, b"\x03\xe8")]),
            "seen": (ended(ERROR), ended(("CLOSE", 1006, ""))),
        },
        "RFC 6455 section 7.4.1: this code must not be sent",
    ),
    "close code 5000": (
        {
            "frames": ([(0x88, b"\x03\xea")], [(0x88, b"\x03\xe8")]),
            "seen": (ended(ERROR), ended(("CLOSE", 5000, ""))),
        },
        "RFC 6455 section 7.4.2: there are no such codes",
    ),
    "a frame that is not masked": (
        {
            "frames": ([(0x88, b"\x03\xea")], [(0x88, b"\x03\xe8")]),
            "seen": (ended(ERROR), ended(("TEXT", "a", ""), False, ("CLOSE", 1000, ""))),
        },
        "RFC 6455 section 5.1: a server closes the connection",
    ),
    "a length in more bytes than it needs": (
        {
            "frames": ([(0x88, b"\x03\xea")], [(0x88, b"\x03\xe8")]),
            "seen": (ended(ERROR), ended(("TEXT", "a", ""), False, ("CLOSE", 1000, ""))),
        },
        "RFC 6455 section 5.2: the fewest bytes must be used",
    ),
    "a ping inside a compressed message": (
        {
            "frames": (
                [(0x8A, b"p"), (0x88, b"\x03\xe8")],
                [(0x8A, b"p"), (0x88, b"\x03\xef")],
            ),
            "seen": (ended(("TEXT", "Hello", ""), False, ("CLOSE", 1000, "")), ended(ERROR)),
        },
        "RFC 7692 section 6.1: control frames may come between the fragments",
    ),
    "a message as large as the limit": (
        {
            "frames": ([(0x88, b"\x03\xe8")], [(0x88, b"\x03\xf1")]),
            "seen": (
                ended(("TEXT", "Hello", ""), False, ("CLOSE", 1000, "")),
                ended(ERROR),
            ),
        },
        "a limit is what is allowed",
    ),
}


def handler_of(body: Body, options: dict[str, Any]) -> Handler:
    async def handler(web: ModuleType, request: Any, seen: list[Any]) -> Any:
        websocket = web.WebSocketResponse(**options)
        await websocket.prepare(request)
        await body(web, websocket, seen)
        return websocket

    return handler


@pytest.mark.parametrize("name", CASES)
async def test_both_sides_see_the_same_unless_the_table_says_why_not(peers, name):
    body, options, wire = CASES[name]
    handshake = offer(b"permessage-deflate") if name in EXTENDED else get(*UPGRADE)

    ours, theirs = await converse(peers, handler_of(body, options), handshake + wire)

    differing, _ = DIFFERENCES.get(name, ({}, ""))
    found = {
        field: (mine, other)
        for field, mine, other in zip(Outcome._fields, ours, theirs, strict=True)
        if mine != other
    }
    assert found == differing


async def tell_nothing(web: ModuleType, websocket: Any, seen: list[Any]) -> None:
    seen.append((websocket.compress, websocket.ws_protocol))


# What the client offers, and where the answers differ: ours, theirs, and why.
OFFERS: dict[bytes, tuple[str | None, str | None, str] | None] = {
    b"permessage-deflate": None,
    b"permessage-deflate; server_max_window_bits=15": (
        "permessage-deflate; server_max_window_bits=15",
        "permessage-deflate",
        "RFC 7692 section 7.1.2.1: accepting the parameter is repeating it",
    ),
    b"permessage-deflate; server_max_window_bits=9": None,
    b"permessage-deflate; server_no_context_takeover": None,
    b"permessage-deflate; client_max_window_bits": (
        "permessage-deflate; client_max_window_bits=12",
        "permessage-deflate",
        "a client that lets us choose its window saves us memory",
    ),
    b"permessage-deflate; client_no_context_takeover": (
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate",
        "a client that keeps no context saves us memory",
    ),
    b"permessage-deflate; server_max_window_bits=8": None,
    b"permessage-deflate; server_max_window_bits=8, permessage-deflate": None,
    b"permessage-deflate; server_max_window_bits=16": None,
    b"permessage-deflate; unknown": None,
    b"permessage-deflate; server_max_window_bits": (
        None,
        "permessage-deflate",
        "RFC 7692 section 7.1.2.1: the value is missing",
    ),
    b"permessage-deflate; server_no_context_takeover; server_no_context_takeover": (
        None,
        "permessage-deflate; server_no_context_takeover",
        "RFC 7692 section 7.1: a parameter may come once",
    ),
    b"x-permessage-deflate-x": None,
    b"x-permessage-deflate": (None, "permessage-deflate", "it is another extension"),
    b"permessage-bzip2": None,
}


@pytest.mark.parametrize("extensions", OFFERS)
async def test_the_same_extension_is_agreed_upon_unless_the_table_says_why_not(peers, extensions):
    wire = offer(extensions) + BYE
    outcomes = await converse(peers, handler_of(tell_nothing, {}), wire)
    ours, theirs = [outcome.headers.get("Sec-WebSocket-Extensions") for outcome in outcomes]
    if OFFERS[extensions] is None:
        assert ours == theirs
        assert outcomes[0].seen == outcomes[1].seen
    else:
        assert (ours, theirs) == OFFERS[extensions][:2]


def without(line: bytes, *instead: bytes) -> tuple[bytes, ...]:
    """Return the headers of a handshake without the one that begins so."""
    kept = [header for header in UPGRADE if not header.startswith(line)]
    assert len(kept) == len(UPGRADE) - 1
    return (*kept, *instead)


# The headers of a handshake, and the status of our answer and of theirs.
HANDSHAKES: dict[str, tuple[tuple[bytes, ...], int, int]] = {
    "good": (UPGRADE, 101, 101),
    "no upgrade": (without(b"Upgrade:"), 400, 400),
    "another upgrade": (without(b"Upgrade:", b"Upgrade: h2c"), 400, 400),
    "upgrade in capitals": (without(b"Upgrade:", b"Upgrade: WEBSOCKET"), 101, 101),
    "no connection": (without(b"Connection:"), 400, 400),
    "connection with more": (
        without(b"Connection:", b"Connection: keep-alive, UPGRADE"),
        101,
        101,
    ),
    "connection of another name": (without(b"Connection:", b"Connection: notupgrade"), 400, 101),
    "no version": (without(b"Sec-WebSocket-V"), 426, 400),
    "version 8": (without(b"Sec-WebSocket-V", b"Sec-WebSocket-Version: 8"), 426, 101),
    "no key": (without(b"Sec-WebSocket-K"), 400, 400),
    "a short key": (without(b"Sec-WebSocket-K", b"Sec-WebSocket-Key: c2hvcnQ="), 400, 400),
    "a key with a space": (
        without(b"Sec-WebSocket-K", b"Sec-WebSocket-Key: dGhlIHNhbXBsZ SBub25jZQ=="),
        400,
        101,
    ),
    "a protocol": ((*UPGRADE, b"Sec-WebSocket-Protocol: x, b, a"), 101, 101),
    "another protocol": ((*UPGRADE, b"Sec-WebSocket-Protocol: x"), 101, 101),
}


@pytest.mark.parametrize("name", HANDSHAKES)
async def test_the_same_handshakes_are_accepted_unless_the_table_says_so(peers, name):
    headers, status, their_status = HANDSHAKES[name]
    handler = handler_of(tell_nothing, {"protocols": ("a", "b"), "timeout": 0.01})
    ours, theirs = await converse(peers, handler, get(*headers, b"Connection: close"))
    assert (ours.status, theirs.status) == (status, their_status)
    if status == their_status == 101:
        assert ours == theirs


async def test_what_cannot_be_done_before_prepare_cannot_be_done_in_either(peers):
    async def handler(web: ModuleType, request: Any, seen: list[Any]) -> Any:
        websocket = web.WebSocketResponse()
        seen.append((websocket.prepared, websocket.closed, websocket.close_code))
        seen.append((websocket.ws_protocol, websocket.exception(), bool(websocket)))
        seen.append(websocket.get_extra_info("peername", "nobody"))
        calls = (
            *(websocket.receive, websocket.receive_str, websocket.receive_bytes),
            *(websocket.receive_json, websocket.close, websocket.ping, websocket.pong),
            *(websocket.write_eof, websocket.__anext__),
        )
        for call in calls:
            await note(seen, call())
        for data in ("a", b"a", 1):
            await note(seen, websocket.send_str(data))
            await note(seen, websocket.send_bytes(data))
        await note(seen, websocket.send_json("a"))
        await note(seen, websocket.send_frame(b"a", web.WSMsgType.TEXT))
        await note(seen, websocket.write(b"a"))
        ready = websocket.can_prepare(request)
        seen.append((bool(ready), ready.ok, ready.protocol))
        return web.Response()

    ours, theirs = await converse(peers, handler, get(b"Connection: close"))
    assert ours == theirs
    ours, theirs = await converse(peers, handler, get(*UPGRADE, b"Connection: close"))
    assert ours.seen == theirs.seen


def test_messages_and_codes_have_the_same_names_and_values():
    ours, theirs = MODULES
    assert dict(ours.WSMsgType.__members__) == dict(theirs.WSMsgType.__members__)
    codes = dict(ours.WSCloseCode.__members__)
    assert {"NO_STATUS_RECEIVED", "TLS_HANDSHAKE"} == codes.keys() - WSCloseCode.__members__.keys()
    assert codes.items() >= dict(WSCloseCode.__members__).items()
    assert ours.WSMessage._fields == WSMessage._fields
    assert issubclass(ours.WSMessageTypeError, TypeError)


def test_the_same_arguments_have_the_same_defaults():
    ours, theirs = [module.WebSocketResponse for module in MODULES]
    names = ["receive", "receive_str", "receive_bytes", "receive_json", "send_str", "send_bytes"]
    names += ["send_json", "send_frame", "ping", "pong", "close", "can_prepare", "get_extra_info"]
    for name in ["__init__", *names]:
        mine, other = [
            {
                parameter.name: (parameter.kind, parameter.default)
                for parameter in signature(getattr(owner, name)).parameters.values()
            }
            for owner in (ours, theirs)
        ]
        assert mine.keys() - other.keys() == (OWN_OPTIONS if name == "__init__" else set())
        assert {key: mine[key] for key in other} == other, name
