"""Idle cost: many subscribers of a channel in which nothing happens, who only answer pings."""

import argparse
import asyncio
import secrets
from typing import Final, NamedTuple

from loadtest.client import LoadConnection, open_subscribers
from loadtest.options import read_count, read_number
from loadtest.process import ProcessStats
from protocol.frames import PING, PONG, encode_frame, encode_masked_frame

EXAMPLES: Final = """\
examples:
  gateway serve &
  python -m loadtest idle --connections 5000 --seconds 60 --pid $!
"""

_PING: Final = encode_frame(PING, b"")
_PONG: Final = encode_masked_frame(PONG, b"", b"\0\0\0\0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    parser.add_argument("--target", default="ws://127.0.0.1:8080/ws", help="default: %(default)s")
    parser.add_argument("--connections", type=read_count, default=1000, help="default: %(default)s")
    parser.add_argument("--seconds", type=read_number, default=60.0, help="default: %(default)s")
    parser.add_argument("--pid", type=int, help="the server's process, for its CPU and memory")


async def run(arguments: argparse.Namespace) -> int:
    """Measure as the options say, print it, and return 1 where a connection was lost, else 0."""
    server = ProcessStats(arguments.pid) if arguments.pid else None
    result = await measure(
        arguments.target, count=arguments.connections, seconds=arguments.seconds, server=server
    )
    for name, value in result._asdict().items():
        text = "not measured" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
        print(f"{name.replace('_', ' '):28}{text}")
    return 1 if result.lost_connections else 0


class IdleResult(NamedTuple):
    """What one run measured; the server's figures are None where no pid was given."""

    connections: int
    lost_connections: int
    pings: int
    server_cpu_s_per_minute: float | None
    server_kib_per_connection: float | None


async def measure(
    target: str, *, count: int, seconds: float, server: ProcessStats | None
) -> IdleResult:
    """Hold count connections to target, a ws:// URL, for so many seconds after all are open.

    Raises LoadError when connecting fails, OSError once the server's process is gone.
    """
    rss_before = server.rss_kib() if server else 0
    pings_count = 0

    def answer(connection: LoadConnection, data: bytes) -> None:
        nonlocal pings_count
        if data == _PING:  # nothing else comes, and no two within one interval
            pings_count += 1
            connection.asyncio_transport.write(_PONG)

    channel = f"loadtest-{secrets.token_hex(4)}"
    connections = await open_subscribers(target, count, channel, answer)
    try:
        rss_kib = server.rss_kib() - rss_before if server else None
        cpu_before = server.cpu_s() if server else 0.0
        await asyncio.sleep(seconds)
        cpu_s = server.cpu_s() - cpu_before if server else None
        return IdleResult(
            connections=count,
            lost_connections=sum(each.asyncio_transport.is_closing() for each in connections),
            pings=pings_count,
            server_cpu_s_per_minute=None if cpu_s is None else cpu_s * 60 / seconds,
            server_kib_per_connection=None if rss_kib is None else rss_kib / count,
        )
    finally:
        for connection in connections:
            connection.asyncio_transport.abort()
