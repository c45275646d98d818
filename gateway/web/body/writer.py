"""The body of a response, framed as its head announces."""

import asyncio
import io
from enum import Enum, auto
from typing import Final

from gateway.web.body.coding import STEP_BYTES, Encoder
from gateway.web.body.sendfile import FileSender
from gateway.web.flow import WRITES_PER_TURN, PeerLeft, WriteFlow
from gateway.web.threads import run_to_end
from protocol.errors import StateError
from protocol.http1 import LAST_CHUNK, encode_chunk

READ_BYTES: Final = 64 * 1024  # as the body's flow control: one read, then one look at the socket


class Framing(Enum):
    """How a response's body ends. RFC 9112 section 6.3."""

    EMPTY = auto()  # with the head
    LENGTH = auto()  # after so many bytes
    CHUNKED = auto()  # with the last chunk
    CLOSE = auto()  # with the connection


# An attribute of an Enum class is a call in Python 3.11; these names are not.
_EMPTY, _LENGTH, _CHUNKED, _CLOSE = Framing


class BodyWriter:
    """What answers one request: writes a head once, then the body in its coding and its framing.

    Every write raises ConnectionResetError if the peer left.
    """

    __slots__ = (
        "_encoder",
        "_flow",
        "_framing",
        "_head",
        "_remaining_bytes",
        "bytes_sent",
        "has_sent_head",
        "is_complete",
    )

    def __init__(self, flow: WriteFlow) -> None:
        self._flow = flow
        self._encoder: Encoder | None = None
        self._framing: Framing | None = None
        self._head = b""
        self._remaining_bytes = 0
        self.bytes_sent = 0  # with the head and the framing
        self.has_sent_head = False
        self.is_complete = False  # whether the body was ended with all the bytes announced

    @property
    def is_encoding(self) -> bool:
        """Whether the body changes on its way through write()."""
        return self._encoder is not None

    def send_head(
        self, head: bytes, framing: Framing, length: int = 0, encoder: Encoder | None = None
    ) -> None:
        """Take the head, with length for Framing.LENGTH; it leaves with the body's first bytes.

        What is written from now on goes through encoder, which cannot know a length beforehand.
        Until it has left another head may replace it; after that StateError is raised.
        """
        if self.has_sent_head:
            raise StateError("The head of a response to this request is sent already")
        self._head = head
        self._framing = framing
        self._encoder = encoder if framing is not _EMPTY else None
        self._remaining_bytes = length if framing is _LENGTH else 0

    def flush_head(self, behind: bytes = b"") -> None:
        """Write the head now, and unframed what is to stand right behind it, in one piece."""
        if self._head:
            self._put(behind)

    def send_whole(self, response: bytes) -> None:
        """Write a response from its head to its end, in place of send_head() and write_eof()."""
        flow = self._flow
        if self.has_sent_head:
            raise StateError("The head of a response to this request is sent already")
        if flow.is_lost or flow.asyncio_transport.is_closing():
            raise PeerLeft("Cannot write to closing transport")
        flow.asyncio_transport.write(response)
        self._framing, self._head = _EMPTY, b""
        self._encoder, self._remaining_bytes = None, 0  # of a head that this one replaces
        self.bytes_sent += len(response)
        self.has_sent_head = self.is_complete = True

    @property
    def is_paused(self) -> bool:
        """Whether drain() would wait."""
        return self._flow.is_paused

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a piece of the body and wait while the asyncio transport is full.

        What exceeds the announced length is cut. A piece that is encoded leaves as a whole, for the
        peer to read without waiting for the next. Before send_head() the bytes go out as they are:
        an interim response, such as 100 Continue.
        """
        piece = bytes(data)
        if self._encoder is not None and piece:
            piece = await self._write_but_last(piece)
            encoder = self._encoder
            piece = encoder.encode(piece) + encoder.flush() if encoder is not None else b""
        framed = self._frame(piece)
        if framed or self._head:
            self._put(framed)
        flow = self._flow
        flow.writes_count += 1
        if flow.is_paused:
            await flow.drain()
        elif flow.writes_count >= WRITES_PER_TURN:
            await flow.give_turn()

    async def _write_but_last(self, piece: bytes) -> bytes:
        """Write piece but for its last step, which is returned; others have turns in between.

        They may end the body, which leaves no encoder: the rest is too late then.
        """
        end = (len(piece) - 1) // STEP_BYTES * STEP_BYTES
        for start in range(0, end, STEP_BYTES):
            if self._encoder is None:
                break
            framed = self._frame(self._encoder.encode(piece[start : start + STEP_BYTES]))
            if framed or self._head:
                self._put(framed)
            await (self._flow.drain() if self._flow.is_paused else asyncio.sleep(0))
        return piece[end:]

    async def send_file(
        self, file: io.FileIO, offset: int, count: int, chunk_size: int = READ_BYTES
    ) -> None:
        """Write count bytes of file from offset on, fewer where it ends before or length is less.

        The kernel copies them where it can; otherwise chunk_size bytes at a time are read in a
        thread. Nothing else may be written meanwhile.
        """
        self.flush_head()
        if self._framing is _EMPTY:
            return
        if self._framing is _LENGTH:
            count = min(count, self._remaining_bytes)
            sent = await self._send_by_kernel(file, offset, count)
            offset, count = offset + sent, count - sent
        while count and (piece := await run_to_end(_read, file, offset, min(count, chunk_size))):
            await self.write(piece)
            offset, count = offset + len(piece), count - len(piece)

    async def _send_by_kernel(self, file: io.FileIO, offset: int, count: int) -> int:
        """Return how many bytes were written until all were, the file ended or sendfile gave up."""
        sender = await FileSender.open(self._flow)
        if sender is None:
            return 0
        start = self._remaining_bytes
        try:
            while count and (sent := await sender.send(file, offset, count)):
                offset, count = offset + sent, count - sent
                self._remaining_bytes -= sent
                self.bytes_sent += sent
        except PeerLeft:
            raise
        except OSError:
            pass  # not every file can be sent so; where something is amiss, reading tells what
        finally:
            sender.close()
        return start - self._remaining_bytes

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """Write the last piece and the end; where the head waited, all of it at once.

        A body that is short of the announced length is not complete: the connection must close.
        """
        if self._framing is None:
            raise StateError("The response has no head yet")
        piece = bytes(data)
        if self._encoder is not None:
            piece = await self._write_but_last(piece) if piece else b""
            encoder, self._encoder = self._encoder, None
            piece = encoder.finish(piece) if encoder is not None else b""
        framed = self._frame(piece)
        if self._framing is _CHUNKED:
            framed += LAST_CHUNK
        if framed or self._head:
            self._put(framed)
        self.is_complete = not self._remaining_bytes
        self._framing = _EMPTY
        if self._flow.is_paused:
            await self._flow.drain()

    async def drain(self) -> None:
        """Wait while the asyncio transport is full."""
        await self._flow.drain()

    def _frame(self, data: bytes) -> bytes:
        framing = self._framing
        if framing is _LENGTH:
            data = data[: self._remaining_bytes]
            self._remaining_bytes -= len(data)
            return data
        if framing is _CHUNKED:
            return encode_chunk(data)
        return b"" if framing is _EMPTY else data

    def _put(self, framed: bytes) -> None:
        """Write the head, if it waits, and framed."""
        transport = self._flow.asyncio_transport
        if transport.is_closing() or self._flow.is_lost:
            raise PeerLeft("Cannot write to closing transport")
        data = self._head + framed if self._head else framed
        transport.write(data)
        self._head = b""
        self.bytes_sent += len(data)
        self.has_sent_head = self._framing is not None


def _read(file: io.FileIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count) or b""
