"""The books of a worker: what was published, what is owed, and what has come."""

import asyncio

import pytest

from loadtest import deliveries
from loadtest.deliveries import Deliveries, Log
from loadtest.errors import LoadError
from loadtest.recorder import Recorder, now_us


def make_log(*due_us: int) -> Log:
    log = Log(lambda number: b"x" * number)
    for due in due_us:
        log.add(due)
    return log


def test_a_log_knows_where_each_delivery_ends() -> None:
    log = make_log(10, 20, 30)
    assert (log.count, log.ends, log.due_us, log.last) == (3, [0, 1, 3, 6], [0, 10, 20, 30], b"xxx")


async def test_a_latency_counts_from_when_each_publication_was_due() -> None:
    recorder = Recorder()
    books = Deliveries(recorder)
    now = now_us()
    books.owe(3)
    books.take(make_log(now - 3_500_000, now - 2_500_000, now - 2_500_000), 0, 3)
    assert recorder.counts == {"deliveries": 3}
    low, *_, high = [value // 1_000_000 for value, count in recorder.latency.buckets()]
    assert (recorder.latency.count, low, high) == (3, 2, 3)
    assert await books.wait()


async def test_who_waits_hears_of_the_last_delivery() -> None:
    books = Deliveries(Recorder())
    books.owe(2)
    waiting = asyncio.create_task(books.wait())
    await asyncio.sleep(0)
    books.settle(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    books.settle(1)
    assert await waiting


async def test_waiting_ends_where_nothing_arrives_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "_PATIENCE_S", 0.05)
    books = Deliveries(Recorder())
    books.owe(2)
    asyncio.get_running_loop().call_later(0.01, books.settle, 1)
    assert not await books.wait()
    assert books.owed_count == 1
    assert not await books.wait()


async def test_the_first_failure_is_told_to_who_waits() -> None:
    books = Deliveries(Recorder())
    books.owe(1)
    waiting = asyncio.create_task(books.wait())
    await asyncio.sleep(0)
    books.fail("first")
    books.fail("second")
    with pytest.raises(LoadError, match="first"):
        await waiting
