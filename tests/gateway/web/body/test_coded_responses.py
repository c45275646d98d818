"""Compressed responses over real sockets: what peers are told of them, and when they can read."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.web.body.coding import ContentCoding
from gateway.web.exceptions import HTTPNotFound
from gateway.web.request import BaseRequest
from gateway.web.response import Response, json_response
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from gateway.web.websocket.response import WebSocketResponse

aiohttp = pytest.importorskip("aiohttp")

TEXT = "All that is gold does not glitter. " * 100
VARY = ("Vary", "Accept-Encoding")
GZIP = ("Content-Encoding", "gzip")
DEFLATE = ("Content-Encoding", "deflate")
CHUNKED = ("Transfer-Encoding", "chunked")


def get(accepted: str = "gzip", method: str = "GET", version: str = "1.1", *more: str) -> bytes:
    lines = [f"{method} / HTTP/{version}", "Host: a", f"Accept-Encoding: {accepted}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


def compressed(response: StreamResponse, *arguments: Any) -> StreamResponse:
    response.enable_compression(*arguments)
    return response


def unchunk(wire: bytes) -> bytes:
    body = b""
    while wire:
        size, _, wire = wire.partition(b"\r\n")
        body, wire = body + wire[: int(size, 16)], wire[int(size, 16) + 2 :]
    return body


async def streamed(request: BaseRequest) -> StreamResponse:
    response = compressed(StreamResponse())
    response.content_length = 6
    await response.prepare(request)
    await response.write(b"one")
    await response.write_eof(b"two")
    return response


async def test_a_body_is_sent_in_the_coding_that_the_request_accepts(ask: Any) -> None:
    answer = await ask(get("br, gzip"), lambda: compressed(Response(text=TEXT)))

    assert gzip.decompress(answer.body) == TEXT.encode()
    assert GZIP in answer.headers
    assert VARY in answer.headers
    assert ("Content-Length", str(len(answer.body))) in answer.headers
    assert answer.keeps_alive


@pytest.mark.parametrize("accepted", ["br", "gzip;q=0", "identity"])
async def test_a_body_stays_as_it_is_where_nothing_else_is_accepted(
    ask: Any, accepted: str
) -> None:
    answer = await ask(get(accepted), lambda: compressed(Response(text=TEXT)))

    assert answer.body == TEXT.encode()
    assert [name for name, _ in answer.headers if name == "Content-Encoding"] == []
    assert VARY in answer.headers


async def test_a_coding_can_be_forced(ask: Any) -> None:
    forced = compressed(Response(text=TEXT), ContentCoding.deflate)
    identity = compressed(Response(text=TEXT), ContentCoding.identity)

    answers = [await ask(get("gzip"), lambda: forced), await ask(get("gzip"), lambda: identity)]

    assert zlib.decompress(answers[0].body) == TEXT.encode()
    assert DEFLATE in answers[0].headers
    assert answers[1].body == TEXT.encode()
    assert VARY not in answers[0].headers + answers[1].headers


def test_forcing_takes_a_coding_and_still_a_bool() -> None:
    response = Response()
    assert not response.compression
    with pytest.warns(DeprecationWarning, match="ContentCoding"):
        response.enable_compression(True)
    assert response.compression
    with pytest.raises(AssertionError, match="gzip"):
        response.enable_compression("gzip")  # type: ignore[arg-type]


@pytest.mark.parametrize(("force", "coding"), [(True, [DEFLATE]), (False, [])])
async def test_a_bool_forces_deflate_or_nothing(ask: Any, force: bool, coding: Any) -> None:
    with pytest.warns(DeprecationWarning, match="ContentCoding"):
        response = compressed(Response(text=TEXT), force)

    answer = await ask(get("gzip"), lambda: response)

    assert [pair for pair in answer.headers if pair[0] == "Content-Encoding"] == coding


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_stream_is_encoded_while_it_is_written(ask: Any, version: str) -> None:
    answer = await ask(get("gzip", "GET", version, "Connection: keep-alive"), streamed)

    body = unchunk(answer.body) if version == "1.1" else answer.body
    assert gzip.decompress(body) == b"onetwo"
    assert GZIP in answer.headers
    assert (CHUNKED in answer.headers) == (version == "1.1") == answer.keeps_alive
    assert "Content-Length" not in dict(answer.headers)


@pytest.mark.parametrize("is_generated", [False, True])
async def test_a_written_piece_can_be_read_before_the_next_is_there(
    connected: Any, is_generated: bool
) -> None:
    go_on = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await go_on.wait()
        yield b"data: 2\n\n"

    async def handler(request: BaseRequest) -> StreamResponse:
        if is_generated:
            return compressed(Response(body=events()))
        response = compressed(StreamResponse())
        await response.prepare(request)
        async for event in events():
            await response.write(event)
        return response

    async with connected(handler) as (reader, writer):
        writer.write(get("gzip", "GET", "1.0"))
        await reader.readuntil(b"\r\n\r\n")
        decoder, text = zlib.decompressobj(31), b""
        while text != b"data: 1\n\n":
            text += decoder.decompress(await reader.read(1))
        go_on.set()
        text += decoder.decompress(await reader.read())

    assert text == b"data: 1\n\ndata: 2\n\n"
    assert decoder.eof


async def test_what_is_written_to_the_writer_itself_is_encoded_too(ask: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        response = compressed(StreamResponse())
        writer = await response.prepare(request)
        await writer.write(b"one")
        return response

    assert gzip.decompress(unchunk((await ask(get(), handler)).body)) == b"one"


async def test_a_file_is_encoded_while_it_is_read(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode() * 100)
    file = (tmp_path / "a.txt").open("rb")

    answer = await ask(get(), lambda: compressed(Response(body=file)))

    assert gzip.decompress(unchunk(answer.body)) == TEXT.encode() * 100
    assert "Content-Length" not in dict(answer.headers)
    assert file.closed


async def test_a_generator_is_encoded_while_it_is_sent(ask: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    answer = await ask(get(), lambda: compressed(Response(body=pieces())))

    assert gzip.decompress(unchunk(answer.body)) == b"onetwo"


async def test_a_body_in_chunks_is_encoded_too(ask: Any) -> None:
    response = compressed(Response(text=TEXT))
    response.enable_chunked_encoding()

    answer = await ask(get(), lambda: response)

    assert gzip.decompress(unchunk(answer.body)) == TEXT.encode()


@pytest.mark.parametrize("make", [lambda: Response(text=TEXT), lambda: json_response([TEXT])])
async def test_head_is_answered_with_the_headers_of_get(
    ask: Any, make: Callable[[], StreamResponse]
) -> None:
    answers = [
        await ask(get("gzip", method), lambda: compressed(make())) for method in ("GET", "HEAD")
    ]

    assert answers[0].headers == answers[1].headers
    assert answers[1].body == b""
    assert answers[1].keeps_alive


async def test_a_stream_to_head_is_announced_and_empty(ask: Any) -> None:
    answer = await ask(get("gzip", "HEAD"), streamed)

    assert answer.body == b""
    assert GZIP in answer.headers
    assert {"Content-Length", "Transfer-Encoding"}.isdisjoint(dict(answer.headers))


@pytest.mark.parametrize("status", [204, 304])
async def test_what_has_no_body_has_no_coding(ask: Any, status: int) -> None:
    answer = await ask(get(), lambda: compressed(Response(status=status, body=b"x" * 1000)))

    assert answer.body == b""
    assert "Content-Encoding" not in dict(answer.headers)
    assert (VARY in answer.headers) == (status == 304)
    assert answer.keeps_alive


@pytest.mark.parametrize("body", [None, b""])
async def test_nothing_is_not_encoded(ask: Any, body: bytes | None) -> None:
    answer = await ask(get(), lambda: compressed(Response(body=body)))

    assert answer.body == b""
    assert dict(answer.headers)["Content-Length"] == "0"
    assert "Content-Encoding" not in dict(answer.headers)


@pytest.mark.parametrize("coding", ["br", "identity"])
@pytest.mark.parametrize("force", [None, ContentCoding.gzip])
async def test_a_coding_of_the_handlers_own_is_left_alone(
    ask: Any, coding: str, force: ContentCoding | None
) -> None:
    headers = {"Content-Encoding": coding}

    answer = await ask(get(), lambda: compressed(Response(body=b"x" * 99, headers=headers), force))

    assert answer.body == b"x" * 99
    assert dict(answer.headers)["Content-Encoding"] == coding


async def test_a_part_of_a_body_is_not_encoded(ask: Any) -> None:
    headers = {"Content-Range": "bytes 0-98/200"}

    answer = await ask(
        get(), lambda: compressed(Response(status=206, body=b"x" * 99, headers=headers))
    )

    assert answer.body == b"x" * 99
    assert "Content-Encoding" not in dict(answer.headers)


@pytest.mark.parametrize(
    ("own", "sent"),
    [
        ([], ["Accept-Encoding"]),
        (["Origin"], ["Origin", "Accept-Encoding"]),
        (["Origin, accept-encoding"], ["Origin, accept-encoding"]),
        (["Origin", "Accept-Encoding"], ["Origin", "Accept-Encoding"]),
        (["*"], ["*"]),
    ],
)
async def test_vary_tells_of_the_choice_once(ask: Any, own: list[str], sent: list[str]) -> None:
    headers = [("Vary", value) for value in own]

    answer = await ask(get(), lambda: compressed(Response(text=TEXT, headers=headers)))

    assert [value for name, value in answer.headers if name == "Vary"] == sent


@pytest.mark.parametrize(
    ("accepted", "own", "sent"),
    [
        ("gzip", '"a"', 'W/"a"'),
        ("gzip", 'W/"a"', 'W/"a"'),
        ("br", '"a"', '"a"'),
    ],
)
async def test_different_codings_of_a_body_share_no_strong_tag(
    ask: Any, accepted: str, own: str, sent: str
) -> None:
    answer = await ask(
        get(accepted), lambda: compressed(Response(text=TEXT, headers={"ETag": own}))
    )

    assert dict(answer.headers)["ETag"] == sent


async def test_a_length_of_the_handlers_own_gives_way(ask: Any) -> None:
    response = compressed(Response(text=TEXT, headers={"Content-Length": str(len(TEXT))}))

    answer = await ask(get(), lambda: response)

    assert gzip.decompress(answer.body) == TEXT.encode()
    assert ("Content-Length", str(len(answer.body))) in answer.headers
    assert answer.keeps_alive


async def test_headers_go_out_in_the_order_that_is_promised(ask: Any) -> None:
    def make() -> StreamResponse:
        response = compressed(Response(text="x", headers={"X-A": "b"}), ContentCoding.gzip)
        response.set_cookie("a", "b")
        return response

    names = [name for name, _ in (await ask(get(), make)).headers]

    assert names == [
        *("X-A", "Content-Type", "Content-Length", "Set-Cookie", "Content-Encoding", "Server")
    ]


async def test_an_exception_raised_after_preparing_is_answered_in_no_coding(ask: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        response = Response(text=TEXT)
        response.enable_chunked_encoding()
        await compressed(response).prepare(request)
        raise HTTPNotFound

    answer = await ask(get(), handler)

    assert answer.body == b"404: Not Found"


async def test_an_exception_can_be_compressed(ask: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        error = HTTPNotFound(text=TEXT)
        error.enable_compression()
        raise error

    assert gzip.decompress((await ask(get(), handler)).body) == TEXT.encode()


async def test_a_websocket_is_in_no_content_coding(talk: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        response = WebSocketResponse(timeout=0.01)
        response.enable_compression()
        await response.prepare(request)
        await response.close()
        return response

    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = ("Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key)
    answer = await talk(handler, get("gzip", "GET", "1.1", *upgrade))

    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Content-Encoding" not in answer
    assert answer.endswith(b"\r\n\r\n\x88\x02\x03\xe8")


@pytest.fixture
async def url() -> Any:
    """The address of a server that compresses a text, whole, or as a stream at /stream."""

    async def handler(request: BaseRequest) -> StreamResponse:
        if request.path != "/stream":
            return compressed(Response(text=TEXT))
        response = compressed(StreamResponse())
        await response.prepare(request)
        for piece in (TEXT[:1], TEXT[1:10], TEXT[10:]):
            await response.write(piece.encode())
        return response

    server = Server(handler, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    yield f"http://{host}:{port}/"
    listener.close()
    await server.shutdown(1)


@pytest.mark.parametrize("path", ["", "stream"])
@pytest.mark.parametrize("accepted", ["gzip", "deflate", "gzip, deflate, br, zstd"])
async def test_aiohttps_client_reads_it(url: str, path: str, accepted: str) -> None:
    async with aiohttp.ClientSession() as session:
        response = await session.get(url + path, headers={"Accept-Encoding": accepted})
        assert response.headers["Content-Encoding"] in accepted
        assert await response.text() == TEXT


@pytest.mark.parametrize("path", ["", "stream"])
@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
async def test_curl_reads_it(curl: str, url: str, path: str, version: str) -> None:
    command = [curl, "-sf", "--compressed", version, url + path]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode() == TEXT
