"""Looks for silent losses: clients stall, vanish and come back while the gateway is restarted.

Clients keep nothing but their positions between visits, and come by WebSocket (JSON and
MessagePack), server-sent events and long-poll in any order; publishers publish over WebSocket and
POST /publish. Whatever a client is given is compared with what was acknowledged. The first faults
are told in full on stderr.
"""

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from loadtest.clients.connection import parse_target
from loadtest.clients.fetch import fetch, fetch_json
from loadtest.clients.wire import WireError
from loadtest.errors import LoadError, Unreachable
from loadtest.job import Job
from loadtest.losses.campaign import Campaign
from loadtest.losses.clients import Client
from loadtest.losses.history import Historian
from loadtest.losses.ledger import Ledger
from loadtest.losses.verdict import FAULTS, Reader, Tally
from loadtest.options import read_count, read_number
from loadtest.own_gateway import SIGNALS, OwnGateway
from loadtest.recorder import Recorder
from loadtest.result import Figure
from loadtest.scenario import OWN_GATEWAY, Totals
from protocol.cursor import Position

EXAMPLES: Final = """\
examples:
  python -m loadtest losses
      starts a gateway of its own with small bounds, and restarts it again and again
  python -m loadtest losses --data --restart kill --seconds 300 --seed 7
      with logs on disk, which must outlive SIGKILL with everything that was acknowledged
  python -m loadtest losses --target ws://127.0.0.1:8080/ws
      against a gateway that runs, without restarts
"""
EVENTS: Final = "deliveries"
HAS_DURATION: Final = True
GATEWAY: Final = None

# Small enough that clients which stay away or stall for a second find that the log has moved on.
_CONFIG: Final = """\
[server]
shutdown_timeout_s = 2.0
[websocket]
high_water_bytes = 16384
[sse]
high_water_bytes = 16384
[channels]
history_count = 150
history_bytes = 131072
lag_count = 300
lag_bytes = 262144
lag_age_s = 5.0
max_idempotency_keys = 100000
[heartbeat]
interval_s = 2.0
[longpoll]
max_response_bytes = 65536
"""
_CHANNELS_PER_CLIENT: Final = 3
# How the gateway is stopped, one way after the other.
_WAYS: Final = {"both": ("kill", "term"), "kill": ("kill",), "term": ("term",), "none": ("none",)}
# How often it is counted what was delivered, so that every second can be shown.
_COUNTING_S: Final = 0.25
# The counts that are figures, in the order of reading; of some there is one for each kind.
_FIGURES: Final = (
    "restarts",
    "visits by ",
    "publications acknowledged",
    "publications repeated",
    "gaps for ",
    "publications in gaps",
    "clients caught up",
)


class Options(msgspec.Struct, frozen=True):
    """What the help says; the seed repeats the whims of a run, not its timing."""

    data: bool = False
    restart: Literal["both", "kill", "term", "none"] = "both"
    restart_every: float = 4.0
    restarts: int | None = None
    clients: int = 40
    channels: int = 6
    publishers: int = 4
    rate: float = 400.0
    stall: float = 2.0
    seed: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    parser.set_defaults(seconds=30.0)
    add = parser.add_argument
    add("--data", action="store_true", help="have its own gateway keep logs on disk (`--data`)")
    add("--restart", choices=_WAYS, default="both", help="default: both")
    add("--restart-every", type=read_number, default=4.0, metavar="S", help="default: 4")
    add("--restarts", type=read_count, metavar="N", help="end S seconds after so many, if earlier")
    add("--clients", type=read_count, default=40, help="default: 40")
    add("--channels", type=read_count, default=6, help="default: 6")
    add("--publishers", type=read_count, default=4, help="default: 4")
    add("--rate", type=read_number, default=400.0, help="publications/s of all (default: 400)")
    add("--stall", type=read_number, default=2.0, metavar="S", help="at most; default: 2")
    add(
        "--seed",
        type=int,
        default=secrets.randbelow(1_000_000),
        help="repeats the whims of a run, not its timing; default: any",
    )


def figures(totals: Totals, options: Options) -> list[Figure]:
    """Return what was tried, and what clients were told."""
    counts = sorted(totals.counts.items())
    return [
        Figure(name, count)
        for wanted in _FIGURES
        for name, count in counts
        if name == wanted or (wanted.endswith(" ") and name.startswith(wanted))
    ]


def faults(totals: Totals, options: Options) -> dict[str, int]:
    """Return what broke the promise, by kind."""
    return {kind: totals.counts.get(kind, 0) for kind in FAULTS}


class Share:
    """The whole search, in a single worker."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        if job.workers > 1:
            raise LoadError("losses runs in a single worker: leave --workers out")
        self._job = job
        self._options = options = job.read_options(Options)
        self._recorder = recorder
        self._tally = Tally()
        self._ledger = Ledger()
        self._told_count = 0  # deliveries that the recorder knows of
        self._rng = random.Random(options.seed)
        self._folder = tempfile.TemporaryDirectory(prefix="loadtest-")
        self._gateway: OwnGateway | None = None
        if job.target == OWN_GATEWAY:
            folder = Path(self._folder.name)
            self._gateway = OwnGateway(folder, _CONFIG, is_durable=options.data)
            self._address = self._gateway.address
        else:
            target = parse_target(job.target)
            self._address = target.host, target.port
        self._channels = [f"losses-{job.key}-{number}" for number in range(options.channels)]
        self._clients = [self._make_client(number) for number in range(options.clients)]

    async def open(self) -> None:
        """Start a gateway, or see that there is one."""
        if self._gateway is not None:
            await self._gateway.start()
        else:
            await self._check_target()

    async def run(self) -> None:
        """Search, and count what was found."""
        counting = _start(self._count_again_and_again())
        caught_up_count = 0
        try:
            await self._disturb()
            try:
                await self._catch_up()
                caught_up_count = len(self._clients)
            except (OSError, WireError) as error:
                self._tally.fault("wrong", f"at the end: {type(error).__name__}: {error}")
        finally:
            counting.cancel()
            if self._gateway is not None:
                await self._gateway.stop()
                self._judge_log(self._gateway)
            self._recorder.add("clients caught up", caught_up_count)
            self._count()
            for case in self._tally.cases:
                print(case, file=sys.stderr)

    async def close(self) -> None:
        """Stop its own gateway."""
        if self._gateway is not None:
            await self._gateway.stop()
        self._folder.cleanup()

    async def _count_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(_COUNTING_S)
            self._count_deliveries()

    def _count_deliveries(self) -> None:
        count = self._tally.delivery_count
        self._recorder.add(EVENTS, count - self._told_count)
        self._told_count = count

    def _count(self) -> None:
        """Have the recorder know of everything that the ledger and the tally do."""
        self._count_deliveries()
        add, tally = self._recorder.add, self._tally
        add("restarts", self._restart_count)
        add("publications acknowledged", self._ledger.acknowledged_count)
        add("publications repeated", self._ledger.repeated_count)
        add("publications in gaps", tally.announced_count)
        for transport, count in tally.visits.items():
            add(f"visits by {transport}", count)
        for reason, count in tally.gaps.items():
            add(f"gaps for {reason}", count)
        for kind, count in tally.faults.items():
            add(kind, count)

    @property
    def _restart_count(self) -> int:
        return self._gateway.restart_count if self._gateway else 0

    def _make_client(self, number: int) -> Client:
        rng = random.Random(self._rng.random())
        count = min(_CHANNELS_PER_CLIENT, len(self._channels))
        channels = rng.sample(self._channels, rng.randint(1, count))
        reader = Reader(
            f"client {number}", self._tally, self._ledger, is_durable=self._options.data
        )
        return Client(self._address, channels, reader, rng, self._options.stall)

    async def _check_target(self) -> None:
        """Raise LoadError where no gateway answers, which to clients looks like a long restart."""
        target = self._job.target
        try:
            await fetch(self._address, "/healthz")
        except (TimeoutError, WireError) as error:
            raise LoadError(f"{target} does not answer as a gateway: {error!r}") from error
        except OSError as error:
            raise Unreachable(target, error) from error

    async def _disturb(self) -> None:
        """Have clients roam and publishers publish, with restarts in between, then end both."""
        ending = asyncio.Event()
        roaming = [_start(client.roam(ending)) for client in self._clients]
        publishing = [
            _start(self._publish(number, ending))
            for number in range(1, self._options.publishers + 1)
        ]
        restarting = _start(self._restart_again_and_again(ending))
        try:
            async with asyncio.timeout(self._job.seconds):
                tasks = [restarting, *roaming, *publishing]
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                done.pop().result()  # nothing else ends by itself but by an exception
        except TimeoutError:
            pass
        finally:
            ending.set()
            await asyncio.gather(restarting, *roaming, *publishing)

    def _publish(self, number: int, ending: asyncio.Event) -> Coroutine[Any, Any, None]:
        rng = random.Random(self._rng.random())
        campaign = Campaign(number, self._address, self._channels, self._ledger, self._tally, rng)
        return campaign.publish(self._options.rate / self._options.publishers, ending)

    async def _restart_again_and_again(self, ending: asyncio.Event) -> None:
        """Restart its own gateway as often as it shall be, or until ending is set.

        It is left running.
        """
        for how in cycle(_WAYS[self._options.restart]):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.restart_every):
                    await ending.wait()
            if ending.is_set() or self._restart_count == self._options.restarts:
                return
            if self._gateway is not None and how in SIGNALS:
                await self._gateway.restart(how)

    async def _catch_up(self) -> None:
        """Have every client come to the end of its channels, and judge the whole."""
        ends = await self._read_ends()
        for channel, end in ends.items():
            count = self._ledger.count_vanished(channel, end.epoch, end.offset)
            if count:
                text = f"{channel}: publications behind the end {end} were acknowledged"
                self._tally.fault("lost", text, count)
        await asyncio.gather(*(client.catch_up(ends) for client in self._clients))
        historian = Historian(self._address, self._tally, self._ledger, self._rng)
        for channel, end in ends.items():
            await historian.judge(channel, end)
        for problem in self._ledger.find_misplaced():
            self._tally.fault("reordered", problem)

    async def _read_ends(self) -> dict[str, Position]:
        query = "&".join(f"channel={channel}" for channel in self._channels)
        places = (await fetch_json(self._address, f"/poll?{query}&timeout=0"))["positions"]
        return {name: Position(place["epoch"], place["offset"]) for name, place in places.items()}

    def _judge_log(self, gateway: OwnGateway) -> None:
        """Take an error that the gateway logged for a fault."""
        log = gateway.read_log()
        if "ERROR" in log or "Traceback" in log:
            self._tally.fault("wrong", f"the gateway logged an error:\n{log[-4000:]}")


def _start(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(coroutine)
