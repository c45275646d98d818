"""Connect storm: many connections that are opened, and subscribe, as fast as the target can.

With --rate they are due at that rate, whatever the target does, and a latency counts from when its
connection was due. With --rounds all are dropped and opened again, which the figures include.
"""

import argparse
import asyncio
import itertools
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from loadtest.clients.connection import connect, parse_target
from loadtest.clients.dialects import DIALECTS
from loadtest.clients.held import HeldConnection
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.options import read_count, read_number
from loadtest.recorder import Recorder, now_us
from loadtest.result import Figure
from loadtest.scenario import Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest connect --connections 10000
  python -m loadtest connect --connections 2000 --rounds 10 --opening 256 --workers 2
  python -m loadtest connect --connections 5000 --rate 1000
  python -m loadtest connect --bare
      upgrades, without a subscription
"""
EVENTS: Final = "connections"
HAS_DURATION: Final = False
GATEWAY: Final[Mapping[str, str]] = {}

_FAILED: Final = "failed: "
# Of the reason of a failure, which becomes the name of a fault.
_REASON_CHARS: Final = 80


class Options(msgspec.Struct, frozen=True):
    """So many connections per round, at most so many being opened by a worker; see the help."""

    connections: int = 1000
    opening: int = 64
    rate: float | None = None
    rounds: int = 1
    bare: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--connections", type=read_count, default=1000, help="default: %(default)s")
    add(
        "--opening",
        type=read_count,
        default=64,
        metavar="N",
        help="by a worker at once; default: %(default)s, below the smallest usual listen backlog",
    )
    add("--rate", type=read_number, help="per second, whatever the target does")
    add("--rounds", type=read_count, default=1, help="open all so often; default: %(default)s")
    add("--bare", action="store_true", help="upgrade, without a subscription")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return what a connection costs the server until it is open; of later rounds its end, too."""
    count = totals.counts.get(EVENTS, 0)
    cpu_us = totals.server.cpu_s * 1e6 / count if totals.server is not None and count else None
    return [Figure("server CPU per connection", cpu_us, "us")]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many connections did not come about, by reason, and how many were lost again."""
    failed = {name: count for name, count in totals.counts.items() if name.startswith(_FAILED)}
    return {**(failed or {"failed": 0}), "lost": totals.counts.get("lost", 0)}


class Share:
    """One worker's connections."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._target = parse_target(job.target)
        self._options = job.read_options(Options)
        self._numbers = job.share(self._options.connections)
        self._rate = self._options.rate and self._options.rate / job.workers
        self._recorder = recorder
        self._opened: list[HeldConnection] = []
        dialect, path, host = DIALECTS[job.dialect], self._target.path, self._target.authority
        if self._options.bare:
            self._opening = dialect.visitor(path, host)
        else:
            self._opening = dialect.subscriber(path, host, f"load-{job.key}")

    async def open(self) -> None:
        """Open one connection and drop it: where that fails, nothing needs to be measured."""
        probe = HeldConnection(self._opening, _ignore_ping)
        await connect(self._target, probe)
        probe.abort()

    async def run(self) -> None:
        """Open all connections, once per round."""
        for round_number in range(self._options.rounds):
            if round_number:
                await self.close()
            await self._open_all()
            self._recorder.add("lost", sum(connection.is_lost for connection in self._opened))

    async def close(self) -> None:
        """Drop all connections."""
        for connection in self._opened:
            connection.abort()
        self._opened.clear()

    async def _open_all(self) -> None:
        places = zip(self._numbers, self._due_us(), strict=False)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._options.opening, len(self._numbers))):
                group.create_task(self._open_in_turn(places))

    def _due_us(self) -> Iterator[int]:
        """Yield when each connection is to be opened: at the moment of asking, or at the rate."""
        if self._rate is None:
            return iter(now_us, None)
        began_us, rate = now_us(), self._rate
        return (began_us + int(number * 1e6 / rate) for number in itertools.count())

    async def _open_in_turn(self, places: Iterator[tuple[int, int]]) -> None:
        for number, due_us in places:
            await asyncio.sleep(max(0, due_us - now_us()) / 1e6)
            connection = HeldConnection(self._opening, _ignore_ping)
            try:
                await connect(self._target, connection, number)
            except LoadError as error:
                self._recorder.add(f"{_FAILED}{str(error)[:_REASON_CHARS]}")
            else:
                self._recorder.latency.record(now_us() - due_us)
                self._recorder.add(EVENTS)
                self._opened.append(connection)


def _ignore_ping() -> None:
    """Pings are answered; here nobody counts them."""
