"""The status line and headers of a response, as a handler sets and reads them."""

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gateway.web.fields import ETag
from gateway.web.response_head import BodyRule, ResponseHead, body_rule
from gateway.web.stream_response import StreamResponse

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


@pytest.mark.parametrize("value", [5, b"5", None])
def test_a_content_length_that_is_no_text_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match="'Content-Length' must be a str"):
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


def test_a_naive_datetime_is_in_utc_wherever_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    response = ResponseHead()
    monkeypatch.setenv("TZ", "XXX-5:45")
    time.tzset()

    response.last_modified = MOMENT.replace(tzinfo=None)

    monkeypatch.undo()
    time.tzset()
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
