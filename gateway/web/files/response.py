"""Files as responses: conditional, in part or whole, sent by the kernel where it can."""

import errno
import os
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.web.body.writer import BodyWriter
from gateway.web.fields import (
    ACCEPT_ENCODING,
    ACCEPT_RANGES,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DEFAULT_CONTENT_TYPE,
)
from gateway.web.files.conditions import choose_part, refuse_by_condition
from gateway.web.files.variants import OpenFile, open_variant
from gateway.web.media_types import guess_content_type
from gateway.web.request import BaseRequest
from gateway.web.response_head import Headers
from gateway.web.stream_response import StreamResponse
from gateway.web.threads import run_to_end

DEFAULT_CHUNK_BYTES: Final = 256 * 1024  # as aiohttp
# A part up to this size is read when the file is opened, and leaves with the head in one write.
SMALL_BYTES: Final = 64 * 1024

# What an operating system says of a path at which there is nothing; what it says else is an error.
_MISSING: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was decided in a thread; opened is None where there is no file to speak of."""

    status: int
    opened: OpenFile | None = None
    part: range = range(0)  # of the file, for the body
    data: bytes | None = None  # the part, where it is small or empty


class FileResponse(StreamResponse):
    """The file at path, or the answer that it is not there, not readable or not needed.

    What is sent is decided and the whole of it sent by prepare(). A sibling that holds the file
    compressed, `.br` or `.gz`, is sent to clients that accept it. chunk_size is how much is read at
    a time, in a thread, where the kernel cannot copy the file to the socket, as under TLS.
    """

    _sends_head_at_once = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        chunk_size: int = DEFAULT_CHUNK_BYTES,
        status: int = 200,
        reason: str | None = None,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self._path = Path(path)
        self._chunk_size = chunk_size

    async def prepare(self, request: Any) -> BodyWriter:
        """Send the file; a second call for the same request changes nothing.

        Raises what StreamResponse.prepare() and write() raise, and OSError where the file is there
        and the system fails to open or to read it.
        """
        if self.prepared:
            return await super().prepare(request)
        if not isinstance(request, BaseRequest):
            raise TypeError(f"A FileResponse answers a BaseRequest, not {type(request)!r}")
        async with AsyncExitStack() as stack:
            answer = await run_to_end(self._decide, request, stack)
            self._describe(answer)
            writer = await super().prepare(request)
            if answer.opened is None or answer.data is not None:
                await super().write_eof(answer.data or b"")
            else:
                start, count = answer.part.start, len(answer.part)
                await writer.send_file(answer.opened.file, start, count, self._chunk_size)
                await super().write_eof()
        return writer

    def _decide(self, request: BaseRequest, stack: AsyncExitStack) -> _Answer:
        """Return what to answer, from a thread; a file that is to be read yet is left to stack."""
        accept_encoding: str | None = None
        if CONTENT_ENCODING not in self._headers:  # else what is at the path is compressed
            accept_encoding = ",".join(request.headers.getall(ACCEPT_ENCODING, ()))
        try:
            opened = open_variant(self._path, accept_encoding)
        except PermissionError:
            return _Answer(403)
        except ValueError:  # of a NUL or a surrogate, which no file's name has
            return _Answer(404)
        except OSError as error:
            if error.errno in _MISSING:
                return _Answer(404)
            raise
        with ExitStack() as closing:
            closing.enter_context(opened.file)
            status, part = self._judge(request, opened)
            if request.method == "HEAD" or not part:
                return _Answer(status, opened, part, b"")
            if len(part) <= SMALL_BYTES:
                return _Answer(status, opened, part, opened.read(part))
            stack.push_async_callback(run_to_end, closing.pop_all().close)
        return _Answer(status, opened, part)

    def _judge(self, request: BaseRequest, opened: OpenFile) -> tuple[int, range]:
        """Return the status and the part that conditions and range of request make of a file."""
        whole = range(opened.size)
        # RFC 9110 section 13.2.1: conditions are about answers that are successful otherwise.
        if not 200 <= self._status < 300:
            return self._status, whole
        refusal = refuse_by_condition(request, opened.tag, opened.modified_s)
        if refusal is not None:
            return refusal, range(0)
        if self._status != 200:  # RFC 9110 section 14.2
            return self._status, whole
        try:
            part = choose_part(request, opened.size, opened.tag, opened.last_modified)
        except ValueError:
            return 416, range(0)
        return (200, whole) if part is None else (206, part)

    def _describe(self, answer: _Answer) -> None:
        """Set the status and the headers."""
        opened, headers = answer.opened, self._headers
        if answer.status != self._status:
            self.set_status(answer.status)
        if opened is not None and opened.has_siblings:
            self._vary_by_coding()
        if opened is None or answer.status == 412:
            self._announce(0)
        elif answer.status == 416:
            headers[CONTENT_RANGE] = f"bytes */{opened.size}"
            self._announce(0)
        else:
            self.etag = opened.tag
            self.last_modified = opened.last_modified
            if answer.status != 304:
                self._describe_part(opened, answer.part)

    def _describe_part(self, opened: OpenFile, part: range) -> None:
        headers = self._headers
        headers[ACCEPT_RANGES] = "bytes"
        if self._status == 206:
            headers[CONTENT_RANGE] = f"bytes {part.start}-{part.stop - 1}/{opened.size}"
        if opened.coding is not None:
            headers[CONTENT_ENCODING] = opened.coding
        if CONTENT_TYPE not in headers:  # also for HEAD, whose answer nobody completes
            headers[CONTENT_TYPE] = guess_content_type(self._path.name) or DEFAULT_CONTENT_TYPE
        self._announce(len(part))

    def _announce(self, length: int) -> None:
        if not self._chunked:
            self.content_length = length
