"""Header values that only requests carry: from text to meaning."""

import re
from typing import Final

from gateway.web.fields import ETAG_ANY, ETag, parse_etag

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'

# RFC 6265 section 4.2.1, read leniently: anything up to the next semicolon, quoted or not.
_COOKIE: Final = re.compile(
    r"[ \t]*([^=;]+?)[ \t]*=[ \t]*(\"(?:[^\"\\]|\\.)*\"|[^;]*?)[ \t]*(?:;|$)"
)
_COOKIE_ESCAPE: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")

# RFC 7239 section 4: pairs joined by semicolons, elements by commas. A bare value may have the
# colons and brackets of an address, which the RFC wants quoted and many proxies do not quote.
_PAIR: Final = re.compile(rf"[ \t]*({_TOKEN})=({_QUOTED}|[^\s,;\"]+)[ \t]*")
_QUOTED_PAIR: Final = re.compile(r"\\(.)")

_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_ETAGS: Final = re.compile(r'[ \t]*((?:W/)?"[^"]*")[ \t]*(?:,|$)')


def parse_cookies(text: str) -> dict[str, str]:
    """Return the cookies of a Cookie header by name, a later one in place of an earlier.

    Names may be anything but the delimiters. A quoted value is given without its quotes.
    """
    return {name: _unquote_cookie(value) for name, value in _COOKIE.findall(text)}


def _unquote_cookie(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _COOKIE_ESCAPE.sub(
        lambda match: chr(int(match[1], 8)) if match[1] else match[2], value[1:-1]
    )


def parse_forwarded(values: list[str]) -> tuple[dict[str, str], ...]:
    """Return the elements of the Forwarded headers, first proxy first, names in lower case.

    What breaks the syntax is left out up to the next comma. RFC 7239 section 4.
    """
    elements: list[dict[str, str]] = []
    for text in values:
        position = 0
        while position < len(text):
            element, position = _parse_forwarded_element(text, position)
            elements.append(element)
    return tuple(elements)


def _parse_forwarded_element(text: str, position: int) -> tuple[dict[str, str], int]:
    """Return the element at position and where the next one begins."""
    element: dict[str, str] = {}
    while match := _PAIR.match(text, position):
        name, value = match.groups()
        if value[0] == '"':
            value = _QUOTED_PAIR.sub(r"\1", value[1:-1])
        element[name.lower()] = value
        position = match.end()
        if position == len(text) or text[position] != ";":
            break
        position += 1
    comma = text.find(",", position)
    return element, comma + 1 if comma >= 0 else len(text)


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


def parse_etags(text: str | None) -> tuple[ETag, ...] | None:
    """Return the entity tags of If-Match or If-None-Match, up to the first that is none."""
    if text is None:
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
