"""The head of a response is exactly its lines, and chunks are framed so that none ends a body."""

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from protocol.http1 import HTTP_10, HTTP_11, encode_chunk, encode_head

TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
FIELDS = st.lists(
    st.tuples(TOKENS.map("X-{}".format), VALUES.map(lambda text: text.strip(" "))), max_size=5
)


class Response:
    """What llhttp reads of a response; it calls."""

    def __init__(self, wire):
        self.status, self.fields = "", []
        parser = httptools.HttpResponseParser(self)
        parser.feed_data(wire)
        self.code = parser.get_status_code()

    def on_status(self, status):
        self.status += status.decode("latin-1")

    def on_header(self, name, value):
        self.fields.append((name.decode(), value.decode("utf-8", "surrogateescape")))


@settings(deadline=None)
@given(FIELDS)
def test_a_response_head_survives_the_round_trip(fields):
    response = Response(encode_head(HTTP_11, 299, "Quite Fine", CIMultiDict(fields)))
    assert (response.code, response.status) == (299, "Quite Fine")
    assert response.fields == fields


def test_a_response_head_is_its_lines_in_the_given_order():
    headers = CIMultiDict([("B", "1"), ("a", "\t\udcff"), ("B", "č")])
    wire = b"HTTP/1.0 200 OK\r\nB: 1\r\na: \t\xff\r\nB: \xc4\x8d\r\n\r\n"
    assert encode_head(HTTP_10, 200, "OK", headers) == wire
    assert encode_head(HTTP_11, 200, "", {}) == b"HTTP/1.1 200 \r\n\r\n"


@pytest.mark.parametrize("text", ["a\r\nb", "a\r", "\n", "\0", "\n\r", "\t\r"])
def test_nothing_can_break_a_line_of_a_response_head(text):
    for reason, headers in ((text, {}), ("OK", {text: "a"}), ("OK", {"X": text})):
        with pytest.raises(ValueError, match="not allowed"):
            encode_head(HTTP_11, 200, reason, headers)


def test_the_field_that_would_break_a_line_is_named_without_its_value():
    with pytest.raises(ValueError, match="'X-Token'") as caught:
        encode_head(HTTP_11, 200, "OK", {"A": "b", "X-Token": "secret\n"})
    assert "secret" not in str(caught.value)


def test_a_header_that_is_no_text_is_refused_by_name():
    with pytest.raises(TypeError, match="'Content-Length' must be a str"):
        encode_head(HTTP_11, 200, "OK", {"A": "b", "Content-Length": 1})


def test_chunks_are_framed_and_none_of_them_is_the_last_by_accident():
    assert encode_chunk(b"0123456789") == b"a\r\n0123456789\r\n"
    assert encode_chunk(b"") == b""
