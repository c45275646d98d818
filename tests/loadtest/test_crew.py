"""A crew: its processes, also those that end when they should not."""

import os
import signal
from pathlib import Path

import pytest

from loadtest.crew import start_crew
from loadtest.errors import LoadError
from loadtest.recorder import Sample
from tests.loadtest.test_job import make_job


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def ignore(worker: int, sample: Sample) -> None:
    """Take no notice of a sample."""


async def test_samples_come_with_the_number_of_their_worker(target: str) -> None:
    heard: list[int] = []
    job = make_job(target=target, subscribers=4)
    async with start_crew(job, 2, lambda worker, _: heard.append(worker)) as crew:
        await crew.wait_opened()
        await crew.measure()
    assert set(heard) == {0, 1}


async def test_no_process_is_left_when_the_crew_is_left_early() -> None:
    before = children()
    job = make_job(subscribers=4)
    async with start_crew(job, 3, ignore):
        assert len(children() - before) == 3
    assert children() == before


async def test_a_terminal_interrupts_no_worker() -> None:
    before = children()
    async with start_crew(make_job(subscribers=4), 2, ignore):
        assert all(os.getsid(pid) == pid for pid in children() - before)


async def test_a_worker_that_is_killed_ends_the_run() -> None:
    before = children()
    async with start_crew(make_job(subscribers=4), 2, ignore) as crew:
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ExceptionGroup) as caught:
            await crew.wait_opened()
    assert isinstance(caught.value.exceptions[0], LoadError)
    assert "-9" in str(caught.value.exceptions[0])
