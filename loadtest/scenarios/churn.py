"""Churn: clients come, subscribe, stay for a while and leave, while publications flow.

As many are there at any time. How long one stays is exponential about --stay; then it closes, or
vanishes without a word. A latency is how long one takes from its connect to its subscription. What
comes during one visit must be in order and complete; the server's memory must not grow by visits.
"""

import argparse
import asyncio
import random
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.clients.connection import Target, connect, connect_all, parse_target
from loadtest.clients.publisher import Publisher
from loadtest.clients.subscriber import Subscriber
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.options import read_count, read_number
from loadtest.pace import pace, work_for
from loadtest.recorder import Recorder, now_us
from loadtest.result import Figure
from loadtest.scenario import UNLIMITED, Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest churn --visitors 500 --stay 2 --seconds 60
  python -m loadtest churn --stay 0.2 --vanishing 100 --rate 200
"""
EVENTS: Final = "visits"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = UNLIMITED

# Before somebody comes again who could not come.
_RETRY_S: Final = 0.1
_FAULTS: Final = ("missing", "repeated", "lost connections", "failed visits")


class Options(msgspec.Struct, frozen=True):
    """So many visitors at a time; how long each stays in seconds, the rest as the help says."""

    visitors: int = 200
    stay: float = 1.0
    vanishing: int = 50
    rate: float = 50.0
    bytes: int = 64

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if self.vanishing > 100:
            raise LoadError(f"--vanishing is a percentage, not {self.vanishing}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--visitors", type=read_count, default=200, help="at a time; default: %(default)s")
    add("--stay", type=read_number, default=1.0, metavar="S", help="on average; default: 1")
    add(
        "--vanishing",
        type=read_count,
        default=50,
        metavar="PERCENT",
        help="of visitors, who leave by a reset; default: %(default)s",
    )
    add("--rate", type=read_number, default=50.0, help="publications per second; default: 50")
    add("--bytes", type=read_count, default=64, help="data of each; default: %(default)s")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return what was published and delivered, and by how much the server's memory has grown."""
    counts, growth_kib = totals.counts, None
    if totals.server is not None:
        growth_kib = totals.server.end_rss_kib - totals.server.opened_rss_kib
    return [
        Figure("publications", counts.get("publications", 0)),
        Figure("deliveries", counts.get("deliveries", 0)),
        Figure("gaps", counts.get("gaps", 0)),
        Figure("server memory growth", growth_kib, "KiB"),
    ]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return what was not as it should be within a visit, and visits that others ended."""
    return {name: totals.counts.get(name, 0) for name in _FAULTS}


class _Visitor(Subscriber):
    """One visit, whose deliveries are counted."""

    __slots__ = ("_recorder",)

    def __init__(self, target: Target, recorder: Recorder) -> None:
        super().__init__(target)
        self._recorder = recorder

    def arrive(self, count: int) -> None:
        """Count what has arrived."""
        self._recorder.add("deliveries", count)


class Share:
    """One worker's visitors, and in the first worker the publisher."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._job = job
        self._options = job.read_options(Options)
        self._recorder = recorder
        self._target = parse_target(job.target)
        self._channel = f"load-{job.key}"
        self._rng = random.Random(f"{job.key} {job.worker}")
        self._publisher = Publisher(self._target)
        self._first = {
            number: _Visitor(self._target, recorder) for number in job.share(self._options.visitors)
        }

    async def open(self) -> None:
        """Have the first visitors come."""
        if self._job.worker == 0:
            await connect(self._target, self._publisher)
        await connect_all(self._target, self._first.items())
        for visitor in self._first.values():
            await self._subscribe(visitor)

    async def run(self) -> None:
        """Have visitors come and go, while something is published."""
        work = [self._visit_again_and_again(*each) for each in self._first.items()]
        if self._job.worker == 0:
            work.append(self._publish())
        await work_for(self._job.seconds, work)

    async def close(self) -> None:
        """Drop the publisher, and visitors that have come for nothing."""
        for visitor in self._first.values():
            visitor.abort()
        self._publisher.abort()

    async def _visit_again_and_again(self, number: int, first: _Visitor) -> None:
        visitor: _Visitor | None = first
        while True:
            if visitor is not None:
                await self._stay(visitor)
            visitor = await self._come(number)

    async def _stay(self, visitor: _Visitor) -> None:
        """Stay for a while and leave; if it is cancelled meanwhile, at once."""
        add = self._recorder.add
        try:
            await asyncio.sleep(self._rng.expovariate(1 / self._options.stay))
            add("lost connections", visitor.is_lost)
            if self._rng.random() * 100 >= self._options.vanishing:
                await visitor.leave()
        finally:
            visitor.abort()
            add(EVENTS)
            add("missing", visitor.missing_count)
            add("repeated", visitor.repeated_count)
            add("gaps", visitor.gap_count)

    async def _come(self, number: int) -> _Visitor | None:
        """Return the next visitor, None if it cannot come."""
        visitor = _Visitor(self._target, self._recorder)
        began_us = now_us()
        try:
            await connect(self._target, visitor, number)
            await self._subscribe(visitor)
        except LoadError:
            visitor.abort()
            self._recorder.add("failed visits")
            await asyncio.sleep(_RETRY_S)
            return None
        except BaseException:
            visitor.abort()
            raise
        self._recorder.latency.record(now_us() - began_us)
        return visitor

    async def _subscribe(self, visitor: _Visitor) -> None:
        visitor.subscribe(self._channel)
        await visitor.wait_reply("subscribed")

    async def _publish(self) -> None:
        data = "x" * max(self._options.bytes - 2, 0)
        async for count in pace(self._options.rate):
            refused_count = await self._publisher.publish(self._channel, data, count)
            self._recorder.add("publications", count - refused_count)
