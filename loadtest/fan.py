"""One worker's share of a fan-out: its subscribers, and in the first worker the publisher.

Closed loop: as much is published as may be in flight, and again once all of it has reached
everybody, in all workers. Open loop: it is published at fixed times, whatever arrives, and a
latency counts from when its publication was due, so a server that stands still cannot hide what
waited meanwhile.
"""

import argparse
import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from loadtest.clients.connection import LoadConnection, connect, connect_all, parse_target
from loadtest.clients.dialects import Dialect
from loadtest.clients.receivers import PublishingConnection
from loadtest.deliveries import Deliveries, Log
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.options import read_count, read_number
from loadtest.payload import SMALLEST_BYTES, Payload
from loadtest.recorder import Recorder, now_us
from loadtest.result import Figure
from loadtest.scenario import Totals
from loadtest.team import Follower, Leader

# The event loop's clock counts milliseconds; the last ones are slept away in a thread, exactly.
_EXACT_S: Final = 0.005


class FanOptions(msgspec.Struct, frozen=True):
    """So many subscribers of each of so many channels; bytes of data.

    rate is in publications per second; None for a closed loop with so many in flight.
    """

    channels: int = 1
    subscribers: int = 1000
    in_flight: int = 1
    bytes: int = 64
    rate: float | None = None


def add_fan_arguments(parser: argparse.ArgumentParser, defaults: FanOptions) -> None:
    """Add the options of every fan-out to parser."""
    add, count = parser.add_argument, defaults.subscribers
    add("--channels", type=read_count, default=1, help="default: %(default)s")
    add("--subscribers", type=read_count, default=count, help="of each; default: %(default)s")
    add("--in-flight", type=read_count, default=1, help="published at once; default: %(default)s")
    add(
        "--bytes",
        type=_read_size,
        default=64,
        help="data of each, 12 at the least; default: %(default)s",
    )
    add("--rate", type=read_number, help="publications per second, whatever arrives")


def add_stalled_argument(parser: argparse.ArgumentParser) -> None:
    """Add to parser the option by which some subscribers stall."""
    parser.add_argument(
        "--stalled",
        type=_read_percent,
        default=0,
        metavar="PERCENT",
        help="share of the subscribers that read nothing; the figures are those of the others",
    )


def find_fan_figures(totals: Totals, options: FanOptions) -> list[Figure]:
    """Return how much was published, and how many losses subscribers were told of."""
    counts = totals.counts
    figures = [Figure("publications", counts.get("publications", 0))]
    if counts.get("gaps"):
        figures.append(Figure("gaps told", counts["gaps"]))
    return figures


def find_fan_faults(totals: Totals, options: FanOptions) -> dict[str, int]:
    """Return how many deliveries are missing, and how many came that nobody expected."""
    return {name: totals.counts.get(name, 0) for name in ("missing", "surplus")}


# Makes a subscriber of a channel, by its name, whose deliveries are in the log.
Subscribe = Callable[[Deliveries, Log, str], LoadConnection]


class Fan:
    """The share; subscribe makes each subscriber that reads, stall each that does not.

    So many percent of the subscribers stall. The publisher speaks dialect. expect returns the
    delivery of a publication, given its channel, number and data.
    """

    def __init__(
        self,
        job: Job,
        options: FanOptions,
        recorder: Recorder,
        *,
        dialect: Dialect,
        expect: Callable[[str, int, str], bytes],
        subscribe: Subscribe,
        stall: Callable[[str], LoadConnection] | None = None,
        stalled: int = 0,
    ) -> None:
        if 0 < options.subscribers * stalled < 100:
            raise LoadError(
                f"{stalled} percent of {options.subscribers} subscribers of a channel are nobody;"
                " --stalled or --subscribers must be more"
            )
        self._job = job
        self._options = options
        self._recorder = recorder
        self._dialect = dialect
        self._expect = expect
        self._target = parse_target(job.target)
        self._payload = Payload(options.bytes)
        self._deliveries = Deliveries(recorder)
        self._channels = [f"load-{job.key}-{number}" for number in range(options.channels)]
        self._logs = [Log(self._expecter(channel)) for channel in self._channels]
        self._owed_of = [0] * options.channels  # of each publication, by this worker's subscribers
        self._subscribers: list[tuple[int, LoadConnection]] = []
        for number in job.share(options.channels * options.subscribers):
            index = number % options.channels
            channel = self._channels[index]
            if stall is not None and _is_stalled(number // options.channels, stalled):
                self._subscribers.append((number, stall(channel)))
            else:
                connection = subscribe(self._deliveries, self._logs[index], channel)
                self._subscribers.append((number, connection))
                self._owed_of[index] += 1
        self._publisher = PublishingConnection(
            dialect.publisher(self._target.path, self._target.authority), self._deliveries
        )
        self._next = 0  # the channel of the next publication

    async def open(self) -> None:
        """Connect all subscribers, and the publisher in the first worker."""
        await connect_all(self._target, self._subscribers)
        if self._job.leader_fd is None:
            await connect(self._target, self._publisher)

    async def run(self) -> None:
        """Publish as the options say, or follow what the first worker publishes."""
        if self._job.leader_fd is None:
            await self._lead()
        else:
            await self._follow(self._job.leader_fd)
        self._recorder.add("missing", self._deliveries.owed_count)

    def close(self) -> None:
        """Drop all connections."""
        for connection in (*(each for _, each in self._subscribers), self._publisher):
            connection.abort()

    def _expecter(self, channel: str) -> Callable[[int], bytes]:
        """Return what returns the delivery of a number in channel."""
        return lambda number: self._expect(channel, number, self._payload.text(number))

    def _add_round(self, due_us: int, count: int) -> list[tuple[str, int]]:
        """Note so many publications, in all channels in turn; return each one's place."""
        rate, added = self._options.rate, []
        for number in range(count):
            due = due_us if rate is None else due_us + int(number * 1e6 / rate)
            index = self._next
            added.append((self._channels[index], self._logs[index].add(due)))
            self._deliveries.owe(self._owed_of[index])
            self._next = (index + 1) % len(self._logs)
        return added

    # The first worker.

    async def _lead(self) -> None:
        leader = Leader(self._job.follower_fds, self._deliveries.settle)
        try:
            self._deliveries.owe(leader.await_all())  # until they, too, are to measure
            await self._deliveries.wait()
            if self._options.rate is None:
                await self._publish_when_delivered(leader)
            else:
                await self._publish_at_rate(leader, self._options.rate)
        finally:
            leader.close()
        await self._deliveries.wait()

    async def _publish_when_delivered(self, leader: Leader) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._job.seconds
        while await self._deliveries.wait() and loop.time() < end:
            self._publish(leader, now_us(), self._options.in_flight)
            self._deliveries.owe(leader.await_all())
        self._deliveries.settle(leader.awaited_count)  # who is silent tells itself what is missing

    async def _publish_at_rate(self, leader: Leader, rate: float) -> None:
        """Publish at fixed times, late ones at once."""
        began_us = now_us()
        published, total = 0, max(1, int(self._job.seconds * rate))
        while published < total:
            due_count = min(total, int((now_us() - began_us) * rate / 1e6) + 1)
            if due_count > published:
                due_us = began_us + int(published * 1e6 / rate)
                self._publish(leader, due_us, due_count - published)
                published = due_count
            self._deliveries.check()
            await _sleep_until(began_us + int(published * 1e6 / rate))

    def _publish(self, leader: Leader, due_us: int, count: int) -> None:
        """Publish so many in one write."""
        leader.tell(due_us, count)
        pieces = [
            self._dialect.publish(channel, self._payload.text(number))
            for channel, number in self._add_round(due_us, count)
        ]
        self._recorder.add("publications", count)
        self._publisher.asyncio_transport.write(b"".join(pieces))

    # The other workers.

    async def _follow(self, fd: int) -> None:
        follower = Follower(fd, self._take_round)
        self._deliveries.hear = follower.hear
        self._deliveries.on_failed = follower.is_over.set
        if self._options.rate is None:
            self._deliveries.on_arrived = follower.tell_arrived
        try:
            follower.tell_arrived()
            await follower.is_over.wait()
            await self._deliveries.wait()
        finally:
            follower.close()

    def _take_round(self, due_us: int, count: int) -> None:
        self._add_round(due_us, count)
        self._deliveries.settle(0)  # it may be that none of it is for this worker


async def _sleep_until(time_us: int) -> None:
    """Return when it is that late, to a tenth of a millisecond."""
    loop = asyncio.get_running_loop()
    while (left_s := (time_us - now_us()) / 1e6) > 0:
        if left_s > _EXACT_S:
            await asyncio.sleep(left_s - _EXACT_S)
        else:
            await loop.run_in_executor(None, time.sleep, left_s)


def _is_stalled(number: int, percent: int) -> bool:
    """Tell whether the subscriber of that number in its channel stalls, as so many percent do."""
    return number * percent // 100 != (number + 1) * percent // 100


def _read_percent(text: str) -> int:
    percent = read_count(text)
    if percent > 99:
        raise argparse.ArgumentTypeError(f"expected at most 99 percent, got {text!r}")
    return percent


def _read_size(text: str) -> int:
    size_bytes = read_count(text)
    if size_bytes < SMALLEST_BYTES:
        raise argparse.ArgumentTypeError(f"expected at least {SMALLEST_BYTES} bytes, got {text!r}")
    return size_bytes
