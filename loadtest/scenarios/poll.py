"""Long-poll: clients that ask for what is newer than their cursor, again and again.

As in `fanout` there is one publisher, over WebSocket. A latency counts from when a publication was
due until an answer brought it; what comes between two polls of a client waits for the second.
"""

import argparse
import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from loadtest.clients.connection import LoadConnection, parse_target
from loadtest.clients.dialects import GatewayDialect, Opening
from loadtest.clients.fetch import fetch_json
from loadtest.clients.wire import End, Head, ResponseDecoder, ResponseEvent, WireError
from loadtest.deliveries import Deliveries, Log
from loadtest.errors import LoadError, Unreachable
from loadtest.fan import Fan, FanOptions, add_fan_arguments, find_fan_faults, find_fan_figures
from loadtest.job import Job
from loadtest.recorder import Recorder
from loadtest.result import Figure
from loadtest.scenario import UNLIMITED, Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest poll --subscribers 100
  python -m loadtest poll --subscribers 1000 --rate 5 --seconds 30
  GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0 gateway serve &
  python -m loadtest poll --target ws://127.0.0.1:8080/ws --pid $!
      the publisher goes to --target, the others to /poll beside it
"""
EVENTS: Final = "deliveries"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = UNLIMITED

# Below what proxies and this gateway cut a silent request off at.
_TIMEOUT_S: Final = 25


class Options(FanOptions, frozen=True):
    """A fan-out to clients that poll."""

    subscribers: int = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add_fan_arguments(parser, Options())


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return how many polls were answered, and what each cost the server."""
    count = totals.counts.get("polls", 0)
    cpu_us = totals.server.cpu_s * 1e6 / count if totals.server is not None and count else None
    return [
        *find_fan_figures(totals, options),
        Figure("polls", count),
        Figure("server CPU per poll", cpu_us, "us"),
    ]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return how many deliveries are missing, and how many came that nobody expected."""
    return find_fan_faults(totals, options)


class Share:
    """One worker's clients, and in the first worker the publisher."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        if job.dialect != "gateway":
            raise LoadError(f"long-polls are for a gateway, not what is spoken to as {job.dialect}")
        self._target = parse_target(job.target)
        self._path = self._target.path.partition("?")[0].rpartition("/")[0] + "/poll"
        self._cursors: dict[str, str] = {}  # by channel: where its clients begin
        self._fan = Fan(
            job,
            job.read_options(Options),
            recorder,
            dialect=GatewayDialect(),
            expect=lambda channel, number, data: b"",  # answers are decoded
            subscribe=self._subscribe,
        )

    async def open(self) -> None:
        """Ask where each channel stands, and connect everybody."""
        for channel in self._cursors:
            self._cursors[channel] = await self._fetch_cursor(channel)
        await self._fan.open()

    async def run(self) -> None:
        """Publish, or follow what is published."""
        await self._fan.run()

    async def close(self) -> None:
        """Drop all connections."""
        self._fan.close()

    def _subscribe(self, deliveries: Deliveries, log: Log, channel: str) -> "_Client":
        self._cursors[channel] = ""

        def ask(cursor: str | None) -> bytes:
            start = cursor or self._cursors[channel]
            url = f"{self._path}?channel={channel}&timeout={_TIMEOUT_S}&cursor={start}"
            return f"GET {url} HTTP/1.1\r\nHost: {self._target.authority}\r\n\r\n".encode()

        return _Client(deliveries, log, ask)

    async def _fetch_cursor(self, channel: str) -> str:
        address = self._target.host, self._target.port
        try:
            answer = await fetch_json(address, f"{self._path}?channel={channel}&timeout=0")
        except WireError as error:
            raise LoadError(f"the target is polled, and {error}") from error
        except OSError as error:
            raise Unreachable(self._target.url, error) from error
        return str(answer["cursor"])


class _Message(msgspec.Struct):
    """What an answer says of a publication, as far as it is of interest."""

    offset: int


class _Gap(msgspec.Struct):
    """What an answer says of publications that are lost: the last of them."""

    to: int


class _Answer(msgspec.Struct):
    """One answer."""

    cursor: str
    messages: list[_Message]
    gaps: list[_Gap]


_ANSWERS: Final = msgspec.json.Decoder(_Answer)


class _Client(LoadConnection):
    """One client; ask returns the poll from a cursor on, None for where everybody begins."""

    __slots__ = ("_arrived", "_ask", "_body", "_decoder", "_deliveries", "_log")

    def __init__(
        self, deliveries: Deliveries, log: Log, ask: Callable[[str | None], bytes]
    ) -> None:
        super().__init__(Opening(b"", b""))
        self._deliveries = deliveries
        self._log = log
        self._ask = ask
        self._arrived = 0  # the offset of the last publication
        self._decoder = ResponseDecoder()
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Poll for the first time."""
        super().connection_made(transport)
        self.asyncio_transport.write(self._ask(None))

    def take(self, nbytes: int) -> None:
        """Poll anew for each answer."""
        try:
            for event in self._decoder.feed(bytes(self.buffer[:nbytes])):
                self._take_event(event)
        except (WireError, msgspec.MsgspecError) as error:
            self._deliveries.fail(f"the target answered a poll with something else: {error}")

    def lost(self) -> None:
        """Tell that this client will get nothing more."""
        self._deliveries.fail("the target closed the connection of a client that polls")

    def _take_event(self, event: ResponseEvent) -> None:
        if isinstance(event, Head):
            if event.status != 200:
                raise WireError(f"status {event.status}")
        elif isinstance(event, End):
            answer, self._body = _ANSWERS.decode(self._body), b""
            self._deliveries.add("polls")
            self._take_answer(answer)
            self.asyncio_transport.write(self._ask(answer.cursor))
        else:
            self._body += event

    def _take_answer(self, answer: _Answer) -> None:
        for gap in answer.gaps:
            self._deliveries.add("gaps")
            self._arrived = max(self._arrived, gap.to)
        if answer.messages and answer.messages[-1].offset > self._log.count:
            self._deliveries.hear()
        for message in answer.messages:
            offset = message.offset
            if self._arrived < offset <= self._log.count:
                self._deliveries.take(self._log, offset - 1, offset)
                self._arrived = offset
            else:
                self._deliveries.add("surplus")
