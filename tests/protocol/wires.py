"""Requests for Hypothesis to draw: well-formed ones, odd ones, and ones with a few bytes wrong."""

from itertools import pairwise

from hypothesis import strategies as st

METHODS = [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"FETCH", b"get", b"CONNECT", b"PRI"]
PATHS = [b"/read", b"/ignore", b"/some", b"/stream", b"/raise", b"/websocket", b"/?a=%zz&b"]
ODD_TARGETS = [b"*", b"http://b:80/read", b"http://u@b/", b"b:80", b"//[", b"", b"/a b", b"/#"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1"]
HOSTS = [b"Host: a", b"Host:", b"Host: [::1]:80", b"Host: a b", b"X: y", b"host: a\r\nHost: b"]
FIELDS = [
    *(b"Connection: close", b"Connection: keep-alive", b"Proxy-Connection: close", b"X: \xff"),
    *(b"Content-Type: text/plain; charset=x", b"Cookie: a=b; c", b"Expect: 100-continue"),
    *(b"Forwarded: for=a;by=[", b"Range: bytes=0-", b"If-Modified-Since: never", b"If-Match: a"),
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]
ODD_FIELDS = [
    *(b"X: a\r\n b", b"X : a", b"Expect: wonders", b"Content-Encoding: gzip", b"X"),
    *(b"Content-Length: 3", b"Content-Length: +3", b"Content-Length: 3, 3", b"Content-Length:"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: x"),
]
DAMAGE = [*(b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"f", b"\x80")]


def usually(usual, odd):
    """Draw one of usual, and now and then one of odd."""
    return st.integers(0, 5).flatmap(lambda n: st.sampled_from(usual if n else odd))


@st.composite
def bodies(draw):
    """Draw a field that frames a body, or none, and the body, which it fits more often than not."""
    framing = draw(st.sampled_from(["", "", "length", "chunked"]))
    data = draw(st.lists(st.sampled_from([b"x", b"\r\n", b"0\r\n\r\n", b"a" * 20]), max_size=4))
    if framing == "length":
        length = len(b"".join(data)) + draw(usually([0], [1, -1]))
        return [b"Content-Length: %d" % length], b"".join(data)
    if framing == "chunked":
        extension = draw(usually([b""], [b";a", b';a="b"', b" ", b";\n"]))
        end = draw(usually([b"0\r\n\r\n"], [b"0\r\nA: b\r\n\r\n", b"0\r\n", b""]))
        chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in data)
        return [b"Transfer-Encoding: chunked"], chunks + end
    return [], b""


@st.composite
def wires(draw):
    """Draw the bytes of one request or what looks like one."""
    method = draw(usually(METHODS[:6], METHODS))
    target = draw(usually(PATHS, ODD_TARGETS))
    version = draw(usually(VERSIONS[:2], VERSIONS))
    fields = [
        draw(usually(HOSTS[:1], HOSTS)),
        *draw(st.lists(usually(FIELDS, ODD_FIELDS), max_size=2)),
    ]
    framing, body = draw(bodies())
    wire = b"\r\n".join([b" ".join([method, target, version]), *fields, *framing, b"", body])
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(wire) - 1))
        wire = (
            wire[:place] + draw(st.sampled_from(DAMAGE)) + wire[place + draw(st.integers(0, 1)) :]
        )
    return wire


def cut(wire, places):
    """Return wire cut at places."""
    ends = sorted({place % (len(wire) + 1) for place in places} | {0, len(wire)})
    return [wire[start:end] for start, end in pairwise(ends)]


PLACES = st.lists(st.integers(0, 2000), max_size=8)
