"""Fan-out: one publisher, one channel, many subscribers, so many publications in flight."""

import argparse
import asyncio
import json
import secrets
import time
from typing import Final, NamedTuple

from loadtest.client import LoadConnection, LoadError, connect, open_subscribers
from loadtest.options import read_count, read_number
from loadtest.process import ProcessStats
from protocol.codec import JSON
from protocol.frames import TEXT, encode_frame
from protocol.publication import Data, Publication

EXAMPLES: Final = """\
examples:
  GATEWAY_SESSION__COMMANDS_PER_S=0 gateway serve &
  python -m loadtest fanout --subscribers 1000 --in-flight 64 --pid $!
"""

# Without any delivery for so long the target has lost something, or stands still.
_PATIENCE_S = 10.0
_RATE_LIMITED: Final = (
    "the target limits how much its clients publish; for this scenario start it with"
    " GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    parser.add_argument("--target", default="ws://127.0.0.1:8080/ws", help="default: %(default)s")
    parser.add_argument("--subscribers", type=read_count, default=1000, help="default: %(default)s")
    parser.add_argument(
        "--in-flight", type=read_count, default=1, help="publications sent at once (default: 1)"
    )
    parser.add_argument("--bytes", type=read_count, default=64, help="data of each (default: 64)")
    parser.add_argument("--seconds", type=read_number, default=5.0, help="default: %(default)s")
    parser.add_argument("--pid", type=int, help="the server's process, for its CPU and memory")


async def run(arguments: argparse.Namespace) -> int:
    """Measure as the options say, print it, and return 1 where a delivery is missing, else 0."""
    scenario = Fanout(
        arguments.target,
        subscriber_count=arguments.subscribers,
        in_flight_count=arguments.in_flight,
        data_bytes=arguments.bytes,
    )
    server = ProcessStats(arguments.pid) if arguments.pid else None
    result = await scenario.run(seconds=arguments.seconds, server=server)
    _print(result)
    return 1 if result.missing_bytes else 0


class FanoutResult(NamedTuple):
    """What one run measured; the server's figures are None where no pid was given."""

    subscribers: int
    publications: int
    deliveries_per_s: float
    missing_bytes: int
    driver_cpu_share: float
    server_us_per_delivery: float | None
    server_rss_kib: int | None


class Fanout:
    """One run against target, a ws:// URL, with data_bytes of data in every publication."""

    def __init__(
        self, target: str, *, subscriber_count: int, in_flight_count: int, data_bytes: int
    ) -> None:
        self._target = target
        self._subscriber_count = subscriber_count
        self._in_flight_count = in_flight_count
        self._channel = f"loadtest-{secrets.token_hex(4)}"
        self._data = json.dumps("x" * max(data_bytes - 2, 0))
        self._missing_bytes = 0
        self._refusal = b""
        self._progress = asyncio.Event()
        self._connections: list[LoadConnection] = []

    async def run(self, *, seconds: float, server: ProcessStats | None) -> FanoutResult:
        """Connect, publish for so many seconds, and close.

        Raises LoadError when connecting fails; deliveries that do not come are counted.
        """
        try:
            self._connections += await open_subscribers(
                self._target, self._subscriber_count, self._channel, self._take
            )
            return await self._measure(seconds, server)
        finally:
            for connection in self._connections:
                connection.asyncio_transport.abort()

    async def _measure(self, seconds: float, server: ProcessStats | None) -> FanoutResult:
        publisher = await connect(
            self._target, b'{"type":"ping","id":1}', b'"pong"', self._see_refusal
        )
        self._connections.append(publisher)
        command = {"type": "publish", "channel": self._channel, "data": json.loads(self._data)}
        messages = [json.dumps(command).encode()] * self._in_flight_count
        cpu_before = server.cpu_s() if server else 0.0
        driver_before, started = time.process_time(), time.perf_counter()
        published = 0
        while time.perf_counter() - started < seconds and await self._wait_delivered():
            self._missing_bytes += self._subscriber_count * sum(
                self._delivery_bytes(published + number)
                for number in range(1, self._in_flight_count + 1)
            )
            publisher.send(messages)
            published += self._in_flight_count
        await self._wait_delivered()
        elapsed_s = time.perf_counter() - started
        deliveries = published * self._subscriber_count
        cpu_s = server.cpu_s() - cpu_before if server else 0.0
        return FanoutResult(
            subscribers=self._subscriber_count,
            publications=published,
            deliveries_per_s=deliveries / elapsed_s,
            missing_bytes=self._missing_bytes,
            driver_cpu_share=(time.process_time() - driver_before) / elapsed_s,
            server_us_per_delivery=cpu_s * 1e6 / deliveries if server else None,
            server_rss_kib=server.rss_kib() if server else None,
        )

    def _delivery_bytes(self, offset: int) -> int:
        """Return how long the frame is that brings this publication to a subscriber."""
        publication = Publication(offset, Data(self._data.encode()), 0.0)
        return len(encode_frame(TEXT, JSON.encode_message(self._channel, publication)))

    def _take(self, _: LoadConnection, data: bytes) -> None:
        self._missing_bytes -= len(data)
        self._progress.set()

    def _see_refusal(self, _: LoadConnection, data: bytes) -> None:
        """Keep what the publisher hears, which publishes without ids: errors, or pings."""
        if b'"error"' in data or b'"closing"' in data:
            self._refusal += data
            self._progress.set()

    def _check_refusal(self) -> None:
        if b'"rate_limited"' in self._refusal:
            raise LoadError(_RATE_LIMITED)
        if self._refusal:
            raise LoadError(f"the target refused to publish: {self._refusal[:200]!r}")

    async def _wait_delivered(self) -> bool:
        """Return whether everything published has arrived, False if nothing arrives any more."""
        while self._missing_bytes > 0:
            self._progress.clear()
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._progress.wait()
            except TimeoutError:
                return False
            self._check_refusal()
        return self._missing_bytes == 0


def _print(result: FanoutResult) -> None:
    for name, value in result._asdict().items():
        text = "not measured" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
        print(f"{name.replace('_', ' '):24}{text}")
    if result.driver_cpu_share > 0.9:
        print("the driver used a whole core: the server may be faster than this says")
