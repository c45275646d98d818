"""The body of a request whose content coding is undone while its handler reads."""

import asyncio
from collections.abc import Callable

from gateway.web.body.decoders import CODING_ERRORS, GIVEN_BYTES, Decoder
from gateway.web.body.errors import RequestPayloadError
from gateway.web.body.reader import READ_BUFFER_BYTES, StreamReader


class DecodingReader(StreamReader):
    """A body that waits as it was sent and is decoded when it is read, no further than that.

    The bounds of a StreamReader hold for what waits, and once more for what is decoded. What nobody
    reads costs nothing but its bytes; a handler that reads much lets others have the event loop
    between two pieces.
    """

    __slots__ = ("_decoder", "_job", "_raw")

    is_coded = True

    def __init__(
        self,
        decoder: Decoder,
        low_bytes: int = READ_BUFFER_BYTES,
        on_wanted: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(low_bytes, on_wanted)
        self._decoder: Decoder | None = decoder  # None once nothing is decoded any more
        self._job: asyncio.Future[bytes] | None = None  # of a slow decoder, in a thread
        self._raw = bytearray()

    def feed_data(self, data: bytes) -> None:
        """Take the next bytes of the body; they are dropped where nobody can read them."""
        if self._exception is None:
            self.total_raw_bytes += len(data)
            if self._decoder is not None:
                self._raw += data
            self._wake()

    def set_exception(self, exc: BaseException) -> None:
        """Let every reading from now on raise exc; what waited is gone."""
        self._forget()
        super().set_exception(exc)

    @property
    def is_full(self) -> bool:
        """Whether more waits than the high-water mark allows."""
        return len(self._raw) > 2 * self._low_bytes

    def at_eof(self) -> bool:
        """Whether the whole body has arrived and been read; not where it ends too soon."""
        return super().at_eof() and not self._is_decodable and not self._is_cut_short

    def read_nowait(self, n: int = -1) -> bytes:
        """Return up to n bytes of what can be decoded at once, all of it for a negative n."""
        is_idle = self._waiter is None and self._job is None
        if not self._buffer and is_idle and self._is_decodable:
            self._decode()
        return super().read_nowait(n)

    async def skip(self) -> None:
        """Wait for the end of the body and drop it, without decoding it."""
        self._check()
        self._forget()
        self._buffer.clear()
        while not self._is_ended:
            await self._wait()

    @property
    def _is_decodable(self) -> bool:
        if self._job is not None or self._raw:
            return True
        return self._decoder is not None and self._decoder.has_more

    @property
    def _is_cut_short(self) -> bool:
        """Whether the decoded body is not whole, if no more of it comes; an empty one always is."""
        return self._decoder is not None and self.total_raw_bytes > 0 and not self._decoder.is_whole

    async def _wait_for_some(self) -> None:
        self._check()
        while not self._buffer and await self._get_more():
            pass

    async def _get_more(self) -> bool:
        if not self._is_decodable:
            return await super()._get_more() or self._end()
        if self._job is not None or (self._decoder is not None and self._decoder.is_slow):
            self._decode_aside()
            await self._wait()
            return True
        self._decode()
        if self._is_decodable:
            asyncio.get_running_loop().call_soon(self._wake)
            await self._wait()
        return True

    def _decode(self) -> None:
        """Decode one piece; raise RequestPayloadError where that is not possible."""
        decoder = self._decoder
        assert decoder is not None
        try:
            self._buffer += decoder.decode(self._take_raw(decoder))
        except CODING_ERRORS as error:
            raise self._fail(error) from error

    def _decode_aside(self) -> None:
        """Let a thread decode the next piece, unless one does; readers are woken when it has."""
        decoder = self._decoder
        if self._job is None and decoder is not None:
            run = asyncio.get_running_loop().run_in_executor
            self._job = run(None, decoder.decode, self._take_raw(decoder))
            self._job.add_done_callback(self._take_decoded)

    def _take_decoded(self, job: "asyncio.Future[bytes]") -> None:
        """Take what a thread has decoded, unless nobody can read it any more."""
        self._job = None
        if self._decoder is not None and self._exception is None:
            error = job.exception()
            if error is None:
                self._buffer += job.result()
            elif isinstance(error, CODING_ERRORS):
                self._fail(error)
            else:
                self.set_exception(error)
        elif not job.cancelled():
            job.exception()  # nobody else will ask
        self._wake()

    def _take_raw(self, decoder: Decoder) -> bytes:
        if decoder.has_more:
            return b""
        data = bytes(memoryview(self._raw)[:GIVEN_BYTES])
        del self._raw[:GIVEN_BYTES]
        return data

    def _fail(self, error: BaseException) -> RequestPayloadError:
        failure = RequestPayloadError(f"The body's content coding cannot be undone: {error}")
        failure.__cause__ = error
        self.set_exception(failure)
        return failure

    def _end(self) -> bool:
        """Return False; raise RequestPayloadError where the decoded body is not whole."""
        if self._is_cut_short:
            self.set_exception(RequestPayloadError("The body ends within its content coding"))
            self._check()
        self._forget()
        return False

    def _forget(self) -> None:
        self._decoder = None
        self._raw.clear()
