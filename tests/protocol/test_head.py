"""A head is refused for what is wrong or too large in it, however its bytes are cut."""

import pytest
from multidict import CIMultiDict

from protocol.errors import HTTPError
from protocol.head import HTTP_10, HTTP_11, HeadLimits, HttpVersion, RequestHead, read_head
from protocol.http1 import LAST_CHUNK, RequestDecoder


def wire_of(*lines, body=b""):
    return b"\r\n".join([line.encode() for line in lines]) + b"\r\n\r\n" + body


def cuts(wire):
    """Yield wire in one piece, in two at every place, and byte by byte."""
    yield [wire]
    for i in range(1, len(wire)):
        yield [wire[:i], wire[i:]]
    yield [wire[i : i + 1] for i in range(len(wire))]


def outcomes(pieces, limits=None):
    """Return the target of each request and the status of the refusal."""
    decoder = RequestDecoder(limits or HeadLimits())
    events = [event for piece in pieces for event in decoder.feed(piece)]
    heads = [event.target for event in events if type(event) is RequestHead]
    return heads + [event.status for event in events if type(event) is HTTPError]


GET = wire_of("GET / HTTP/1.1", "Host: a")
POST_CHUNKED = wire_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")


def get(*lines):
    return wire_of("GET / HTTP/1.1", "Host: a", *lines)


MALFORMED = {
    # RFC 9112 section 2.2 and 3: the request line.
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF after a field": (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    "bare LF for the empty line": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "bare CR": (b"GET / HTTP/1.1\rHost: a\r\r", 400),
    "leading space": (b" " + GET, 400),
    "tab for a space": (GET.replace(b" ", b"\t", 1), 400),
    "trailing space": (GET.replace(b"1.1", b"1.1 "), 400),
    "tab before the method": (b"\t" + GET, 400),
    "two spaces behind the method": (GET.replace(b" ", b"  ", 1), 400),
    "two spaces before the version": (GET.replace(b" H", b"  H", 1), 400),
    "method that is no token": (GET.replace(b"GET", b"G@T"), 400),
    "known method that goes on as no token": (GET.replace(b"GET", b"GET@"), 400),
    "no method": (GET.replace(b"GET", b""), 400),
    "method that is too long": (b"A" * 65 + GET, 501),
    "method that does not end": (b"A" * 200, 501),
    "bare LF before the method": (b"\n" + GET, 400),
    "bare CR before the method": (b"\r\n\r" + GET, 400),
    "too many empty lines": (b"\r\n" * 513, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no target": (b"GET HTTP/1.1\r\n\r\n", 400),
    "no slash": (GET.replace(b"/ ", b"a ", 1), 400),
    "asterisk to GET": (GET.replace(b"/ ", b"* ", 1), 400),
    "fragment in the target": (GET.replace(b"/ ", b"/#a ", 1), 400),
    "user in an absolute target": (GET.replace(b"/ ", b"http://u@b/ ", 1), 400),
    "absolute target with a port alone": (GET.replace(b"/ ", b"http://:80/ ", 1), 400),
    "absolute target with a fragment": (GET.replace(b"/ ", b"http://b/#c ", 1), 400),
    "no port to CONNECT": (GET.replace(b"GET /", b"CONNECT b"), 400),
    "empty port to CONNECT": (GET.replace(b"GET /", b"CONNECT b:"), 400),
    "port 0 to CONNECT": (GET.replace(b"GET /", b"CONNECT b:00"), 400),
    "no host to CONNECT": (GET.replace(b"GET /", b"CONNECT :80"), 400),
    "address without a port to CONNECT": (GET.replace(b"GET /", b"CONNECT [::1]"), 400),
    "path to CONNECT": (GET.replace(b"GET", b"CONNECT"), 400),
    "port to CONNECT that is none": (GET.replace(b"GET /", b"CONNECT b:x"), 400),
    "absolute target without host": (GET.replace(b"/ ", b"http:///b ", 1), 400),
    "absolute target with two ports": (GET.replace(b"/ ", b"http://b:1:2/ ", 1), 400),
    "absolute target with a large port": (GET.replace(b"/ ", b"http://b:65536/ ", 1), 400),
    "control character in the target": (GET.replace(b"/ ", b"/\x01 ", 1), 400),
    "NUL in the target": (GET.replace(b"/ ", b"/\x00 ", 1), 400),
    "DEL in the target": (GET.replace(b"/ ", b"/\x7f ", 1), 400),
    "non-ASCII in the target": (GET.replace(b"/ ", b"/?\xc3\xa9 ", 1), 400),
    # RFC 9110 section 2.5 and 15.6.6: versions.
    "no version": (b"GET /\r\n\r\n", 505),
    "HTTP/0.9": (GET.replace(b"1.1", b"0.9"), 505),
    "HTTP/1.2": (GET.replace(b"1.1", b"1.2"), 505),
    "HTTP/2.0": (GET.replace(b"1.1", b"2.0"), 505),
    "HTTP/3.0": (GET.replace(b"1.1", b"3.0"), 505),
    "RTSP/1.0": (GET.replace(b"HTTP/1.1", b"RTSP/1.0"), 505),
    "ICE/1.0": (GET.replace(b"GET / HTTP/1.1", b"SOURCE / ICE/1.0"), 505),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.10": (GET.replace(b"1.1", b"1.10"), 400),
    "http/1.1": (GET.replace(b"HTTP", b"http"), 400),
    # RFC 9112 section 5: fields.
    "obsolete folding": (get("X: a", " b"), 400),
    "obsolete folding by a tab": (get("X: a", "\tb"), 400),
    "space before the first field": (wire_of("GET / HTTP/1.1", " Host: a"), 400),
    "space before the colon": (get("X : a"), 400),
    "no colon": (get("X"), 400),
    "no name": (get(": a"), 400),
    "name that is no token": (get("X(: a"), 400),
    "name that is not ASCII": (get("é: a"), 400),
    "NUL in a value": (get("X: a\0b"), 400),
    "control character in a value": (get("X: a\x01b"), 400),
    "DEL in a value": (get("X: a\x7fb"), 400),
    "bare CR in a value": (get("X: a\rb"), 400),
    # RFC 9112 section 3.2: Host.
    "no Host": (wire_of("GET / HTTP/1.1"), 400),
    "two Hosts": (get("host: a"), 400),
    "two Hosts in HTTP/1.0": (get("host: a").replace(b"1.1", b"1.0"), 400),
    "space in Host": (wire_of("GET / HTTP/1.1", "Host: a b"), 400),
    "slash in Host": (wire_of("GET / HTTP/1.1", "Host: a/b"), 400),
    "user in Host": (wire_of("GET / HTTP/1.1", "Host: a@b"), 400),
    "non-ASCII in Host": (wire_of("GET / HTTP/1.1", "Host: é"), 400),
    "two ports in Host": (wire_of("GET / HTTP/1.1", "Host: a:1:2"), 400),
    "large port in Host": (wire_of("GET / HTTP/1.1", "Host: a:65536"), 400),
    "port alone in Host": (wire_of("GET / HTTP/1.1", "Host: :80"), 400),
    "broken encoding in Host": (wire_of("GET / HTTP/1.1", "Host: a%g0"), 400),
    "half of an address in Host": (wire_of("GET / HTTP/1.1", "Host: [::1"), 400),
    # RFC 9112 section 6: where the body ends.
    "length and coding": (get("Content-Length: 4", "Transfer-Encoding: chunked"), 400),
    "coding and length": (get("Transfer-Encoding: chunked", "Content-Length: 4"), 400),
    "two lengths": (get("Content-Length: 4", "Content-Length: 4"), 400),
    "list of lengths": (get("Content-Length: 4, 4"), 400),
    "length with a plus": (get("Content-Length: +4"), 400),
    "negative length": (get("Content-Length: -4"), 400),
    "length with an underscore": (get("Content-Length: 1_0"), 400),
    "length with a space": (get("Content-Length: 1 0"), 400),
    "hexadecimal length": (get("Content-Length: 0x4"), 400),
    "length in Arabic digits": (get("Content-Length: ٤"), 400),
    "empty length": (get("Content-Length:"), 400),
    "length with more digits than a number has": (get("Content-Length: " + "0" * 20 + "1"), 400),
    "length with more digits than Python reads": (get("Content-Length: " + "0" * 5000 + "1"), 400),
    "length beyond 64 bits": (get("Content-Length: 99999999999999999999"), 400),
    "unknown coding": (get("Transfer-Encoding: gzip"), 400),
    "identity": (get("Transfer-Encoding: identity"), 400),
    "almost chunked": (get("Transfer-Encoding: xchunked"), 400),
    "chunked with a parameter": (get("Transfer-Encoding: chunked;a=b"), 400),
    "chunked, but not last": (get("Transfer-Encoding: chunked, gzip"), 400),
    "chunked twice": (get("Transfer-Encoding: chunked, chunked"), 400),
    "chunked in two lines": (get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    "empty coding": (get("Transfer-Encoding:"), 400),
    "quoted coding": (get('Transfer-Encoding: "chunked"'), 400),
    "nothing before chunked": (get("Transfer-Encoding: ,chunked"), 400),
    "nothing behind chunked": (get("Transfer-Encoding: chunked,"), 400),
    "two types of a body": (
        get("Content-Length: 1", "Content-Type: a/b", "Content-Type: a/b"),
        400,
    ),
    # RFC 9110 section 10.1.1.
    "another expectation": (get("Expect: wonders"), 417),
    "another expectation in a list": (get("Expect: 100-continue, wonders"), 417),
    "coding before chunked": (get("Transfer-Encoding: gzip, chunked"), 501),
    "coding in a line before": (get("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), 501),
    "chunked in HTTP/1.0": (get("Transfer-Encoding: chunked").replace(b"1.1", b"1.0"), 400),
}


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


def test_a_head_has_its_fields_as_text_and_as_bytes():
    head = read_head(b"PUT /b HTTP/1.1\r\n...", "PUT", "/b", FIELDS)
    assert (head.method, head.target, head.version) == ("PUT", "/b", HTTP_11)
    assert head.raw_headers == FIELDS
    assert list(head.headers.items())[1:3] == [("X", "č"), ("x", "\udcff")]
    assert head.headers["HOST"] == "a"
    assert (head.content_length, head.chunked, head.has_body) == (7, False, True)


def test_a_head_cannot_be_changed():
    head = read_head(b"PUT /b HTTP/1.1\r\n...", "PUT", "/b", FIELDS)
    with pytest.raises(AttributeError):
        head.method = "GET"
    assert not isinstance(head.headers, CIMultiDict)
