"""Requests with coded bodies over real sockets: what handlers read and what peers are told."""

import asyncio
import gzip
import re
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import brotli
import pytest

from gateway.web.body.errors import RequestPayloadError
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse

aiohttp = pytest.importorskip("aiohttp")

TEXT = b"All that is gold does not glitter. " * 100
CLOSE = "Connection: close"
GZIP = "Content-Encoding: gzip"
BOMB = gzip.compress(bytes(32 * 1024 * 1024))


def post(body: bytes, *lines: str) -> bytes:
    head = ["POST / HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def post_chunks(pieces: list[bytes], *lines: str) -> bytes:
    head = ["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", *lines, "", ""]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return "\r\n".join(head).encode() + b"".join(chunks) + b"0\r\n\r\n"


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answers)]


async def echo(request: BaseRequest) -> StreamResponse:
    return Response(body=await request.read())


async def ignore(request: BaseRequest) -> StreamResponse:
    return Response(text="ignored")


async def test_a_body_is_read_without_its_coding(talk: Any) -> None:
    wire = gzip.compress(TEXT)
    in_chunks = [wire[i : i + 3] for i in range(0, len(wire), 3)]

    answers = await talk(echo, post(wire, GZIP) + post_chunks(in_chunks, GZIP, CLOSE))

    assert statuses(answers) == [200, 200]
    assert answers.count(TEXT) == 2


async def test_the_bytes_that_were_sent_are_counted(talk: Any) -> None:
    wire, counts = gzip.compress(TEXT), []

    async def handler(request: BaseRequest) -> StreamResponse:
        body = await request.read()
        counts.extend([len(body), request.content.total_raw_bytes, request.content_length])
        return Response()

    await talk(handler, post(wire, GZIP, CLOSE))

    assert counts == [len(TEXT), len(wire), len(wire)]


async def test_a_body_can_be_left_in_its_coding(talk: Any) -> None:
    wire = gzip.compress(TEXT)

    answer = await talk(echo, post(wire, GZIP, CLOSE), auto_decompress=False)

    assert answer.endswith(b"\r\n\r\n" + wire)


@pytest.mark.parametrize("coding", ["compress", "gzip, br", "identity"])
async def test_what_is_not_known_is_read_as_it_is(talk: Any, coding: str) -> None:
    answer = await talk(echo, post(b"something", f"Content-Encoding: {coding}", CLOSE))

    assert answer.endswith(b"\r\n\r\nsomething")


@pytest.mark.parametrize(
    "wire",
    [
        post(b"no gzip", GZIP),
        post(gzip.compress(TEXT)[:-1], GZIP),
        post(gzip.compress(TEXT) + b"more", GZIP),
        post_chunks([gzip.compress(TEXT)[:-1]], GZIP),
        post(zlib.compress(TEXT)[:-1], "Content-Encoding: deflate"),
        post(brotli.compress(TEXT)[:-1], "Content-Encoding: br"),
        post(b"no zstd", "Content-Encoding: zstd"),
    ],
)
async def test_a_broken_body_is_answered_and_ends_the_connection(talk: Any, wire: bytes) -> None:
    failures = []

    async def handler(request: BaseRequest) -> StreamResponse:
        try:
            return await echo(request)
        except RequestPayloadError as error:
            failures.append(error)
            raise

    answers = await talk(handler, wire + post(b""))

    assert statuses(answers) == [400]
    assert b"content coding" in answers
    assert len(failures) == 1


@pytest.mark.parametrize(
    ("coding", "body", "reason"),
    [
        ("br", brotli.compress(TEXT, lgwin=24), b"The window is too large"),
        ("deflate", zlib.compress(TEXT) + b"more", b"Bytes follow the end of the data"),
        ("gzip", b"no gzip", b"incorrect header check"),
    ],
)
async def test_the_answer_says_what_is_wrong_with_a_broken_body(
    talk: Any, coding: str, body: bytes, reason: bytes
) -> None:
    answer = await talk(echo, post(body, f"Content-Encoding: {coding}", CLOSE))

    assert reason in answer


async def test_a_handler_that_puts_up_with_a_broken_body_keeps_its_connection(talk: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        with suppress(RequestPayloadError):
            await request.read()
        return Response(text="fine")

    answers = await talk(handler, post(b"no gzip", GZIP) + post(b"", CLOSE))

    assert statuses(answers) == [200, 200]


async def test_the_size_that_is_limited_is_the_decoded_one(talk: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        return await echo(request.clone(client_max_size=len(TEXT)))

    wire = post(gzip.compress(TEXT), GZIP)
    shorter = post(gzip.compress(TEXT[:-1]), GZIP, CLOSE)

    assert statuses(await talk(handler, wire + shorter)) == [413, 200]


async def test_more_bytes_than_the_limit_may_stand_for_fewer(talk: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        return await echo(request.clone(client_max_size=10))

    assert (await talk(handler, post(gzip.compress(b"x"), GZIP, CLOSE))).endswith(b"\r\n\r\nx")


@pytest.mark.parametrize("body", [BOMB, b"no gzip" * 10_000])
async def test_a_body_that_nobody_reads_is_not_decoded(talk: Any, body: bytes) -> None:
    requests = []

    async def handler(request: BaseRequest) -> StreamResponse:
        requests.append(request)
        return Response()

    answers = await talk(handler, post(body, GZIP) + post_chunks([body], GZIP) + post(b"", CLOSE))

    assert statuses(answers) == [200, 200, 200]
    assert requests[0].content.total_raw_bytes <= len(body)


async def test_a_body_released_unread_is_not_decoded(talk: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        await request.release()
        return Response()

    answers = await talk(handler, post(b"no gzip" * 50_000, GZIP) + post(b"", CLOSE))

    assert statuses(answers) == [200, 200]


async def test_a_bomb_costs_only_what_is_read_of_it(talk: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        return Response(body=await request.content.read(10))

    answers = await talk(handler, post(BOMB, GZIP) + post(b"", CLOSE))

    assert statuses(answers) == [200, 200]


async def test_a_bomb_read_whole_meets_the_limit(talk: Any) -> None:
    assert statuses(await talk(echo, post(BOMB, GZIP) + post(b"", CLOSE))) == [413, 200]


async def test_others_are_answered_while_a_bomb_is_read(connected: Any) -> None:
    is_reading, may_end, lengths = asyncio.Event(), asyncio.Event(), []

    async def handler(request: BaseRequest) -> StreamResponse:
        if not request.body_exists:
            return Response(text="quick")
        length = 0
        async for piece in request.content.iter_any():
            length += len(piece)
            is_reading.set()
        lengths.append((length, may_end.is_set()))
        return Response()

    async with connected(handler) as (reader, writer):
        host, port = writer.get_extra_info("peername")
        writer.write(post(BOMB, GZIP, CLOSE))
        await is_reading.wait()
        other_reader, other_writer = await asyncio.open_connection(host, port)
        other_writer.write(post(b"", CLOSE))
        assert (await other_reader.read()).endswith(b"quick")
        may_end.set()
        other_writer.close()
        assert statuses(await reader.read()) == [200]

    assert lengths == [(32 * 1024 * 1024, True)]


async def test_a_peer_that_sends_more_than_is_read_has_to_wait(connected: Any) -> None:
    noise = gzip.compress(bytes(8 * 1024 * 1024), 0)  # stored: as long as what it stands for
    arrived = []

    async def handler(request: BaseRequest) -> StreamResponse:
        await request.content.read(1)
        while request.transport and request.transport.is_reading():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)
        arrived.append(request.content.total_raw_bytes)
        return Response(text=str(len(await request.content.read())))

    async with connected(handler) as (reader, writer):
        writer.write(post(noise, GZIP, CLOSE))
        assert (await reader.read()).endswith(str(8 * 1024 * 1024 - 1).encode())

    assert arrived[0] < 512 * 1024


@pytest.mark.parametrize("handler", [echo, ignore])
async def test_a_peer_that_waits_for_its_go_ahead_gets_it_when_the_body_is_read(
    connected: Any, handler: Callable[[BaseRequest], Awaitable[StreamResponse]]
) -> None:
    body = gzip.compress(TEXT)

    async with connected(handler) as (reader, writer):
        writer.write(post(body, GZIP, "Expect: 100-continue", CLOSE)[: -len(body)])
        head = await reader.readuntil(b"\r\n\r\n")
        if handler is echo:
            assert head == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await reader.read()).endswith(TEXT)
        else:
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.fixture
async def url() -> Any:
    """The address of a server that echoes."""
    server = Server(echo, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    yield f"http://{host}:{port}/"
    listener.close()
    await server.shutdown(1)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_what_aiohttps_client_compresses_is_read(url: str, coding: str) -> None:
    async with aiohttp.ClientSession() as session:
        response = await session.post(url, data=TEXT, compress=coding)
        assert await response.read() == TEXT


async def test_what_curl_sends_compressed_is_read(curl: str, url: str) -> None:
    command = [curl, "-s", "-H", GZIP, "--data-binary", "@-", url]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(gzip.compress(TEXT))
    assert out == TEXT
