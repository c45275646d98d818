"""What is due comes at its rate, whoever is busy; work ends together."""

import asyncio

import pytest

from loadtest.errors import LoadError
from loadtest.pace import pace, work_for


async def test_what_became_due_while_the_consumer_was_busy_comes_together() -> None:
    loop = asyncio.get_running_loop()
    began, counts = loop.time(), []
    async for count in pace(1000):
        counts.append(count)
        if len(counts) == 3:
            break
        await asyncio.sleep(0.02)
    assert min(counts) >= 1
    assert sum(counts[1:]) >= 40  # two busy spells of 20 ms
    assert sum(counts) <= (loop.time() - began) * 1000 + 1


async def test_nothing_comes_before_it_is_due() -> None:
    loop = asyncio.get_running_loop()
    began, total = loop.time(), 0
    async for count in pace(100):
        total += count
        assert total <= (loop.time() - began) * 100 + 1
        if total >= 5:
            break


async def test_all_work_ends_when_the_time_is_over() -> None:
    ended = []

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    await work_for(0.01, [work(1), work(2)])
    assert ended == [1, 2]


async def test_a_failure_ends_all_work_and_is_raised() -> None:
    ended = []

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    async def fail() -> None:
        raise LoadError("enough")

    with pytest.raises(LoadError, match="enough"):
        await work_for(3600, [go_on(), fail()])
    assert ended == ["other"]
