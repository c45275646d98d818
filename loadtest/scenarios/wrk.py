"""HTTP responses, asked for by wrk, in C, in place of `response`.

It costs less than a client in Python, so comparisons use it where it is installed.
"""

import argparse
import asyncio
import math
import re
import resource
import shutil
import signal
from collections.abc import Mapping
from typing import Final

import msgspec

from loadtest.clients.connection import LoadConnection, connect, parse_target
from loadtest.clients.dialects import Opening
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.options import read_count
from loadtest.recorder import Recorder
from loadtest.result import Figure
from loadtest.scenario import Totals

EXAMPLES: Final = """\
examples:
  python -m loadtest wrk
  python -m loadtest wrk --connections 256 --seconds 10
"""
EVENTS: Final = "requests"
HAS_DURATION: Final = True
GATEWAY: Final[Mapping[str, str]] = {}

_REQUESTS: Final = re.compile(r"(\d+) requests in ")
_WRONG: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_ERRORS: Final = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


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
    """Return how many requests failed, and how many had another status than success."""
    return {name: totals.counts.get(name, 0) for name in ("failed", "wrong")}


def is_installed() -> bool:
    """Tell whether there is a wrk on the path."""
    return shutil.which("wrk") is not None


class Share:
    """One worker's connections: one wrk with one thread. It tells of all at its end."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self._job = job
        self._target = parse_target(job.target, "/")
        self._recorder = recorder
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Look for wrk, and whether anybody is there: wrk connects by itself."""
        if not is_installed():
            raise LoadError("wrk is not installed; the scenario `response` needs none")
        probe = LoadConnection(Opening(b"", b""))
        await connect(self._target, probe)
        probe.abort()

    async def run(self) -> None:
        """Have wrk run, and take over what it has counted."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            output, _ = await self._process.communicate()
        except asyncio.CancelledError:
            self._process.send_signal(signal.SIGINT)  # at which it tells of what it has so far
            output, _ = await self._process.communicate()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)  # it is the only one
        self._recorder.add_cpu(used.ru_utime + used.ru_stime)
        self._take(output.decode(errors="replace"))

    async def close(self) -> None:
        """End wrk where it still runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.communicate()

    def _command(self) -> list[str]:
        connections = len(self._job.share(self._job.read_options(Options).connections))
        seconds = max(1, math.ceil(self._job.seconds))
        url = f"http://{self._target.authority}{self._target.path}"
        return ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", url]

    def _take(self, output: str) -> None:
        counts = read_report(output)
        if counts is None:
            raise LoadError(f"wrk could not measure: {' '.join(output.split())}")
        for name, count in counts.items():
            self._recorder.add(name, count)


def read_report(output: str) -> dict[str, int] | None:
    """Return what wrk has counted: requests, and those that failed or were wrong; None if nothing.

    Those that were wrong are among the requests, those that failed are not.
    """
    requests = _REQUESTS.search(output)
    if requests is None:
        return None
    wrong, errors = _WRONG.search(output), _ERRORS.search(output)
    return {
        EVENTS: int(requests[1]),
        "wrong": int(wrong[1]) if wrong else 0,
        "failed": sum(int(count) for count in errors.groups()) if errors else 0,
    }
