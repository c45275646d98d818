"""The workers of one run, as the parent sees them: started, stepped, heard and ended."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import msgspec

from loadtest.errors import LoadError
from loadtest.job import Done, Failed, Job, Opened
from loadtest.recorder import Sample

# A line with the latencies of a quarter of a second: 30,000 different values at the very most.
_MAX_LINE_BYTES: Final = 1024 * 1024

_NEWS: Final = msgspec.json.Decoder(Opened | Sample | Done | Failed)


@contextlib.asynccontextmanager
async def start_crew(
    job: Job, workers: int, on_sample: Callable[[int, Sample], None]
) -> AsyncIterator["Crew"]:
    """Run so many workers on shares of job while the context lasts; on_sample hears each sample.

    Leaving the context ends those that still run, and waits for them.
    """
    crew = Crew(on_sample)
    try:
        with contextlib.ExitStack() as stack:  # each worker has its own copy of its sockets
            pairs = [_make_pair(stack) for _ in range(workers - 1)]
            for number in range(workers):
                share = msgspec.structs.replace(
                    job,
                    worker=number,
                    workers=workers,
                    leader_fd=pairs[number - 1][1] if number else None,
                    follower_fds=[] if number else [ours for ours, _ in pairs],
                )
                await crew.start(share)
        yield crew
    finally:
        await crew.end()


def _make_pair(stack: contextlib.ExitStack) -> tuple[int, int]:
    """Return two connected sockets, which are closed with stack."""
    first, second = socket.socketpair()
    return stack.enter_context(first).fileno(), stack.enter_context(second).fileno()


class Crew:
    """Some workers, each a process of its own."""

    def __init__(self, on_sample: Callable[[int, Sample], None]) -> None:
        self._on_sample = on_sample
        self._processes: list[asyncio.subprocess.Process] = []
        self._done: set[int] = set()

    async def start(self, job: Job) -> None:
        """Start one worker with its job."""
        fds = [*job.follower_fds, *([] if job.leader_fd is None else [job.leader_fd])]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "loadtest.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=fds,
            start_new_session=True,  # Ctrl-C is for us, who end it in order
            limit=_MAX_LINE_BYTES,
        )
        self._processes.append(process)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")

    async def wait_opened(self) -> None:
        """Wait until every worker has opened its share; raise LoadError where one cannot."""
        await self._each(self._hear_opened)

    async def measure(self) -> None:
        """Have all measure at once, until all have come to their end; raise LoadError as above."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"measure\n")
        await self._each(self._hear_samples)

    async def stop_early(self) -> None:
        """End the measuring, and wait for the last samples."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        await self._each(self._hear_samples)

    async def end(self) -> None:
        """Wait for all workers to end, which they do soon, whatever they are at."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(*(process.communicate() for process in self._processes))

    async def _each(
        self, hear: Callable[[int, asyncio.subprocess.Process], Coroutine[Any, Any, None]]
    ) -> None:
        async with asyncio.TaskGroup() as group:
            for number, process in enumerate(self._processes):
                group.create_task(hear(number, process))

    async def _hear_opened(self, number: int, process: asyncio.subprocess.Process) -> None:
        news = await _hear(process)
        assert isinstance(news, Opened)

    async def _hear_samples(self, number: int, process: asyncio.subprocess.Process) -> None:
        while number not in self._done:
            news = await _hear(process)
            if isinstance(news, Sample):
                self._on_sample(number, news)
            elif isinstance(news, Done):
                self._done.add(number)


async def _hear(process: asyncio.subprocess.Process) -> Opened | Sample | Done:
    """Return what a worker tells next; raise LoadError where it cannot go on, or has ended."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise LoadError(f"a worker ended with status {await process.wait()}, see above")
    news: Opened | Sample | Done | Failed = _NEWS.decode(line)
    if isinstance(news, Failed):
        raise LoadError(news.reason)
    return news
