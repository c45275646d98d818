"""Clients in a closed loop: each sends a request, and another one for every reply that has come."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Final

from loadtest.clients.connection import LoadConnection
from loadtest.clients.dialects import MASKING_KEY, Opening
from loadtest.clients.wire import ServerFrameDecoder, WireError, describe_close
from loadtest.errors import LoadError
from loadtest.recorder import Recorder, now_us
from protocol.frames import CLOSE, PING, PONG, encode_masked_frame

# Without any reply for so long the target has lost something, or stands still.
_PATIENCE_S: Final = 10.0


def find_faults(counts: dict[str, int]) -> dict[str, int]:
    """Return what should be 0 among the counts of a run of callers."""
    return {name: counts.get(name, 0) for name in ("missing", "wrong")}


class Calls:
    """What all callers of a worker have asked and got, as counts and latencies of recorder.

    replies is the name of their counter, beside `missing` and `wrong`, which should be 0.
    """

    def __init__(self, recorder: Recorder, replies: str) -> None:
        self.is_over = False
        self._recorder = recorder
        self._replies = replies
        self._owed_count = 0
        self._progress = asyncio.Event()
        self._failure: LoadError | None = None

    async def run(self, callers: Sequence["Caller"], in_flight: int, seconds: float) -> None:
        """Have each caller keep in_flight requests open for seconds; wait for the last replies.

        Raises LoadError where the target does something else.
        """
        try:
            for caller in callers:
                caller.call(in_flight)
            await self._wait_failure(seconds)
            self.is_over = True
            await self._wait_replies()
        except asyncio.CancelledError:
            self._owed_count = 0  # nobody waits for what is in flight now
            raise
        finally:
            self._recorder.add("missing", self._owed_count)

    def ask(self, count: int) -> None:
        """Take note of so many requests."""
        self._owed_count += count

    def settle(self, count: int, sent_us: int) -> None:
        """Take note of so many replies to what was sent at sent_us."""
        recorder = self._recorder
        recorder.counts[self._replies] = recorder.counts.get(self._replies, 0) + count
        recorder.latency.record(now_us() - sent_us, count)
        self._owed_count -= count
        if self._owed_count <= 0:
            self._progress.set()

    def note_wrong(self) -> None:
        """Take note of a reply that is not what was asked for."""
        self._recorder.add("wrong")

    def fail(self, reason: str) -> None:
        """End the run with a LoadError."""
        self._failure = self._failure or LoadError(reason)
        self._progress.set()

    async def _wait_failure(self, seconds: float) -> None:
        """Wait until so many seconds have passed; raise the failure if there is one before."""
        end = asyncio.get_running_loop().time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                while self._failure is None:
                    self._progress.clear()
                    await self._progress.wait()
        self._check()

    async def _wait_replies(self) -> None:
        """Wait until nothing is owed, or nothing arrives any more."""
        while self._owed_count > 0 and self._failure is None:
            self._progress.clear()
            owed_count = self._owed_count
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._progress.wait()
            if owed_count == self._owed_count:
                break
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure


class Caller(LoadConnection):
    """One client. Replies of length bytes that begin with begin are counted without decoding them.

    Everything else goes through decode(), which subclasses define.
    """

    __slots__ = ("_begin", "_calls", "_is_between", "_length", "_request", "_sent")

    def __init__(
        self, calls: Calls, opening: Opening, request: bytes, begin: bytes, length: int = 0
    ) -> None:
        super().__init__(opening)
        self._calls = calls
        self._request = request
        self._begin = begin
        self._length = length  # 0 while unknown
        self._is_between = True  # nothing of a next reply has arrived
        self._sent: deque[tuple[int, int]] = deque()  # (microseconds, how many), oldest first

    def call(self, count: int) -> None:
        """Send count requests."""
        self._calls.ask(count)
        self._sent.append((now_us(), count))
        self.asyncio_transport.write(self._request * count)

    def take(self, nbytes: int) -> None:
        """Count the replies that have arrived; send as many requests."""
        length = self._length
        if (
            length
            and self._is_between
            and nbytes % length == 0
            and self.buffer.startswith(self._begin, nbytes - length)
        ):
            count = nbytes // length
        else:
            count = self._decode(nbytes)
        if count:
            self._settle(count)
            if not self._calls.is_over:
                self.call(count)

    def decode(self, data: bytes) -> tuple[int, bool]:
        """Return how many replies data completes, and whether nothing of a next one has arrived."""
        raise NotImplementedError  # each subclass knows its own kind of reply

    def lost(self) -> None:
        """Tell that there will be no further reply."""
        self._calls.fail("the target closed a connection in the middle of the run")

    def _decode(self, nbytes: int) -> int:
        try:
            count, self._is_between = self.decode(bytes(self.buffer[:nbytes]))
        except WireError as error:
            self._calls.fail(f"the target sent something else than replies: {error}")
            return 0
        return count

    def _settle(self, count: int) -> None:
        while count and self._sent:
            sent_us, sent_count = self._sent.popleft()
            settled = min(count, sent_count)
            if settled < sent_count:
                self._sent.appendleft((sent_us, sent_count - settled))
            self._calls.settle(settled, sent_us)
            count -= settled
        for _ in range(count):
            self._calls.note_wrong()  # nobody asked for it


class FrameCaller(Caller):
    """A client whose requests and replies are WebSocket frames; reply is that of each reply."""

    __slots__ = ("_decoder", "_reply")

    def __init__(self, calls: Calls, opening: Opening, request: bytes, reply: bytes) -> None:
        super().__init__(calls, opening, request, begin=reply, length=len(reply))
        self._decoder = ServerFrameDecoder()
        (self._reply,) = ServerFrameDecoder().feed(reply)

    def decode(self, data: bytes) -> tuple[int, bool]:
        """Count data frames, those that are no reply as wrong; answer pings."""
        count = 0
        for frame in self._decoder.feed(data):
            if frame.opcode == PING:
                pong = encode_masked_frame(PONG, frame.payload, MASKING_KEY)
                self.asyncio_transport.write(pong)
            elif frame.opcode == CLOSE:
                self._calls.fail(f"the target closed a connection: {describe_close(frame.payload)}")
            elif frame.opcode != PONG:
                count += 1
                if frame != self._reply:
                    self._calls.note_wrong()
        return count, self._decoder.is_between
