"""A head is refused for what is wrong or too large in it, however its bytes are cut."""

import pytest
from multidict import CIMultiDict

from protocol.errors import HTTPError
from protocol.head import HTTP_10, HTTP_11, HeadLimits, HttpVersion, RequestHead
from protocol.http1 import LAST_CHUNK, RequestDecoder
from tests.protocol.rfc9112 import GET, MALFORMED, POST_CHUNKED, cuts, wire_of


def outcomes(pieces, limits=None):
    """Return the target of each request and the status of the refusal."""
    decoder = RequestDecoder(limits or HeadLimits())
    events = [event for piece in pieces for event in decoder.feed(piece)]
    heads = [event.target for event in events if type(event) is RequestHead]
    return heads + [event.status for event in events if type(event) is HTTPError]


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_head_is_refused_however_it_is_cut_and_nothing_after_it_read(name):
    wire, status = MALFORMED[name]
    for pieces in cuts(wire):
        assert outcomes([GET, *pieces, GET]) == ["/", status]


SMALL = HeadLimits(max_line_bytes=20, max_field_bytes=30, max_fields_count=3, max_head_bytes=80)

ALLOWED = {
    "longest line": wire_of("GET /678901 HTTP/1.1", "Host: a"),
    "largest field": wire_of("GET / HTTP/1.1", "Host: a", "X: " + "a" * 29),
    "most fields": wire_of("GET / HTTP/1.1", "Host: a", "X: a", "Y: a"),
    "largest head": wire_of("GET / HTTP/1.1", "Host: a", "X:" + " " * 48 + "a"),
    "largest trailers": POST_CHUNKED + b"0\r\n" + b"A: 34567890123456789\r\n" * 3 + b"\r\n",
    "largest extension": POST_CHUNKED + b"1;" + b"a" * 92 + b"\r\nx\r\n0\r\n\r\n",
    "largest extensions": POST_CHUNKED + (b"1;" + b"a" * 40 + b"\r\nx\r\n") * 3 + LAST_CHUNK,
    "extensions that data pay for": POST_CHUNKED
    + (b"a;" + b"a" * 32 + b"\r\n0123456789\r\n") * 30
    + LAST_CHUNK,
    "more chunks than would fit a head": POST_CHUNKED + b"1\r\nx\r\n" * 30 + LAST_CHUNK,
}
TOO_LARGE = {
    "line": (wire_of("GET /6789012 HTTP/1.1", "Host: a"), 414),
    "line that does not end": (b"GET /" + b"a" * 200, 414),
    "field": (wire_of("GET / HTTP/1.1", "Host: a", "X: " + "a" * 30), 431),
    "fields": (wire_of("GET / HTTP/1.1", "Host: a", "X: a", "Y: a", "Z: a"), 431),
    "head": (wire_of("GET / HTTP/1.1", "Host: a", "X:" + " " * 49 + "a"), 431),
    "value that does not end": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200, 431),
    "name that does not end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X" * 200, 431),
    "trailer": (POST_CHUNKED + b"0\r\nA: " + b"a" * 30 + b"\r\n\r\n", 431),
    "trailers": (POST_CHUNKED + b"0\r\n" + b"A: 3456789012345678901234\r\n" * 3 + b"\r\n", 431),
    "number of trailers": (POST_CHUNKED + b"0\r\n" + b"A: b\r\n" * 4 + b"\r\n", 431),
    "trailer that does not end": (POST_CHUNKED + b"0\r\nA: " + b"a" * 200, 431),
    "extensions": (POST_CHUNKED + (b"1;" + b"a" * 44 + b"\r\nx\r\n") * 3 + LAST_CHUNK, 431),
    "zeros before a size": (POST_CHUNKED + b"0" * 96 + b"1\r\nx\r\n" + LAST_CHUNK, 431),
    "extension that does not end": (POST_CHUNKED + b"1;" + b"a" * 200, 431),
    "malformed before it is too large": (b"GET / HTTP/1.1\r\nX : a\r\n" + b"X" * 200, 400),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_just_fits_the_limits_is_read_however_it_is_cut(name):
    for pieces in cuts(ALLOWED[name]):
        assert outcomes([GET, *pieces, GET], SMALL)[2:] == ["/"]


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_exceeds_a_limit_by_a_byte_is_refused_however_it_is_cut(name):
    wire, status = TOO_LARGE[name]
    for pieces in cuts(wire):
        assert outcomes([GET, *pieces, GET], SMALL)[-1] == status


def test_the_default_limits_are_those_of_aiohttp_for_a_line_and_a_field():
    line, field = "GET /" + "a" * 8176 + " HTTP/1.1", "H: " + "b" * 8189
    assert outcomes([wire_of(line, "Host: a")])[0] == line[4:-9]
    assert outcomes([wire_of(line.replace("GET /", "GET /a"), "Host: a")]) == [414]
    assert outcomes([wire_of("GET / HTTP/1.1", "Host: a", field)]) == ["/"]
    assert outcomes([wire_of("GET / HTTP/1.1", "Host: a", field + "b")]) == [431]
    assert outcomes([wire_of("GET / HTTP/1.1", "Host: a", field[:-20], field[:-20])]) == ["/"]
    assert outcomes([wire_of("GET / HTTP/1.1", "Host: a", field, field)]) == [431]


def test_versions_compare_as_numbers():
    assert HTTP_10 < HTTP_11 == HttpVersion(1, 1) == (1, 1)


FIELDS = ((b"hOsT", b"a"), (b"X", b"\xc4\x8d"), (b"x", b"\xff"), (b"Content-Length", b"7"))
PUT = b"PUT /b HTTP/1.1\r\n" + b"".join(b"%b: %b \t\r\n" % field for field in FIELDS) + b"\r\n"


def test_a_head_has_its_fields_as_text_and_as_bytes():
    head = RequestDecoder(HeadLimits()).feed(PUT)[0]
    assert (head.method, head.target, head.version) == ("PUT", "/b", HTTP_11)
    assert head.raw_headers == FIELDS
    assert list(head.headers.items())[1:3] == [("X", "č"), ("x", "\udcff")]
    assert head.headers["HOST"] == "a"
    assert (head.content_length, head.chunked, head.has_body) == (7, False, True)


def test_a_head_cannot_be_changed():
    head = RequestDecoder(HeadLimits()).feed(PUT)[0]
    with pytest.raises(AttributeError):
        head.method = "GET"
    assert not isinstance(head.headers, CIMultiDict)
