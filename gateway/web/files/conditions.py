"""What a request wants of one representation: whether at all, and which part of it."""

import re
from typing import Final

from gateway.web.fields import ETAG_ANY, ETag, parse_etag, parse_http_date
from gateway.web.request import BaseRequest
from gateway.web.request_fields import parse_range

READING_METHODS: Final = ("GET", "HEAD")

_ANY: Final = (ETag(ETAG_ANY),)
_EMPTY_SUFFIX: Final = re.compile(r"bytes=-0+")


def refuse_by_condition(request: BaseRequest, tag: ETag, modified_s: float) -> int | None:
    """Return the status, 412 or 304, where a condition of request does not hold, otherwise None.

    tag and modified_s, a Unix time, are those of what would be sent. RFC 9110 section 13.2.2.
    """
    is_reading = request.method in READING_METHODS
    if (tags := request.if_match) is not None:
        if tags != _ANY and not any(_is_same(other, tag) for other in tags):
            return 412
    elif (date := request.if_unmodified_since) is not None and modified_s > date.timestamp():
        return 412
    if (tags := request.if_none_match) is not None:
        if tags == _ANY or any(other.value == tag.value for other in tags):
            return 304 if is_reading else 412
    elif (date := request.if_modified_since) is not None and modified_s <= date.timestamp():
        return 304 if is_reading else None
    return None


def choose_part(request: BaseRequest, size: int, tag: ETag, last_modified: str) -> range | None:
    """Return which of size bytes request asks for, None for all of them as without a range.

    last_modified is the header's value. Raises ValueError where the answer is 416: for several
    ranges, for one that is malformed and for one outside of the bytes. RFC 9110 section 14.2.
    """
    text = ",".join(request.headers.getall("Range", ())).lower()
    if request.method != "GET" or not text.startswith("bytes="):  # other units are ignored
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and not _is_current(condition, tag, last_modified):
        return None
    asked = parse_range(text)
    if _EMPTY_SUFFIX.fullmatch(text):
        raise ValueError("no bytes are asked for")
    part = range(size)[asked]
    if not part:
        raise ValueError("range outside of the representation")
    return part


def _is_same(one: ETag, other: ETag) -> bool:
    """Compare strongly: RFC 9110 section 8.8.3.2."""
    return one.value == other.value and not one.is_weak and not other.is_weak


def _is_current(text: str, tag: ETag, last_modified: str) -> bool:
    """Tell whether an If-Range holds: a date must be the very one. RFC 9110 section 13.1.5."""
    given = parse_etag(text)
    if given is not None:
        return _is_same(given, tag)
    date = parse_http_date(text)
    return date is not None and date == parse_http_date(last_modified)
