"""Slow subscribers: some read nothing while much is published, and must cost the server nothing.

Those who read must get everything, in order; the others, once they read again, what the kernel held
for them, a gap, and then the rest. The server's memory must not grow with what is owed.
"""

import argparse
import asyncio
import json
import secrets
import socket
import time
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from loadtest.errors import LoadError, Unreachable
from loadtest.options import read_count
from loadtest.process import ProcessStats
from loadtest.subscriber import Subscriber

EXAMPLES: Final = """\
examples:
  GATEWAY_HEARTBEAT__INTERVAL_S=600 GATEWAY_SESSION__BYTES_PER_S=0 gateway serve &
  python -m loadtest slow --subscribers 1000 --stalled 50 --megabytes 100 --pid $!
      delivers 95 GB, in half a minute on two cores; a shorter heartbeat would close those who
      stall, and the limit of a session hold the publisher up
"""

# A command with it stays below websocket.max_message_bytes.
_DATA_BYTES: Final = 60_000
# Published before the first answer is waited for.
_IN_FLIGHT_COUNT: Final = 4
# Before a publisher tries again that was refused because subscribers are too far behind.
_RETRY_S: Final = 0.005
# Connections that are opened at the same time: below the smallest usual listen backlog.
_OPENING_COUNT: Final = 64
# As small as the kernel lets it be: what a stalled client does not read shall wait at the server.
_STALLED_RECEIVE_BYTES: Final = 4096
# Without any progress for so long the target has lost something, or stands still.
_PATIENCE_S: Final = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--target", default="ws://127.0.0.1:8080/ws", help="default: %(default)s")
    add("--subscribers", type=read_count, default=1000, help="default: %(default)s")
    add("--stalled", type=read_count, default=50, help="of them; default: %(default)s")
    add("--megabytes", type=read_count, default=100, help="published; default: %(default)s")
    add("--pid", type=int, help="the server's process, for its memory and CPU")
    add("--json", action="store_true", help="print the result as JSON")


async def run(arguments: argparse.Namespace) -> int:
    """Run as the options say, print the result, and return 1 where something is missing, else 0."""
    server = ProcessStats(arguments.pid) if arguments.pid else None
    slow = Slow(arguments.target, arguments.subscribers, arguments.stalled)
    result = await slow.run(arguments.megabytes, server)
    if arguments.json:
        print(json.dumps(result._asdict()))
    else:
        for name, value in result._asdict().items():
            print(f"{name.replace('_', ' '):24}{value}")
    return 1 if result.fault_count else 0


class SlowResult(NamedTuple):
    """What one run found; the server's figures are None where no pid was given.

    incomplete, out_of_order, without_gap and with_gap count subscribers and should be 0: those who
    did not get to the end; who had a hole or a repetition that no gap announced; who stalled and
    had no gap; who did not stall and had one.
    """

    subscribers: int
    stalled: int
    publications: int
    refusals: int
    publishing_s: float
    delivered_gb: float
    incomplete: int
    out_of_order: int
    without_gap: int
    with_gap: int
    missed_by_stalled: int
    rss_before_kib: int | None
    rss_peak_kib: int | None
    server_cpu_s: float | None

    @property
    def fault_count(self) -> int:
        """What should be 0, summed up."""
        return self.incomplete + self.out_of_order + self.without_gap + self.with_gap


class Slow:
    """One run against target, a ws:// URL."""

    def __init__(self, target: str, subscriber_count: int, stalled_count: int) -> None:
        url = urlsplit(target)
        if url.scheme != "ws" or url.hostname is None:
            raise LoadError(f"{target!r} is not a ws:// URL")
        if stalled_count >= subscriber_count:
            raise LoadError("some subscribers must read; --stalled is at least --subscribers")
        self._address = (url.hostname, url.port or 80)
        self._url = url
        self._counts = (subscriber_count - stalled_count, stalled_count)
        self._channel = f"slow-{secrets.token_hex(4)}"
        self._buffer = bytearray(256 * 1024)
        self._subscribers: list[Subscriber] = []
        self._last = 0
        self._refusal_count = 0

    async def run(self, megabytes: int, server: ProcessStats | None) -> SlowResult:
        """Connect, publish so much, have those who stalled read again, and count.

        Raises OSError and LoadError where the target does not do its part.
        """
        try:
            return await self._run(megabytes, server)
        finally:
            for subscriber in self._subscribers:
                subscriber.asyncio_transport.abort()

    async def _run(self, megabytes: int, server: ProcessStats | None) -> SlowResult:
        healthy = await self._open_subscribers(self._counts[0], None)
        stalled = await self._open_subscribers(self._counts[1], _STALLED_RECEIVE_BYTES)
        for subscriber in stalled:
            subscriber.asyncio_transport.pause_reading()
        rss_before_kib = server.rss_kib() if server else None
        cpu_before_s = server.cpu_s() if server else 0.0
        started = time.perf_counter()
        await self._publish(megabytes * 1_000_000 // _DATA_BYTES)
        await self._wait_end(healthy)
        publishing_s = time.perf_counter() - started
        for subscriber in stalled:
            subscriber.asyncio_transport.resume_reading()
        await self._wait_end(stalled)
        everyone = [*healthy, *stalled]
        return SlowResult(
            subscribers=len(everyone),
            stalled=len(stalled),
            publications=self._last,
            refusals=self._refusal_count,
            publishing_s=round(publishing_s, 3),
            delivered_gb=round(sum(subscriber.size_bytes for subscriber in everyone) / 1e9, 3),
            incomplete=sum(subscriber.offset != self._last for subscriber in everyone),
            out_of_order=sum(subscriber.is_out_of_order for subscriber in everyone),
            without_gap=sum(not subscriber.gap_count for subscriber in stalled),
            with_gap=sum(subscriber.gap_count > 0 for subscriber in healthy),
            missed_by_stalled=sum(subscriber.missed_count for subscriber in stalled),
            rss_before_kib=rss_before_kib,
            rss_peak_kib=server.rss_peak_kib() if server else None,
            server_cpu_s=round(server.cpu_s() - cpu_before_s, 2) if server else None,
        )

    async def _open_subscribers(self, count: int, receive_bytes: int | None) -> list[Subscriber]:
        opened: list[Subscriber] = []
        for start in range(0, count, _OPENING_COUNT):
            opening = (self._open(receive_bytes) for _ in range(min(_OPENING_COUNT, count - start)))
            opened += await asyncio.gather(*opening)
        for subscriber in opened:
            subscriber.send({"type": "subscribe", "id": 1, "channel": self._channel})
            await subscriber.wait_reply("subscribed")
        return opened

    async def _open(self, receive_bytes: int | None) -> Subscriber:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        if receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            await self._reach(sock)
            _, subscriber = await loop.create_connection(
                lambda: Subscriber(self._buffer, self._url.path or "/ws", self._url.netloc),
                sock=sock,
            )
        except BaseException:
            sock.close()
            raise
        self._subscribers.append(subscriber)
        return subscriber

    async def _reach(self, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().sock_connect(sock, self._address)
        except OSError as error:
            raise Unreachable(self._url.geturl(), error) from error

    async def _publish(self, count: int) -> None:
        """Publish count publications, those that are refused again and again."""
        publisher = await self._open(None)
        command = {
            "type": "publish",
            "id": 1,
            "channel": self._channel,
            "data": "x" * (_DATA_BYTES - 2),
        }
        owed = count
        while owed:
            burst = min(owed, _IN_FLIGHT_COUNT)
            for _ in range(burst):
                publisher.send(command)
            refused = 0
            for _ in range(burst):
                reply = await publisher.wait_reply("published", "error")
                refused += reply["type"] == "error"
            owed -= burst - refused
            self._last += burst - refused
            self._refusal_count += refused
            if refused:
                await asyncio.sleep(_RETRY_S)

    async def _wait_end(self, subscribers: list[Subscriber]) -> None:
        """Return once subscribers are at the last offset, or nothing arrives any more."""
        arriving = {subscriber.expect(self._last) for subscriber in subscribers}
        size_bytes, before = 0, -1
        while arriving and size_bytes != before:
            before = size_bytes
            _, arriving = await asyncio.wait(arriving, timeout=_PATIENCE_S)
            size_bytes = sum(subscriber.size_bytes for subscriber in subscribers)
