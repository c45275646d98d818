"""Bodies that are not bytes yet: files and asynchronous iterables, written piece by piece."""

import codecs
import io
import os
from collections.abc import AsyncIterable
from pathlib import PurePath
from typing import Protocol
from urllib.parse import quote

from gateway.web.body.writer import READ_BYTES, BodyWriter
from gateway.web.fields import DEFAULT_CONTENT_TYPE
from gateway.web.media_types import guess_content_type
from gateway.web.threads import run_to_end


class Payload(Protocol):
    """A body that writes itself; size is its length in bytes where it is known beforehand."""

    size: int | None
    headers: dict[str, str]

    async def write(self, writer: BodyWriter) -> None:
        """Write the whole body."""

    async def close(self) -> None:
        """Let go of what the body holds, written or not."""


class FilePayload:
    """An open file, read in a thread from where it stands to its end and closed afterwards."""

    __slots__ = ("_encoder", "_file", "headers", "size")

    def __init__(self, file: io.IOBase) -> None:
        charset = getattr(file, "encoding", None) or "utf-8"
        self._file = file
        self._encoder = codecs.getincrementalencoder(charset)()  # one byte order mark, not many
        self.size = _remaining_bytes(file)
        self.headers = _file_headers(file, charset)

    async def write(self, writer: BodyWriter) -> None:
        """Write the file; a change of its length meanwhile is the writer's to notice."""
        while piece := await run_to_end(self._read):
            await writer.write(piece)

    async def close(self) -> None:
        """Close the file, also where none of it was written."""
        await run_to_end(self._file.close)

    def _read(self) -> bytes:
        piece: bytes | str = self._file.read(READ_BYTES)
        return self._encoder.encode(piece) if isinstance(piece, str) else piece


def _remaining_bytes(file: io.IOBase) -> int | None:
    """Return how many bytes a read to the end gives, or None where only reading tells."""
    if isinstance(file, io.TextIOBase):
        return None  # its position is an opaque number and newlines are translated
    try:
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
    except OSError:  # a pipe or another file without positions
        return None
    return max(end - here, 0)


def _file_headers(file: io.IOBase, charset: str) -> dict[str, str]:
    """Return a content type and, for a file with a name, what lets a browser save it under it."""
    name = getattr(file, "name", None)  # an int where the file was opened from a descriptor
    base_name = PurePath(name).name if isinstance(name, str) else ""
    if isinstance(file, io.TextIOBase):
        content_type = f"text/plain; charset={charset.lower()}"
    else:
        content_type = guess_content_type(base_name) or DEFAULT_CONTENT_TYPE
    headers = {"Content-Type": content_type}
    if base_name:
        headers["Content-Disposition"] = f'attachment; filename="{quote(base_name, safe="")}"'
    return headers


class IterablePayload:
    """An asynchronous iterable of bytes, such as an async generator; its length is unknown."""

    __slots__ = ("_iterable", "headers", "size")

    def __init__(self, iterable: AsyncIterable[bytes]) -> None:
        self._iterable = iterable
        self.size: int | None = None
        self.headers = {"Content-Type": DEFAULT_CONTENT_TYPE}

    async def write(self, writer: BodyWriter) -> None:
        """Write each piece as it comes, waiting for the socket; TypeError for what is not bytes."""
        async for piece in self._iterable:
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise TypeError(f"A body is made of bytes, not of {type(piece)!r}")
            await writer.write(piece)

    async def close(self) -> None:
        """Finish a generator that was not read to its end."""
        close = getattr(self._iterable, "aclose", None)
        if close is not None:
            await close()


def payload_of(body: object) -> Payload:
    """Return the payload that writes body; raise ValueError where there is no way to write it."""
    if isinstance(body, io.IOBase):
        return FilePayload(body)
    if isinstance(body, AsyncIterable):
        return IterablePayload(body)
    raise ValueError(f"Unsupported body type {type(body)!r}")
