"""Request and reply: clients that send the gateway a ping command for each pong they get.

It measures what every command goes through: decoding it, handling it, and its reply.
"""

import argparse
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.clients.caller import Calls, FrameCaller, find_faults
from loadtest.clients.connection import connect_all, parse_target
from loadtest.clients.dialects import GatewayDialect, mask_text
from loadtest.job import Job
from loadtest.options import read_count
from loadtest.recorder import Recorder
from loadtest.result import Figure
from loadtest.scenario import UNLIMITED, Totals
from protocol.codec import JSON
from protocol.frames import TEXT, encode_frame
from protocol.messages import Pong

EXAMPLES: Final = """\
examples:
  python -m loadtest command
  python -m loadtest command --clients 1000 --in-flight 8 --seconds 30
  GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0 gateway serve &
  python -m loadtest command --target ws://127.0.0.1:8080/ws --pid $!
"""
EVENTS: Final = "replies"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = UNLIMITED

_COMMAND: Final = mask_text('{"type":"ping","id":1}')
_REPLY: Final = encode_frame(TEXT, JSON.encode(Pong(id=1)))


class Options(msgspec.Struct, frozen=True):
    """So many clients, each with so many commands under way."""

    clients: int = 100
    in_flight: int = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--clients", type=read_count, default=100, help="default: %(default)s")
    add("--in-flight", type=read_count, default=1, help="of each client; default: %(default)s")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return nothing: what all scenarios show says it all."""
    return []


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many commands had no reply, and how many had another than a pong."""
    return find_faults(totals.counts)


class Share:
    """One worker's clients."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        options = job.read_options(Options)
        self._seconds = job.seconds
        self._in_flight = options.in_flight
        self._target = parse_target(job.target)
        self._calls = Calls(recorder, EVENTS)
        opening = GatewayDialect().publisher(self._target.path, self._target.authority)
        self._clients = [
            (number, FrameCaller(self._calls, opening, _COMMAND, _REPLY))
            for number in job.share(options.clients)
        ]

    async def open(self) -> None:
        """Connect all."""
        await connect_all(self._target, self._clients)

    async def run(self) -> None:
        """Have commands answered."""
        clients = [client for _, client in self._clients]
        await self._calls.run(clients, self._in_flight, self._seconds)

    async def close(self) -> None:
        """Drop all connections."""
        for _, client in self._clients:
            client.abort()
