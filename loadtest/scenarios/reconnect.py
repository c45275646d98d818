"""Reconnect storm: the gateway is restarted, and all its subscribers come back at once.

A gateway of the scenario's own is stopped and started again while something is published. As soon
as it listens again everybody comes back from where they stood. A latency is how long one takes from
then until it is subscribed again. Nothing may be missing that no gap has announced.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from loadtest.clients.connection import Target, connect, connect_all, parse_target
from loadtest.clients.fetch import fetch_end
from loadtest.clients.publisher import Publisher
from loadtest.clients.subscriber import Subscriber, wait_at
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.options import read_count, read_number
from loadtest.own_gateway import SIGNALS, OwnGateway
from loadtest.pace import pace
from loadtest.process import ProcessStats
from loadtest.recorder import Recorder, now_us
from loadtest.result import Figure
from loadtest.scenario import OWN_GATEWAY, Totals
from protocol.cursor import Position

EXAMPLES: Final = """\
examples:
  python -m loadtest reconnect --subscribers 5000
      drained by SIGTERM; logs are in memory, so everybody is told a gap
  python -m loadtest reconnect --data --signal kill --restarts 5
      with logs on disk, from which everybody gets what it missed
"""
EVENTS: Final = "returns"
HAS_DURATION: Final = False
GATEWAY: Final = None

_CONFIG: Final = """\
[session]
commands_per_s = 0
bytes_per_s = 0
"""
# Published before the first restart, between two and after the last.
_CALM_S: Final = 1.0
# Before somebody tries again who could not come back, and for how long it tries.
_RETRY_S: Final = 0.1
_PATIENCE_S: Final = 30.0
_FAULTS: Final = ("missing", "repeated", "stayed away", "gaps though logs are kept")


class Options(msgspec.Struct, frozen=True):
    """So many subscribers and restarts; how, and what is published meanwhile."""

    subscribers: int = 1000
    restarts: int = 1
    signal: Literal["term", "kill"] = "term"
    data: bool = False
    rate: float = 50.0
    bytes: int = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--subscribers", type=read_count, default=1000, help="default: %(default)s")
    add("--restarts", type=read_count, default=1, help="default: %(default)s")
    add("--signal", choices=SIGNALS, default="term", help="default: %(default)s")
    add("--data", action="store_true", help="have the gateway keep its logs on disk")
    add("--rate", type=read_number, default=50.0, help="publications per second; default: 50")
    add("--bytes", type=read_count, default=64, help="data of each; default: %(default)s")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return how long it took, what was recovered, and what was announced as missing.

    The server's CPU is that from when it listens until all are back.
    """
    counts = totals.counts
    returns, restarts = counts.get(EVENTS, 0), counts.get("restarts", 0)
    cpu_us = counts.get("cpu us", 0) / returns if returns else None
    longest_us = totals.latency.maximum() if returns else None
    return [
        Figure("down for", counts["down us"] / restarts if restarts else None, "us"),
        Figure("longest return", longest_us, "us"),
        Figure("server CPU per return", cpu_us, "us"),
        Figure("attempts in vain", counts.get("failed", 0)),
        Figure("publications", counts.get("publications", 0)),
        Figure("deliveries", counts.get("deliveries", 0)),
        Figure("returns without a gap", counts.get("recovered", 0)),
        Figure("gaps", counts.get("gaps", 0)),
        Figure("publications in gaps", counts.get("missed", 0)),
    ]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return what no gap announced, and who did not come back."""
    gaps = totals.counts.get("gaps", 0) if options.data else 0
    return {**{name: totals.counts.get(name, 0) for name in _FAULTS[:-1]}, _FAULTS[-1]: gaps}


class _Subscriber(Subscriber):
    """One connection of a subscriber, which tells when it is lost."""

    __slots__ = ("_number", "_share")

    def __init__(
        self, share: "Share", target: Target, number: int, position: Position | None = None
    ) -> None:
        super().__init__(target, position)
        self._share = share
        self._number = number

    def arrive(self, count: int) -> None:
        """Count what has arrived."""
        self._share.recorder.add("deliveries", count)

    def lost(self) -> None:
        """Come back."""
        super().lost()
        self._share.come_back(self._number, self)


class Share:
    """All subscribers, the publisher and the gateway, in a single worker."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        if job.workers > 1 or job.target != OWN_GATEWAY:
            raise LoadError("reconnect has a gateway of its own: no --target, and --workers 1")
        self._options = job.read_options(Options)
        self.recorder = recorder
        self._channel = f"load-{job.key}"
        self._folder = tempfile.TemporaryDirectory(prefix="loadtest-")
        self._gateway = OwnGateway(Path(self._folder.name), _CONFIG, is_durable=self._options.data)
        host, port = self._gateway.address
        self._target = parse_target(f"ws://{host}:{port}/ws")
        self._subscribers = [
            _Subscriber(self, self._target, number) for number in range(self._options.subscribers)
        ]
        self._publisher = Publisher(self._target)
        self._is_up = asyncio.Event()
        self._up_us = 0
        self._away: set[int] = set()  # numbers of subscribers
        self._is_complete = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def open(self) -> None:
        """Start the gateway, and connect everybody."""
        await self._gateway.start()
        self._is_up.set()
        await connect(self._target, self._publisher)
        await connect_all(self._target, enumerate(self._subscribers))
        for subscriber in self._subscribers:
            await self._subscribe(subscriber)

    async def run(self) -> None:
        """Restart the gateway as often as the options say, while something is published."""
        publishing = self._start(self._publish())
        for _ in range(self._options.restarts):
            await self._wait_calm()
            await self._restart()
        await self._wait_calm()
        publishing.cancel()
        end = await fetch_end(self._gateway.address, self._channel)
        await wait_at(self._subscribers, end.offset)
        for subscriber in self._subscribers:
            self._judge(subscriber)
            self.recorder.add("missing", count_missing(subscriber.position, end))

    async def close(self) -> None:
        """Drop all connections and stop the gateway."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscriber in self._subscribers:
            subscriber.abort()
        self._publisher.abort()
        await self._gateway.stop()
        self._folder.cleanup()

    def come_back(self, number: int, lost: Subscriber) -> None:
        """Have the subscriber of that number come back, unless it is at that: lost got nowhere."""
        if lost is not self._subscribers[number]:
            return
        self._away.add(number)
        self._start(self._come_back(number))

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()
            self._is_complete.set()

    async def _wait_calm(self) -> None:
        await asyncio.sleep(_CALM_S)
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _restart(self) -> None:
        """Restart the gateway, and wait until all are back, or have tried for long enough."""
        self._is_up.clear()
        self._is_complete.clear()
        down_us = now_us()
        await self._gateway.restart(self._options.signal)
        self._up_us = now_us()
        self.recorder.add("restarts")
        self.recorder.add("down us", self._up_us - down_us)
        stats = ProcessStats(self._gateway.pid)
        before_s = stats.cpu_s()
        self._is_up.set()
        await self._is_complete.wait()
        self._check()
        self.recorder.add("cpu us", int((stats.cpu_s() - before_s) * 1e6))

    async def _come_back(self, number: int) -> None:
        """Come back from where it stood, once the gateway is up again."""
        before = self._subscribers[number]
        self._judge(before)
        await self._is_up.wait()
        while now_us() - self._up_us < _PATIENCE_S * 1e6:
            subscriber = _Subscriber(self, self._target, number, before.position)
            try:
                await connect(self._target, subscriber, number)
                await self._subscribe(subscriber)
            except LoadError:
                subscriber.abort()
                self.recorder.add("failed")
                await asyncio.sleep(_RETRY_S)
                continue
            self._subscribers[number] = subscriber
            self.recorder.add(EVENTS)
            self.recorder.latency.record(now_us() - self._up_us)
            break
        else:
            self.recorder.add("stayed away")
        self._away.discard(number)
        if not self._away:
            self._is_complete.set()

    async def _subscribe(self, subscriber: Subscriber) -> None:
        subscriber.subscribe(self._channel)
        reply = await subscriber.wait_reply("subscribed")
        self.recorder.add("recovered", reply["recovered"])

    async def _publish(self) -> None:
        """Publish at the rate; come back, too, when the gateway is restarted."""
        data = "x" * max(self._options.bytes - 2, 0)
        async for count in pace(self._options.rate):
            try:
                refused_count = await self._publisher.publish(self._channel, data, count)
                self.recorder.add("publications", count - refused_count)
            except LoadError:
                if self._is_up.is_set():
                    raise
                await self._is_up.wait()
                self._publisher = Publisher(self._target)
                await connect(self._target, self._publisher)

    def _judge(self, subscriber: Subscriber) -> None:
        """Count what was wrong on one connection."""
        add = self.recorder.add
        add("missing", subscriber.missing_count)
        add("repeated", subscriber.repeated_count)
        add("gaps", subscriber.gap_count)
        add("missed", subscriber.missed_count)


def count_missing(position: Position | None, end: Position) -> int:
    """Return how many publications are missing at the end, at least 1 in another epoch."""
    if position is None or position.epoch != end.epoch:
        return max(1, end.offset)
    return max(0, end.offset - position.offset)
