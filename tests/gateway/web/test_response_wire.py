"""Heads and bodies as they reach a client: which headers say what, and where an answer ends."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.stream_response import StreamResponse

Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]
Maker = Callable[[], StreamResponse]

GET_11 = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_11_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
GET_10 = b"GET / HTTP/1.0\r\n\r\n"
GET_10_KEEP = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
HEAD_11 = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"

TEXT = ("Content-Type", "text/plain; charset=utf-8")
OCTETS = ("Content-Type", "application/octet-stream")
SERVER = ("Server", "realtime-gateway")
CLOSE = ("Connection", "close")
KEEP_ALIVE = ("Connection", "keep-alive")
CHUNKED = ("Transfer-Encoding", "chunked")


def length(n: int) -> tuple[str, str]:
    return ("Content-Length", str(n))


def text() -> Response:
    return Response(text="OK")


def empty() -> Response:
    return Response()


async def streamed(request: BaseRequest) -> StreamResponse:
    response = StreamResponse()
    await response.prepare(request)
    await response.write(b"one")
    await response.write(b"")
    await response.write(memoryview(bytearray(b"two")))
    return response


async def streamed_with_length(request: BaseRequest) -> StreamResponse:
    response = StreamResponse(headers={"Content-Length": "6"})
    await response.prepare(request)
    await response.write(b"one")
    await response.write_eof(b"two")
    return response


def chunked() -> Response:
    response = Response(text="OK")
    response.enable_chunked_encoding()
    return response


CHUNKED_BODY = b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("make", "wire", "status_line", "headers", "body", "keeps_alive"),
    [
        (text, GET_11, "HTTP/1.1 200 OK", [TEXT, length(2), SERVER], b"OK", True),
        (text, GET_11_CLOSE, "HTTP/1.1 200 OK", [TEXT, length(2), SERVER, CLOSE], b"OK", False),
        (text, GET_10, "HTTP/1.0 200 OK", [TEXT, length(2), SERVER], b"OK", False),
        (text, GET_10_KEEP, "HTTP/1.0 200 OK", [TEXT, length(2), SERVER, KEEP_ALIVE], b"OK", True),
        (text, HEAD_11, "HTTP/1.1 200 OK", [TEXT, length(2), SERVER], b"", True),
        (empty, GET_11, "HTTP/1.1 200 OK", [length(0), SERVER], b"", True),
        (empty, HEAD_11, "HTTP/1.1 200 OK", [SERVER], b"", True),
        (streamed, GET_11, "HTTP/1.1 200 OK", [CHUNKED, OCTETS, SERVER], CHUNKED_BODY, True),
        (streamed, HEAD_11, "HTTP/1.1 200 OK", [SERVER], b"", True),
        (streamed, GET_10, "HTTP/1.0 200 OK", [OCTETS, SERVER], b"onetwo", False),
        (streamed, GET_10_KEEP, "HTTP/1.0 200 OK", [OCTETS, SERVER], b"onetwo", False),
        (
            streamed_with_length,
            *(GET_11, "HTTP/1.1 200 OK", [length(6), OCTETS, SERVER], b"onetwo", True),
        ),
        (streamed_with_length, HEAD_11, "HTTP/1.1 200 OK", [length(6), SERVER], b"", True),
        (
            chunked,
            GET_11,
            "HTTP/1.1 200 OK",
            [TEXT, CHUNKED, SERVER],
            b"2\r\nOK\r\n0\r\n\r\n",
            True,
        ),
        (chunked, HEAD_11, "HTTP/1.1 200 OK", [TEXT, SERVER], b"", True),
    ],
)
async def test_headers_and_framing_fit_the_request(
    ask: Any,
    make: Maker | Handler,
    wire: bytes,
    status_line: str,
    headers: list[tuple[str, str]],
    body: bytes,
    keeps_alive: bool,
) -> None:
    answer = await ask(wire, make)

    assert answer.status_line == status_line
    assert answer.headers == headers
    assert answer.body == body
    assert answer.keeps_alive == keeps_alive


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_has_no_header_about_one(ask: Any, status: int) -> None:
    answer = await ask(GET_11, lambda: Response(status=status, body=b"body"))

    assert answer.headers == [SERVER]
    assert answer.body == b""
    assert answer.keeps_alive


async def test_a_stream_with_a_status_without_body_swallows_what_is_written(ask: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        response = StreamResponse(status=204, headers={"Content-Length": "3"})
        response_writer = await response.prepare(request)
        await response.write(b"one")
        assert await response.prepare(request) is response_writer
        return response

    answer = await ask(GET_11, handler)

    assert answer.headers == [SERVER]
    assert answer.body == b""
    assert answer.keeps_alive


async def test_headers_go_out_in_their_order_and_ours_behind_them(ask: Any) -> None:
    def make() -> Response:
        response = Response(body=b"x", headers=[("X-B", "1"), ("X-A", "2"), ("X-B", "3")])
        response.set_cookie("a", "b")
        response.del_cookie("c")
        return response

    answer = await ask(GET_11_CLOSE, make)

    assert answer.headers == [
        ("X-B", "1"),
        ("X-A", "2"),
        ("X-B", "3"),
        length(1),
        ("Set-Cookie", "a=b; Path=/"),
        ("Set-Cookie", 'c=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/'),
        OCTETS,
        SERVER,
        CLOSE,
    ]


async def test_date_and_server_of_the_handler_are_kept(talk: Any) -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"

    async def handler(request: BaseRequest) -> StreamResponse:
        return Response(headers={"Server": "mine", "Date": date})

    answer = await talk(handler, GET_11_CLOSE)

    assert answer.count(b"Server: ") == answer.count(b"Date: ") == 1
    assert f"Server: mine\r\nDate: {date}\r\n".encode() in answer


async def test_a_forced_close_is_announced_and_done(ask: Any) -> None:
    def make() -> Response:
        response = text()
        response.force_close()
        return response

    answer = await ask(GET_11, make)

    assert answer.headers == [TEXT, length(2), SERVER, CLOSE]
    assert not answer.keeps_alive


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close"])
async def test_a_close_in_the_handlers_own_header_is_done_too(ask: Any, value: str) -> None:
    answer = await ask(GET_11, lambda: Response(headers={"Connection": value}))

    assert answer.headers == [("Connection", value), length(0), SERVER]
    assert not answer.keeps_alive


async def test_a_connection_header_of_the_handler_cannot_hide_that_it_closes(ask: Any) -> None:
    answer = await ask(GET_11_CLOSE, lambda: Response(headers={"Connection": "keep-alive"}))

    assert answer.headers == [KEEP_ALIVE, length(0), SERVER, CLOSE]
    assert not answer.keeps_alive


@pytest.mark.parametrize("coding", ["chunked", "gzip, chunked", "identity"])
@pytest.mark.parametrize(
    ("make", "headers", "body"),
    [
        (Response, [TEXT, length(2), SERVER], b"OK"),
        (StreamResponse, [TEXT, CHUNKED, SERVER], b"0\r\n\r\n"),
    ],
)
async def test_a_transfer_encoding_copied_from_elsewhere_does_not_confuse_the_framing(
    ask: Any, coding: str, make: type[StreamResponse], headers: list[tuple[str, str]], body: bytes
) -> None:
    def copied() -> StreamResponse:
        response = make(headers={"Transfer-Encoding": coding, "Content-Type": TEXT[1]})
        if isinstance(response, Response):
            response.text = "OK"
        return response

    answer = await ask(GET_11, copied)

    assert (answer.headers, answer.body) == (headers, body)
    assert answer.keeps_alive


async def test_a_length_beside_chunks_is_left_out(ask: Any) -> None:
    def make() -> StreamResponse:
        response = StreamResponse()
        response.enable_chunked_encoding()
        response.headers["Content-Length"] = "3"
        return response

    answer = await ask(GET_11, make)

    assert answer.headers == [CHUNKED, OCTETS, SERVER]


async def test_more_than_the_announced_length_is_cut_off(ask: Any) -> None:
    answer = await ask(GET_11, lambda: Response(body=b"12345", headers={"Content-Length": "3"}))

    assert answer.headers == [length(3), OCTETS, SERVER]
    assert answer.body == b"123"
    assert answer.keeps_alive


async def test_less_than_the_announced_length_ends_the_connection(ask: Any) -> None:
    answer = await ask(GET_11, lambda: Response(body=b"12", headers={"Content-Length": "3"}))

    assert answer.body == b"12"
    assert not answer.keeps_alive


@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\0"])
@pytest.mark.parametrize("place", ["value", "name", "cookie domain"])
async def test_a_second_line_smuggled_into_the_head_is_a_server_error(
    ask: Any, evil: str, place: str
) -> None:
    def make() -> Response:
        response = Response(text="OK", headers={evil: "x"} if place == "name" else None)
        if place == "value":
            response.headers["X"] = evil
        elif place == "cookie domain":
            response.cookies["name"] = "value"
            response.cookies["name"]["domain"] = evil
        return response

    answer = await ask(GET_11, make)

    assert answer.status_line == "HTTP/1.1 500 Internal Server Error"
    assert "X-Evil" not in dict(answer.headers)


@pytest.mark.parametrize(
    ("make", "wire"),
    [
        (lambda: Response(headers={"Content-Length": "1_0"}), GET_11),
        (lambda: Response(headers=[("Content-Length", "1"), ("Content-Length", "2")]), GET_11),
        (chunked, GET_10),
    ],
)
async def test_a_head_that_the_peer_could_not_read_is_a_server_error(
    ask: Any, make: Maker, wire: bytes
) -> None:
    answer = await ask(wire, make)

    assert answer.status_line.endswith(" 500 Internal Server Error")
    assert not answer.keeps_alive


class Asked(Response):
    """A response that is never taken for a plain one, because it is of another class."""


@pytest.mark.parametrize(
    "change",
    [
        lambda response: None,
        lambda response: response.enable_compression(),
        lambda response: response.enable_chunked_encoding(),
        lambda response: response.set_cookie("a", "b"),
        lambda response: response.force_close(),
        lambda response: response.set_status(204),
        lambda response: response.set_status(299, "Odd"),
        lambda response: response.headers.update({"X": "1"}),
        lambda response: response.headers.pop("Content-Type"),
        lambda response: response.headers.update({"Content-Type": "text/" + "x" * 300}),
    ],
)
@pytest.mark.parametrize("wire", [GET_11, GET_11_CLOSE, GET_10, GET_10_KEEP, HEAD_11])
async def test_a_plain_response_is_sent_as_others_are(
    ask: Any, wire: bytes, change: Callable[[Response], None]
) -> None:
    responses = [
        Response(text="OK", content_type="text/a"),
        Asked(text="OK", content_type="text/a"),
    ]
    for response in responses:
        change(response)
    answers = [await ask(wire, lambda response=response: response) for response in responses]

    for name in ("status_line", "headers", "body", "keeps_alive"):
        assert getattr(answers[0], name) == getattr(answers[1], name)
    assert [*responses[0].headers] == [*responses[1].headers]
    assert responses[0].body_length == responses[1].body_length
    assert responses[0].keep_alive == responses[1].keep_alive
