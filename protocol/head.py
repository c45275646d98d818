"""The head of a request: its raw fields, checked as HTTP/1.1 demands and put in a usable form."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final, NamedTuple

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy, istr

from protocol.errors import HTTPError


class HttpVersion(NamedTuple):
    """A version of HTTP; versions compare as numbers do."""

    major: int
    minor: int


HTTP_10: Final = HttpVersion(1, 0)
HTTP_11: Final = HttpVersion(1, 1)

_VERSIONS: Final = {b"HTTP/1.1\r\n": HTTP_11, b"HTTP/1.0\r\n": HTTP_10}

_CONNECTION: Final = istr("Connection")
_CONTENT_LENGTH: Final = istr("Content-Length")
_CONTENT_TYPE: Final = istr("Content-Type")
_EXPECT: Final = istr("Expect")
_HOST: Final = istr("Host")
_TRANSFER_ENCODING: Final = istr("Transfer-Encoding")
_UPGRADE: Final = istr("Upgrade")

# Names that most requests carry, ready made: to decode and fold them costs more than to find them.
_COMMON_NAMES: Final = (
    *("Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control"),
    *("Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "DNT"),
    *("Expect", "Host", "If-Match", "If-Modified-Since", "If-None-Match", "Last-Event-ID"),
    *("Origin", "Pragma", "Range", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode"),
    *("Sec-Fetch-Site", "Sec-WebSocket-Extensions", "Sec-WebSocket-Key"),
    *("Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "TE", "Transfer-Encoding", "Upgrade"),
    *("Upgrade-Insecure-Requests", "User-Agent", "X-Forwarded-For", "X-Forwarded-Host"),
    *("X-Forwarded-Proto", "X-Real-IP", "X-Request-ID"),
)


class _Tokens(dict[bytes, str]):
    """What a method or the name of a field is as text; others than those within are decoded."""

    def __missing__(self, token: bytes) -> str:
        return token.decode()


FIELD_NAMES: Final = _Tokens(
    (spelling.encode(), istr(spelling))
    for name in _COMMON_NAMES
    for spelling in (name, name.lower())
)
_METHODS: Final = _Tokens(
    (name.encode(), name) for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
)

# RFC 3986 section 3.2, without user: a name or an address in brackets, and a port. The name may be
# empty only where the whole is. RFC 9110 section 4.2.1.
_AUTHORITY: Final = re.compile(
    r"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?"
)
_ABSOLUTE_TARGET: Final = re.compile(r"[A-Za-z]+://([^/?]+)(?:[/?].*)?")
_MAX_PORT: Final = 65535
_MAX_LENGTH_DIGITS: Final = 20  # of a length below 2**64, beyond which llhttp refuses it


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a request's head may be; what is larger is refused before it is kept.

    max_head_bytes bounds the request line and the fields together, and trailers once more;
    max_field_bytes a name with its value. The whole must have room for a longest line and field.
    """

    max_line_bytes: int = 8190  # as Apache httpd and aiohttp; more is answered with 414
    max_field_bytes: int = 8190  # likewise; more is answered with 431, as for the two below
    max_fields_count: int = 128
    max_head_bytes: int = 16 * 1024  # as h11 and IIS

    def check_fields(self, section_bytes: int, fields: CIMultiDict[str]) -> None:
        """Raise HTTPError for one field too many or too large in a section of so many bytes."""
        if len(fields) > self.max_fields_count:
            raise HTTPError(431, "There are too many header fields")
        if section_bytes > self.max_field_bytes and any(
            len(name) + len(_encode(value)) > self.max_field_bytes for name, value in fields.items()
        ):
            raise HTTPError(431, "A header field is too large")


class RequestHead(msgspec.Struct, frozen=True):
    """A request line and its fields; names keep their case, values lost the space around them.

    A value's bytes beyond ASCII are read as UTF-8, with surrogates for those that are not.
    keep_alive tells that another request may follow, which it cannot where upgrade is true: the
    peer asks for a WebSocket. content_length is None where no length was given. Where
    expects_continue is true the peer may hold the body back until it is told to send it.
    """

    method: str
    target: str
    version: HttpVersion
    headers: CIMultiDictProxy[str]
    keep_alive: bool
    upgrade: bool
    content_length: int | None
    chunked: bool
    expects_continue: bool = False

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow."""
        return self.chunked or bool(self.content_length)

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The fields as they were sent, but for the space around values."""
        return tuple([(name.encode(), _encode(value)) for name, value in self.headers.items()])


def _encode(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def read_head(wire: bytes, headers: CIMultiDict[str]) -> RequestHead:
    """Return the head that wire is, with its fields, which llhttp has found in it.

    Raises HTTPError for a version, a target, a Host, a framing or an expectation that is not to be
    obeyed.
    """
    line = wire[: wire.find(b"\n") + 1].split(b" ")
    version = _VERSIONS.get(line[-1])
    if version is None:  # llhttp knows 0.9, 2.0, RTSP and ICE, too
        raise HTTPError(505, "The version is neither HTTP/1.1 nor HTTP/1.0")
    if len(line) != 3 or not line[1]:  # RFC 9112 section 3: being lenient can lead to smuggling
        raise HTTPError(400, "There is more than one space in a row in the request line")
    method, target = _METHODS[line[0]], line[1].decode()
    if target[0] != "/" or "#" in target or method == "CONNECT":
        _check_target(method, target)
    _check_host(version, headers)
    length, is_chunked = None, False
    if _CONTENT_LENGTH in headers or _TRANSFER_ENCODING in headers:
        length, is_chunked = _parse_framing(version, headers)
        if (length or is_chunked) and len(headers.getall(_CONTENT_TYPE, ())) > 1:
            raise HTTPError(400, "There is more than one Content-Type")
        if method == "CONNECT":  # RFC 9110 section 9.3.6: what follows is the tunnel's, no body
            length, is_chunked = None, False
    options = _list_tokens(headers, _CONNECTION) if _CONNECTION in headers else ()
    is_upgrade = "upgrade" in options and _asks_websocket(version, headers)
    persists = "close" not in options and (version is HTTP_11 or "keep-alive" in options)
    return RequestHead(
        method,
        target,
        version,
        CIMultiDictProxy(headers),
        persists and not is_upgrade and method != "CONNECT",
        is_upgrade,
        length,
        is_chunked,
        _EXPECT in headers and _expects_continue(version, headers),
    )


def _check_host(version: HttpVersion, headers: CIMultiDict[str]) -> None:
    """Raise HTTPError where there is not one Host with a valid value. RFC 9112 section 3.2."""
    hosts = headers.getall(_HOST, ())
    if len(hosts) > 1:
        raise HTTPError(400, "There is more than one Host")
    if not hosts:
        if version is HTTP_11:
            raise HTTPError(400, "There is no Host")
    elif hosts[0] and not _is_authority(hosts[0]):
        raise HTTPError(400, "The Host is not valid")


def _check_target(method: str, target: str) -> None:
    """Raise HTTPError where a target other than a path is not valid. RFC 9112 section 3.2."""
    if "#" in target:
        raise HTTPError(400, "The request target has a fragment")
    absolute = _ABSOLUTE_TARGET.fullmatch(target)
    if method == "CONNECT":
        # RFC 9110 section 9.3.6: an empty or invalid port number MUST be rejected.
        is_valid = _is_authority(target) and target.rpartition(":")[2].strip("0").isdigit()
    elif absolute is not None:
        is_valid = _is_authority(absolute[1])
    else:
        is_valid = target[0] == "/" or (method == "OPTIONS" and target == "*")
    if not is_valid:
        raise HTTPError(400, "The request target is not valid")


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=256)  # peers name the same few hosts again and again
def _is_authority(text: str) -> bool:
    match = _AUTHORITY.fullmatch(text)
    if match is None or (match[1] is not None and not _is_ipv6(match[1])):
        return False
    return int(match[2] or 0) <= _MAX_PORT


def _parse_framing(version: HttpVersion, headers: CIMultiDict[str]) -> tuple[int | None, bool]:
    """Return the body's length, if it has one, and whether it is chunked. RFC 9112 section 6.

    llhttp has refused a length that is no number, two of them, and a length beside a coding.
    """
    if _TRANSFER_ENCODING not in headers:
        length = headers.get(_CONTENT_LENGTH)
        if length is None:
            return None, False
        if len(length) > _MAX_LENGTH_DIGITS:
            raise HTTPError(400, "The Content-Length has too many digits")
        return int(length), False
    if version is not HTTP_11:
        raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding")
    # Empty elements of the list might be ignored, but who wrote them has other things in mind.
    coding = ",".join(headers.getall(_TRANSFER_ENCODING)).lower()
    if coding != "chunked":
        if coding.rpartition(",")[2].strip(" \t") != "chunked" or coding.startswith(","):
            raise HTTPError(400, "The last Transfer-Encoding is not chunked")
        raise HTTPError(501, "The only Transfer-Encoding understood is chunked")
    return None, True


def _expects_continue(version: HttpVersion, headers: CIMultiDict[str]) -> bool:
    """Return whether the peer waits for 100 Continue; raise HTTPError for anything else it expects.

    RFC 9110 section 10.1.1: in an HTTP/1.0 request it is ignored.
    """
    if version is not HTTP_11:
        return False
    expectations = _list_tokens(headers, _EXPECT)
    if any(expectation != "100-continue" for expectation in expectations):
        raise HTTPError(417, "The only expectation understood is 100-continue")
    return bool(expectations)


def _asks_websocket(version: HttpVersion, headers: CIMultiDict[str]) -> bool:
    # RFC 9110 section 7.8: a server MUST ignore an Upgrade header field that is received in an
    # HTTP/1.0 request. It may ignore any, and other protocols than this one are ignored.
    return version is HTTP_11 and "websocket" in _list_tokens(headers, _UPGRADE)


def _list_tokens(headers: CIMultiDict[str], name: str) -> list[str]:
    """Return the elements of a comma-separated header in lower case, empty ones left out."""
    elements = ",".join(headers.getall(name, ())).lower().split(",")
    return [token for element in elements if (token := element.strip(" \t"))]
