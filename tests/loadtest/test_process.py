"""What is known of a process by its pid."""

import asyncio
import os
import sys
import time

import pytest

from loadtest.errors import LoadError
from loadtest.process import ProcessStats


def test_cpu_is_known_more_exactly_than_the_kernel_ticks() -> None:
    stats = ProcessStats(os.getpid())
    before_s = stats.cpu_s()
    while (after_s := stats.cpu_s()) == before_s:
        pass
    assert after_s - before_s < 1 / os.sysconf("SC_CLK_TCK")
    assert after_s <= time.process_time()


def test_memory_that_was_used_once_stays_in_the_peak() -> None:
    stats = ProcessStats(os.getpid())
    assert 0 < stats.rss_kib() <= stats.rss_peak_kib()


async def test_a_process_that_has_ended_is_no_more_measured() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE
    )
    stats = ProcessStats(process.pid)
    assert stats.rss_kib() > 0
    await process.communicate(b"\n")
    with pytest.raises(OSError, match="Invalid argument"):
        stats.cpu_s()
    with pytest.raises(LoadError, match="there is no process of pid"):
        ProcessStats(process.pid)
