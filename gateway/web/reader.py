"""The body of a request as its handler reads it, bounded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

READ_BUFFER_BYTES: Final = 64 * 1024  # low-water mark, as aiohttp; reading pauses above twice that


class StreamReader:
    """A body as it arrives, read by one task at a time.

    It holds at most its high-water mark and one piece more: the connection goes on when on_wanted
    is called, which is whenever a reader waits or left no more than the low-water mark behind.
    """

    __slots__ = (
        "_buffer",
        "_callbacks",
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
        self._callbacks: list[Callable[[], None]] = []
        self.total_raw_bytes = 0

    def feed_data(self, data: bytes) -> None:
        """Take the next bytes of the body; they are dropped where reading raises anyway."""
        if self._exception is None:
            self._buffer += data
            self.total_raw_bytes += len(data)
            self._wake()

    def feed_eof(self) -> None:
        """Take note that the body is whole."""
        self._is_ended = True
        self._wake()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def set_exception(self, exc: BaseException) -> None:
        """Let every reading from now on raise exc; what was buffered is gone."""
        self._exception = exc
        self._buffer.clear()
        self._callbacks.clear()
        self._on_wanted = None
        self._wake()

    @property
    def is_full(self) -> bool:
        """Whether more is buffered than the high-water mark allows."""
        return len(self._buffer) > 2 * self._low_bytes

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
            callback()
        else:
            self._callbacks.append(callback)

    async def wait_eof(self) -> None:
        """Wait until the whole body has arrived; more than fits is waited for in vain."""
        while not self._is_ended:
            await self._wait()

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

    async def readline(self) -> bytes:
        """Return a line with its end; the last one may have none."""
        return await self.readuntil(b"\n")

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Return the bytes up to and with separator, or to the body's end.

        Raises ValueError for an empty separator, and where the high-water mark comes before it.
        """
        if not separator:
            raise ValueError("Separator should be at least one-byte string")
        searched = 0
        while True:
            self._check()
            found = self._buffer.find(separator, searched)
            if found >= 0:
                return self._take(found + len(separator))
            if len(self._buffer) > 2 * self._low_bytes:
                raise ValueError("Chunk too big")
            searched = max(0, len(self._buffer) - len(separator) + 1)
            if not await self._get_more():
                return self._take(len(self._buffer))

    async def readchunk(self) -> tuple[bytes, bool]:
        """Return what is there and False: where a chunk of HTTP ends is nothing a body knows."""
        return await self.readany(), False

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
        """Put data back, to be read next."""
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
        while piece := await self.readany():
            yield piece, False

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

    def _check(self) -> None:
        if self._exception is not None:
            raise self._exception

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
