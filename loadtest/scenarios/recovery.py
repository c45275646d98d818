"""Recovery storm: many sessions resume at once, each from the same position far back in a channel.

The sessions are connected before; what is measured is what comes after they have asked, all at
once, for what they missed. A latency is how long one session takes until it has all of it. What
arrives is compared byte for byte with what was published.
"""

import argparse
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.clients.connection import Target, connect, connect_all, parse_target
from loadtest.clients.fetch import fetch_end
from loadtest.clients.follower import Follower, Transcript
from loadtest.clients.publisher import Publisher
from loadtest.clients.subscriber import Subscriber, wait_at
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.options import read_count
from loadtest.recorder import Recorder, now_us
from loadtest.result import Figure
from loadtest.scenario import UNLIMITED, Totals
from protocol.cursor import Position

EXAMPLES: Final = """\
examples:
  python -m loadtest recovery --sessions 1000 --behind 1000
  python -m loadtest recovery --sessions 5000 --behind 100 --bytes 1000 --workers 2
  GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0 gateway serve &
  python -m loadtest recovery --target ws://127.0.0.1:8080/ws --pid $! --behind 1000
      of so many publications, and of a megabyte of them, the log of a channel keeps by default
"""
EVENTS: Final = "deliveries"
HAS_DURATION: Final = False
GATEWAY: Final[Mapping[str, str]] = {
    "GATEWAY_CHANNELS__HISTORY_COUNT": "10000000",
    "GATEWAY_CHANNELS__HISTORY_BYTES": str(1024 * 1024 * 1024),
    **UNLIMITED,
}

_FORGOTTEN: Final = (
    "the target's history does not reach back so far: it needs a larger channels.history_count or"
    " channels.history_bytes, or --behind and --bytes must be less"
)
# Published before the first answer is waited for.
_IN_FLIGHT_COUNT: Final = 64
_FAULTS: Final = ("missing", "repeated", "gaps", "lost connections")


class Options(msgspec.Struct, frozen=True):
    """So many sessions, each so many publications of so many bytes of data behind."""

    sessions: int = 1000
    behind: int = 500
    bytes: int = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--sessions", type=read_count, default=1000, help="default: %(default)s")
    add("--behind", type=read_count, default=500, help="publications; default: %(default)s")
    add("--bytes", type=read_count, default=64, help="data of each; default: %(default)s")


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return how long the last session took."""
    longest_us = totals.latency.maximum() if totals.latency.count else None
    return [Figure("longest time to live", longest_us, "us")]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return what sessions missed or got twice, and gaps, though the log has kept everything."""
    return {name: totals.counts.get(name, 0) for name in _FAULTS}


class _Session(Follower):
    """One session, which counts its deliveries and notes how long it took to get them all."""

    __slots__ = ("_asked_us", "_last", "_recorder")

    def __init__(self, target: Target, recorder: Recorder) -> None:
        super().__init__(target)
        self._recorder = recorder
        self._last = self._asked_us = 0

    def follow(self, transcript: Transcript, epoch: str) -> None:
        """Ask for all of transcript, from now on."""
        self._last = transcript.last
        self._asked_us = now_us()
        super().follow(transcript, epoch)

    def arrive(self, count: int) -> None:
        """Count what has arrived."""
        self._recorder.add(EVENTS, count)
        if self.position is not None and self.position.offset == self._last:
            self._recorder.latency.record(now_us() - self._asked_us)


class Share:
    """One worker's sessions; the first worker publishes what they have missed."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._job = job
        self._options = job.read_options(Options)
        self._recorder = recorder
        self._target = parse_target(job.target)
        self._channel = f"load-{job.key}"
        self._data = "x" * max(self._options.bytes - 2, 0)
        self._transcript: Transcript
        self._publisher = Publisher(self._target)
        self._sessions = [
            (number, _Session(self._target, recorder))
            for number in job.share(self._options.sessions)
        ]

    async def open(self) -> None:
        """Publish what sessions will have missed, see that it is kept, and connect them."""
        if self._job.worker == 0:
            await connect(self._target, self._publisher)
            await self._publish()
            await self._look_back()
        await connect_all(self._target, self._sessions)
        data = f'"{self._data}"'
        self._transcript = Transcript(self._channel, data, self._options.behind)

    async def run(self) -> None:
        """Have all sessions resume at once, wait until they are live, and look at what they got."""
        epoch = (await self._find_end()).epoch
        sessions = [session for _, session in self._sessions]
        for session in sessions:
            session.follow(self._transcript, epoch)
        await wait_at(sessions, self._options.behind)
        self._judge(sessions)

    async def close(self) -> None:
        """Drop all connections."""
        for _, session in self._sessions:
            session.abort()
        self._publisher.abort()

    async def _publish(self) -> None:
        owed = self._options.behind
        while owed:
            burst = min(owed, _IN_FLIGHT_COUNT)
            refused_count = await self._publisher.publish(self._channel, self._data, burst)
            if refused_count:
                raise LoadError("the target has no room for so much history")
            owed -= burst

    async def _look_back(self) -> None:
        """Raise LoadError where the target has not kept what was published."""
        epoch, end = await self._find_end()
        reader = Subscriber(self._target, Position(epoch, end - self._options.behind))
        await connect(self._target, reader)
        try:
            reader.subscribe(self._channel)
            if not (await reader.wait_reply("subscribed"))["recovered"]:
                raise LoadError(_FORGOTTEN)
        finally:
            reader.abort()

    async def _find_end(self) -> Position:
        return await fetch_end((self._target.host, self._target.port), self._channel)

    def _judge(self, sessions: list[_Session]) -> None:
        add = self._recorder.add
        for session in sessions:
            offset = session.position.offset if session.position is not None else 0
            add("missing", session.missing_count + max(0, self._options.behind - offset))
            add("repeated", session.repeated_count)
            add("gaps", session.gap_count)
            add("lost connections", session.is_lost)
