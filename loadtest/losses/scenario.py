"""Looks for silent losses: clients stall, vanish and come back while the gateway is restarted.

Clients keep nothing but their positions between visits, and come by WebSocket (JSON and
MessagePack), server-sent events and long-poll in any order; publishers publish over WebSocket and
POST /publish. Whatever a client is given is compared with what was acknowledged.
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from loadtest.errors import LoadError, Unreachable
from loadtest.fetch import fetch, fetch_json
from loadtest.losses.campaign import Campaign
from loadtest.losses.clients import Client
from loadtest.losses.history import Historian
from loadtest.losses.ledger import Ledger
from loadtest.losses.verdict import FAULTS, Reader, Tally
from loadtest.options import read_count, read_number
from loadtest.own_gateway import SIGNALS, OwnGateway
from loadtest.wire import WireError
from protocol.cursor import Position

EXAMPLES: Final = """\
examples:
  python -m loadtest losses
      starts a gateway of its own with small bounds, and restarts it again and again
  python -m loadtest losses --data --restart kill --seconds 300 --seed 7
      with logs on disk, which must outlive SIGKILL with everything that was acknowledged
  python -m loadtest losses --target http://127.0.0.1:8080
      against a gateway that runs, without restarts

Ctrl-C prints what was checked so far. The first faults are told in full.
"""

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this scenario to parser."""
    add = parser.add_argument
    add("--target", help="the URL of a gateway that runs; default: one of its own")
    add("--data", action="store_true", help="have its own gateway keep logs on disk (`--data`)")
    add("--restart", choices=_WAYS, default="both", help="default: both")
    add("--restart-every", type=read_number, default=4.0, metavar="S", help="default: 4")
    add("--restarts", type=read_count, metavar="N", help="end S seconds after so many, if earlier")
    add("--seconds", type=read_number, default=30.0, help="default: 30")
    add("--clients", type=read_count, default=40, help="default: 40")
    add("--channels", type=read_count, default=6, help="default: 6")
    add("--publishers", type=read_count, default=4, help="default: 4")
    add("--rate", type=read_number, default=400.0, help="publications/s of all (default: 400)")
    add("--stall", type=read_number, default=2.0, metavar="S", help="at most; default: 2")
    add("--seed", type=int, help="repeats the whims of a run, not its timing; default: any")
    add("--json", action="store_true", help="print the result as JSON")


async def run(arguments: argparse.Namespace) -> int:
    """Run as the options say, print what was found, and return 1 for any fault, else 0."""
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(1_000_000)
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder:
        losses = Losses(arguments, Path(folder))
        was_interrupted = await losses.run()
        result = losses.result()
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name.replace('_', ' '):28}{value}")
    for case in losses.tally.cases:
        print(case, file=sys.stderr)
    if losses.tally.faults.total():
        return 1
    return 130 if was_interrupted else 0


class Losses:
    """One run with the options of the command line; folder is for its gateway's files."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.tally = Tally()
        self.ledger = Ledger()
        self._options = arguments
        self._rng = random.Random(arguments.seed)
        self._gateway: OwnGateway | None = None
        if arguments.target is None:
            self._gateway = OwnGateway(folder, _CONFIG, is_durable=arguments.data)
            self._address = self._gateway.address
        else:
            self._address = _read_target(arguments.target)
        prefix = f"losses-{secrets.token_hex(4)}"
        self._channels = [f"{prefix}-{number}" for number in range(arguments.channels)]
        self._clients = [self._make_client(number) for number in range(arguments.clients)]
        self._has_caught_up = False

    async def run(self) -> bool:
        """Run to the end; return whether Ctrl-C ended it before."""
        reporting = asyncio.create_task(self._report())
        try:
            if self._gateway is not None:
                await self._gateway.start()
            else:
                await self._check_target()
            await self._disturb()
            try:
                await self._catch_up()
            except (OSError, WireError) as error:
                self.tally.fault("wrong", f"at the end: {type(error).__name__}: {error}")
            return False
        except asyncio.CancelledError:
            return True
        finally:
            reporting.cancel()
            if self._gateway is not None:
                await self._gateway.stop()
                self._judge_log(self._gateway)

    def result(self) -> dict[str, object]:
        """Return what was tried and what was found, by names in the order of reading."""
        tally = self.tally
        return {
            "seed": self._options.seed,
            "clients": len(self._clients),
            "restarts": self._restart_count,
            "visits": dict(tally.visits),
            "publications_acknowledged": self.ledger.acknowledged_count,
            "publications_repeated": self.ledger.repeated_count,
            "deliveries_checked": tally.delivery_count,
            "gaps": dict(tally.gaps),
            "publications_in_gaps": tally.announced_count,
            "all_caught_up": self._has_caught_up,
            **{kind: tally.faults[kind] for kind in FAULTS},
        }

    @property
    def _restart_count(self) -> int:
        return self._gateway.restart_count if self._gateway else 0

    def _make_client(self, number: int) -> Client:
        rng = random.Random(self._rng.random())
        count = min(_CHANNELS_PER_CLIENT, len(self._channels))
        channels = rng.sample(self._channels, rng.randint(1, count))
        reader = Reader(f"client {number}", self.tally, self.ledger, is_durable=self._options.data)
        return Client(self._address, channels, reader, rng, self._options.stall)

    async def _check_target(self) -> None:
        """Raise LoadError where no gateway answers, which to clients looks like a long restart."""
        target = self._options.target
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
            async with asyncio.timeout(self._options.seconds):
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
        campaign = Campaign(number, self._address, self._channels, self.ledger, self.tally, rng)
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
            count = self.ledger.count_vanished(channel, end.epoch, end.offset)
            if count:
                text = f"{channel}: publications behind the end {end} were acknowledged"
                self.tally.fault("lost", text, count)
        await asyncio.gather(*(client.catch_up(ends) for client in self._clients))
        historian = Historian(self._address, self.tally, self.ledger, self._rng)
        for channel, end in ends.items():
            await historian.judge(channel, end)
        for problem in self.ledger.find_misplaced():
            self.tally.fault("reordered", problem)
        self._has_caught_up = True

    async def _read_ends(self) -> dict[str, Position]:
        query = "&".join(f"channel={channel}" for channel in self._channels)
        places = (await fetch_json(self._address, f"/poll?{query}&timeout=0"))["positions"]
        return {name: Position(place["epoch"], place["offset"]) for name, place in places.items()}

    async def _report(self) -> None:
        """Tell once a second on stderr how far it is."""
        for second in range(1, 1_000_000):
            await asyncio.sleep(1)
            print(
                f"{second} s: {self.ledger.acknowledged_count} publications,"
                f" {self.tally.delivery_count} deliveries, {self.tally.gaps.total()} gaps,"
                f" {self._restart_count} restarts,"
                f" {self.tally.faults.total()} faults",
                file=sys.stderr,
            )

    def _judge_log(self, gateway: OwnGateway) -> None:
        """Take an error that the gateway logged for a fault."""
        log = gateway.read_log()
        if "ERROR" in log or "Traceback" in log:
            self.tally.fault("wrong", f"the gateway logged an error:\n{log[-4000:]}")


def _start(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(coroutine)


def _read_target(target: str) -> tuple[str, int]:
    url = urlsplit(target)
    if url.scheme != "http" or url.hostname is None:
        raise LoadError(f"{target!r} is not an http:// URL")
    return url.hostname, url.port or 80
