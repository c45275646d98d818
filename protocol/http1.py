"""HTTP/1.1 on the wire: request events from llhttp, response heads and chunks as bytes.

llhttp judges the syntax and finds the bodies. What it does not do is done here: sizes are counted
as the bytes arrive, Host is checked, only the codings and versions that we speak pass, and nothing
behind an upgrade is taken for a request. Heads and chunked bodies are given to llhttp no further
than to their next empty line: they end with one, so that what follows begins with a new feed.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Final, TypeAlias

import httptools
import msgspec

from protocol.errors import HTTPError
from protocol.head import HTTP_10, HTTP_11, HeadLimits, HttpVersion, RequestHead, read_head

__all__ = [
    "HTTP_10",
    "HTTP_11",
    "LAST_CHUNK",
    "EndOfRequest",
    "Event",
    "HeadLimits",
    "HttpVersion",
    "RequestDecoder",
    "RequestHead",
    "Upgrade",
    "encode_chunk",
    "encode_head",
]

LAST_CHUNK: Final = b"0\r\n\r\n"

_LINE_BREAK: Final = re.compile(r"[\r\n\0]")
_EMPTY_LINE: Final = b"\r\n\r\n"
_KEPT_BYTES: Final = len(_EMPTY_LINE) - 1  # how much of one may have come with an earlier feed

# llhttp tells its errors apart by their text only. What is not listed here is a 400.
_LLHTTP_STATUS: Final = {
    "Invalid HTTP version": 505,
    "Pause on PRI/Upgrade": 505,  # the preface of HTTP/2
}

# llhttp leaves the body of a request unread that offers any upgrade. These heads, given to it in
# place of the one it has just seen, make it read that body.
_HEAD_OF_LENGTH: Final = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
_HEAD_OF_CHUNKS: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class EndOfRequest(msgspec.Struct, frozen=True):
    """The last byte of a request has arrived."""


class Upgrade(msgspec.Struct, frozen=True):
    """The request offered to leave HTTP; tail is what came behind it, and is no request."""

    tail: bytes


Event: TypeAlias = RequestHead | bytes | EndOfRequest | Upgrade | HTTPError

_END_OF_REQUEST: Final = EndOfRequest()


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    DONE = auto()


# An attribute of an Enum class is a call in Python 3.11; these names are not.
_HEAD, _BODY, _DONE = _Phase


class _Message:
    """What llhttp has told of the message in hand; it calls, and its calls are only noted."""

    __slots__ = ("body", "fields", "is_complete", "target")

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.clear()

    def clear(self) -> None:
        """Be ready for the next message; pieces of a body that are not taken yet stay."""
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.is_complete = False

    def on_url(self, url: bytes) -> None:
        """Note a piece of the target."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field, after the head a trailer."""
        self.fields.append((name, value))

    def on_body(self, body: bytes) -> None:
        """Note a piece of the body."""
        self.body.append(body)

    def on_message_complete(self) -> None:
        """Note the end."""
        self.is_complete = True


class RequestDecoder:
    """The requests of one connection, in order, from bytes cut anywhere. RFC 9112."""

    __slots__ = (
        "_has_upgrade",
        "_is_last",
        "_kept",
        "_limits",
        "_llhttp",
        "_message",
        "_overhead_bytes",
        "_phase",
        "_remaining_bytes",
    )

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._message = _Message()
        self._llhttp = httptools.HttpRequestParser(self._message)
        self._phase = _HEAD
        self._kept = b""  # of a head everything so far, of a chunked body its last bytes
        self._remaining_bytes: int | None = None  # of a body with a length
        self._overhead_bytes = 0  # chunk extensions and trailers since the last byte of the body
        self._has_upgrade = False  # whether the message in hand offers to leave HTTP
        self._is_last = False  # whether nothing after it will be read

    @property
    def is_idle(self) -> bool:
        """Whether no request has begun to arrive that is not yet whole."""
        return self._phase is not _BODY and not self._kept

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that data completes, oldest first; a body comes in pieces, as it comes.

        A malformed or too large request ends the list with the HTTPError that answers it. After
        that, after an Upgrade, and after a request that ends the connection every call returns [].
        """
        events: list[Event] = []
        position, end = 0, len(data)
        try:
            while position < end and self._phase is not _DONE:
                step = self._feed_head if self._phase is _HEAD else self._feed_body
                position = step(data, position, events)
        except HTTPError as error:
            self._phase, self._kept = _DONE, b""
            self._take_body(events)
            events.append(error)
        else:
            self._take_body(events)
        return events

    def feed_eof(self) -> list[Event]:
        """Return an HTTPError if the peer stopped sending inside a request, otherwise nothing."""
        is_broken = not self.is_idle
        self._phase, self._kept = _DONE, b""
        return [HTTPError(400, "The request ends too soon")] if is_broken else []

    def _feed_head(self, data: bytes, start: int, events: list[Event]) -> int:
        """Add the event of a head that data completes; return how far data is read then."""
        kept = self._kept
        if not kept and data[start] in b"\r\n":
            # RFC 9112 section 2.2: ignore empty lines received prior to the request-line.
            return len(data) - len(data[start:].lstrip(b"\r\n"))
        end = self._find_empty_line(data, start)
        stop = end if end >= 0 else len(data)
        wire = kept + data[start:stop]
        if len(wire) > self._limits.max_line_bytes:
            self._check_size(wire, len(kept))
        offers_upgrade = self._feed_llhttp(wire[len(kept) :])
        if end < 0:
            self._kept = wire
            return stop
        self._kept = b""
        head = self._read_head(wire)
        events.append(head)
        self._has_upgrade = head.upgrade or head.method == "CONNECT"
        self._is_last = not head.keep_alive
        if head.has_body:
            self._begin_body(head.content_length, offers_upgrade)
        else:
            self._end_message(data, stop, events)
        return stop

    def _check_size(self, wire: bytes, fed_bytes: int) -> None:
        """Raise HTTPError for a head that is too large, or for what is wrong before it is that.

        Of wire so much has been given to llhttp already.
        """
        limits = self._limits
        if wire.find(b"\r", 0, limits.max_line_bytes + 1) < 0:
            self._feed_llhttp(wire[fed_bytes : limits.max_line_bytes])
            raise HTTPError(414, "The request line is too long")
        if len(wire) > limits.max_head_bytes:
            self._feed_llhttp(wire[fed_bytes : limits.max_head_bytes])
            raise HTTPError(431, "The header fields are too large")

    def _read_head(self, wire: bytes) -> RequestHead:
        message = self._message
        fields = tuple(message.fields)
        if b" \r\n" in wire or b"\t\r\n" in wire:
            fields = tuple([(name, value.rstrip(b" \t")) for name, value in fields])
        self._limits.check_fields(len(wire), fields)
        method = self._llhttp.get_method().decode()
        return read_head(wire, method, message.target.decode(), fields)

    def _begin_body(self, length: int | None, offers_upgrade: bool) -> None:
        """Get ready for a body of that length, or for chunks, whatever upgrade was offered."""
        if offers_upgrade:
            self._feed_llhttp(_HEAD_OF_CHUNKS if length is None else _HEAD_OF_LENGTH % length)
        self._message.clear()
        self._remaining_bytes = length
        self._overhead_bytes = 0
        self._phase = _BODY

    def _feed_body(self, data: bytes, start: int, events: list[Event]) -> int:
        """Note what data has of the body; return how far data is read then."""
        if self._remaining_bytes is None:
            stop = self._feed_chunks(data, start)
        else:
            stop = min(len(data), start + self._remaining_bytes)
            self._remaining_bytes -= stop - start
            self._feed_llhttp(data[start:stop])
        if self._message.is_complete:
            self._take_body(events)
            self._end_message(data, stop, events)
        return stop

    def _feed_chunks(self, data: bytes, start: int) -> int:
        end = self._find_empty_line(data, start)
        stop = end if end >= 0 else len(data)
        pieces_count = len(self._message.body)
        self._feed_llhttp(data[start:stop])
        is_overhead = len(self._message.body) == pieces_count
        self._overhead_bytes = self._overhead_bytes + stop - start if is_overhead else 0
        self._check_trailers()
        self._kept = b"" if end >= 0 else (self._kept + data[-_KEPT_BYTES:])[-_KEPT_BYTES:]
        return stop

    def _check_trailers(self) -> None:
        fields = tuple(self._message.fields)
        trailer_bytes = sum([len(name) + len(value) + 4 for name, value in fields])
        if max(trailer_bytes, self._overhead_bytes) > self._limits.max_head_bytes:
            raise HTTPError(431, "The chunk extensions or trailers are too large")
        self._limits.check_fields(trailer_bytes, fields)

    def _end_message(self, data: bytes, stop: int, events: list[Event]) -> None:
        events.append(_END_OF_REQUEST)
        self._message.clear()
        self._phase = _DONE if self._is_last else _HEAD
        if self._has_upgrade:
            events.append(Upgrade(data[stop:]))

    def _take_body(self, events: list[Event]) -> None:
        pieces = self._message.body
        if pieces:
            events.append(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            self._message.body = []

    def _find_empty_line(self, data: bytes, start: int) -> int:
        """Return where data has ended the next empty line, begun before data perhaps, or -1."""
        if self._kept:
            kept = self._kept[-_KEPT_BYTES:]
            found = (kept + data[start : start + _KEPT_BYTES]).find(_EMPTY_LINE)
            if found >= 0:
                return start + found + len(_EMPTY_LINE) - len(kept)
        found = data.find(_EMPTY_LINE, start)
        return found + len(_EMPTY_LINE) if found >= 0 else -1

    def _feed_llhttp(self, data: bytes) -> bool:
        """Give data to llhttp; return whether it ends a head that offers some upgrade."""
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            return True
        except httptools.HttpParserError as error:
            message = str(error)
            raise HTTPError(_LLHTTP_STATUS.get(message, 400), message) from error
        return False


def encode_head(
    version: HttpVersion, status: int, reason: str, headers: Mapping[str, str]
) -> bytes:
    """Return the head of a response, from status line to empty line, fields in their given order.

    Raises ValueError where a CR, LF or NUL would break a line.
    """
    lines = [_status_line(version, status, reason), *map(": ".join, headers.items())]
    if not "".join(lines).isprintable() and any(map(_LINE_BREAK.search, lines)):
        raise ValueError("CR, LF and NUL are not allowed in a head")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


@lru_cache(maxsize=64)
def _status_line(version: HttpVersion, status: int, reason: str) -> str:
    return f"HTTP/{version[0]}.{version[1]} {status} {reason}"


def encode_chunk(data: bytes) -> bytes:
    """Return data as one chunk; nothing for no data, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
