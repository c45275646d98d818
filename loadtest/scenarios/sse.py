"""Fan-out to event streams: as `fanout`, to subscribers that are what an EventSource is.

The publisher is the one of `fanout`, over WebSocket, or by requests where that is all there is.
"""

import argparse
from collections.abc import Mapping
from typing import Final

from loadtest.clients.connection import parse_target
from loadtest.clients.dialects import DIALECTS, EVENT_DIALECTS, Opening
from loadtest.clients.receivers import EventReceiver, StalledReceiver
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
  python -m loadtest sse --subscribers 1000 --in-flight 64
  python -m loadtest sse --subscribers 1000 --rate 50 --seconds 30
  GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0 gateway serve &
  python -m loadtest sse --target ws://127.0.0.1:8080/ws --pid $!
      the publisher goes to --target, the subscribers to /sse beside it
"""
EVENTS: Final = "deliveries"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = {
    **UNLIMITED,
    "GATEWAY_HEARTBEAT__INTERVAL_S": "600",  # or --stalled subscribers would be dropped
}


class Options(FanOptions, frozen=True):
    """A fan-out to event streams, so many percent of which stall."""

    stalled: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add_fan_arguments(parser, Options())
    add_stalled_argument(parser)


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return how many publications were made."""
    return find_fan_figures(totals, options)


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many deliveries are missing, and how many came that nobody expected."""
    return find_fan_faults(totals, options)


class Share:
    """One worker's event streams, and in the first worker the publisher."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        if job.dialect not in EVENT_DIALECTS:
            raise LoadError(
                f"nobody knows the event streams of a target spoken to as {job.dialect}"
            )
        self._target = parse_target(job.target)
        self._dialect = EVENT_DIALECTS[job.dialect]
        self._epochs: dict[str, str] = {}  # by channel, as the streams tell them
        options = job.read_options(Options)
        self._fan = Fan(
            job,
            options,
            recorder,
            dialect=DIALECTS[job.dialect],
            expect=self._expect,
            subscribe=self._subscribe,
            stall=lambda channel: StalledReceiver(self._open_channel(channel)),
            stalled=options.stalled,
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

    def _expect(self, channel: str, number: int, data: str) -> bytes:
        """Return a delivery; nothing where no stream has told of its channel yet."""
        epoch = self._epochs.get(channel, "")
        return self._dialect.delivery(channel, epoch, number, data) if epoch else b""

    def _subscribe(self, deliveries: Deliveries, log: Log, channel: str) -> EventReceiver:
        return EventReceiver(
            self._open_channel(channel),
            deliveries,
            log,
            dialect=self._dialect,
            on_epoch=lambda epoch: self._epochs.__setitem__(channel, epoch),
        )

    def _open_channel(self, channel: str) -> Opening:
        return self._dialect.subscriber(self._target.path, self._target.authority, channel)
