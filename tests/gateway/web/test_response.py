"""Responses with a body known beforehand, on the wire and as handlers make them."""

import asyncio
import gzip
import io
import threading
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.web.body.coding import STEP_BYTES
from gateway.web.request import BaseRequest
from gateway.web.response import Response, json_bytes_response, json_response
from gateway.web.stream_response import StreamResponse

GET_11 = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_GZIP = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
HEAD_11 = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"

OCTETS = ("Content-Type", "application/octet-stream")
SERVER = ("Server", "realtime-gateway")
CHUNKED = ("Transfer-Encoding", "chunked")
CHUNKED_BODY = b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def length(n: int) -> tuple[str, str]:
    return ("Content-Length", str(n))


async def test_json_is_a_text_of_its_type(ask: Any) -> None:
    answer = await ask(GET_11, lambda: json_response({"a": "č"}))

    assert answer.headers == [
        ("Content-Type", "application/json; charset=utf-8"),
        length(15),
        SERVER,
    ]
    assert answer.body == b'{"a": "\\u010d"}'


@pytest.mark.parametrize("wire", [GET_11, HEAD_11])
async def test_a_file_is_sent_with_its_length_and_closed(
    ask: Any, tmp_path: Path, wire: bytes
) -> None:
    (tmp_path / "page.html").write_bytes(b"<p>x")
    file = (tmp_path / "page.html").open("rb")

    answer = await ask(wire, lambda: Response(body=file))

    assert answer.headers == [
        ("Content-Type", "text/html"),
        ("Content-Disposition", 'attachment; filename="page.html"'),
        length(4),
        SERVER,
    ]
    assert answer.body == (b"<p>x" if wire is GET_11 else b"")
    assert answer.keeps_alive
    assert file.closed


async def test_an_async_generator_is_sent_in_chunks(ask: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    answer = await ask(GET_11, lambda: Response(body=pieces()))

    assert answer.headers == [OCTETS, CHUNKED, SERVER]
    assert answer.body == CHUNKED_BODY


async def test_a_generator_that_fails_leaves_the_body_unfinished(ask: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError

    answer = await ask(GET_11, lambda: Response(body=pieces()))

    assert answer.body == b"3\r\none\r\n"
    assert not answer.keeps_alive


async def test_the_head_of_a_plain_response_waits_for_its_body(ask: Any) -> None:
    sent: list[int] = []

    async def handler(request: BaseRequest) -> StreamResponse:
        response = Response(text="OK")
        await response.prepare(request)
        sent.append(response.body_length)
        with pytest.raises(AssertionError, match="its body already"):
            await response.write_eof(b"more")
        await response.write_eof()
        sent.append(response.body_length)
        return response

    answer = await ask(GET_11, handler)

    assert sent[0] == 0 < sent[1]
    assert answer.body == b"OK"


@pytest.mark.parametrize("body", [b"bytes", io.BytesIO(), io.BufferedReader(io.BytesIO())])
async def test_no_body_ends_before_it_begins(body: object) -> None:
    with pytest.raises(AssertionError, match="before prepare"):
        await Response(body=body).write_eof()


async def test_a_generator_does_not_even_begin_for_head(ask: Any) -> None:
    begun: list[bool] = []

    async def pieces() -> AsyncIterator[bytes]:
        begun.append(True)
        yield b"one"

    answer = await ask(HEAD_11, lambda: Response(body=pieces()))

    assert answer.headers == [OCTETS, SERVER]
    assert begun == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"body": b"a", "text": "a"}, ValueError),
        ({"content_type": "text/html; charset=utf-8"}, ValueError),
        ({"text": "a", "headers": {"Content-Type": "a/b"}, "content_type": "a/b"}, ValueError),
        ({"body": b"a", "headers": {"content-type": "a/b"}, "charset": "utf-8"}, ValueError),
        ({"text": b"a"}, TypeError),
        ({"text": b"a", "headers": {"Content-Type": "a/b"}}, TypeError),
        ({"body": 5}, ValueError),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Response(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "content_type", "body"),
    [
        ({"text": "č"}, "text/plain; charset=utf-8", b"\xc4\x8d"),
        ({"text": "č", "charset": "iso-8859-2"}, "text/plain; charset=iso-8859-2", b"\xe8"),
        ({"text": "", "content_type": "text/css"}, "text/css; charset=utf-8", b""),
        (
            {"text": "č", "headers": {"Content-Type": "a/b; charset=iso-8859-2"}},
            *("a/b; charset=iso-8859-2", b"\xe8"),
        ),
        ({"text": "a", "headers": {"Content-Type": "a/b"}}, "a/b; charset=utf-8", b"a"),
        ({"body": b"a", "content_type": "a/b"}, "a/b", b"a"),
        ({"body": b"a", "content_type": "a/b", "charset": "x"}, "a/b; charset=x", b"a"),
        ({"body": b"a"}, None, b"a"),
        ({"charset": "utf-8"}, None, None),
    ],
)
def test_a_text_is_encoded_as_its_content_type_says(
    arguments: dict[str, object], content_type: str | None, body: bytes | None
) -> None:
    response = Response(**arguments)  # type: ignore[arg-type]

    assert response.headers.get("Content-Type") == content_type
    assert response.body == body
    if "text" in arguments:
        assert response.text == arguments["text"]


def test_a_text_set_later_makes_octets_plain_text() -> None:
    response = Response(body=b"x", content_type="application/octet-stream")

    response.text = "č"

    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (response.body, response.text) == (b"\xc4\x8d", "č")


def test_a_body_that_is_read_while_it_is_sent_has_no_text() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(TypeError, match="has no text"):
        _ = Response(body=pieces()).text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 0),
        ({"text": "č"}, 2),
        ({"body": io.BytesIO(b"abc")}, 3),
        ({"headers": {"Content-Length": "7"}}, 7),
    ],
)
def test_a_response_knows_its_length_and_lets_nobody_set_it(
    arguments: dict[str, object], expected: int
) -> None:
    response = Response(**arguments)  # type: ignore[arg-type]

    assert response.content_length == expected
    with pytest.raises(RuntimeError, match="automatically"):
        response.content_length = 3
    if "headers" not in arguments:
        response.enable_chunked_encoding()
        assert response.content_length is None


@pytest.mark.parametrize("arguments", [{"text": "x"}, {"body": b"x"}])
def test_json_takes_data_or_what_is_json_already(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="only one"):
        json_response({}, **arguments)  # type: ignore[arg-type]

    assert json_response(**arguments).body == b"x"  # type: ignore[arg-type]


def test_json_is_written_by_whatever_function_is_given() -> None:
    response = json_response(None, status=201, dumps=lambda data: f"<{data}>")

    assert (response.status, response.text) == (201, "<None>")


def compressed(response: Response) -> Response:
    response.enable_compression()
    return response


class Threads(ThreadPoolExecutor):
    """Notes the threads that work was done in."""

    def __init__(self) -> None:
        super().__init__(1)
        self.count = 0

    def submit(self, *arguments: Any, **more: Any) -> Any:
        self.count += 1
        return super().submit(*arguments, **more)


@pytest.mark.parametrize(
    ("size", "length", "count"),
    [(None, STEP_BYTES, 0), (None, STEP_BYTES + 1, 1), (10, 10, 0), (10, 11, 1)],
)
async def test_a_long_body_is_encoded_in_a_thread(
    ask: Any, size: int | None, length: int, count: int
) -> None:
    with Threads() as threads:
        response = Response(body=b"x" * length, zlib_executor_size=size, zlib_executor=threads)

        answer = await ask(GET_GZIP, lambda: compressed(response))

        assert gzip.decompress(answer.body) == b"x" * length
        assert threads.count == count


async def test_the_loops_own_threads_do_where_none_are_given(ask: Any) -> None:
    threads = Threads()
    asyncio.get_running_loop().set_default_executor(threads)

    answer = await ask(GET_GZIP, lambda: compressed(Response(body=bytearray(STEP_BYTES + 1))))

    assert gzip.decompress(answer.body) == bytes(STEP_BYTES + 1)
    assert threads.count == 1


async def test_a_body_changed_meanwhile_is_sent_as_it_was(ask: Any) -> None:
    body, may_go_on = bytearray(b"x" * 100), threading.Event()

    async def handler(request: BaseRequest) -> StreamResponse:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(may_go_on.wait)
            response = Response(body=body, zlib_executor_size=10, zlib_executor=threads)
            response.enable_compression()
            preparing = asyncio.create_task(response.prepare(request))
            await asyncio.sleep(0)
            body[:] = b"y" * 100
            may_go_on.set()
            await preparing
        return response

    assert gzip.decompress((await ask(GET_GZIP, handler)).body) == b"x" * 100


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_the_strategy_is_the_handlers(ask: Any, is_chunked: bool) -> None:
    lengths = []
    for strategy in (None, zlib.Z_HUFFMAN_ONLY):
        response = Response(text="abc" * 1000)
        response.enable_compression(strategy=strategy)
        if is_chunked:
            response.enable_chunked_encoding()
        lengths.append(len((await ask(GET_GZIP, lambda made=response: made)).body))

    assert lengths[1] > 2 * lengths[0]


def test_json_may_be_bytes_that_an_encoder_made():
    response = json_bytes_response({"a": 1}, dumps=lambda data: repr(data).encode(), status=201)
    assert (response.status, response.body) == (201, b"{'a': 1}")
    assert response.headers["Content-Type"] == "application/json"
    assert json_bytes_response(body=b"[]", dumps=repr).body == b"[]"
    with pytest.raises(ValueError, match="only one"):
        json_bytes_response(1, body=b"1", dumps=repr)
