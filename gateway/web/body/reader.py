"""The body of a request as its handler reads it, bounded."""

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

READ_BUFFER_BYTES: Final = 64 * 1024  # low-water mark, as aiohttp; reading pauses above twice that

# Ends of chunks that are remembered of what is not read yet, a quarter of a megabyte; where there
# are more, some chunks look like one.
MAX_CHUNK_ENDS: Final = 8192


class StreamReader:
    """A body as it arrives, read by one task at a time.

    It holds at most its high-water mark and one piece more, or the line that readuntil() was asked
    for: the connection goes on when on_wanted is called, which is whenever a reader waits or left
    no more than the low-water mark behind.
    """

    __slots__ = (
        "_buffer",
        "_callbacks",
        "_chunk_ends",
        "_end_waiter",
        "_exception",
        "_is_ended",
        "_low_bytes",
        "_on_wanted",
        "_waiter",
        "total_raw_bytes",
    )

    is_coded = False  # whether more or fewer bytes are read than were sent

    def __init__(
        self,
        low_bytes: int = READ_BUFFER_BYTES,
        on_wanted: Callable[[], None] | None = None,
    ) -> None:
        self._low_bytes = low_bytes
        self._on_wanted = on_wanted
        self._buffer = bytearray()
        self._is_ended = False
        self._exception: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._end_waiter: asyncio.Future[None] | None = None  # of all who wait for the end
        self._callbacks: list[Callable[[], None]] = []
        self._chunk_ends: deque[int] | None = None  # in bytes from the body's beginning
        self.total_raw_bytes = 0

    def feed_data(self, data: bytes) -> None:
        """Take the next bytes of the body; they are dropped where reading raises anyway."""
        if self._exception is None:
            self._buffer += data
            self.total_raw_bytes += len(data)
            self._wake()

    def feed_chunk_ends(self, ends: tuple[int, ...]) -> None:
        """Take note that chunks end after so many bytes of the body."""
        if self._exception is None and not self.is_coded:
            known = self._chunk_ends = self._chunk_ends or deque()
            self._forget_chunks()
            known.extend(ends[: MAX_CHUNK_ENDS - len(known)])
            self._wake()

    def feed_eof(self) -> None:
        """Take note that the body is whole."""
        self._is_ended = True
        self._wake()
        self._wake_for_end()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            _call(callback)

    def set_exception(self, exc: BaseException) -> None:
        """Let every reading from now on raise exc; what was buffered is gone."""
        self._exception = exc
        self._buffer.clear()
        self._callbacks.clear()
        self._on_wanted = None
        self._wake()
        self._wake_for_end()

    @property
    def total_bytes(self) -> int:
        """How many bytes of the body there were so far, read or not."""
        return self.total_raw_bytes

    @property
    def is_full(self) -> bool:
        """Whether more is buffered than the high-water mark allows, and nobody waits for more."""
        if len(self._buffer) <= 2 * self._low_bytes:
            return False
        return self._waiter is None or self._waiter.done()

    def exception(self) -> BaseException | None:
        """Return what reading raises, if anything."""
        return self._exception

    def is_eof(self) -> bool:
        """Whether the whole body has arrived, read or not."""
        return self._is_ended

    def at_eof(self) -> bool:
        """Whether the whole body has arrived and been read."""
        return self._is_ended and not self._buffer

    def get_read_buffer_limits(self) -> tuple[int, int]:
        """Return the low- and the high-water mark in bytes."""
        return self._low_bytes, 2 * self._low_bytes

    def on_eof(self, callback: Callable[[], None]) -> None:
        """Call callback once the whole body has arrived, at once if it has."""
        if self._is_ended:
            _call(callback)
        else:
            self._callbacks.append(callback)

    async def wait_eof(self) -> None:
        """Wait until the whole body has arrived, which it does not where it is not read, either."""
        self._check()
        if self._is_ended:
            return
        if self._on_wanted is not None:
            self._on_wanted()
        if self._end_waiter is None:
            self._end_waiter = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._end_waiter)
        self._check()

    async def read(self, n: int = -1) -> bytes:
        """Return up to n bytes, one at least unless the body ends; all of it for a negative n."""
        if n < 0:
            pieces: list[bytes] = []
            while piece := await self.readany():
                pieces.append(piece)
            return b"".join(pieces)
        if n:
            await self._wait_for_some()
        return self._take(n)

    async def readany(self) -> bytes:
        """Return what is there, waiting if that is nothing; b"" at the end."""
        await self._wait_for_some()
        return self._take(len(self._buffer))

    async def readexactly(self, n: int) -> bytes:
        """Return n bytes; raise asyncio.IncompleteReadError where the body ends before."""
        pieces: list[bytes] = []
        missing = n
        while missing > 0:
            piece = await self.read(missing)
            if not piece:
                raise asyncio.IncompleteReadError(b"".join(pieces), n)
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    async def readline(self, *, max_line_length: int | None = None) -> bytes:
        """Return a line with its end; the last one may have none. ValueError for a longer one."""
        return await self.readuntil(max_size=max_line_length)

    async def readuntil(self, separator: bytes = b"\n", *, max_size: int | None = None) -> bytes:
        """Return the bytes up to and with separator, or to the body's end.

        Raises ValueError for an empty separator, and where they are more than max_size bytes, which
        is the high-water mark unless it is given.
        """
        if not separator:
            raise ValueError("Separator should be at least one-byte string")
        limit_bytes = max_size or 2 * self._low_bytes
        searched = 0
        while True:
            self._check()
            found = self._buffer.find(separator, searched)
            end = found + len(separator) if found >= 0 else len(self._buffer)
            if end > limit_bytes:
                raise ValueError(f"Chunk too big: no {separator!r} within {limit_bytes} bytes")
            searched = max(0, end - len(separator) + 1)
            if found >= 0 or not await self._get_more():
                return self._take(end)

    async def readchunk(self) -> tuple[bytes, bool]:
        """Return what is there of a chunk, waiting if that is nothing, and whether it ends there.

        b"" and True is the end of a chunk that has been read already, b"" and False that of the
        body. Without chunks, and with a content coding, no chunk ends.
        """
        while True:
            self._check()
            begin = self.total_raw_bytes - len(self._buffer)
            while self._chunk_ends:
                end = self._chunk_ends.popleft()
                if end >= begin:
                    return self._take(end - begin), True
            if self._buffer:
                return self._take(len(self._buffer)), False
            if not await self._get_more():
                return b"", False

    async def skip(self) -> None:
        """Wait for the end of the body and drop it."""
        while await self.readany():
            pass

    def read_nowait(self, n: int = -1) -> bytes:
        """Return up to n bytes of what is there, all of it for a negative n."""
        self._check()
        if self._waiter is not None:
            raise RuntimeError("Another task waits for this body: read one at a time")
        return self._take(n if n >= 0 else len(self._buffer))

    def unread_data(self, data: bytes) -> None:
        """Put data back, to be read next; deprecated."""
        warnings.warn("unread_data is deprecated", DeprecationWarning, stacklevel=2)
        self.put_back(data)

    def put_back(self, data: bytes | bytearray) -> None:
        """Let data, the last that were read, be read again."""
        if self._exception is None:
            self._buffer[:0] = data

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Iterate over pieces of at most n bytes."""
        while piece := await self.read(n):
            yield piece

    async def iter_any(self) -> AsyncIterator[bytes]:
        """Iterate over pieces as they arrive."""
        while piece := await self.readany():
            yield piece

    async def iter_chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Iterate over what readchunk() returns."""
        while (chunk := await self.readchunk()) != (b"", False):
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while line := await self.readline():
            yield line

    def _take(self, n: int) -> bytes:
        self._check()
        data = bytes(memoryview(self._buffer)[:n])
        del self._buffer[:n]
        if self._on_wanted is not None and len(self._buffer) <= self._low_bytes:
            self._on_wanted()
        return data

    async def _wait_for_some(self) -> None:
        self._check()
        while not self._buffer and not self._is_ended:
            await self._wait()

    async def _get_more(self) -> bool:
        """Wait for the buffer to change; return False at the end of the body, at once."""
        if self._is_ended:
            return False
        await self._wait()
        return True

    async def _wait(self) -> None:
        """Ask for more and wait until something is different."""
        self._check()
        if self._waiter is not None:
            raise RuntimeError("Another task waits for this body: read one at a time")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            if self._on_wanted is not None:
                self._on_wanted()
            await self._waiter
        finally:
            self._waiter = None
        self._check()

    def _forget_chunks(self) -> None:
        """Forget the ends of chunks that are read and gone."""
        ends, begin = self._chunk_ends, self.total_raw_bytes - len(self._buffer)
        while ends and ends[0] < begin:
            ends.popleft()

    def _check(self) -> None:
        if self._exception is not None:
            raise self._exception

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake_for_end(self) -> None:
        if self._end_waiter is not None and not self._end_waiter.done():
            self._end_waiter.set_result(None)


def _call(callback: Callable[[], None]) -> None:
    """Call what somebody wants to be called; its failure is told to the event loop only."""
    try:
        callback()
    except Exception as error:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "Exception in a callback for the end of a body", "exception": error}
        )
