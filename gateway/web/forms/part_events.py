"""A multipart body as events, from its bytes as they come; no I/O. RFC 2046 section 5.1.

The library `multipart` finds the boundaries and the headers; what is here bounds what it is fed
with, and says what a peer did wrong in one kind of exception.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from multidict import CIMultiDict, CIMultiDictProxy
from multipart import MultipartError as LibraryError
from multipart import MultipartSegment, ParserError, PushMultipartParser

from gateway.web.charset import decode_text
from gateway.web.exceptions import HTTPUnsupportedMediaType, MalformedBodyError
from gateway.web.fields import has_repeated_parameter, parse_parameters

MAX_BOUNDARY_BYTES: Final = 70  # RFC 2046 section 5.1.1; a longer one is answered with 400
MAX_PREAMBLE_BYTES: Final = 8 * 1024  # a note to old mail readers; browsers send none; then 400
MAX_PART_FIELD_BYTES: Final = 8190  # one header field of a part, as one of a request; then 400
MAX_PART_FOLDS: Final = 32  # lines that continue a field, each of which copies it; more is a 400
MAX_PART_FIELDS: Final = 32  # forms have three at most, parts of mail a dozen; then 400

_CONTROL: Final = re.compile(rb"[\x00\r\n]")


@dataclass(frozen=True, slots=True)
class PartHead:
    """What stands above a part: its header fields, and the names that Content-Disposition gives."""

    headers: "CIMultiDictProxy[str]"
    name: str | None
    filename: str | None


class EndOfPart:
    """The end of a part."""


# A part is a PartHead, bytes any number of times, and an EndOfPart.
PartEvent: TypeAlias = PartHead | bytes | EndOfPart


class PartDecoder:
    """One multipart body; what is behind its final boundary is dropped."""

    __slots__ = ("_beginning", "_delimiter", "_error", "_parser", "_preamble")

    def __init__(self, boundary: str) -> None:
        encoded = boundary.encode("utf-8", "surrogateescape")
        if not encoded:
            raise MalformedBodyError("The type of a multipart body must have a boundary")
        if len(encoded) > MAX_BOUNDARY_BYTES:
            raise MalformedBodyError(f"A boundary has at most {MAX_BOUNDARY_BYTES} bytes")
        self._parser = _Parser(
            encoded,
            max_header_size=MAX_PART_FIELD_BYTES,
            max_header_count=MAX_PART_FIELDS,
            header_charset="latin-1",  # every byte is one character; see _decode
        )
        self._delimiter = b"\r\n--" + encoded
        self._preamble: bytes | None = b"\r\n"  # as if a line had ended; None once it is over
        self._beginning: bytes | None = None  # of a part's data, while it may be a boundary
        self._error: MalformedBodyError | None = None

    def feed(self, data: bytes) -> Iterator[PartEvent]:
        """Yield the events that data completes; they must all be taken before the next call.

        Raises MalformedBodyError for what is malformed, and the same again from then on.
        """
        if self._error is not None:
            raise self._error
        if self._preamble is not None:
            data = self._skip_preamble(self._preamble + data)
        if not data:
            return
        try:
            for event in self._parser.parse(data):
                yield from self._events_of(event)
        except LibraryError as error:
            raise self._fail(str(error.args[0])) from None

    def feed_eof(self) -> None:
        """Raise MalformedBodyError unless the final boundary has come."""
        if self._error is not None:
            raise self._error
        if self._preamble is not None:
            raise self._fail("The body ends before its first boundary")
        try:
            self._parser.close()  # type: ignore[no-untyped-call]  # of a library typed but for this
        except LibraryError:
            raise self._fail("The body ends before its final boundary") from None

    def _skip_preamble(self, data: bytes) -> bytes:
        """Return data from the first boundary on, or nothing while that has not come."""
        found = data.find(self._delimiter)
        begins_after_bytes = found if found >= 0 else len(data) - len(self._delimiter)
        if begins_after_bytes > MAX_PREAMBLE_BYTES:
            raise self._fail(f"No boundary begins in the first {MAX_PREAMBLE_BYTES} bytes")
        if found < 0:
            self._preamble = data
            return b""
        self._preamble = None
        return data[found + 2 :]

    def _events_of(self, event: MultipartSegment | bytes | bytearray | None) -> Iterator[PartEvent]:
        """Yield event as ours; refuse data that begin like a boundary, to others an empty part."""
        if isinstance(event, MultipartSegment):
            self._beginning = b""
            yield _head_of(event)
            return
        if self._beginning is None:
            yield _END_OF_PART if event is None else bytes(event)
            return
        beginning = self._beginning = self._beginning + (event or b"")
        if beginning.startswith(self._delimiter[2:]):
            raise ParserError("Boundary at the beginning of a part")
        if event is None or not self._delimiter.startswith(beginning, 2):
            self._beginning = None
            if beginning:
                yield beginning
            if event is None:
                yield _END_OF_PART

    def _fail(self, message: str) -> MalformedBodyError:
        self._error = MalformedBodyError(f"Malformed multipart body: {message}")
        return self._error


class _Parser(PushMultipartParser):
    """The library's parser for multipart bodies of every kind, forms or not."""

    _folds_count = 0  # of the head in hand

    def _on_segment_headerline(self, line: bytes) -> None:
        # Here, where the line is whole: of what stands around its parts the library tells nobody.
        if _CONTROL.search(line):
            raise ParserError("Control character in segment header")
        self._folds_count += line[:1] in (b" ", b"\t")
        if self._folds_count > MAX_PART_FOLDS:
            raise ParserError("Too many continued lines in segment header")
        super()._on_segment_headerline(line)

    def _create_segment(self, headerlist: list[tuple[str, str]]) -> MultipartSegment:
        self._folds_count = 0
        names = [name for name, _ in headerlist]
        if names.count("Content-Disposition") > 1 or names.count("Content-Type") > 1:
            raise ParserError("Repeated segment header")
        segment = MultipartSegment(headerlist)
        if has_repeated_parameter(segment.header("Content-Disposition", "")):
            raise ParserError("Repeated parameter in segment header")
        return segment


_END_OF_PART: Final = EndOfPart()


def _head_of(segment: MultipartSegment) -> PartHead:
    headers = CIMultiDict((name, _decode(value).rstrip()) for name, value in segment.headerlist)
    name = None if segment.name is None else _decode(segment.name)
    filename = None if segment.filename is None else _decode(segment.filename)
    disposition = segment.header("Content-Disposition", "")
    if "*" in disposition:
        parameters = parse_parameters(disposition)
        name = _extended(parameters, "name") or name
        filename = _extended(parameters, "filename") or filename
    # Without a leading slash: joined to a folder, the name must not replace it.
    return PartHead(CIMultiDictProxy(headers), name, filename and filename.lstrip("\\/"))


def _decode(text: str) -> str:
    """Return latin-1 text as the UTF-8 it was; other bytes as surrogates, as in request headers."""
    if text.isascii():
        return text
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _extended(parameters: Mapping[str, str], name: str) -> str | None:
    """Return an RFC 8187 parameter, such as filename*=utf-8''a%20b, None where it is not valid.

    RFC 7578 section 4.2 forbids them in forms, and clients have not always known that.
    """
    charset, quote, rest = parameters.get(f"{name}*", "").partition("'")
    _, second_quote, text = rest.partition("'")
    if not quote or not second_quote:
        return None
    try:
        return decode_text(unquote_to_bytes(text.encode("latin-1")), charset or "utf-8")
    except (HTTPUnsupportedMediaType, MalformedBodyError):
        return None
