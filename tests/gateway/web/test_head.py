"""The status line and headers of a response, as a handler sets them and as they are sent."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gateway.web.fields import ETag
from gateway.web.head import BodyRule, ResponseHead, body_rule
from gateway.web.request import BaseRequest
from gateway.web.response import Response, StreamResponse

Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]
Maker = Callable[[], StreamResponse]

MOMENT = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
MOMENT_TEXT = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("method", "status", "rule"),
    [
        ("GET", 200, BodyRule.BODY),
        ("GET", 205, BodyRule.BODY),
        ("POST", 404, BodyRule.BODY),
        ("HEAD", 200, BodyRule.LENGTH_ONLY),
        ("HEAD", 404, BodyRule.LENGTH_ONLY),
        ("HEAD", 204, BodyRule.NOTHING),
        ("GET", 100, BodyRule.NOTHING),
        ("GET", 199, BodyRule.NOTHING),
        ("GET", 204, BodyRule.NOTHING),
        ("GET", 304, BodyRule.NOTHING),
        ("CONNECT", 200, BodyRule.NOTHING),
        ("CONNECT", 299, BodyRule.NOTHING),
        ("CONNECT", 407, BodyRule.BODY),
    ],
)
def test_method_and_status_decide_whether_a_body_follows(
    method: str, status: int, rule: BodyRule
) -> None:
    assert body_rule(method, status) is rule


@pytest.mark.parametrize(
    ("status", "reason", "phrase"),
    [(200, None, "OK"), (404, None, "Not Found"), (299, None, ""), (404, "Nowhere", "Nowhere")],
)
def test_a_status_brings_its_reason_unless_another_is_given(
    status: int, reason: str | None, phrase: str
) -> None:
    assert ResponseHead(status=status, reason=reason).reason == phrase


@pytest.mark.parametrize("status", [-1, 0, 99, 1000])
def test_a_status_has_three_digits(status: int) -> None:
    with pytest.raises(ValueError, match="three digits"):
        ResponseHead(status=status)


@pytest.mark.parametrize("reason", ["a\rb", "a\nb", "a\r\nX: y"])
def test_a_reason_of_two_lines_is_refused(reason: str) -> None:
    with pytest.raises(ValueError, match="Reason"):
        ResponseHead(reason=reason)


def test_set_status_replaces_the_reason_of_the_old_one() -> None:
    response = StreamResponse(status=404)

    response.set_status(500)

    assert (response.status, response.reason) == (500, "Internal Server Error")


def test_headers_keep_their_order_and_repetitions_and_are_a_copy() -> None:
    given = [("A", "1"), ("B", "2"), ("a", "3")]

    response = ResponseHead(headers=given)
    response.headers["C"] = "4"

    assert list(response.headers.items()) == [*given, ("C", "4")]
    assert len(given) == 3


def test_the_content_type_is_octets_until_it_is_set() -> None:
    response = ResponseHead()
    assert (response.content_type, response.charset) == ("application/octet-stream", None)

    response.content_type = "text/html"
    response.charset = "UTF-8"

    assert response.headers["Content-Type"] == "text/html; charset=utf-8"


def test_parameters_stay_when_the_media_type_changes() -> None:
    response = ResponseHead(headers={"Content-Type": 'text/html; charset=utf-8; a="b c"'})

    response.content_type = "text/plain"

    assert response.headers["Content-Type"] == 'text/plain; charset=utf-8; a="b c"'


def test_the_charset_can_be_taken_away() -> None:
    response = ResponseHead(headers={"Content-Type": "text/html; charset=utf-8; a=b"})

    response.charset = None

    assert response.headers["Content-Type"] == "text/html; a=b"


def test_octets_have_no_charset() -> None:
    with pytest.raises(RuntimeError, match="has no charset"):
        ResponseHead().charset = "utf-8"


def test_a_header_changed_by_hand_is_read_anew() -> None:
    response = ResponseHead(headers={"Content-Type": "text/html; charset=utf-8"})
    assert response.charset == "utf-8"

    response.headers["Content-Type"] = "text/plain; charset=ascii"

    assert (response.content_type, response.charset) == ("text/plain", "ascii")


def test_a_content_length_and_chunks_exclude_each_other() -> None:
    with_length, in_chunks = ResponseHead(), ResponseHead()
    with_length.content_length = 3
    in_chunks.enable_chunked_encoding()

    with pytest.raises(RuntimeError, match="exclude each other"):
        with_length.enable_chunked_encoding()
    with pytest.raises(RuntimeError, match="exclude each other"):
        in_chunks.content_length = 3

    assert with_length.headers["Content-Length"] == "3"
    assert in_chunks.chunked


def test_a_content_length_of_none_is_no_header() -> None:
    response = ResponseHead(headers={"Content-Length": "3"})
    assert response.content_length == 3

    response.content_length = None

    assert "Content-Length" not in response.headers


@pytest.mark.parametrize("value", ["", "abc", "+5", "-1", "1_0", " 5", "5, 5", "٣"])
def test_what_is_no_content_length_is_not_guessed_at(value: str) -> None:
    with pytest.raises(ValueError, match="Not a content length"):
        _ = ResponseHead(headers={"Content-Length": value}).content_length


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        MOMENT.replace(tzinfo=None),
        MOMENT.astimezone(timezone(timedelta(hours=5))),
        int(MOMENT.timestamp()),
        MOMENT.timestamp() - 0.5,
        MOMENT_TEXT,
    ],
)
def test_last_modified_takes_times_and_text(value: datetime | float | str) -> None:
    response = ResponseHead()

    response.last_modified = value

    assert response.headers["Last-Modified"] == MOMENT_TEXT
    assert response.last_modified == MOMENT


def test_last_modified_takes_nothing_else() -> None:
    response = ResponseHead(headers={"Last-Modified": MOMENT_TEXT})

    with pytest.raises(TypeError, match="last_modified"):
        response.last_modified = b"now"  # type: ignore[assignment]
    response.last_modified = None

    assert response.last_modified is None


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("abc", '"abc"'),
        (ETag("abc"), '"abc"'),
        (ETag("abc", is_weak=True), 'W/"abc"'),
        ("*", "*"),
        (ETag("*"), "*"),
    ],
)
def test_an_etag_is_quoted(value: ETag | str, header: str) -> None:
    response = ResponseHead()

    response.etag = value

    assert response.headers["ETag"] == header
    assert response.etag == (value if isinstance(value, ETag) else ETag(value))


@pytest.mark.parametrize("value", ['a"b', "", b"abc", 5])
def test_what_is_no_etag_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"(?i)etag"):
        ResponseHead().etag = value  # type: ignore[assignment]


def test_an_etag_of_none_is_no_header() -> None:
    response = ResponseHead(headers={"ETag": '"abc"'})

    response.etag = None

    assert "ETag" not in response.headers


def test_a_deleted_cookie_is_empty_and_expired() -> None:
    response = ResponseHead()
    response.set_cookie("name", "value", max_age=60, httponly=True)

    response.del_cookie("name", domain="a.example", path="/a")

    assert response.cookies["name"].OutputString() == (
        'name=""; Domain=a.example; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/a'
    )


def test_keep_alive_is_open_until_the_response_is_prepared_or_closed_by_force() -> None:
    response = ResponseHead()
    assert response.keep_alive is None

    response.force_close()

    assert response.keep_alive is False


# On the wire.

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
