"""Echo: clients whose text messages come back, each with so many under way at a time.

Without --target a server of a few lines is started for it, loadtest/servers/echo.py, which echoes
with gateway.web.WebSocketResponse. The scenario `command` asks the gateway itself.
"""

import argparse
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.clients.caller import Calls, FrameCaller, find_faults
from loadtest.clients.connection import connect_all, parse_target
from loadtest.clients.dialects import Opening, mask_text, upgrade
from loadtest.job import Job
from loadtest.options import read_count
from loadtest.recorder import Recorder
from loadtest.result import Figure
from loadtest.scenario import Totals
from protocol.frames import TEXT, encode_frame

EXAMPLES: Final = """\
examples:
  python -m loadtest echo
  python -m loadtest echo --clients 1000 --in-flight 8 --bytes 1024 --seconds 30
  python -m loadtest.servers.echo --port 8081 &
  python -m loadtest echo --target ws://127.0.0.1:8081/ --pid $!
"""
EVENTS: Final = "messages"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = {}


class Options(msgspec.Struct, frozen=True):
    """So many clients, each with so many messages of so many bytes under way."""

    clients: int = 100
    in_flight: int = 1
    bytes: int = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--clients", type=read_count, default=100, help="default: %(default)s")
    add("--in-flight", type=read_count, default=1, help="of each client; default: %(default)s")
    add("--bytes", type=read_count, default=64, help="of each message; default: %(default)s")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return nothing: what all scenarios show says it all."""
    return []


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many messages did not come back, and how many came back as something else."""
    return find_faults(totals.counts)


class Share:
    """One worker's clients."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        options = job.read_options(Options)
        self._seconds = job.seconds
        self._in_flight = options.in_flight
        self._target = parse_target(job.target, "/")
        self._calls = Calls(recorder, EVENTS)
        opening = Opening(upgrade(self._target.path, self._target.authority), b"\r\n\r\n")
        text = b"x" * options.bytes
        self._clients = [
            (number, FrameCaller(self._calls, opening, mask_text(text), encode_frame(TEXT, text)))
            for number in job.share(options.clients)
        ]

    async def open(self) -> None:
        """Connect all."""
        await connect_all(self._target, self._clients)

    async def run(self) -> None:
        """Have messages go to and fro."""
        clients = [client for _, client in self._clients]
        await self._calls.run(clients, self._in_flight, self._seconds)

    async def close(self) -> None:
        """Drop all connections."""
        for _, client in self._clients:
            client.abort()
