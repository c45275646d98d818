"""Multipart bodies, read part by part as they arrive: nothing is kept that nobody asked for."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Protocol, Self

from gateway.web.charset import decode_text
from gateway.web.exceptions import (
    HTTPRequestEntityTooLarge,
    HTTPUnsupportedMediaType,
    MalformedBodyError,
)
from gateway.web.fields import CONTENT_ENCODING, CONTENT_TYPE, parse_content_type
from gateway.web.forms.part_coding import (
    decodable_bytes,
    decode_content,
    decode_transfer,
    essential,
)
from gateway.web.forms.part_events import PartDecoder, PartEvent, PartHead
from gateway.web.forms.urlencoded import read_urlencoded

CHUNK_BYTES: Final = 8192  # what read_chunk() returns at most by default, as aiohttp
MAX_LINE_BYTES: Final = 128 * 1024  # as StreamReader's high-water mark; a longer one is a 400
MAX_NESTING: Final = 8  # multiparts within multiparts; deeper ones are answered with 400
MAX_CHARSET_BYTES: Final = 31  # as aiohttp; a longer _charset_ is answered with 400
PARTS_PER_TURN: Final = 64  # of a multipart before others have a turn, which a nested one costs
INLINE_BYTES: Final = 1024  # more is decompressed in a thread


class Pieces(Protocol):
    """Where the bytes of a body come from; a StreamReader is one."""

    async def readany(self) -> bytes:
        """Return the next bytes, b"" at the end."""


class BodyPartReader:
    """One part that is not multipart itself, readable until the next one is asked for.

    read() and what stands on it raise HTTPRequestEntityTooLarge from max_bytes on, if that is set.
    """

    chunk_size = CHUNK_BYTES

    __slots__ = (
        "_data",
        "_default_charset",
        "_is_ended",
        "_is_form_data",
        "_max_bytes",
        "_offset",
        "_take_event",
        "filename",
        "headers",
        "name",
    )

    def __init__(
        self,
        head: PartHead,
        take_event: Callable[[], Awaitable[PartEvent | None]],
        *,
        is_form_data: bool = False,
        default_charset: str | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self.headers = head.headers
        self.name = head.name
        self.filename = head.filename
        self._take_event = take_event
        self._is_form_data = is_form_data
        self._default_charset = default_charset
        self._max_bytes = max_bytes
        self._data = b""
        self._offset = 0  # of what is unread in _data
        self._is_ended = False

    def at_eof(self) -> bool:
        """Whether the part has been read to its end, as far as that is known yet."""
        return self._is_ended and self._offset == len(self._data)

    async def readany(self) -> bytes:
        """Return what is there, waiting if that is nothing; b"" at the end."""
        await self._wait_for_some()
        return self._take(len(self._data))

    async def read_chunk(self, size: int = CHUNK_BYTES) -> bytes:
        """Return up to size bytes, b"" at the end; what decode() can decode by itself.

        For that a chunk of less than four characters of base64 may grow a little.
        """
        if size < 1:
            raise ValueError("A chunk has at least one byte")
        coding = self._transfer_coding
        await self._wait_for_some()
        chunk = self._take(size)
        while end := len(chunk):
            end = decodable_bytes(coding, chunk)
            if end:
                break
            await self._wait_for_some()
            more = self._take(size)
            if not more:
                return chunk
            chunk = essential(coding, chunk) + more
        self._put_back(chunk[end:])
        return chunk[:end]

    async def read(self, *, decode: bool = False) -> bytes:
        """Return the whole part, or the rest of it, decoded if decode says so."""
        data = bytearray()
        while piece := await self.readany():
            data += piece
            if self._max_bytes and len(data) >= self._max_bytes:
                raise HTTPRequestEntityTooLarge(self._max_bytes, len(data))
        if not decode:
            return bytes(data)
        return b"".join([piece async for piece in self.decode_iter(bytes(data))])

    async def readline(self) -> bytes:
        """Return a line with its end, which the last one may lack; b"" at the end."""
        line = bytearray()
        while not line.endswith(b"\n") and await self._wait_for_some():
            end = self._data.find(b"\n", self._offset) + 1 or len(self._data)
            line += self._take(end - self._offset)
            if len(line) > MAX_LINE_BYTES:
                raise MalformedBodyError(f"A line of a part has more than {MAX_LINE_BYTES} bytes")
        return bytes(line)

    async def release(self) -> None:
        """Read the rest of the part and forget it."""
        while await self.readany():
            pass

    async def text(self, *, encoding: str | None = None) -> str:
        """Return the whole part as text in encoding, or else in its charset."""
        data = await self.read(decode=True)
        return decode_text(data, encoding or self.get_charset("utf-8"))

    async def json(self, *, encoding: str | None = None) -> Any:
        """Return the JSON value that the part is, None for an empty one."""
        data = await self.read(decode=True)
        if not data:
            return None
        return json.loads(decode_text(data, encoding or self.get_charset("utf-8")))

    async def form(self, *, encoding: str | None = None) -> list[tuple[str, str]]:
        """Return the names and values of a part that is an urlencoded form."""
        charset = encoding or self.get_charset("utf-8")
        return await read_urlencoded(await self.read(decode=True), charset)

    def get_charset(self, default: str) -> str:
        """Return the charset that the part names, or else the form, or else default."""
        parameters = parse_content_type(self.headers.get(CONTENT_TYPE, ""))[1]
        return parameters.get("charset") or self._default_charset or default

    def decode(self, data: bytes) -> bytes:
        """Return what data stand for, by Content-Transfer-Encoding and Content-Encoding.

        The latter needs the whole part at once; forms have none (RFC 7578 section 4.8). Raises
        MalformedBodyError for malformed data and RuntimeError for an unknown coding.
        """
        data = decode_transfer(self._transfer_coding, data)
        return data if self._is_form_data else decode_content(self.headers, data)

    async def decode_iter(self, data: bytes) -> AsyncIterator[bytes]:
        """Yield what decode() returns, without holding the event loop for it."""
        if len(data) > INLINE_BYTES and not self._is_form_data and CONTENT_ENCODING in self.headers:
            yield await asyncio.to_thread(self.decode, data)
        else:
            yield self.decode(data)

    async def next(self) -> bytes | None:
        """Return the rest of the part, None where there is none."""
        return await self.read() or None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if rest := await self.read():
            return rest
        raise StopAsyncIteration

    @property
    def _transfer_coding(self) -> str:
        return self.headers.get("Content-Transfer-Encoding", "binary").strip().lower()

    async def _wait_for_some(self) -> bool:
        """Wait for at least a byte; return whether there is one."""
        while self._offset == len(self._data):
            if self._is_ended:
                return False
            event = await self._take_event()
            self._is_ended = not isinstance(event, bytes)
            self._data, self._offset = event if isinstance(event, bytes) else b"", 0
        return True

    def _take(self, size: int) -> bytes:
        start = self._offset
        self._offset = min(start + size, len(self._data))
        return self._data[start : self._offset]

    def _put_back(self, data: bytes) -> None:
        """Let data, the last that were taken, be read again."""
        if data:
            self._data = data + self._data[self._offset :]
            self._offset = 0


class MultipartReader:
    """A multipart body, or a part that is one: an iterator over its parts.

    Each part can be read until the next one is asked for, which skips the rest of it. Raises
    MalformedBodyError, a ValueError, for what breaks the rules.
    """

    __slots__ = (
        "_decoder",
        "_default_charset",
        "_depth",
        "_events",
        "_is_ended",
        "_is_first",
        "_is_form_data",
        "_max_part_bytes",
        "_part",
        "_parts_count",
        "_pieces",
        "headers",
    )

    def __init__(
        self,
        headers: Mapping[str, str],
        content: Pieces,
        *,
        max_part_bytes: int | None = None,
        depth: int = 0,
    ) -> None:
        media_type, parameters = parse_content_type(headers.get(CONTENT_TYPE, ""))
        if not media_type.startswith("multipart/"):
            raise HTTPUnsupportedMediaType(text="415: A multipart body is expected")
        self.headers = headers
        self._pieces = content
        self._decoder = PartDecoder(parameters.get("boundary", ""))
        self._events: Iterator[PartEvent] = iter(())
        self._is_form_data = media_type == "multipart/form-data"
        self._default_charset: str | None = None
        self._max_part_bytes = max_part_bytes
        self._depth = depth
        self._part: BodyPartReader | None = None  # the last one begun
        self._parts_count = 0
        self._is_first = True
        self._is_ended = False

    def at_eof(self) -> bool:
        """Whether all parts have been read."""
        return self._is_ended

    async def next(self) -> "MultipartReader | BodyPartReader | None":
        """Return the next part, None behind the last one; what is left of the former is skipped."""
        part = await self._next_part()
        if part is not None and self._is_first and self._is_form_data:
            self._is_first = False
            if part.name == "_charset_":
                self._default_charset = await _read_charset(part)
                part = await self._next_part()
        if part is None:
            return None
        media_type = parse_content_type(part.headers.get(CONTENT_TYPE, ""))[0]
        return await self._nested(part) if media_type.startswith("multipart/") else part

    async def release(self) -> None:
        """Read the rest of the body and forget it."""
        while await self._next_part() is not None:
            pass

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "MultipartReader | BodyPartReader":
        part = await self.next()
        if part is None:
            raise StopAsyncIteration
        return part

    async def _next_part(self) -> BodyPartReader | None:
        if self._part is not None:
            await self._part.release()
            self._part = None
        head = await self._take_event()
        if head is None:
            return None
        assert isinstance(head, PartHead)
        self._parts_count += 1
        if not self._parts_count % PARTS_PER_TURN:
            await asyncio.sleep(0)
        self._part = BodyPartReader(
            head,
            self._take_event,
            is_form_data=self._is_form_data,
            default_charset=self._default_charset,
            max_bytes=self._max_part_bytes,
        )
        return self._part

    async def _nested(self, part: BodyPartReader) -> "MultipartReader":
        await asyncio.sleep(0)
        if self._depth + 1 > MAX_NESTING:
            raise MalformedBodyError(f"Multiparts are nested more than {MAX_NESTING} deep")
        return MultipartReader(
            part.headers, part, max_part_bytes=self._max_part_bytes, depth=self._depth + 1
        )

    async def _take_event(self) -> PartEvent | None:
        """Return the next event, None where the body is over."""
        while not self._is_ended:
            event = next(self._events, None)
            if event is not None:
                return event
            piece = await self._pieces.readany()
            if piece:
                self._events = self._decoder.feed(piece)
            else:
                self._decoder.feed_eof()
                self._is_ended = True
        return None


async def _read_charset(part: BodyPartReader) -> str:
    """Return the charset of the other parts. RFC 7578 section 4.6."""
    charset = b""
    while piece := await part.readany():
        charset += piece
        if len(charset) > MAX_CHARSET_BYTES:
            raise MalformedBodyError("The _charset_ of a form is too long")
    return charset.decode("latin-1").strip()
