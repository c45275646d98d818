"""HTTP responses: connections, each with the next GET as soon as the last one is answered.

Without --target a server of a few lines is started for it, loadtest/servers/plain.py, which answers
with gateway.web.Response(text="OK"). Every answer must have status 200 and the first one's length.
"""

import argparse
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.clients.caller import Caller, Calls, find_faults
from loadtest.clients.connection import connect_all, parse_target
from loadtest.clients.dialects import Opening
from loadtest.clients.wire import End, Head, ResponseDecoder
from loadtest.job import Job
from loadtest.options import read_count
from loadtest.recorder import Recorder
from loadtest.result import Figure
from loadtest.scenario import Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest response
  python -m loadtest response --connections 1000 --seconds 30
  gateway serve & python -m loadtest response --target http://127.0.0.1:8080/healthz --pid $!
"""
EVENTS: Final = "requests"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = {}

_GOOD_BEGIN: Final = b"HTTP/1.1 200 "


class Options(msgspec.Struct, frozen=True):
    """So many connections, each with one request at a time."""

    connections: int = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    parser.add_argument("--connections", type=read_count, default=64, help="default: %(default)s")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return nothing: what all scenarios show says it all."""
    return []


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many requests had no answer, and how many another than the first one."""
    return find_faults(totals.counts)


class _Client(Caller):
    """One connection. How long an answer is, with its head, it learns from the last one decoded."""

    __slots__ = ("_body_length", "_decoder")

    def __init__(self, calls: Calls, request: bytes) -> None:
        super().__init__(calls, Opening(b"", b""), request, _GOOD_BEGIN)
        self._decoder = ResponseDecoder()
        self._body_length: str | None = None

    def decode(self, data: bytes) -> tuple[int, bool]:
        """Count answers, those that are not like the first as wrong, too."""
        was_between = self._decoder.is_between
        count = 0
        for event in self._decoder.feed(data):
            if isinstance(event, Head):
                self._judge(event)
            elif isinstance(event, End):
                count += 1
        is_between = self._decoder.is_between
        self._length = len(data) if count == 1 and was_between and is_between else 0
        return count, is_between

    def _judge(self, head: Head) -> None:
        length = head.headers.get("content-length")
        if self._body_length is None:
            if head.status != 200 or length is None:
                self._calls.fail(
                    f"the target answered with status {head.status} and Content-Length {length};"
                    " --target must name a page with status 200 and a length"
                )
            self._body_length = length
        elif head.status != 200 or length != self._body_length:
            self._calls.note_wrong()


class Share:
    """One worker's connections."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._seconds = job.seconds
        self._target = parse_target(job.target, "/")
        self._calls = Calls(recorder, EVENTS)
        request = f"GET {self._target.path} HTTP/1.1\r\nHost: {self._target.authority}\r\n\r\n"
        total = job.read_options(Options).connections
        self._clients = [
            (number, _Client(self._calls, request.encode())) for number in job.share(total)
        ]

    async def open(self) -> None:
        """Connect all."""
        await connect_all(self._target, self._clients)

    async def run(self) -> None:
        """Have requests answered."""
        await self._calls.run([client for _, client in self._clients], 1, self._seconds)

    async def close(self) -> None:
        """Drop all connections."""
        for _, client in self._clients:
            client.abort()
