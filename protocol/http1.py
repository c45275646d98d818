"""HTTP/1.1 on the wire: request events from llhttp, response heads and chunks as bytes.

llhttp judges the syntax and finds the bodies. What it does not do is done here: sizes are counted
as the bytes arrive, Host is checked, only the codings and versions that we speak pass, any method
does, and nothing behind an upgrade is taken for a request. llhttp is given one head or body at a
time: where each of them ends is found here as well, and the two must agree.

It has over 400 lines, because heads and bodies are two halves of one state.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Final, TypeAlias

import httptools
import msgspec
from multidict import CIMultiDict

from protocol.chunks import ChunkFraming, find_end
from protocol.errors import HTTPError
from protocol.head import (
    FIELD_NAMES,
    HTTP_10,
    HTTP_11,
    HeadLimits,
    HttpVersion,
    RequestHead,
    read_head,
)

__all__ = [
    "HTTP_10",
    "HTTP_11",
    "LAST_CHUNK",
    "ChunkEnds",
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
_CR, _LF, _CRLF = b"\r", b"\n", b"\r\n"
_MAX_EMPTY_BYTES: Final = 1024  # of empty lines before a request; more is a 400

# A method is any token. RFC 9112 section 3: one longer than any that we implement is a 501.
_MAX_METHOD_BYTES: Final = 64
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_KNOWN_METHOD: Final = b"POST"  # given to llhttp in place of one that it does not know

# llhttp tells its errors apart by their text only. These are ours to judge: methods that it does
# not know, and what follows a request whose Connection does not mean what llhttp reads in it.
_UNKNOWN_METHOD: Final = {
    "Invalid method encountered",
    "Expected space after method",
    "Invalid method for HTTP/x.x request",
    "Expected HTTP/2 Connection Preface",
}
_AFTER_CLOSE: Final = "Data after `Connection: close`"

# What llhttp says in words that do not help its reader, and where it is not a 400.
_REFUSALS: Final = {
    "Invalid HTTP version": (505, "The version is neither HTTP/1.1 nor HTTP/1.0"),
    "Expected HTTP/, RTSP/ or ICE/": (400, "There is no version where it should be"),
    "Expected dot": (400, "The version is malformed"),
    "Expected CRLF after version": (400, "The request line goes on behind the version"),
    "Invalid header token": (400, "The name of a header field is not a token"),
    "Invalid header field char": (400, "The name of a header field is not a token"),
    "Invalid header value char": (400, "A header field has a character that no value may have"),
    "Unexpected whitespace after header value": (400, "A header field goes on in another line"),
    "Missing expected CR after header value": (400, "A header field ends with LF instead of CRLF"),
    "Missing expected LF after header value": (400, "A header field has a CR that no LF follows"),
}

# llhttp leaves the body of a request unread that offers any upgrade. These heads, given to another
# in place of the one it has just seen, make that read the body.
_HEAD_OF_LENGTH: Final = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
_HEAD_OF_CHUNKS: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class EndOfRequest(msgspec.Struct, frozen=True):
    """The last byte of a request has arrived."""


class Upgrade(msgspec.Struct, frozen=True):
    """The request offered to leave HTTP; tail is what came behind it, and is no request."""

    tail: bytes


class ChunkEnds(msgspec.Struct, frozen=True):
    """The body so far has chunks that end after so many bytes of it, in their order."""

    ends: tuple[int, ...]


Event: TypeAlias = RequestHead | bytes | ChunkEnds | EndOfRequest | Upgrade | HTTPError

_END_OF_REQUEST: Final = EndOfRequest()


class _Phase(Enum):
    HEAD = auto()
    BODY = auto()
    DONE = auto()


# An attribute of an Enum class is a call in Python 3.11; these names are not.
_HEAD, _BODY, _DONE = _Phase


class _Message:
    """What llhttp has told of the message in hand; it calls, and its calls are only noted."""

    __slots__ = ("body", "body_bytes", "chunk_end", "chunk_ends", "fields", "is_complete")

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.chunk_ends: list[int] = []
        self.clear()

    def clear(self) -> None:
        """Be ready for the next message; pieces of a body that are not taken yet stay."""
        self.body_bytes = self.chunk_end = 0
        self.fields: CIMultiDict[str] = CIMultiDict()
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field, after the head a trailer."""
        # llhttp leaves the space behind a value to us.
        self.fields.add(FIELD_NAMES[name], value.rstrip().decode("utf-8", "surrogateescape"))

    def on_body(self, body: bytes) -> None:
        """Note a piece of the body."""
        self.body.append(body)
        self.body_bytes += len(body)

    def on_chunk_complete(self) -> None:
        """Note the end of a chunk, unless it is the last one, which is empty."""
        if self.chunk_end != self.body_bytes:
            self.chunk_end = self.body_bytes
            self.chunk_ends.append(self.body_bytes)

    def on_message_complete(self) -> None:
        """Note the end."""
        self.is_complete = True


class RequestDecoder:
    """The requests of one connection, in order, from bytes cut anywhere. RFC 9112."""

    __slots__ = (
        "_chunks",
        "_empty_bytes",
        "_has_upgrade",
        "_is_last",
        "_kept",
        "_limits",
        "_llhttp",
        "_message",
        "_phase",
        "_remaining_bytes",
    )

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._message = _Message()
        self._llhttp = httptools.HttpRequestParser(self._message)
        self._phase = _HEAD
        self._kept = b""  # of a head everything so far
        self._empty_bytes = 0  # of empty lines before the head
        self._chunks: ChunkFraming | None = None  # of the body in hand
        self._remaining_bytes = 0  # of a body with a length
        self._has_upgrade = False  # whether the message in hand offers to leave HTTP
        self._is_last = False  # whether nothing after it will be read

    @property
    def is_idle(self) -> bool:
        """Whether no request has begun to arrive that is not yet whole."""
        return self._phase is not _BODY and (not self._kept or self._kept == _CR)

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that data completes, oldest first; a body comes in pieces, as it comes.

        A malformed or too large request ends the list with the HTTPError that answers it. After
        that, after an Upgrade, and after a request that ends the connection every call returns [].
        """
        events, position = self.feed_one(data)
        while position < len(data):
            more, position = self.feed_one(data, position)
            events += more
        return events

    def feed_one(self, data: bytes, position: int = 0) -> tuple[list[Event], int]:
        """Return the events of one request at most, and how far data is read then; see feed()."""
        events: list[Event] = []
        try:
            while position < len(data) and self._phase is not _DONE:
                if self._phase is _HEAD:
                    position = self._feed_head(data, position, events)
                else:
                    position = self._feed_body(data, position, events)
                if events and self._phase is _HEAD:
                    break
        except HTTPError as error:
            self._phase, self._kept = _DONE, b""
            self._take_body(events)
            return [*events, error], len(data)
        if self._phase is _BODY:
            self._take_body(events)
        return events, len(data) if self._phase is _DONE else position

    def feed_eof(self) -> list[Event]:
        """Return an HTTPError if the peer stopped sending inside a request, otherwise nothing."""
        is_broken = not self.is_idle
        self._phase, self._kept = _DONE, b""
        return [HTTPError(400, "The request ends too soon")] if is_broken else []

    def _feed_head(self, data: bytes, start: int, events: list[Event]) -> int:
        """Add the event of a head that data completes; return how far data is read then."""
        kept, limits = self._kept, self._limits
        if kept == _CR if kept else data[start] in _CRLF:
            return self._skip_empty_lines(data, start)
        end = find_end(_EMPTY_LINE, kept, data, start)
        stop = end if end >= 0 else len(data)
        piece = data[start:stop]
        wire = kept + piece
        size = len(wire)
        if size > limits.max_line_bytes:
            self._check_size(wire, len(kept))
        offers_upgrade = self._judge_head(wire, piece)
        if end < 0:
            self._kept = wire
            return stop
        self._kept = b""
        self._empty_bytes = 0
        fields = self._message.fields
        if size > limits.max_field_bytes or len(fields) > limits.max_fields_count:
            limits.check_fields(size, fields)
        head = read_head(wire, fields)
        events.append(head)
        self._has_upgrade = head.upgrade or head.method == "CONNECT"
        self._is_last = not head.keep_alive
        if head.chunked or head.content_length:
            self._begin_body(head.content_length, offers_upgrade)
        else:
            self._end_message(data, stop, events)
        return stop

    def _skip_empty_lines(self, data: bytes, start: int) -> int:
        """Pass over empty lines received prior to the request line. RFC 9112 section 2.2."""
        data, offset = self._kept + data[start : start + _MAX_EMPTY_BYTES], start - len(self._kept)
        stop = 0
        while data.startswith(_CRLF, stop):
            stop += len(_CRLF)
        self._kept = _CR if data[stop:] == _CR else b""
        self._empty_bytes += stop
        if self._empty_bytes > _MAX_EMPTY_BYTES:
            raise HTTPError(400, "There are empty lines instead of a request")
        if not self._kept and data[stop : stop + 1] in (_CR, _LF):
            raise HTTPError(400, "A CR or LF stands alone before the request")
        return offset + stop + len(self._kept)

    def _judge_head(self, wire: bytes, piece: bytes, *, is_first: bool = False) -> bool:
        """Let llhttp judge a head so far; return whether it is whole and offers some upgrade.

        Of wire only piece, its end, has not been judged before. is_first tells that llhttp has seen
        nothing else.
        """
        try:
            self._llhttp.feed_data(piece)
        except httptools.HttpParserUpgrade:
            return True
        except httptools.HttpParserError as error:
            reason = str(error)
            if reason == _AFTER_CLOSE:
                if is_first:  # a line without a version is a whole request to llhttp: HTTP/0.9
                    raise HTTPError(*_REFUSALS["Invalid HTTP version"]) from error
                self._llhttp = httptools.HttpRequestParser(self._message)
                return self._judge_head(wire, wire, is_first=True)
            if reason not in _UNKNOWN_METHOD:
                raise _refusal(reason) from error
            return self._judge_other_method(wire)
        return False

    def _judge_other_method(self, wire: bytes) -> bool:
        """Let llhttp judge the head with a method that it knows in the place of the peer's."""
        match = _METHOD.match(wire)
        end = match.end() if match else 0
        if end > _MAX_METHOD_BYTES:
            raise HTTPError(501, "The method is too long")
        if end == len(wire):
            return False  # it may go on: llhttp will complain again, and of the whole
        if not end or not wire.startswith(b" ", end):
            raise HTTPError(400, "The method is not a token")
        self._message.clear()
        self._llhttp = httptools.HttpRequestParser(self._message)
        return self._feed_llhttp(_KNOWN_METHOD + wire[end:])

    def _check_size(self, wire: bytes, judged_bytes: int) -> None:
        """Raise HTTPError for a head that is too large, or for what is wrong before it is that."""
        limits = self._limits
        if wire.find(b"\r", 0, limits.max_line_bytes + 1) < 0:
            self._judge_head(
                wire[: limits.max_line_bytes], wire[judged_bytes : limits.max_line_bytes]
            )
            raise HTTPError(414, "The request line is too long")
        if len(wire) > limits.max_head_bytes:
            self._judge_head(
                wire[: limits.max_head_bytes], wire[judged_bytes : limits.max_head_bytes]
            )
            raise HTTPError(431, "The header fields are too large")

    def _begin_body(self, length: int | None, offers_upgrade: bool) -> None:
        """Get ready for a body of that length, or for chunks, whatever upgrade was offered."""
        self._message.clear()
        if offers_upgrade:
            self._llhttp = httptools.HttpRequestParser(self._message)
            self._feed_llhttp(_HEAD_OF_CHUNKS if length is None else _HEAD_OF_LENGTH % length)
            self._message.clear()
        if length is None:
            self._chunks = ChunkFraming(self._limits)
        else:
            self._remaining_bytes = length
        self._phase = _BODY

    def _feed_body(self, data: bytes, start: int, events: list[Event]) -> int:
        """Note what data has of the body; return how far data is read then."""
        if self._chunks is not None:
            stop = self._feed_chunks(self._chunks, data, start)
        else:
            stop = min(len(data), start + self._remaining_bytes)
            self._remaining_bytes -= stop - start
            self._feed_llhttp(data[start:stop])
        if self._message.is_complete:
            self._chunks = None
            self._take_body(events)
            self._end_message(data, stop, events)
        return stop

    def _feed_chunks(self, chunks: ChunkFraming, data: bytes, start: int) -> int:
        stop = chunks.advance(data, start)
        self._feed_llhttp(data[start:stop])
        if chunks.error is not None:
            raise chunks.error
        if chunks.is_complete is not self._message.is_complete:
            raise HTTPError(400, "The chunks can be read in two ways")
        if chunks.is_complete:
            self._limits.check_fields(chunks.trailer_bytes, self._message.fields)
        return stop

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
        if self._message.chunk_ends:
            events.append(ChunkEnds(tuple(self._message.chunk_ends)))
            self._message.chunk_ends = []

    def _feed_llhttp(self, data: bytes) -> bool:
        """Give data to llhttp; return whether it ends a head that offers some upgrade."""
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade:
            return True
        except httptools.HttpParserError as error:
            raise _refusal(str(error)) from error
        return False


def _refusal(reason: str) -> HTTPError:
    """Return what a peer is answered where llhttp gives that reason."""
    return HTTPError(*_REFUSALS.get(reason, (400, reason)))


def encode_head(
    version: HttpVersion, status: int, reason: str, headers: Mapping[str, str]
) -> bytes:
    """Return the head of a response, from status line to empty line, fields in their given order.

    Raises ValueError where a CR, LF or NUL would break a line, TypeError for what is no text.
    """
    try:
        lines = [_status_line(version, status, reason), *map(": ".join, headers.items())]
    except TypeError:
        not_text = (name for name, value in headers.items() if not isinstance(value, str))
        raise TypeError(f"The value of the header {next(not_text, None)!r} must be a str") from None
    if not "".join(lines).isprintable():
        broken = next(filter(_LINE_BREAK.search, lines), None)
        if broken is not None:
            name = broken.partition(": ")[0]  # without the value, which may be a secret
            raise ValueError(f"CR, LF and NUL are not allowed in a head: there is one in {name!r}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


@lru_cache(maxsize=64)
def _status_line(version: HttpVersion, status: int, reason: str) -> str:
    return f"HTTP/{version[0]}.{version[1]} {status} {reason}"


def encode_chunk(data: bytes) -> bytes:
    """Return data as one chunk; nothing for no data, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
