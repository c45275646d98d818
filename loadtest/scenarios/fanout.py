"""Fan-out: one publisher, some channels, many subscribers of each.

Without --rate it publishes as many at once as --in-flight says, and as many again as soon as all
are delivered. With --rate it publishes at that rate whatever arrives, and a latency counts from
when its publication was due, so a server that stands still cannot hide what waited meanwhile.
"""

import argparse
import asyncio
import contextlib
import os
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.connection import PONG_FRAME, LoadConnection, connect, connect_all, parse_target
from loadtest.dialects import DIALECTS, Dialect
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.options import read_count, read_number
from loadtest.recorder import Recorder, now_us
from loadtest.result import Figure
from loadtest.scenario import Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest fanout --subscribers 1000 --in-flight 64
  python -m loadtest fanout --channels 100 --subscribers 10 --in-flight 64
  python -m loadtest fanout --subscribers 1000 --rate 50 --seconds 30
  GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0 gateway serve &
  python -m loadtest fanout --target ws://127.0.0.1:8080/ws --pid $!
"""
EVENTS: Final = "deliveries"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = {
    "GATEWAY_SESSION__COMMANDS_PER_S": "0",
    "GATEWAY_SESSION__BYTES_PER_S": "0",
}

# Without any delivery for so long the target has lost something, or stands still.
_PATIENCE_S: Final = 10.0
_PING: Final = b"\x89\0"
_RATE_LIMITED: Final = (
    "the target limits how much its clients publish; for this scenario start it with"
    " GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0"
)


class Options(msgspec.Struct, frozen=True):
    """So many subscribers of each of so many channels; bytes of data; rate per second, or None."""

    channels: int = 1
    subscribers: int = 1000
    in_flight: int = 1
    bytes: int = 64
    rate: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--channels", type=read_count, default=1, help="default: %(default)s")
    add("--subscribers", type=read_count, default=1000, help="of each; default: %(default)s")
    add("--in-flight", type=read_count, default=1, help="published at once; default: %(default)s")
    add("--bytes", type=read_count, default=64, help="data of each; default: %(default)s")
    add("--rate", type=read_number, help="publications per second, whatever arrives")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return how many publications were made."""
    return [Figure("publications", totals.counts.get("publications", 0))]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many deliveries are missing, and how many came that nobody expected."""
    counts = totals.counts
    owed = counts.get("publications", 0) * options.subscribers - counts.get(EVENTS, 0)
    return {"missing": max(owed, 0), "surplus": max(-owed, 0)}


class _Log:
    """What was published in one channel: where each delivery ends, and when each was due.

    Both lists begin with a zero, for what is before the first publication.
    """

    __slots__ = ("_channel", "_data", "_dialect", "due_us", "ends")

    def __init__(self, dialect: Dialect, channel: str, data: str) -> None:
        self._dialect = dialect
        self._channel = channel
        self._data = data
        self.ends = [0]
        self.due_us = [0]

    def publish(self, due_us: int) -> bytes:
        """Note one more publication; return what publishes it."""
        self.expect(due_us)
        return self._dialect.publish(self._channel, self._data)

    def expect(self, due_us: int) -> None:
        """Note one more publication, of whoever publishes it."""
        length = self._dialect.delivery_bytes(self._channel, len(self.ends), self._data)
        self.ends.append(self.ends[-1] + length)
        self.due_us.append(due_us)


class _Subscriber(LoadConnection):
    """Counts bytes, and knows by them which publications have arrived."""

    __slots__ = ("_arrived_count", "_bytes", "_log", "_share")

    def __init__(self, share: "Share", log: _Log, channel: str) -> None:
        super().__init__(share.dialect.subscriber(share.path, share.authority, channel))
        self._share = share
        self._log = log
        self._bytes = 0
        self._arrived_count = 0

    def take(self, nbytes: int) -> None:
        """Count what has arrived."""
        ends = self._log.ends
        size = self._bytes + nbytes
        if size == ends[-1]:
            arrived = len(ends) - 1
        else:
            size -= self._answer_pings(nbytes)
            arrived = bisect_right(ends, size, self._arrived_count) - 1
        self._bytes = size
        if arrived != self._arrived_count:
            self._share.take_deliveries(self._log, self._arrived_count, arrived)
            self._arrived_count = arrived

    def lost(self) -> None:
        """Tell that this subscriber will get nothing more."""
        self._share.fail("the target closed a subscriber's connection")

    def _answer_pings(self, nbytes: int) -> int:
        """Answer the pings among what has arrived; return how many bytes they are.

        A ping is where a delivery would begin otherwise.
        """
        ends, start = self._log.ends, self._bytes
        ping_bytes = 0
        index = bisect_right(ends, start, self._arrived_count) - 1
        while index < len(ends):
            at = ends[index] - start + ping_bytes
            if at >= nbytes:
                break
            if at >= 0 and self.buffer[at : min(at + 2, nbytes)] == _PING:
                self.asyncio_transport.write(PONG_FRAME)
                ping_bytes += len(_PING)
            else:
                index += 1
        return ping_bytes


class _Publisher(LoadConnection):
    """Publishes, and hears only what goes wrong."""

    def __init__(self, share: "Share") -> None:
        super().__init__(share.dialect.publisher(share.path, share.authority))
        self._share = share

    def take(self, nbytes: int) -> None:
        """Answer a ping; fail the run for anything else that is no reply of success."""
        heard = bytes(self.buffer[:nbytes])
        if heard == _PING:
            self.asyncio_transport.write(PONG_FRAME)
        elif b'"rate_limited"' in heard:
            self._share.fail(_RATE_LIMITED)
        elif b'"error"' in heard or b'"closing"' in heard:
            self._share.fail(f"the target refused to publish: {heard[:200]!r}")

    def lost(self) -> None:
        """Tell that nothing can be published any more."""
        self._share.fail("the target closed the publisher's connection")


class Share:
    """One worker's subscribers, and in the first worker the publisher.

    Only the first worker knows when something was published: latencies are those of its
    subscribers. The others count.
    """

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._job = job
        self._recorder = recorder
        self._options = job.read_options(Options)
        self._target = parse_target(job.target)
        self.dialect = DIALECTS[job.dialect]
        self.path, self.authority = self._target.path, self._target.authority
        data = '"' + "x" * max(self._options.bytes - 2, 0) + '"'
        channels = [f"load-{job.key}-{number}" for number in range(self._options.channels)]
        self._logs = [_Log(self.dialect, channel, data) for channel in channels]
        total = self._options.channels * self._options.subscribers
        self._subscribers = [
            (number, _Subscriber(self, self._logs[index], channels[index]))
            for number in job.share(total)
            for index in [number % len(channels)]
        ]
        self._subscribers_of = [
            sum(number % len(channels) == index for number, _ in self._subscribers)
            for index in range(len(channels))
        ]
        self._publisher = _Publisher(self)
        self._next = 0  # the channel of the next publication
        self._owed_count = 0
        self._progress = asyncio.Event()
        self._failure: LoadError | None = None

    async def open(self) -> None:
        """Connect all subscribers, and the publisher in the first worker."""
        await connect_all(self._target, self._subscribers)
        if self._job.worker == 0:
            await connect(self._target, self._publisher)

    async def run(self) -> None:
        """Publish as the options say, or count what others publish."""
        if self._job.worker > 0:
            await self._follow()
        elif self._options.rate is None:
            await self._publish_when_delivered()
        else:
            await self._publish_at_rate(self._options.rate)

    async def close(self) -> None:
        """Drop all connections."""
        for connection in (*(each for _, each in self._subscribers), self._publisher):
            connection.abort()

    def take_deliveries(self, log: _Log, after: int, last: int) -> None:
        """Count the deliveries behind after up to last, which one subscriber has just got."""
        count = last - after
        counts = self._recorder.counts
        counts[EVENTS] = counts.get(EVENTS, 0) + count
        self._owed_count -= count
        if self._owed_count == 0:
            self._progress.set()
        due_us = log.due_us
        if not due_us[last]:
            return
        now = now_us()
        if due_us[after + 1] == due_us[last]:
            self._recorder.latency.record(now - due_us[last], count)
        else:
            for due in due_us[after + 1 : last + 1]:
                self._recorder.latency.record(now - due)

    def fail(self, reason: str) -> None:
        """End the run with a LoadError."""
        self._failure = self._failure or LoadError(reason)
        self._progress.set()

    # The first worker.

    async def _publish_when_delivered(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._job.seconds
        others = _Others(self._job.heard_fds)
        while loop.time() < end and await self._wait_delivered() and await others.wait():
            self._publish([now_us()] * self._options.in_flight)
        await self._wait_delivered()

    async def _publish_at_rate(self, rate: float) -> None:
        """Publish at fixed times, late ones at once."""
        began_us = now_us()
        published, total = 0, max(1, int(self._job.seconds * rate))
        while published < total:
            passed_us = now_us() - began_us
            due_count = min(total, int(passed_us * rate / 1e6) + 1)
            if due_count > published:
                self._publish(
                    [began_us + int(number * 1e6 / rate) for number in range(published, due_count)]
                )
                published = due_count
            self._check()
            await asyncio.sleep(max(0.0, (published * 1e6 / rate - passed_us) / 1e6))
        await self._wait_delivered()

    def _publish(self, due_us: list[int]) -> None:
        """Publish one for each time, in one write, in the next channels of all in turn."""
        pieces = []
        for due in due_us:
            pieces.append(self._logs[self._next].publish(due))
            self._owed_count += self._subscribers_of[self._next]
            self._next = (self._next + 1) % len(self._logs)
        self._recorder.add("publications", len(due_us))
        self._publisher.asyncio_transport.write(b"".join(pieces))

    async def _wait_delivered(self) -> bool:
        """Return whether everything published has arrived, False if nothing arrives any more."""
        while self._owed_count > 0 and self._failure is None:
            self._progress.clear()
            owed_count = self._owed_count
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._progress.wait()
            if owed_count == self._owed_count:
                break
        self._check()
        return self._owed_count == 0

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    # The other workers.

    async def _follow(self) -> None:
        """Expect one round of publications after the other, and tell when each has arrived."""
        if self._options.rate is not None:
            raise LoadError("--rate needs a single worker")
        while True:
            for _ in range(self._options.in_flight):
                self._logs[self._next].expect(0)
                self._owed_count += self._subscribers_of[self._next]
                self._next = (self._next + 1) % len(self._logs)
            if not await self._wait_delivered():
                return
            assert self._job.told_fd is not None
            os.write(self._job.told_fd, b".")


class _Others:
    """The other workers, who tell with a byte each when a round has arrived."""

    def __init__(self, fds: list[int]) -> None:
        self._fds = fds
        self._is_first = True

    async def wait(self) -> bool:
        """Return whether all have got the last round, False if one is silent."""
        if self._is_first:  # nothing was published yet
            self._is_first = False
            return True
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                for fd in self._fds:
                    await loop.run_in_executor(None, os.read, fd, 1)
        except TimeoutError:
            return False
        return True
