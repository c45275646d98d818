"""A form whose parts may be files: its values in memory, its files in temporary files."""

import asyncio
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, Final, TypeAlias, cast

from multidict import CIMultiDictProxy, MultiDict, MultiDictProxy

from gateway.web.exceptions import MalformedBodyError
from gateway.web.fields import DEFAULT_CONTENT_TYPE
from gateway.web.forms.parts import BodyPartReader, MultipartReader, Pieces
from gateway.web.forms.urlencoded import MAX_FIELDS, too_many

MAX_FILES: Final = 100  # per form, as Django: each may need a descriptor; more is a 413
SPOOL_BYTES: Final = 64 * 1024  # of a file in memory; a larger one goes to disk as a whole
WRITE_BYTES: Final = 256 * 1024  # to disk at a time, as aiohttp: each time is a visit to a thread


@dataclass(frozen=True, slots=True)
class FileField:
    """A file of a form, to be read from its beginning; it is closed when the request is over."""

    name: str
    filename: str
    file: io.BufferedReader
    content_type: str
    headers: "CIMultiDictProxy[str]"


Value: TypeAlias = str | bytes | FileField
Form: TypeAlias = "MultiDictProxy[Value]"
TemporaryFile: TypeAlias = "SpooledTemporaryFile[bytes]"


class BodyPieces:
    """A body that arrives or was read; check raises where what came of it is too large."""

    __slots__ = ("_body", "_check", "_size_bytes")

    def __init__(self, body: Pieces | bytes, check: Callable[[int], None] | None) -> None:
        self._body = body
        self._check = check
        self._size_bytes = 0

    async def readany(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        if isinstance(self._body, bytes):
            piece, self._body = self._body, b""
        else:
            piece = await self._body.readany()
        self._size_bytes += len(piece)
        if self._check is not None:
            self._check(self._size_bytes)
        return piece


async def read_form(reader: MultipartReader, task: "asyncio.Task[Any]") -> Form:
    """Return the form that reader reads; its files are closed when task is done."""
    files = TemporaryFiles()
    try:
        values = await _read_values(reader, files)
    except BaseException:
        files.close()
        raise
    task.add_done_callback(files.close)
    return MultiDictProxy(values)


async def _read_values(reader: MultipartReader, files: "TemporaryFiles") -> "MultiDict[Value]":
    values: MultiDict[Value] = MultiDict()
    async for part in reader:
        if isinstance(part, MultipartReader):
            raise MalformedBodyError("A form cannot have a multipart body as its value")
        if part.name is None:
            raise MalformedBodyError("A part of a form must have a name")
        if len(values) == MAX_FIELDS:
            raise too_many(MAX_FIELDS, MAX_FIELDS + 1, "fields")
        if part.filename:
            values.add(part.name, await _read_file(part, part.name, part.filename, files))
        else:
            values.add(part.name, await _read_value(part))
    return values


async def _read_value(part: BodyPartReader) -> str | bytes:
    content_type = part.headers.get("Content-Type", "text/plain")
    is_text = content_type.lower().startswith("text/")
    return await (part.text() if is_text else part.read(decode=True))


async def _read_file(
    part: BodyPartReader, name: str, filename: str, files: "TemporaryFiles"
) -> FileField:
    file = files.open()
    unwritten = bytearray()
    while chunk := await part.read_chunk(WRITE_BYTES):
        unwritten += part.decode(chunk)
        if len(unwritten) >= WRITE_BYTES:
            await files.write(file, unwritten)
            unwritten = bytearray()
    await files.write(file, unwritten)
    await files.rewind(file)
    return FileField(
        name,
        filename,
        cast(io.BufferedReader, file),
        part.headers.get("Content-Type", DEFAULT_CONTENT_TYPE),
        part.headers,
    )


class TemporaryFiles:
    """The files of one form: small ones in memory, others on disk, used in threads only."""

    __slots__ = ("_files", "_is_any_on_disk", "_loop", "_working")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._files: list[TemporaryFile] = []
        self._is_any_on_disk = False
        self._working: asyncio.Future[Any] | None = None  # on one of the files, in a thread

    def open(self) -> TemporaryFile:
        """Return a new file; HTTPRequestEntityTooLarge where there are enough."""
        if len(self._files) == MAX_FILES:
            raise too_many(MAX_FILES, MAX_FILES + 1, "files")
        # Closed by close(): it outlives any block.
        file: TemporaryFile = SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
        self._files.append(file)
        return file

    async def write(self, file: TemporaryFile, data: bytes | bytearray) -> None:
        """Write data behind what file has; raise OSError where the disk does not take them."""
        if file.tell() + len(data) <= SPOOL_BYTES:
            file.write(data)
        else:
            self._is_any_on_disk = True
            await self._work(file.write, data)

    async def rewind(self, file: TemporaryFile) -> None:
        """Let file be read from its beginning."""
        if file.tell() <= SPOOL_BYTES:
            file.seek(0)
        else:
            await self._work(file.seek, 0)

    def close(self, _task: object = None) -> None:
        """Close all files, once none is worked on any more."""
        if self._working is not None and not self._working.done():
            self._working.add_done_callback(self._close)
        else:
            self._close()

    async def _work(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._working = self._loop.run_in_executor(None, function, *arguments)
        await asyncio.wait((self._working,))  # which leaves it alone when it is cancelled itself
        self._working.result()

    def _close(self, worked: "asyncio.Future[Any] | None" = None) -> None:
        if worked is not None and not worked.cancelled():
            worked.exception()  # asyncio wants it to be seen; the form has failed anyway
        if self._is_any_on_disk:  # whose blocks are to be freed: 20 ms for 500 MB
            with suppress(RuntimeError):  # the event loop has none left for this
                self._loop.run_in_executor(None, _close_all, self._files)
                return
        _close_all(self._files)


def _close_all(files: list[TemporaryFile]) -> None:
    for file in files:
        with suppress(OSError):  # what a full disk did not take is tried again here
            file.close()
