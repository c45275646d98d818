"""Fan-out: one publisher, some channels, many subscribers of each.

Without --rate it publishes as many at once as --in-flight says, and as many again as soon as all
are delivered. With --rate it publishes at that rate whatever arrives, and a latency counts from
when its publication was due, so a server that stands still cannot hide what waited meanwhile.
"""

import argparse
from collections.abc import Mapping
from typing import Final

from loadtest.clients.connection import parse_target
from loadtest.clients.dialects import DIALECTS, Dialect, Opening, offer_deflate
from loadtest.clients.receivers import Receiver, StalledReceiver
from loadtest.clients.wire import EventWalker, FrameWalker
from loadtest.deliveries import Deliveries, Log
from loadtest.errors import LoadError
from loadtest.fan import (
    Fan,
    FanOptions,
    add_fan_arguments,
    add_stalled_argument,
    find_fan_faults,
    find_fan_figures,
)
from loadtest.job import Job
from loadtest.recorder import Recorder
from loadtest.result import Figure
from loadtest.scenario import UNLIMITED, Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest fanout --subscribers 1000 --in-flight 64
  python -m loadtest fanout --channels 100 --subscribers 10 --in-flight 64
  python -m loadtest fanout --subscribers 1000 --rate 50 --seconds 30
  python -m loadtest fanout --bytes 1024 --deflate
  python -m loadtest fanout --stalled 10
  GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0 gateway serve &
  python -m loadtest fanout --target ws://127.0.0.1:8080/ws --pid $!
"""
EVENTS: Final = "deliveries"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = {
    **UNLIMITED,
    "GATEWAY_HEARTBEAT__INTERVAL_S": "600",  # or --stalled subscribers would be dropped
}


class Options(FanOptions, frozen=True):
    """A fan-out over WebSocket, in MessagePack or JSON, compressed or not.

    So many percent of the subscribers stall.
    """

    stalled: int = 0
    msgpack: bool = False
    deflate: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add_fan_arguments(parser, Options())
    add_stalled_argument(parser)
    add = parser.add_argument
    add("--msgpack", action="store_true", help="in MessagePack; default: JSON")
    add("--deflate", action="store_true", help="subscribers offer permessage-deflate")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return how many publications were made."""
    return find_fan_figures(totals, options)


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many deliveries are missing, and how many came that nobody expected."""
    return find_fan_faults(totals, options)


class Share:
    """One worker's subscribers over WebSocket, and in the first worker the publisher."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._options = job.read_options(Options)
        self._target = parse_target(job.target)
        self._dialect = _find_dialect(job.dialect, self._options)
        self._fan = Fan(
            job,
            self._options,
            recorder,
            dialect=self._dialect,
            expect=self._dialect.delivery,
            subscribe=self._subscribe,
            stall=lambda channel: StalledReceiver(self._open_channel(channel)),
            stalled=self._options.stalled,
        )

    async def open(self) -> None:
        """Connect everybody."""
        await self._fan.open()

    async def run(self) -> None:
        """Publish, or follow what is published."""
        await self._fan.run()

    async def close(self) -> None:
        """Drop all connections."""
        self._fan.close()

    def _subscribe(self, deliveries: Deliveries, log: Log, channel: str) -> Receiver:
        mark = self._dialect.mark
        return Receiver(
            self._open_channel(channel),
            deliveries,
            log,
            EventWalker(mark) if mark else FrameWalker(),
            gap=self._dialect.gap,
            is_measured=not mark and not self._options.deflate,
        )

    def _open_channel(self, channel: str) -> Opening:
        target = self._target
        opening = self._dialect.subscriber(target.path, target.authority, channel)
        return offer_deflate(opening) if self._options.deflate else opening


def _find_dialect(name: str, options: Options) -> Dialect:
    if not options.msgpack:
        return DIALECTS[name]
    if name != "gateway":
        raise LoadError(f"--msgpack is for a gateway, and the target is spoken to as {name}")
    return DIALECTS["gateway-msgpack"]
