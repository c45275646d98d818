"""What a handler sees of a request is what it sees with aiohttp, but for what is listed here."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.gateway.web.differential.peers import (
    HOST,
    Peers,
    attempt,
    get,
    post,
    post_chunks,
    request,
    statuses,
    unlike,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOSE = b"Connection: close"

# What can be asked of a request, each in a form that is text on both sides.
QUESTIONS: dict[str, Callable[[Any], object]] = {
    **{
        name: lambda request, name=name: getattr(request, name)
        for name in (
            *("method", "version", "host", "scheme", "secure", "remote", "path", "raw_path"),
            *("path_qs", "query_string", "rel_url", "url", "raw_headers", "keep_alive"),
            *("body_exists", "can_read_body", "content_type", "charset", "content_length"),
            *("http_range", "if_modified_since", "if_unmodified_since", "if_range"),
            *("client_max_size",),
        )
    },
    "query": lambda request: list(request.query.items()),
    "headers": lambda request: list(request.headers.items()),
    "cookies": lambda request: dict(request.cookies),
    "forwarded": lambda request: [dict(element) for element in request.forwarded],
    "if_match": lambda request: tags(request.if_match),
    "if_none_match": lambda request: tags(request.if_none_match),
    "repr": lambda request: repr(request),
    "mapping": lambda request: (len(request), bool(request), list(request), request == request),
    "parts": lambda request: (request.rel_url.raw_path, request.rel_url.raw_query_string),
    "absolute": lambda request: (request.rel_url.absolute, request.url.absolute),
    "clone": lambda request: str(request.clone(rel_url="/x?y", host="h:1", scheme="https").url),
}


def tags(found: Any) -> object:
    return found and [(tag.is_weak, tag.value) for tag in found]


def target(target: bytes) -> bytes:
    return request(b"GET " + target + b" HTTP/1.1", CLOSE)


def host(value: bytes) -> bytes:
    return b"GET /x HTTP/1.1\r\nHost: " + value + b"\r\nConnection: close\r\n\r\n"


def field(line: str) -> bytes:
    return get(CLOSE, line.encode())


TARGETS: dict[str, bytes] = {
    f"target {text}": target(text.encode())
    for text in (
        *("/", "/a?b=c&b=d&e", "/%C4%8D%2Fx/a+b?c=%26+d", "/a/../b/./c", "//a//b"),
        *("//other.org/x?y", "/a?b?c", "/a?", "/a:b", "/%zz%2", "/a;b?c;d"),
        *("/?a=%C4%8D", "/%e9?%e9=%e9", "/%25%2525", "/a%20b?c%20d=e%20f", "/~a!$&'()*,=@"),
        *("/[a]?[b]={c}|d", '/a|b^c`d"e<f>', "/a\\b", "/a?=&&=b&c=", "/?a=+%2B", "/a%0Ab"),
        *("http://a.example/b?c", "http://a.example:8080/b/../c?d=e", "HTTP://A.example"),
        *("http://a.example?x=y", "https://a.example/x"),
    )
}
HOSTS: dict[str, bytes] = {
    f"host {text}": host(text.encode())
    for text in ("a:80", "a:8080", "[::1]:8", "A.Example", "a,b", "1.2.3.4", "xn--a", "a_b")
}
METHODS: dict[str, bytes] = {
    f"method {text}": request(text.encode() + b" / HTTP/1.1", CLOSE)
    for text in (
        *("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "MKCOL", "PURGE", "LINK"),
        *("SEARCH", "M-SEARCH", "REPORT", "SOURCE", "QUERY"),
    )
}
COOKIES = (
    *("a=b", 'a=b; c="d e"; f', '{a}=b; a/b=c; d="\\073\\""', "a=b; a=c", "a=b;c=d", "=x; y="),
    *("$Version=1; a=b; $Path=/", "a=b=c", "a = b ; c", 'a="b; c=d', "a=č", "a=b,c=d", "", "a=%20"),
    *("path=/; expires=x; secure; a=b", 'a="b"c', 'a=""', 'a="', 'a="\\a"', "a b=c; d=e"),
    *("a=b c; d", "a=b\r\nCookie: c=d"),
)
CONTENT_TYPES = (
    *("text/plain", "text/plain; charset=UTF-8", 'TEXT/Html;charset="utf-8"', "text", "text/", ""),
    *("text/plain;", "text/plain; a", "text/plain; charset=", "text/plain; charset = latin1"),
    *('multipart/form-data; boundary="a b"', "a/b/c", "text/plain, text/html", " text/plain"),
    *("text/plain; Charset=A", "text/plain; charset=a; charset=b", "text/pl ain"),
)
RANGES = (
    *("bytes=0-0", "bytes=5-", "bytes=-5", "bytes=0-1,3-4", "bytes=5-2", "bytes=-", "items=0-1"),
    *("bytes=a-b", "bytes = 0-1", "Bytes=0-1", "", "bytes=-0", "bytes=00-01", "bytes=0-1 "),
    *("bytes=٣-", "bytes=0-1\r\nRange: bytes=1-2"),
)
DATES = (
    *("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "x", "", "1994-11-06"),
    *("Sun Nov  6 08:49:37 1994", "Sun, 31 Feb 1994 08:49:37 GMT", "0"),
    *(
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
    ),
)
ETAGS = (
    *('"a"', 'W/"a", "b"', "*", "", "a", '"a",b', '"a" "b"', '"a","b",', '""', 'w/"a"', '"a b"'),
    *('"a"b, "c"', ' "a"', '"a\\"b"', '*, "a"', '"a" , "b"', '"a"\r\nIf-Match: "b"'),
)
FORWARDED = (
    *("for=1.2.3.4", 'for=1.2.3.4;proto=https, for="[::1]:80"', 'For="a\\"b";By=c', "for=a;;by=b"),
    *("for=a, ,for=b", "for = a", "for=a b;by=c, for=d", "", ",", "for=_x:80", 'for="a', "x"),
    *("for=a;for=b", "for=a;\tby=b", "host=a:b", "for=[::1]", "for=a,", "for=", 'for=""'),
    *('for=a;by="b"c,for=d', "for=a\r\nForwarded: for=b"),
)
FIELDS: dict[str, bytes] = {
    f"{name}: {value}": field(f"{name}: {value}")
    for name, values in {
        "Cookie": COOKIES,
        "Content-Type": CONTENT_TYPES,
        "Range": RANGES,
        "If-Modified-Since": DATES,
        "If-Unmodified-Since": DATES[:2],
        "If-Range": (DATES[0], '"a"'),
        "If-Match": ETAGS,
        "If-None-Match": ETAGS[:3],
        "Forwarded": FORWARDED,
        "X": ("č", "", " a  b", "1\r\nx: 2", "a b  "),
        "Content-Length": ("0", "00"),
        "Connection": ("x", "upgrade\r\nUpgrade: h2c"),
        "Upgrade": ("websocket",),
    }.items()
    for value in values
}
CASES: dict[str, bytes] = {
    **TARGETS,
    **HOSTS,
    **METHODS,
    **FIELDS,
    "target *": request(b"OPTIONS * HTTP/1.1", CLOSE),
    "1.0": b"GET / HTTP/1.0\r\n\r\n",
    "1.0 with a host": b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
    "bytes that are not UTF-8": get(CLOSE, b"X: \xff"),
    "body": post(b"abc", CLOSE),
    "chunks": post_chunks([b"abc", b"de"], CLOSE, trailers=b"X: y\r\n"),
    "no chunks": post_chunks([], CLOSE),
}

# What differs on purpose, by case: what is answered here, and the reason.
_TRIMMED = "white space around a value is none of it: RFC 9110 section 5.5"
_SLASHES = "the path as it was sent, without further slashes"
_EMPTY_PATH = "an absolute target without a path means /: RFC 9112 section 3.2.1"
_LOCAL = "the address that was asked, without a search for its name, which would block"
_PORT = "the host with its port, as from a Host header"
_SPACE = "a cookie ends at a semicolon, not at a space"
_ONE_LINE = "a repr is one line and tells what is in the path"
_FIRST_TWO = "('Host', 'example.org'), ('Connection', 'close')"
_FIRST_RAW = "(b'Host', b'example.org'), (b'Connection', b'close')"
DIFFERENCES: dict[str, dict[str, tuple[str, str]]] = {
    "target /a\\b": {"repr": (repr(r"<BaseRequest GET /a\\b >"), _ONE_LINE)},
    "target /a%0Ab": {"repr": (repr(r"<BaseRequest GET /a\nb >"), _ONE_LINE)},
    "target /a/../b/./c": {
        "url": ("URL('http://example.org/a/../b/./c')", "the path that was asked for, as in path")
    },
    "target //a//b": {"path_qs": ("'//a//b'", _SLASHES)},
    "target //other.org/x?y": {"path_qs": ("'//other.org/x?y'", _SLASHES)},
    "target http://a.example:8080/b/../c?d=e": {"host": ("'a.example:8080'", _PORT)},
    "target HTTP://A.example": {
        "host": ("'A.example'", "the host as it was sent, as from a Host header"),
        "path": ("'/'", _EMPTY_PATH),
        "path_qs": ("'/'", _EMPTY_PATH),
        "rel_url": ("URL('/')", _EMPTY_PATH),
        "parts": ("('/', '')", _EMPTY_PATH),
        "repr": ("'<BaseRequest GET / >'", _EMPTY_PATH),
    },
    "target http://a.example?x=y": {
        "path": ("'/'", _EMPTY_PATH),
        "path_qs": ("'/?x=y'", _EMPTY_PATH),
        "rel_url": ("URL('/?x=y')", _EMPTY_PATH),
        "parts": ("('/', 'x=y')", _EMPTY_PATH),
        "repr": ("'<BaseRequest GET / >'", _EMPTY_PATH),
    },
    "target https://a.example/x": {
        "scheme": ("'http'", "the connection is not encrypted, whatever the peer says"),
        "secure": ("False", "the connection is not encrypted, whatever the peer says"),
    },
    "1.0": {"host": ("'127.0.0.1'", _LOCAL), "url": ("URL('http://127.0.0.1/')", _LOCAL)},
    "method QUERY": {
        "method": ("'QUERY'", "llhttp knows it since 9.3"),
        "repr": ("'<BaseRequest QUERY / >'", "llhttp knows it since 9.3"),
    },
    "Cookie: a b=c; d=e": {"cookies": ("{'a b': 'c', 'd': 'e'}", _SPACE)},
    "Cookie: a=b c; d": {"cookies": ("{'a': 'b c', 'd': ''}", _SPACE)},
    "Content-Type: text/": {"content_type": ("'application/octet-stream'", "it is not a type")},
    "Content-Type: text/pl ain": {
        "content_type": ("'application/octet-stream'", "it is not a type")
    },
    "Range: bytes=0-1 ": {
        "headers": (f"[{_FIRST_TWO}, ('Range', 'bytes=0-1')]", _TRIMMED),
        "raw_headers": (f"({_FIRST_RAW}, (b'Range', b'bytes=0-1'))", _TRIMMED),
        "http_range": ("slice(0, 2, 1)", _TRIMMED),
    },
    "X: a b  ": {
        "headers": (f"[{_FIRST_TWO}, ('X', 'a b')]", _TRIMMED),
        "raw_headers": (f"({_FIRST_RAW}, (b'X', b'a b'))", _TRIMMED),
    },
    'If-Match: "a"\r\nIf-Match: "b"': {
        "if_match": ("[(False, 'a'), (False, 'b')]", "a list may be cut into several fields")
    },
    "Forwarded: host=a:b": {
        "forwarded": ("[{'host': 'a:b'}]", "a port may be a name, and a value is given whole")
    },
    "Forwarded: for=[::1]": {
        "forwarded": ("[{'for': '[::1]'}]", "many proxies do not quote what they should")
    },
}


async def look(module: ModuleType, request: Any) -> Any:
    answers = {name: attempt(lambda ask=ask: ask(request)) for name, ask in QUESTIONS.items()}
    return module.Response(status=290, text=json.dumps(answers))


@pytest.mark.parametrize("name", CASES)
async def test_handlers_see_the_same_unless_the_table_says_why_not(name: str, peers: Peers) -> None:
    answers = await peers.ask(look, CASES[name])

    assert [statuses(answer) for answer in answers] == [[290], [290]]
    ours, theirs = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    different = unlike(ours, theirs)
    expected = DIFFERENCES.get(name, {})
    assert different.keys() == expected.keys(), different
    for question, (answer, _) in expected.items():
        assert ours[question] == answer


async def test_the_table_has_only_cases_that_are_asked() -> None:
    assert DIFFERENCES.keys() <= CASES.keys()


async def test_the_bodies_that_tunnels_have_are_no_content(peers: Peers) -> None:
    answers = await peers.ask(look, request(b"CONNECT a.example:80 HTTP/1.1", CLOSE))

    assert [statuses(answer) for answer in answers] == [[290], [290]]
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers] == [b"", b""]
