"""Bodies and their codings on aiohttp and here: the same handlers, the same bytes, one table.

What differs is listed with its reason, or a mistake. One difference is everywhere and left out of
the comparison: where the coding depends on the request, Vary says so here and not in aiohttp.
Over 400 lines, so that cases, differences and reasons are read together.
"""

# ruff: noqa: SIM115 - a response closes the file that it sends.

import asyncio
import gzip
import io
import logging
import warnings
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import brotli
import pytest

from gateway import web

aiohttp_web = pytest.importorskip("aiohttp.web")

Handler = Callable[[ModuleType, Any], Awaitable[Any]]
Maker = Callable[[ModuleType], Any]

TEXT = "All that is gold does not glitter. " * 100
OCTETS = b"\0\1" * 500
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Answer(NamedTuple):
    """A response without what must differ, its body without framing and coding."""

    status_line: str
    headers: tuple[str, ...]
    body: bytes


def split_body(fields: dict[str, str], wire: bytes) -> tuple[bytes, bytes]:
    """Return the body at the beginning of wire, and the rest."""
    if "chunked" in fields.get("Transfer-Encoding", ""):
        body, size = b"", -1
        while size:
            line, _, wire = wire.partition(b"\r\n")
            size = int(line, 16)
            body, wire = body + wire[:size], wire[size + 2 :]
        return body, wire
    length = int(fields["Content-Length"]) if "Content-Length" in fields else len(wire)
    return wire[:length], wire[length:]


def parse(wire: bytes, *, is_head: bool) -> list[Answer]:
    """Return the answers in wire; bytes that are no answer make a body of their own."""
    answers = []
    while wire:
        head, _, wire = wire.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        fields = {name: fields[name] for name in fields if name not in ("Date", "Server")}
        body = b""
        if not (is_head and not answers) and status_line[9:12] not in ("204", "304"):
            body, wire = split_body(fields, wire)
        decode = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(
            fields.get("Content-Encoding", ""), bytes
        )
        if fields.get("Vary") == "Accept-Encoding":
            del fields["Vary"]
        headers = tuple(sorted(map(": ".join, fields.items())))
        answers.append(Answer(status_line, headers, decode(body) if body else b""))
        if wire and not wire.startswith(b"HTTP/1."):
            answers.append(Answer("not HTTP", (), wire))
            break
    return answers


async def talk(module: ModuleType, handler: Handler, wire: bytes) -> list[Answer]:
    """Return what a server of module answers to wire, and to a request behind it."""

    async def handle(request: Any) -> Any:
        if request.path == "/last":
            return module.Response(text="last")
        return await handler(module, request)

    server = module.Server(handle, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    with closing(listener), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # bools that force a coding
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        with closing(writer):
            writer.write(wire if b" HTTP/1.0\r\n" in wire else wire + LAST)
            answer = await reader.read()
    await server.shutdown(1)
    return parse(answer, is_head=wire.startswith(b"HEAD"))


# Responses.


async def pieces() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


def chunked(web: ModuleType) -> Any:
    response = web.Response(text=TEXT)
    response.enable_chunked_encoding()
    return response


def moved() -> io.BytesIO:
    file = io.BytesIO(OCTETS)
    file.seek(100)
    return file


MAKERS: dict[str, Maker] = {
    "text": lambda web: web.Response(text=TEXT),
    "text of nothing": lambda web: web.Response(text=""),
    "text in a charset": lambda web: web.Response(text="č", charset="iso-8859-2"),
    "text of the header's charset": lambda web: web.Response(
        text="č", headers={"Content-Type": "text/x; charset=utf-16"}
    ),
    "text beside octets": lambda web: web.Response(
        text="č", headers={"Content-Type": "application/octet-stream"}
    ),
    "bytes": lambda web: web.Response(body=OCTETS),
    "bytes of nothing": lambda web: web.Response(body=b""),
    "bytes of a type": lambda web: web.Response(body=b"x", content_type="a/b", charset="c"),
    "bytes of a charset": lambda web: web.Response(body=b"x", charset="utf-8"),
    "bytearray": lambda web: web.Response(body=bytearray(OCTETS)),
    "memoryview": lambda web: web.Response(body=memoryview(OCTETS)),
    "str": lambda web: web.Response(body="ž" * 100),
    "str of a type": lambda web: web.Response(body="x", content_type="text/css"),
    "BytesIO": lambda web: web.Response(body=io.BytesIO(OCTETS)),
    "BytesIO, moved": lambda web: web.Response(body=moved()),
    "StringIO": lambda web: web.Response(body=io.StringIO("ž" * 100)),
    "file": lambda web: web.Response(body=Path(__file__).open("rb")),
    "file of a type": lambda web: web.Response(
        body=Path(__file__).open("rb"), content_type="text/css"
    ),
    "text file": lambda web: web.Response(body=Path(__file__).open(encoding="utf-8")),
    "generator": lambda web: web.Response(body=pieces()),
    "generator of a type": lambda web: web.Response(
        body=pieces(), headers={"Content-Type": "text/css"}
    ),
    "chunks": chunked,
    "no body": lambda web: web.Response(),
    "number": lambda web: web.Response(body=5),
    "list": lambda web: web.Response(body=[b"a"]),
    "json": lambda web: web.json_response({"a": "č"}),
    "json of None": lambda web: web.json_response(None),
    "json of nothing": lambda web: web.json_response(),
    "json as text": lambda web: web.json_response(text='"x"'),
    "json as body": lambda web: web.json_response(body=b'"x"'),
    "json twice": lambda web: web.json_response(1, text="1"),
    "json with arguments": lambda web: web.json_response(
        1, content_type="a/json", status=400, reason="R", headers={"X": "y"}, dumps=repr
    ),
    "json beside a type": lambda web: web.json_response(1, headers={"Content-Type": "a/b"}),
    "own length": lambda web: web.Response(body=OCTETS, headers={"Content-Length": "1000"}),
    "own coding": lambda web: web.Response(
        body=zlib.compress(b"x"), headers={"Content-Encoding": "deflate"}
    ),
    "ETag": lambda web: web.Response(text=TEXT, headers={"ETag": '"a"'}),
    "204": lambda web: web.Response(status=204, text=TEXT),
    "304": lambda web: web.Response(status=304, text=TEXT),
    "206": lambda web: web.Response(
        status=206, body=b"x" * 10, headers={"Content-Range": "bytes 0-9/20"}
    ),
    "404": lambda web: web.Response(status=404, text=TEXT),
}
REQUESTS = {
    "GET": b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\r\n",
    "1.0": b"GET / HTTP/1.0\r\nAccept-Encoding: gzip, br\r\n\r\n",
}


def plain(make: Maker) -> Handler:
    async def handler(web: ModuleType, request: Any) -> Any:
        return make(web)

    return handler


def compressed(make: Maker, coding: str | bool | None = None) -> Handler:
    async def handler(web: ModuleType, request: Any) -> Any:
        response = make(web)
        is_name = isinstance(coding, str) and coding != "not a coding"
        response.enable_compression(web.ContentCoding[coding] if is_name else coding)
        return response

    return handler


def streamed(*written: bytes | bytearray | memoryview, length: int | None = None) -> Handler:
    async def handler(web: ModuleType, request: Any) -> Any:
        response = web.StreamResponse()
        response.content_length = length
        response.enable_compression()
        await response.prepare(request)
        for data in written:
            await response.write(data)
        return response

    return handler


STREAMS = {
    "stream": streamed(b"one", b"", bytearray(b"two"), memoryview(b"three")),
    "stream of nothing": streamed(),
    "stream with a length": streamed(b"onetwo", length=6),
}
ACCEPTED = {
    **{value: value for value in ("", "br", "deflate", "gzip", "GZIP", "x-gzip", "identity")},
    **{value: value for value in ("gzip, deflate", "gzip;q=0", "identity, gzip;q=0.5", "*")},
    "deflate;q=0.5, gzip": "deflate;q=0.5, gzip",
}
CASES: dict[str, tuple[Handler, bytes]] = {
    **{
        f"{name}, {verb}": (plain(make), wire)
        for name, make in MAKERS.items()
        for verb, wire in REQUESTS.items()
    },
    **{
        f"{name} compressed, {verb}": (compressed(make), wire)
        for name, make in MAKERS.items()
        for verb, wire in REQUESTS.items()
    },
    **{
        f"{name} compressed, {verb}": (handler, wire)
        for name, handler in STREAMS.items()
        for verb, wire in REQUESTS.items()
    },
    **{
        f"Accept-Encoding: {value}": (
            compressed(MAKERS["text"]),
            REQUESTS["GET"].replace(b"gzip, br", value.encode()),
        )
        for value in ACCEPTED
    },
    **{
        f"forcing {coding}": (compressed(MAKERS["text"], coding), REQUESTS["GET"])
        for coding in ("deflate", "gzip", "identity", True, False, "not a coding")
    },
}


def named(names: str, verbs: str, reason: str) -> dict[str, str]:
    """Return reason for each of the compressed responses to each of the verbs."""
    return {
        f"{name} compressed, {verb}": reason
        for name in names.split(" | ")
        for verb in verbs.split(" | ")
    }


IN_MEMORY = "memoryview | str | str of a type | BytesIO | BytesIO, moved | StringIO"
STREAMED = "file | file of a type | text file | generator | generator of a type | chunks"
DIFFERENCES: dict[str, str] = {
    **dict.fromkeys(
        ("text file, GET", "text file, HEAD", "text file, 1.0"),
        "aiohttp announces the file's length, which its text need not have once encoded anew",
    ),
    **named(
        STREAMED + " | stream | stream of nothing | stream with a length",
        "HEAD",
        "aiohttp sends compressed bytes behind the head, which the peer takes for the next answer",
    ),
    **named(IN_MEMORY, "GET | 1.0", "what is in memory has a length here: it needs no chunks"),
    **named(IN_MEMORY, "HEAD", "as for a stream, and it has a length here"),
    **named(
        "no body | json of nothing",
        "GET | HEAD | 1.0",
        "aiohttp fails with an AssertionError and closes",
    ),
    **named(
        "text of nothing | bytes of nothing",
        "GET | HEAD | 1.0",
        "nothing stays nothing here: 20 bytes of gzip would say no more",
    ),
    **named("204 | 304", "GET | HEAD | 1.0", "a coding of no body is not stated"),
    **named(
        "206", "GET | HEAD | 1.0", "a part of a body, compressed, is no part of a compressed body"
    ),
    **named("own coding", "GET | HEAD | 1.0", "aiohttp compresses again what is compressed"),
    **named(
        "ETag",
        "GET | HEAD | 1.0",
        "a strong tag means the same bytes: RFC 9110 section 8.8.3.3 wants another, or a weak one",
    ),
    **dict.fromkeys(
        ("chunks, 1.0", "chunks compressed, 1.0"),
        "aiohttp closes without an answer where 500 is due",
    ),
    **dict.fromkeys(
        (
            "Accept-Encoding: gzip;q=0",
            "Accept-Encoding: identity, gzip;q=0.5",
            "Accept-Encoding: deflate;q=0.5, gzip",
            "Accept-Encoding: *",
        ),
        "aiohttp looks for names, not at weights, and does not know that * is any",
    ),
}


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # aiohttp leaves files open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_responses_are_the_same_unless_the_table_says_why_not(name: str) -> None:
    handler, wire = CASES[name]

    ours, theirs = [await talk(module, handler, wire) for module in (web, aiohttp_web)]

    assert (ours != theirs) == (name in DIFFERENCES), (ours, theirs)
    assert all(answer.status_line.startswith("HTTP/1.") for answer in ours)


# Requests.


def post(coding: str, body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        *(coding.encode(), len(body)),
        body,
    )


async def tell(web: ModuleType, request: Any) -> Any:
    try:
        body = await request.read()
    except web.RequestPayloadError:
        return web.Response(text="RequestPayloadError")
    except web.HTTPRequestEntityTooLarge as error:
        return web.Response(text=error.text)
    numbers = (request.content.total_raw_bytes, request.content_length, request.can_read_body)
    return web.Response(text=f"{len(body)} {body[:50]!r} {numbers} {request.headers}")


async def ignore(web: ModuleType, request: Any) -> Any:
    return web.Response(text="ignored")


async def let_pass(web: ModuleType, request: Any) -> Any:
    return web.Response(body=await request.read())


ZIPPED = gzip.compress(TEXT.encode(), mtime=0)
BOMB = gzip.compress(bytes(2 * 1024 * 1024), mtime=0)
NO_BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n"
EMPTY = NO_BODY[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

CODED: dict[str, tuple[Handler, bytes]] = {
    "gzip": (tell, post("gzip", ZIPPED)),
    "deflate": (tell, post("deflate", zlib.compress(b"x"))),
    "deflate without its header": (tell, post("deflate", zlib.compress(b"x")[2:-4])),
    "br": (tell, post("br", brotli.compress(b"x"))),
    "identity": (tell, post("identity", b"x")),
    "unknown": (tell, post("compress", b"x")),
    "two codings": (tell, post("gzip, gzip", ZIPPED)),
    "no body": (tell, NO_BODY),
    "empty body": (tell, EMPTY),
    "no gzip": (tell, post("gzip", b"no gzip")),
    "no deflate": (tell, post("deflate", b"\xff\xff\xff")),
    "no br": (tell, post("br", b"\xff\xff\xff")),
    "br and more": (tell, post("br", brotli.compress(b"x") + b"y")),
    "too much once decoded": (tell, post("gzip", BOMB)),
    "not read": (ignore, post("gzip", ZIPPED)),
    "GZIP": (tell, post("GZIP", ZIPPED)),
    "x-gzip": (tell, post("x-gzip", ZIPPED)),
    "gzip cut short": (tell, post("gzip", ZIPPED[:-1])),
    "gzip and more": (tell, post("gzip", ZIPPED + b"more")),
    "gzip of two members": (tell, post("gzip", ZIPPED + ZIPPED)),
    "deflate cut short": (tell, post("deflate", zlib.compress(b"x")[:-1])),
    "deflate and more": (tell, post("deflate", zlib.compress(b"x") + b"y")),
    "br cut short": (tell, post("br", brotli.compress(TEXT.encode())[:-1])),
    "no gzip, let pass": (let_pass, post("gzip", b"no gzip")),
    "no gzip, not read": (ignore, post("gzip", b"no gzip")),
}
CODED_DIFFERENCES: dict[str, str] = {
    "GZIP": "aiohttp knows the name in any case, and then takes it for deflate",
    "x-gzip": "the same as gzip: RFC 9110 section 8.4.1.3",
    "gzip cut short": "aiohttp takes it for whole",
    "gzip and more": "aiohttp drops the rest without a word",
    "gzip of two members": "aiohttp drops the second without a word",
    "deflate cut short": "aiohttp never calls the handler and answers 400 itself",
    "deflate and more": "aiohttp drops the rest without a word",
    "br cut short": "aiohttp takes it for whole",
    **dict.fromkeys(
        ("no gzip", "no deflate", "no br", "br and more", "no gzip, not read"),
        "a connection lives on where its handler does: what follows the body is framed as before",
    ),
    "no gzip, let pass": "400 here, while aiohttp says that it was the server: 500",
    "too much once decoded": "read() gives up here when the limit is passed, not a buffer later",
}


@pytest.mark.parametrize("name", CODED)
async def test_requests_are_read_the_same_unless_the_table_says_why_not(name: str) -> None:
    handler, wire = CODED[name]

    ours, theirs = [await talk(module, handler, wire) for module in (web, aiohttp_web)]

    assert (ours != theirs) == (name in CODED_DIFFERENCES), (ours, theirs)


def test_the_tables_list_no_difference_that_is_no_case() -> None:
    assert DIFFERENCES.keys() - CASES.keys() == set()
    assert CODED_DIFFERENCES.keys() - CODED.keys() == set()
