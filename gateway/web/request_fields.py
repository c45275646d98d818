"""Header values that only requests carry: from text to meaning."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from multidict import CIMultiDictProxy

from gateway.web.fields import (
    CONTENT_TYPE,
    COOKIE,
    ETAG_ANY,
    TOKEN,
    ETag,
    parse_content_type,
    parse_etag,
    parse_http_date,
    unescape,
)

_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'

_COOKIE_ESCAPE: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")

# RFC 7239 section 4: pairs joined by semicolons, elements by commas. A bare value may have the
# colons and brackets of an address, which the RFC wants quoted and many proxies do not quote.
_PAIR: Final = re.compile(rf"[ \t;]*({TOKEN})=({_QUOTED}|[^\s,;\"]+)[ \t]*")

_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_ETAGS: Final = re.compile(r'[ \t]*((?:W/)?"[^"]*")[ \t]*(?:,|$)')


def parse_cookies(text: str) -> dict[str, str]:
    """Return the cookies of a Cookie header by name, a later one in place of an earlier.

    RFC 6265 section 4.2.1, read leniently: a name is anything between the delimiters, and a quoted
    value is given without its quotes. A name without a value has the empty one; a value without a
    name is no cookie.
    """
    pairs = [pair.partition("=") for pair in text.split(";")]
    return {
        name: _unquote_cookie(value.strip(" \t"))
        for untrimmed, _, value in pairs
        if (name := untrimmed.strip(" \t"))
    }


def _unquote_cookie(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _COOKIE_ESCAPE.sub(
        lambda match: chr(int(match[1], 8)) if match[1] else match[2], value[1:-1]
    )


def parse_forwarded(values: list[str]) -> tuple[Mapping[str, str], ...]:
    """Return the elements of the Forwarded headers, first proxy first, names in lower case.

    What breaks the syntax is left out up to the next comma; nothing between two commas is an
    empty element. RFC 7239 section 4.
    """
    elements: list[Mapping[str, str]] = []
    for text in values:
        position: int | None = 0
        while position is not None:
            element, position = _parse_forwarded_element(text, position)
            elements.append(MappingProxyType(element))
    return tuple(elements)


def _parse_forwarded_element(text: str, position: int) -> tuple[dict[str, str], int | None]:
    """Return the element at position and where the next one begins, None after the last."""
    element: dict[str, str] = {}
    while match := _PAIR.match(text, position):
        name, value = match.groups()
        if value[0] == '"':
            value = unescape(value[1:-1])
        element[name.lower()] = value
        position = match.end()
        if position == len(text) or text[position] != ";":
            break
        position += 1
    comma = text.find(",", position)
    return element, comma + 1 if comma >= 0 else None


def parse_range(text: str | None) -> slice:
    """Return the one range of bytes that text asks for; everything where there is no text.

    Raises ValueError for another unit, several ranges, an empty one and one that ends before it
    begins. RFC 9110 section 14.1.2.
    """
    if text is None:
        return slice(None, None, 1)
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        raise ValueError("range not in acceptable format")
    if not match[1]:
        return slice(-int(match[2]), None, 1)
    start, stop = int(match[1]), int(match[2]) + 1 if match[2] else None
    if stop is not None and start >= stop:
        raise ValueError("start cannot be after end")
    return slice(start, stop, 1)


def parse_etags(values: list[str]) -> tuple[ETag, ...] | None:
    """Return the entity tags of If-Match or If-None-Match, up to the first that is none."""
    text = ",".join(values)
    if not text:
        return None
    if text == ETAG_ANY:
        return (ETag(ETAG_ANY),)
    tags: list[ETag] = []
    position = 0
    while match := _ETAGS.match(text, position):
        tag = parse_etag(match[1])
        if tag is None:
            break
        tags.append(tag)
        position = match.end()
    return tuple(tags)


class RequestFields(ABC):
    """What the header fields of a request mean, computed when asked for."""

    __slots__ = ()

    @property
    @abstractmethod
    def headers(self) -> "CIMultiDictProxy[str]":
        """The header fields."""

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies by name."""
        return MappingProxyType(parse_cookies(self.headers.get(COOKIE, "")))

    @property
    def content_type(self) -> str:
        """The media type of the body; application/octet-stream if it is not given or not valid."""
        return parse_content_type(self.headers.get(CONTENT_TYPE, ""))[0]

    @property
    def charset(self) -> str | None:
        """The charset parameter of the content type."""
        return parse_content_type(self.headers.get(CONTENT_TYPE, ""))[1].get("charset")

    @property
    def http_range(self) -> slice:
        """The range of bytes asked for; ValueError where it is not one valid range."""
        return parse_range(self.headers.get("Range"))

    @property
    def if_modified_since(self) -> datetime | None:
        """If-Modified-Since in UTC."""
        return parse_http_date(self.headers.get("If-Modified-Since"))

    @property
    def if_unmodified_since(self) -> datetime | None:
        """If-Unmodified-Since in UTC."""
        return parse_http_date(self.headers.get("If-Unmodified-Since"))

    @property
    def if_range(self) -> datetime | None:
        """If-Range in UTC, None where it is an entity tag."""
        return parse_http_date(self.headers.get("If-Range"))

    @property
    def if_match(self) -> tuple[ETag, ...] | None:
        """The entity tags of If-Match."""
        return parse_etags(self.headers.getall("If-Match", []))

    @property
    def if_none_match(self) -> tuple[ETag, ...] | None:
        """The entity tags of If-None-Match."""
        return parse_etags(self.headers.getall("If-None-Match", []))

    @property
    def forwarded(self) -> tuple[Mapping[str, str], ...]:
        """What each proxy said in Forwarded, first proxy first."""
        return parse_forwarded(self.headers.getall("Forwarded", []))
