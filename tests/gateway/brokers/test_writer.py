"""The thread that waits for the disk: rounds in order, failures told, an end that is one."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest

from gateway.brokers.data_file import FILE_NAME
from gateway.brokers.database import Database, Growth
from gateway.brokers.writer import Round, Writer
from gateway.config import BrokerConfig
from gateway.errors import BrokerUnavailable, GatewayError
from tests.gateway.brokers.shelf import AGE_S, NOW, offsets, publications
from tests.gateway.clients import bounded


class Desk:
    """A writer, and the rounds that are done."""

    def __init__(self, folder, clock=lambda: NOW, **config):
        self.config = BrokerConfig(data=str(folder), **config)
        self.done = asyncio.Queue()
        self.writer = Writer(self.open, self.config, clock, self.done.put_nowait)

    def open(self):
        return Database(self.config, max_channels=10)

    async def do(self, names=(), growths=()):
        self.writer.submit(Round(list(names), list(growths)))
        async with bounded():
            return await self.done.get()


def growth(first, last, channel=1, name="a"):
    return Growth(channel, name, "E", last, 1, AGE_S, publications(first, last), [])


@pytest.fixture
async def desk(tmp_path):
    desk = Desk(tmp_path)
    await desk.writer.start()
    yield desk
    await desk.writer.stop()


async def test_a_round_reads_what_earlier_rounds_have_written(desk):
    assert (await desk.do(["a"])).kept["a"].last == 0
    round_ = await desk.do([], [growth(1, 3)])
    assert round_.error is None
    kept = (await desk.do(["a", "b"])).kept
    assert (offsets(kept["a"]), kept["b"].last) == ([1, 2, 3], 0)
    assert desk.writer.commit_count == 1
    assert desk.writer.commit_s > 0
    assert desk.writer.file_bytes > 0


async def test_a_failing_commit_is_told_and_the_next_is_tried(desk, caplog):
    taken = growth(1, 1, channel=2, name="a")
    await desk.do([], [growth(1, 1)])
    for _ in range(2):
        round_ = await desk.do([], [taken])  # another channel of the same name
        assert isinstance(round_.error, BrokerUnavailable)
    assert (await desk.do([], [growth(2, 2)])).error is None
    warnings = [each.getMessage() for each in caplog.records]
    assert len(warnings) == 1, "once a minute"
    assert "the file of the durable broker cannot be written: UNIQUE" in warnings[0]


async def test_even_our_own_mistake_is_answered(desk, caplog):
    broken = growth(1, 1)._replace(publications=[None])
    assert isinstance((await desk.do([], [broken])).error, BrokerUnavailable)
    assert "Traceback" in caplog.text
    assert (await desk.do([], [growth(1, 1)])).error is None


async def test_a_file_whose_size_cannot_be_told_fails_no_commit_and_keeps_nobody_waiting(tmp_path):
    class Unsized(Database):
        is_failing = False

        @property
        def file_bytes(self):
            if self.is_failing:
                raise sqlite3.OperationalError("disk I/O error")
            return super().file_bytes

    desk = Desk(tmp_path)
    database = []

    def open_unsized():
        database.append(Unsized(desk.config, max_channels=10))
        return database[0]

    writer = desk.writer = Writer(open_unsized, desk.config, lambda: NOW, desk.done.put_nowait)
    await writer.start()
    database[0].is_failing = True
    for offset in (1, 2):
        assert (await desk.do([], [growth(offset, offset)])).error is None
    await writer.stop()


async def test_a_mistake_at_the_end_keeps_nobody_waiting(tmp_path, caplog):
    desk = Desk(tmp_path)
    opened = []

    def open_broken():
        opened.append(desk.open())
        opened[0].load = opened[0].close  # takes no arguments
        return opened[0]

    writer = Writer(open_broken, desk.config, lambda: NOW, desk.done.put_nowait)
    desk.writer = writer
    await writer.start()
    assert isinstance((await desk.do(["a"])).kept["a"], BrokerUnavailable)
    opened[0].close = opened[0].sweep
    async with bounded():
        await writer.stop()
    assert caplog.text.count("the durable broker failed") == 2


async def test_a_channel_that_cannot_be_read_leaves_the_others_readable(tmp_path):
    with closing(Desk(tmp_path).open()) as database:
        database.commit([growth(1, 1), growth(1, 1, 2, "b")], is_synced=False)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.execute("UPDATE runs SET publications = x'ff' WHERE channel = 1")
        other.commit()
    desk = Desk(tmp_path)
    await desk.writer.start()
    kept = (await desk.do(["a", "b"])).kept
    assert isinstance(kept["a"], BrokerUnavailable)
    assert offsets(kept["b"]) == [1]
    await desk.writer.stop()


async def test_what_cannot_be_opened_is_told_by_start(desk):
    second = Desk(desk.config.data)
    with pytest.raises(GatewayError, match="is in use"):
        await second.writer.start()


async def test_after_stop_the_thread_has_ended_and_the_folder_is_free(tmp_path):
    for _ in range(3):
        desk = Desk(tmp_path)
        await desk.writer.start()
        await desk.do([], [growth(1, 1)])
        await desk.writer.stop()
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
            assert other.execute("SELECT is_clean FROM node").fetchone() == (1,)


async def test_a_start_that_is_cancelled_lets_the_folder_go(tmp_path):
    desk = Desk(tmp_path)
    is_open, may_go_on, is_closed = threading.Event(), threading.Event(), threading.Event()

    class Closing(Database):
        def close(self):
            super().close()
            is_closed.set()

    def open_late():
        database = Closing(desk.config, max_channels=10)
        is_open.set()
        may_go_on.wait()
        return database

    writer = Writer(open_late, desk.config, lambda: NOW, desk.done.put_nowait)
    starting = asyncio.ensure_future(writer.start())
    await asyncio.to_thread(is_open.wait)
    starting.cancel()
    await asyncio.wait([starting])
    may_go_on.set()
    assert await asyncio.to_thread(is_closed.wait, 30)
    with closing(desk.open()):
        pass


class Sync:
    """A database that tells when it is written through, and when it was swept."""

    def __init__(self, database):
        self._database = database
        self.synced, self.swept = threading.Event(), threading.Event()
        self.is_synced = []

    def __getattr__(self, name):
        return getattr(self._database, name)

    def commit(self, growths, *, is_synced):
        self.is_synced.append(is_synced)
        self._database.commit(growths, is_synced=is_synced)

    def sync(self):
        self._database.sync()
        self.synced.set()

    def sweep(self, now, limit):
        has_more = self._database.sweep(now, limit)
        self.swept.set()
        return has_more


@pytest.mark.parametrize(
    ("config", "is_synced"),
    [
        ({"fsync": "always"}, [True, True]),
        ({"fsync": "interval", "fsync_interval_s": 3600}, [False, False]),
    ],
)
async def test_each_commit_is_written_through_or_the_interval_does_it(tmp_path, config, is_synced):
    desk = Desk(tmp_path, **config)
    watched = []

    def open_watched():
        watched.append(Sync(desk.open()))
        return watched[0]

    writer = desk.writer = Writer(open_watched, desk.config, lambda: NOW, desk.done.put_nowait)
    await writer.start()
    await desk.do([], [growth(1, 1)])
    await desk.do([], [growth(2, 2)])
    assert watched[0].is_synced == is_synced
    await writer.stop()


async def test_what_is_left_at_the_end_of_an_interval_is_written_through_and_swept(tmp_path):
    desk = Desk(tmp_path, fsync="interval", fsync_interval_s=0.05)
    watched = []

    def open_watched():
        watched.append(Sync(desk.open()))
        return watched[0]

    clock = [NOW]
    writer = Writer(open_watched, desk.config, lambda: clock[0], desk.done.put_nowait)
    desk.writer = writer
    await writer.start()
    while watched[0].is_synced[-1:] != [False]:
        await desk.do([], [growth(1, 1)])
    assert await asyncio.to_thread(watched[0].synced.wait, 30)
    clock[0] += AGE_S
    watched[0].swept.clear()
    assert await asyncio.to_thread(watched[0].swept.wait, 30)
    await writer.stop()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        assert other.execute("SELECT count(*) FROM runs").fetchone() == (0,)
