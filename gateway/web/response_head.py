"""The head of a response: its status line, its headers, and how they frame the body."""

import re
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from http.cookies import SimpleCookie
from math import ceil
from typing import Final, TypeAlias

from multidict import CIMultiDict

from gateway.web.body.coding import ContentCoding
from gateway.web.body.writer import Framing
from gateway.web.cookies import EXPIRED, set_cookie
from gateway.web.fields import (
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    DATE,
    DEFAULT_CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    SERVER,
    SET_COOKIE,
    TRANSFER_ENCODING,
    ETag,
    check_etag,
    format_content_type,
    format_http_date,
    parse_content_type,
    parse_etag,
    parse_http_date,
)
from gateway.web.plain_head import SERVER_SOFTWARE, read_clock, start_plain_head
from protocol.http1 import HTTP_10, HTTP_11, HttpVersion

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
_DIGITS: Final = re.compile(r"[0-9]+")


class BodyRule(Enum):
    """What follows a head, whatever its headers say."""

    BODY = "a body"
    LENGTH_ONLY = "no body, but the length that it would have"
    NOTHING = "no body, and no header about one"


# An attribute of an Enum class is a call in Python 3.11; these names are not.
_BODY, _LENGTH_ONLY, _NOTHING = BodyRule
_EMPTY, _LENGTH, _CHUNKED, _CLOSE = Framing


@lru_cache(maxsize=256)
def body_rule(method: str, status: int) -> BodyRule:
    """Return the rule for an answer of status to method. RFC 9112 section 6.3.

    A 304 might state the length that a 200 would have (RFC 9110 section 8.6); few handlers know it,
    so it does not.
    """
    is_tunnel = method == "CONNECT" and 200 <= status < 300
    if status < 200 or status in (204, 304) or is_tunnel:
        return BodyRule.NOTHING
    return BodyRule.LENGTH_ONLY if method == "HEAD" else BodyRule.BODY


class ResponseHead:
    """Status, headers and cookies of one response, and what complete() adds to them."""

    # What few responses change is an attribute of the class until then.
    _coding: ContentCoding | None = None  # of the body, unless it is in none of ours
    _cookies: SimpleCookie | None = None
    _chunked = False
    _keep_alive: bool | None = None

    # No slots: HTTPException is also an Exception, and Python cannot lay both out in one object.

    def __init__(
        self, *, status: int = 200, reason: str | None = None, headers: Headers | None = None
    ) -> None:
        self._headers: CIMultiDict[str] = CIMultiDict() if headers is None else CIMultiDict(headers)
        if status == 200 and reason is None:  # most are
            self._status, self._reason = 200, "OK"
        else:
            self._change_status(status, reason)

    @property
    def status(self) -> int:
        """The three-digit status code."""
        return self._status

    @property
    def reason(self) -> str:
        """The reason phrase; empty for a status that has none of its own."""
        return self._reason

    def _change_status(self, status: int, reason: str | None) -> None:
        self._status = int(status)
        if not 100 <= self._status <= 999:
            raise ValueError(f"Status must have three digits, not {status!r}")
        if reason is None:
            reason = _REASONS.get(self._status, "")
        elif "\r" in reason or "\n" in reason:
            raise ValueError("Reason cannot contain \\r or \\n")
        self._reason = reason

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection serves another request afterwards; None before prepare()."""
        return self._keep_alive

    def force_close(self) -> None:
        """Close the connection after this response."""
        self._keep_alive = False

    @property
    def headers(self) -> "CIMultiDict[str]":
        """The headers; prepare() completes them."""
        return self._headers

    @property
    def chunked(self) -> bool:
        """Whether enable_chunked_encoding() was called."""
        return self._chunked

    def enable_chunked_encoding(self, chunk_size: int | None = None) -> None:
        """Frame the body in chunks whatever is known of it; RuntimeError beside a length.

        chunk_size is deprecated and without effect: each piece that is written is a chunk.
        """
        if CONTENT_LENGTH in self._headers:
            raise RuntimeError("Chunked encoding and a content length exclude each other")
        if chunk_size is not None:
            warnings.warn("chunk_size is deprecated", DeprecationWarning, stacklevel=2)
        self._chunked = True

    @property
    def content_length(self) -> int | None:
        """The body's length in bytes, None where it is not known; RuntimeError beside chunked."""
        return _parse_length(self._headers)

    @content_length.setter
    def content_length(self, value: int | None) -> None:
        if value is None:
            self._headers.pop(CONTENT_LENGTH, None)
            return
        if self._chunked:
            raise RuntimeError("A content length and chunked encoding exclude each other")
        self._headers[CONTENT_LENGTH] = str(int(value))

    @property
    def content_type(self) -> str:
        """The media type without parameters; application/octet-stream where none is set."""
        return self._parsed_content_type()[0]

    @content_type.setter
    def content_type(self, value: str) -> None:
        parameters = self._parsed_content_type()[1]
        self._headers[CONTENT_TYPE] = format_content_type(str(value), parameters)

    @property
    def charset(self) -> str | None:
        """The charset parameter of the content type; RuntimeError for application/octet-stream."""
        return self._parsed_content_type()[1].get("charset")

    @charset.setter
    def charset(self, value: str | None) -> None:
        media_type, parameters = self._parsed_content_type()
        if media_type == DEFAULT_CONTENT_TYPE:
            raise RuntimeError(f"{DEFAULT_CONTENT_TYPE} has no charset: set content_type first")
        changed = {**parameters, "charset": (value or "").lower()}
        if value is None:
            del changed["charset"]
        self._headers[CONTENT_TYPE] = format_content_type(media_type, changed)

    def _parsed_content_type(self) -> tuple[str, Mapping[str, str]]:
        return parse_content_type(self._headers.get(CONTENT_TYPE, ""))

    @property
    def last_modified(self) -> datetime | None:
        """Last-Modified in UTC; set it from a Unix time, a datetime (naive means UTC) or text."""
        return parse_http_date(self._headers.get(LAST_MODIFIED))

    @last_modified.setter
    def last_modified(self, value: float | datetime | str | None) -> None:
        if value is None:
            self._headers.pop(LAST_MODIFIED, None)
        elif isinstance(value, str):
            self._headers[LAST_MODIFIED] = value
        elif isinstance(value, datetime):
            moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            self._headers[LAST_MODIFIED] = format_http_date(moment.timestamp())
        elif isinstance(value, int | float):
            # Rounded up: the resource must not look older than a copy taken in the same second.
            self._headers[LAST_MODIFIED] = format_http_date(ceil(value))
        else:
            raise TypeError(f"Unsupported type for last_modified: {type(value).__name__}")

    @property
    def etag(self) -> ETag | None:
        """The entity tag; set it from an ETag or a bare value, ValueError if that is not valid."""
        return parse_etag(self._headers.get(ETAG, ""))

    @etag.setter
    def etag(self, value: ETag | str | None) -> None:
        if value is None:
            self._headers.pop(ETAG, None)
        elif isinstance(value, str | ETag):
            tag = value if isinstance(value, ETag) else ETag(value)
            self._headers[ETAG] = str(check_etag(tag))
        else:
            raise ValueError(f"An etag is an ETag, a str or None, not {type(value)!r}")

    @property
    def cookies(self) -> SimpleCookie:
        """The cookies that prepare() turns into Set-Cookie headers."""
        if self._cookies is None:
            self._cookies = SimpleCookie()
        return self._cookies

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        expires: str | None = None,
        domain: str | None = None,
        max_age: int | str | None = None,
        path: str = "/",
        secure: bool | None = None,
        httponly: bool | None = None,
        version: str | None = None,
        samesite: str | None = None,
        partitioned: bool | None = None,
    ) -> None:
        """Set a cookie, or change the one of this name; what is None stays as it was."""
        attributes = {
            "expires": expires,
            "domain": domain,
            "max-age": max_age,
            "path": path,
            "secure": secure,
            "httponly": httponly,
            "version": version,
            "samesite": samesite,
        }
        set_cookie(self.cookies, name, value, attributes, partitioned=partitioned)

    def del_cookie(
        self,
        name: str,
        *,
        domain: str | None = None,
        path: str = "/",
        secure: bool | None = None,
        httponly: bool | None = None,
        samesite: str | None = None,
    ) -> None:
        """Make the client forget a cookie that was set with the same domain and path."""
        self.cookies.pop(name, None)
        self.set_cookie(
            name,
            "",
            expires=EXPIRED,
            domain=domain,
            max_age=0,
            path=path,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )

    def _complete(self, method: str, version: HttpVersion, keep_alive: bool) -> tuple[Framing, int]:
        """Add the headers that are ours to add, in wire order; return how the body is framed.

        Raises RuntimeError where the peer could not read the body and ValueError for a length that
        is not one.
        """
        if self._keep_alive is None:
            self._keep_alive = keep_alive
        headers = self._headers
        framing, length = self._frame(method, version)
        if self._cookies:
            for cookie in self._cookies.values():
                headers.add(SET_COOKIE, cookie.OutputString())
        if self._coding is not None:
            headers[CONTENT_ENCODING] = self._coding.value
        if framing is _CHUNKED:
            headers[TRANSFER_ENCODING] = "chunked"
        if framing is not _EMPTY and (length or framing is not _LENGTH):
            # RFC 9110 section 8.3: without it a recipient may guess, and guesses are exploited.
            headers.setdefault(CONTENT_TYPE, DEFAULT_CONTENT_TYPE)
        headers.setdefault(DATE, read_clock()[0])
        headers.setdefault(SERVER, SERVER_SOFTWARE)
        if CONNECTION in headers or not self._keep_alive or version != HTTP_11:
            self._say_connection(version)
        return framing, length

    def _encode_plain(self, body: bytes) -> bytes:
        """Complete the headers, of which there is one, the type; return the head with the body.

        It is for HTTP/1.1 on a connection that goes on. What is in it is as complete() has it.
        """
        headers, size = self._headers, str(len(body))
        start = start_plain_head(self._status, self._reason, headers[CONTENT_TYPE])
        date, end = read_clock()
        headers[CONTENT_LENGTH] = size
        headers[DATE] = date
        headers[SERVER] = SERVER_SOFTWARE
        self._keep_alive = True
        return b"".join((start, size.encode(), end, body))

    def _frame(self, method: str, version: HttpVersion) -> tuple[Framing, int]:
        """Return the framing and, for LENGTH, the length; leave no header that says otherwise."""
        headers = self._headers
        if TRANSFER_ENCODING in headers:  # copied from elsewhere: this body gets its own framing
            del headers[TRANSFER_ENCODING]
        if self._chunked:
            if version < HTTP_11:
                raise RuntimeError(f"HTTP/{version.major}.{version.minor} has no chunked encoding")
            headers.popall(CONTENT_LENGTH, None)  # RFC 9112 section 6.2: never beside chunks
        rule = body_rule(method, self._status)
        if rule is _NOTHING:
            headers.popall(CONTENT_LENGTH, None)
            return _EMPTY, 0
        length = self._state_length(rule)
        if rule is _LENGTH_ONLY:
            return _EMPTY, 0
        if length is not None:
            return _LENGTH, length
        if version >= HTTP_11:
            return _CHUNKED, 0
        self._keep_alive = False
        return _CLOSE, 0

    def _state_length(self, rule: BodyRule) -> int | None:
        """Return the body's length where it is known, which the headers then state."""
        return _parse_length(self._headers)

    def _say_connection(self, version: HttpVersion) -> None:
        """Let header and behaviour agree: a Connection header of the handler's is obeyed."""
        headers = self._headers
        said = ",".join(headers.getall(CONNECTION, ())).lower()
        tokens = {token.strip() for token in said.split(",")}
        if "close" in tokens:
            self._keep_alive = False
        elif not self._keep_alive and version >= HTTP_11:
            headers.add(CONNECTION, "close")
        elif self._keep_alive and version == HTTP_10 and "keep-alive" not in tokens:
            headers.add(CONNECTION, "keep-alive")


def _parse_length(headers: "CIMultiDict[str]") -> int | None:
    """Return the one Content-Length, or None.

    Raises ValueError where a peer could read two, and TypeError for a number, which is no header.
    """
    if CONTENT_LENGTH not in headers:
        return None
    values = headers.getall(CONTENT_LENGTH)
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"The value of the header '{CONTENT_LENGTH}' must be a str")
    if len(values) > 1 or not _DIGITS.fullmatch(values[0]):
        raise ValueError(f"Not a content length: {', '.join(values)!r}")
    return int(values[0])
