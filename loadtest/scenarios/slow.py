"""Slow subscribers: some read nothing while much is published, and must cost the server nothing.

Those who read must get everything, in order; the others, once they read again, what the kernel held
for them, a gap, and then the rest. The server's memory must not grow with what is owed.
"""

import argparse
import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.clients.connection import (
    STALLED_RECEIVE_BYTES,
    Target,
    connect,
    connect_all,
    parse_target,
)
from loadtest.clients.publisher import Publisher
from loadtest.clients.subscriber import Subscriber, wait_at
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.options import read_count
from loadtest.recorder import Recorder, now_us
from loadtest.result import Figure
from loadtest.scenario import Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest slow --subscribers 1000 --stalled 50 --megabytes 100
      delivers 95 GB, in half a minute on two cores
  GATEWAY_HEARTBEAT__INTERVAL_S=600 GATEWAY_SESSION__BYTES_PER_S=0 gateway serve &
  python -m loadtest slow --target ws://127.0.0.1:8080/ws --pid $!
      a shorter heartbeat would close those who stall, and the limit of a session hold the
      publisher up
"""
EVENTS: Final = "deliveries"
HAS_DURATION: Final = False
GATEWAY: Final[Mapping[str, str]] = {
    "GATEWAY_HEARTBEAT__INTERVAL_S": "600",
    "GATEWAY_SESSION__BYTES_PER_S": "0",
}

# A command with it stays below websocket.max_message_bytes.
_DATA_BYTES: Final = 60_000
# Published before the first answer is waited for.
_IN_FLIGHT_COUNT: Final = 4
# Before a publisher tries again that was refused because subscribers are too far behind.
_RETRY_S: Final = 0.005
_FAULTS: Final = ("incomplete", "out of order", "stalled without a gap", "gaps of others")


class Options(msgspec.Struct, frozen=True):
    """So many subscribers, so many of which stall, while so many megabytes are published."""

    subscribers: int = 1000
    stalled: int = 50
    megabytes: int = 100

    def __post_init__(self) -> None:
        """Refuse a run that nobody would follow."""
        if self.stalled >= self.subscribers:
            raise LoadError("some subscribers must read; --stalled is at least --subscribers")

    @property
    def publications(self) -> int:
        """How many publications these megabytes are."""
        return self.megabytes * 1_000_000 // _DATA_BYTES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--subscribers", type=read_count, default=1000, help="default: %(default)s")
    add("--stalled", type=read_count, default=50, help="of them; default: %(default)s")
    add(
        "--megabytes",
        type=read_count,
        default=100,
        help="published; below 10 the log and the kernel may hold it all, and then a stalled one"
        " without a gap is counted as a fault; default: %(default)s",
    )


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return what was published and missed, and by how much the server's memory grew at the most.

    Latencies are those of who reads, in the first worker, from a publication's first attempt on.
    """
    counts = totals.counts
    growth_kib = None
    if totals.server is not None:
        growth_kib = totals.server.peak_rss_kib - totals.server.opened_rss_kib
    return [
        Figure("publications", counts.get("publications", 0)),
        Figure("publications refused for a while", counts.get("refusals", 0)),
        Figure("missed by the stalled", counts.get("missed", 0)),
        Figure("server memory growth", growth_kib, "KiB"),
    ]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many subscribers were not given what they should, by what was wrong."""
    return {name: totals.counts.get(name, 0) for name in _FAULTS}


class _Reader(Subscriber):
    """A subscriber that counts its deliveries; those whose sending time is known have latencies."""

    __slots__ = ("_recorder", "_sent_us")

    def __init__(self, target: Target, recorder: Recorder, sent_us: dict[int, int]) -> None:
        super().__init__(target)
        self._recorder = recorder
        self._sent_us = sent_us

    def arrive(self, count: int) -> None:
        """Count what has arrived, which comes one by one."""
        self._recorder.add(EVENTS, count)
        sent_us = self._sent_us.get(self.position.offset) if self.position else None
        if sent_us is not None:
            self._recorder.latency.record(now_us() - sent_us)


class Share:
    """One worker's subscribers, and in the first worker the publisher.

    The channel is new and nobody else publishes in it, so everybody knows the last offset.
    """

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._job = job
        self._options = options = job.read_options(Options)
        self._recorder = recorder
        self._target = parse_target(job.target)
        self._channel = f"load-{job.key}"
        self._sent_us: dict[int, int] = {}  # by offset
        self._publisher = Publisher(self._target)
        self._healthy: list[tuple[int, Subscriber]] = []
        self._stalled: list[tuple[int, Subscriber]] = []
        for number in job.share(options.subscribers):
            if (number + 1) * options.stalled // options.subscribers > (
                number * options.stalled // options.subscribers
            ):
                self._stalled.append((number, _Reader(self._target, recorder, {})))
            else:
                self._healthy.append((number, _Reader(self._target, recorder, self._sent_us)))

    async def open(self) -> None:
        """Open all connections; those that stall do so from then on."""
        await self._subscribe(self._healthy)
        await self._subscribe(self._stalled, STALLED_RECEIVE_BYTES)
        for _, subscriber in self._stalled:
            subscriber.asyncio_transport.pause_reading()
        if self._job.worker == 0:
            await connect(self._target, self._publisher)

    async def run(self) -> None:
        """Publish, have those who stalled read again at the end, and look at where all stand."""
        if self._job.worker == 0:
            await self._publish()
        last = self._options.publications
        await wait_at([subscriber for _, subscriber in self._healthy], last)
        for _, subscriber in self._stalled:
            subscriber.asyncio_transport.resume_reading()
        await wait_at([subscriber for _, subscriber in self._stalled], last)
        self._judge()

    async def close(self) -> None:
        """Drop all connections."""
        for _, subscriber in (*self._healthy, *self._stalled):
            subscriber.abort()
        self._publisher.abort()

    async def _subscribe(
        self, subscribers: list[tuple[int, Subscriber]], receive_bytes: int | None = None
    ) -> None:
        await connect_all(self._target, subscribers, receive_bytes)
        for _, subscriber in subscribers:
            subscriber.subscribe(self._channel)
        for _, subscriber in subscribers:
            await subscriber.wait_reply("subscribed")

    async def _publish(self) -> None:
        """Publish all, those that are refused again and again."""
        data = "x" * (_DATA_BYTES - 2)
        published, total = 0, self._options.publications
        while published < total:
            burst = min(total - published, _IN_FLIGHT_COUNT)
            sent_us = now_us()
            for offset in range(published + 1, published + burst + 1):
                self._sent_us.setdefault(offset, sent_us)
            refused = await self._publisher.publish(self._channel, data, burst)
            published += burst - refused
            self._recorder.add("publications", burst - refused)
            self._recorder.add("refusals", refused)
            if refused:
                await asyncio.sleep(_RETRY_S)

    def _judge(self) -> None:
        last = self._options.publications
        add = self._recorder.add
        for _, subscriber in (*self._healthy, *self._stalled):
            add("incomplete", subscriber.position is None or subscriber.position.offset != last)
            add("out of order", subscriber.missing_count + subscriber.repeated_count > 0)
        for _, subscriber in self._healthy:
            add("gaps of others", subscriber.gap_count > 0)
        for _, subscriber in self._stalled:
            add("stalled without a gap", subscriber.gap_count == 0)
            add("missed", subscriber.missed_count)
