"""Idle hold: many subscribers to whom nothing is published, and who only answer pings.

What they cost: the server's memory for each, and its CPU for all together. A ping comes once per
heartbeat interval, so --seconds should be several of these (this gateway's is 25 s by default).
"""

import argparse
import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.clients.connection import connect_all, parse_target
from loadtest.clients.dialects import DIALECTS
from loadtest.clients.held import HeldConnection
from loadtest.job import Job
from loadtest.options import read_count
from loadtest.recorder import Recorder
from loadtest.result import Figure
from loadtest.scenario import Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest idle --connections 5000 --seconds 60
  GATEWAY_HEARTBEAT__INTERVAL_S=5 python -m loadtest idle --connections 5000 --seconds 20
  gateway serve &
  python -m loadtest idle --target ws://127.0.0.1:8080/ws --pid $! --connections 5000 --seconds 60
"""
EVENTS: Final = "pings"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = {}


class Options(msgspec.Struct, frozen=True):
    """So many connections, with a subscription each."""

    connections: int = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    parser.set_defaults(seconds=30.0)  # more than one heartbeat interval
    parser.add_argument("--connections", type=read_count, default=1000, help="default: %(default)s")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return what the connections cost the server: memory of each, CPU for all, of one core."""
    memory_kib = cpu_percent = None
    if totals.server is not None:
        grown_kib = totals.server.opened_rss_kib - totals.server.before_rss_kib
        memory_kib = grown_kib / options.connections
        cpu_percent = 100 * totals.server.cpu_s / totals.elapsed_s
    return [
        Figure("memory per connection", memory_kib, "KiB"),
        Figure("server CPU", cpu_percent, "%"),
    ]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many connections the target has ended."""
    return {"lost connections": totals.counts.get("lost", 0)}


class Share:
    """One worker's connections."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._target = parse_target(job.target)
        self._seconds = job.seconds
        self._recorder = recorder
        opening = DIALECTS[job.dialect].subscriber(
            self._target.path, self._target.authority, f"load-{job.key}"
        )
        self._connections = [
            (number, HeldConnection(opening, self._count_ping))
            for number in job.share(job.read_options(Options).connections)
        ]

    async def open(self) -> None:
        """Open all connections."""
        await connect_all(self._target, self._connections)

    async def run(self) -> None:
        """Hold them, and count how many are left."""
        try:
            await asyncio.sleep(self._seconds)
        finally:
            lost_count = sum(connection.is_lost for _, connection in self._connections)
            self._recorder.add("lost", lost_count)

    async def close(self) -> None:
        """Drop all connections."""
        for _, connection in self._connections:
            connection.abort()

    def _count_ping(self) -> None:
        self._recorder.add(EVENTS)
