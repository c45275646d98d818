"""One process of a run: does its share of a scenario and tells of it.

It reads its job as a line of JSON from stdin, and another line once it is to measure; the end of
stdin ends it early, whatever it is at. It writes what it has to tell as lines of JSON to stdout.
"""

import asyncio
import importlib
import os
import resource
import sys
from collections.abc import Coroutine
from typing import Any, Final, cast

import msgspec

from loadtest.errors import LoadError
from loadtest.job import Done, Failed, Job, Opened
from loadtest.recorder import Recorder, Sample
from loadtest.scenario import Scenario, Share

# How often a worker tells what it has: often enough for a picture of each second.
_SAMPLE_S: Final = 0.25


def load_scenario(name: str) -> Scenario:
    """Return the scenario module of that name."""
    return cast(Scenario, importlib.import_module(f"loadtest.scenarios.{name}"))


def main() -> int:
    """Do the job that stdin says; return 0, or 1 where it could not be done."""
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    if job.cpus:
        os.sched_setaffinity(0, job.cpus)
    _allow_files()
    with asyncio.Runner(loop_factory=find_loop_factory()) as runner:
        return runner.run(_work(job))


def find_loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop, None where there is none."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


async def _work(job: Job) -> int:
    steps = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(steps), sys.stdin.buffer
    )
    recorder = Recorder()
    try:
        share = load_scenario(job.scenario).Share(job, recorder)
        try:
            await _until_told(steps, share.open())
            # Begin with nothing of what opening took, but with what a faster worker has sent before
            # this one hears that it is to measure.
            recorder.take()
            _tell(Opened())
            if await steps.readline():
                await _measure(steps, share, recorder)
        finally:
            await share.close()
    except (LoadError, OSError) as error:
        _tell(Failed(str(error)))
        return 1
    return 0


async def _measure(steps: asyncio.StreamReader, share: Share, recorder: Recorder) -> None:
    telling = asyncio.create_task(_tell_samples(recorder))
    try:
        await _until_told(steps, share.run())
    finally:
        telling.cancel()
        _tell(recorder.take())
    _tell(Done())


async def _until_told(steps: asyncio.StreamReader, work: Coroutine[Any, Any, None]) -> None:
    """Do work to its end, or until steps ends."""
    working = asyncio.ensure_future(work)
    ending = asyncio.ensure_future(steps.readline())
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        ending.cancel()
        await asyncio.gather(working, ending, return_exceptions=True)


async def _tell_samples(recorder: Recorder) -> None:
    while True:
        await asyncio.sleep(_SAMPLE_S)
        _tell(recorder.take())


def _tell(news: Opened | Sample | Done | Failed) -> None:
    os.write(sys.stdout.fileno(), msgspec.json.encode(news) + b"\n")


def _allow_files() -> None:
    """Let this process open as many files as the system lets it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
