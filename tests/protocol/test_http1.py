"""Requests come out whole however their bytes are cut, and what is no request is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from protocol.errors import HTTPError
from protocol.http1 import (
    HTTP_10,
    HTTP_11,
    LAST_CHUNK,
    ChunkEnds,
    EndOfRequest,
    HeadLimits,
    RequestDecoder,
    RequestHead,
    Upgrade,
    encode_chunk,
)
from tests.protocol.rfc9112 import BROKEN_CHUNKS, GET, POST_CHUNKED, READ, cuts, wire_of
from tests.protocol.wires import PLACES, cut, wires

HOST = ("Host", "a")
WEBSOCKET = (("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket"))
END = EndOfRequest()


def head(method="GET", target="/", *headers, version=HTTP_11, host=HOST, **rest):
    fields = (host, *headers) if host else headers
    rest = {"keep_alive": True, "upgrade": False, "content_length": None, "chunked": False} | rest
    proxy = CIMultiDictProxy(CIMultiDict(fields))
    return RequestHead(
        method=method,
        target=target,
        version=version,
        headers=proxy,
        **rest,
    )


def decode(pieces, limits=None):
    """Return the events with what depends on the cuts joined, and errors as their status.

    The ends of chunks are left out: a test of their own is about them.
    """
    decoder = RequestDecoder(limits or HeadLimits())
    events = []
    for piece in pieces:
        new = decoder.feed(piece)
        if events and type(events[-1]) in (Upgrade, int):
            assert new == []
        if events and type(events[-1]) is Upgrade:
            events[-1] = Upgrade(events[-1].tail + piece)
        for event in new:
            if type(event) is ChunkEnds:
                continue
            if type(event) is bytes and events and type(events[-1]) is bytes:
                events[-1] += event
            else:
                events.append(event.status if type(event) is HTTPError else event)
    return events


CHUNKED = ("Transfer-Encoding", "chunked")

REQUESTS = {
    "a request": (GET, [head(), END]),
    "two requests": (GET + GET, [head(), END, head(), END]),
    "empty lines before a request": (b"\r\n\r\n" + GET + b"\r\n", [head(), END]),
    "a field with space around it": (
        wire_of("GET / HTTP/1.1", "Host: \t a \t ", "X:", "Y:  ", "Z: a b"),
        [head("GET", "/", ("X", ""), ("Y", ""), ("Z", "a b")), END],
    ),
    "the same field twice": (
        wire_of("GET / HTTP/1.1", "Host: a", "x: 1", "X: 2"),
        [head("GET", "/", ("x", "1"), ("X", "2")), END],
    ),
    "an empty Host": (wire_of("GET / HTTP/1.1", "Host:"), [head(host=("Host", "")), END]),
    "an address and a port as Host": (
        wire_of("GET / HTTP/1.1", "Host: [::1]:8080"),
        [head(host=("Host", "[::1]:8080")), END],
    ),
    "an absolute target": (
        wire_of("GET http://b:80/c?d HTTP/1.1", "Host: a"),
        [head("GET", "http://b:80/c?d"), END],
    ),
    "an asterisk": (wire_of("OPTIONS * HTTP/1.1", "Host: a"), [head("OPTIONS", "*"), END]),
    "close": (
        wire_of("GET / HTTP/1.1", "Host: a", "Connection: x, CLOSE", body=GET),
        [head("GET", "/", ("Connection", "x, CLOSE"), keep_alive=False), END],
    ),
    "HTTP/1.0": (
        wire_of("GET / HTTP/1.0", body=GET),
        [head(version=HTTP_10, host=None, keep_alive=False), END],
    ),
    "HTTP/1.0 that persists": (
        wire_of("GET / HTTP/1.0", "Connection: Keep-Alive", body=GET),
        [
            head("GET", "/", ("Connection", "Keep-Alive"), version=HTTP_10, host=None),
            *(END, head(), END),
        ],
    ),
    "a length": (
        wire_of("POST / HTTP/1.1", "Host: a", "Content-Length: 4 ", body=b"\r\n\r\n" + GET),
        [
            head("POST", "/", ("Content-Length", "4"), content_length=4),
            *(b"\r\n\r\n", END, head(), END),
        ],
    ),
    "a length of 0": (
        wire_of("POST / HTTP/1.1", "Host: a", "Content-Length: 0", body=GET),
        [head("POST", "/", ("Content-Length", "0"), content_length=0), END, head(), END],
    ),
    "chunks": (
        POST_CHUNKED + b"4;a=b\r\n\r\n\r\n\r\n00A\r\n0123456789\r\n0\r\n\r\n" + GET,
        [head("POST", "/", CHUNKED, chunked=True), b"\r\n\r\n0123456789", END, head(), END],
    ),
    "no chunks": (
        POST_CHUNKED + LAST_CHUNK + GET,
        [head("POST", "/", CHUNKED, chunked=True), END, head(), END],
    ),
    "trailers": (
        POST_CHUNKED + b"1\r\nx\r\n0;e\r\nA: b\r\nC:\r\n\r\n" + GET,
        [head("POST", "/", CHUNKED, chunked=True), b"x", END, head(), END],
    ),
    "a WebSocket": (
        wire_of("GET / HTTP/1.1", "Host: a", "Connection: keep-alive, Upgrade")[:-2]
        + b"Upgrade: WebSocket\r\n\r\n\x81\x00GET / HTTP/1.1\r\n",
        [
            head("GET", "/", *WEBSOCKET, keep_alive=False, upgrade=True),
            *(END, Upgrade(b"\x81\x00GET / HTTP/1.1\r\n")),
        ],
    ),
    "a WebSocket behind a body": (
        wire_of("POST / HTTP/1.1", "Host: a", "Connection: keep-alive, Upgrade")[:-2]
        + b"Upgrade: WebSocket\r\nContent-Length: 4\r\n\r\nbodytail",
        [
            head(
                *("POST", "/", *WEBSOCKET, ("Content-Length", "4")),
                **{"keep_alive": False, "upgrade": True, "content_length": 4},
            ),
            *(b"body", END, Upgrade(b"tail")),
        ],
    ),
    "a WebSocket in HTTP/1.0": (
        wire_of(
            "GET / HTTP/1.0", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", body=GET
        ),
        [head("GET", "/", *WEBSOCKET, version=HTTP_10, host=None), END, head(), END],
    ),
    "an Upgrade that no option names": (
        wire_of("GET / HTTP/1.1", "Host: a", "Upgrade: websocket", body=GET),
        [head("GET", "/", ("Upgrade", "websocket")), END, head(), END],
    ),
    "another upgrade": (
        wire_of("GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: h2c", body=GET),
        [head("GET", "/", ("Connection", "Upgrade"), ("Upgrade", "h2c")), END, head(), END],
    ),
    "another upgrade with a length": (
        wire_of("PUT / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: h2c")[:-2]
        + b"Content-Length: %d\r\n\r\n" % len(GET)
        + GET
        + GET,
        [
            head(
                *("PUT", "/", ("Connection", "Upgrade"), ("Upgrade", "h2c")),
                ("Content-Length", str(len(GET))),
                content_length=len(GET),
            ),
            *(GET, END, head(), END),
        ],
    ),
    "another upgrade with chunks": (
        wire_of("PUT / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: h2c")[:-2]
        + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        + GET,
        [
            head(
                *("PUT", "/", ("Connection", "Upgrade"), ("Upgrade", "h2c"), CHUNKED),
                chunked=True,
            ),
            *(b"x", END, head(), END),
        ],
    ),
    "methods that llhttp does not know, or not in HTTP": (
        b"".join([GET.replace(b"GET", name) for name in (b"FETCH", b"get", b"PLAY", b"PRI")]),
        [head("FETCH"), END, head("get"), END, head("PLAY"), END, head("PRI"), END],
    ),
    "another method with chunks": (
        POST_CHUNKED.replace(b"POST", b"~!#") + b"1\r\nx\r\n0\r\n\r\n" + GET,
        [head("~!#", "/", CHUNKED, chunked=True), b"x", END, head(), END],
    ),
    "another method that offers an upgrade with a length": (
        wire_of("GOT / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: h2c")[:-2]
        + b"Content-Length: 1\r\n\r\nx"
        + GET,
        [
            head(
                *("GOT", "/", ("Connection", "Upgrade"), ("Upgrade", "h2c")),
                ("Content-Length", "1"),
                content_length=1,
            ),
            *(b"x", END, head(), END),
        ],
    ),
    "a close that is meant for another": (
        wire_of("GET / HTTP/1.1", "Host: a", "Proxy-Connection: close", body=GET),
        [head("GET", "/", ("Proxy-Connection", "close")), END, head(), END],
    ),
    "a close that comes too late": (
        POST_CHUNKED + b"0\r\nConnection: close\r\n\r\n" + GET.replace(b"GET", b"GOT"),
        [head("POST", "/", CHUNKED, chunked=True), END, head("GOT"), END],
    ),
    "expectations": (
        wire_of("PUT / HTTP/1.1", "Host: a", "Expect: 100-Continue,", "Content-Length: 0"),
        [
            head(
                *("PUT", "/", ("Expect", "100-Continue,"), ("Content-Length", "0")),
                **{"expects_continue": True, "content_length": 0},
            ),
            END,
        ],
    ),
    "expectations in HTTP/1.0": (
        wire_of("GET / HTTP/1.0", "Expect: wonders"),
        [
            head(
                *("GET", "/", ("Expect", "wonders")),
                **{"version": HTTP_10, "host": None, "keep_alive": False},
            ),
            END,
        ],
    ),
    "a tunnel": (
        wire_of("CONNECT b:80 HTTP/1.1", "Host: a", "Content-Length: 4", body=b"tail"),
        [
            head("CONNECT", "b:80", ("Content-Length", "4"), keep_alive=False),
            *(END, Upgrade(b"tail")),
        ],
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_come_out_whole_however_the_bytes_are_cut(name):
    wire, events = REQUESTS[name]
    for pieces in cuts(wire):
        assert decode(pieces) == events


@pytest.mark.parametrize("name", READ)
def test_what_the_rfcs_allow_is_read_however_the_bytes_are_cut(name):
    wire, requests = READ[name]
    for pieces in cuts(wire):
        events = [event for event in decode(pieces) if type(event) not in (EndOfRequest, Upgrade)]
        bodies = [body for body in events if type(body) is bytes]
        heads = [(event.method, event.target) for event in events if type(event) is RequestHead]
        assert heads == [request[:2] for request in requests]
        assert bodies == [body for _, _, body in requests if body]
        assert len(events) == len(heads) + len(bodies)


def test_chunks_end_where_they_did_however_the_bytes_are_cut():
    chunks = b"3\r\none\r\n1;x=y\r\n2\r\n5\r\nthree\r\n"
    body = POST_CHUNKED + chunks + b"0\r\nX: y\r\n\r\n"
    for pieces in cuts(body + body):
        decoder = RequestDecoder(HeadLimits())
        events = [event for piece in pieces for event in decoder.feed(piece)]
        read_bytes, ends = 0, []
        for event in events:
            if type(event) is RequestHead:
                read_bytes = 0
            elif type(event) is bytes:
                read_bytes += len(event)
            elif type(event) is ChunkEnds:
                assert event.ends[-1] <= read_bytes  # what it tells of is there
                ends += event.ends
        assert ends == [3, 4, 9] * 2


def test_requests_can_be_taken_one_by_one():
    wire = GET + POST_CHUNKED + b"1\r\na\r\n0\r\n\r\n" + GET[:-2] + b"Connection: close\r\n\r\n"
    decoder, ends = RequestDecoder(HeadLimits()), [0]
    while ends[-1] < len(wire + GET):
        events, position = decoder.feed_one(wire + GET, ends[-1])
        assert [type(event) for event in events].count(RequestHead) == 1
        ends.append(position)
    assert ends == [0, len(GET), wire.rindex(b"GET"), len(wire + GET)]


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
def test_broken_chunks_are_refused_after_the_head(name):
    for pieces in cuts(BROKEN_CHUNKS[name]):
        events = decode([POST_CHUNKED, *pieces, GET])
        assert events == [head("POST", "/", CHUNKED, chunked=True), 400]


@pytest.mark.parametrize(
    "wire", [b"1\r\nxy\r\n0\r\n\r\n", b"1\r\nx\n0\r\n\r\n", b"1\r\nx0\r\n\r\n"]
)
def test_bytes_before_a_chunk_breaks_are_not_lost(wire):
    for pieces in cuts(wire):
        events = decode([POST_CHUNKED, *pieces, GET])
        assert events == [head("POST", "/", CHUNKED, chunked=True), b"x", 400]


SMALL = HeadLimits(max_head_bytes=80)


@pytest.mark.parametrize("chunk", [b"1;a=b\r\nx\r\n", b"0\r\nA: b\r\n"])
def test_a_slow_stream_of_overhead_is_refused_before_it_is_kept(chunk):
    decoder = RequestDecoder(SMALL)
    decoder.feed(POST_CHUNKED)
    events = [event for _ in range(100) for event in decoder.feed(chunk[:7])]
    assert isinstance(events[-1], HTTPError)


@pytest.mark.parametrize(
    "wire", [GET[:1], GET[:-1], POST_CHUNKED, POST_CHUNKED + b"1\r\nx\r\n0\r\n"]
)
def test_an_end_inside_a_request_is_an_error(wire):
    decoder = RequestDecoder(HeadLimits())
    decoder.feed(GET + wire)
    assert not decoder.is_idle
    assert [event.status for event in decoder.feed_eof()] == [400]
    assert decoder.feed(GET) == []


@pytest.mark.parametrize("wire", [b"", b"\r\n", GET, POST_CHUNKED + LAST_CHUNK])
def test_an_end_between_requests_is_none(wire):
    decoder = RequestDecoder(HeadLimits())
    decoder.feed(wire)
    assert decoder.is_idle
    assert decoder.feed_eof() == []
    assert decoder.feed(GET) == []


TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
FIELDS = st.lists(
    st.tuples(TOKENS.map("X-{}".format), VALUES.map(lambda text: text.strip(" "))), max_size=5
)
BODIES = st.lists(st.binary(min_size=1, max_size=30), max_size=4)


@st.composite
def requests(draw):
    """Draw the bytes of a request and the events that it is."""
    method = draw(st.sampled_from(["GET", "POST", "DELETE", "M-SEARCH"]))
    target = "/" + draw(st.text("az09/?&=%~-", max_size=20))
    fields, pieces = draw(FIELDS), draw(BODIES)
    framing = draw(st.sampled_from(["", "length", "chunked"]))
    body = b"".join(pieces) if framing else b""
    rest = {}
    if framing == "length":
        rest["content_length"] = len(body)
        fields.append(("Content-Length", str(len(body))))
    elif framing:
        rest["chunked"] = True
        fields.append(("Transfer-Encoding", "chunked"))
    encoded = b"".join(map(encode_chunk, pieces)) + LAST_CHUNK if rest.get("chunked") else body
    lines = [f"{method} {target} HTTP/1.1", "Host: a", *map(": ".join, fields)]
    events = [head(method, target, *fields, **rest), *([body] if body else []), END]
    return wire_of(*lines, body=encoded), events


@settings(deadline=None)
@given(st.lists(requests(), max_size=4), PLACES)
def test_requests_survive_the_round_trip_over_any_cuts(drawn, places):
    wire = b"".join(wire for wire, _ in drawn)
    events = [event for _, events in drawn for event in events]
    assert decode(cut(wire, places)) == events


@settings(deadline=None)
@given(requests(), st.integers(0, 500), st.binary(max_size=3), PLACES)
def test_a_damaged_request_means_the_same_whatever_the_cuts(drawn, place, damage, places):
    wire, _ = drawn
    place %= len(wire)
    damaged = wire[:place] + damage + wire[place + 1 :]
    assert decode(cut(damaged, places)) == decode([damaged])


@settings(deadline=None)
@given(st.lists(wires(), max_size=3), PLACES)
def test_an_odd_request_means_the_same_whatever_the_cuts(drawn, places):
    wire = b"".join(drawn)
    assert decode(cut(wire, places)) == decode([wire])


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=5))
def test_no_bytes_at_all_make_the_decoder_raise(pieces):
    decode([*pieces, b"\r\n\r\n", *pieces])
