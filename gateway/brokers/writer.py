"""The thread of the durable broker that waits for the disk, so that the event loop does not.

The loop hands over one round of work at a time; what is published while that is on its way becomes
the next round, and one round is one commit. So a slow disk makes rounds larger, not more.
"""

import asyncio
import logging
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Final

from gateway.brokers.database import Database, Growth, Kept
from gateway.config import BrokerConfig
from gateway.errors import BrokerUnavailable

logger = logging.getLogger("gateway.broker")

# Rows deleted between two rounds: some milliseconds of them.
_SWEEP_COUNT: Final = 1000
_SWEEP_S: Final = 1.0
# A failing disk is told to the operator, once a minute.
_WARNING_S: Final = 60.0


class Round:
    """What one trip to the disk reads and writes, and then what came of it.

    kept has what was read of each of names, or why it could not be; error is why nothing of growths
    is on disk, None where all is.
    """

    __slots__ = ("error", "growths", "kept", "names")

    def __init__(self, names: list[str], growths: list[Growth]) -> None:
        self.names = names
        self.growths = growths
        self.kept: dict[str, Kept | BrokerUnavailable] = {}
        self.error: BrokerUnavailable | None = None


class Writer:
    """One thread with one open Database; on_done is called in the loop after each round.

    The counters are for metrics: written by the thread, read by the loop.
    """

    _loop: AbstractEventLoop

    def __init__(
        self,
        open_database: Callable[[], Database],
        config: BrokerConfig,
        clock: Callable[[], float],
        on_done: Callable[[Round], None],
    ) -> None:
        self.commit_count = 0
        self.commit_s = 0.0
        self.file_bytes = 0
        self._open_database = open_database
        self._clock = clock
        self._on_done = on_done
        # How old what is committed may get before it is written through to the disk.
        self._interval_s = 0.0 if config.fsync == "always" else config.fsync_interval_s
        self._rounds: SimpleQueue[Round | None] = SimpleQueue()
        # A daemon, because nothing that was promised depends on its end.
        self._thread = Thread(target=self._run, name="durable broker", daemon=True)
        self._synced = self._swept = monotonic()
        self._is_synced = True
        self._warned = -_WARNING_S

    async def start(self) -> None:
        """Open the database; raises GatewayError where it cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._opened: Future[None] = self._loop.create_future()
        self._ended: Future[None] = self._loop.create_future()
        self._thread.start()
        try:
            await self._opened
        except asyncio.CancelledError:
            self._rounds.put(None)
            raise

    def submit(self, round_: Round) -> None:
        """Have the thread do round_; not before on_done was called with the one before."""
        self._rounds.put(round_)

    async def stop(self) -> None:
        """Close the database after what was submitted."""
        self._rounds.put(None)
        await asyncio.shield(self._ended)

    # --- in the thread ---

    def _run(self) -> None:
        try:
            database = self._open_database()
            self.file_bytes = database.file_bytes
        except BaseException as error:
            self._tell(_settle, self._opened, error)
            return
        self._tell(_settle, self._opened, None)
        try:
            while self._do_next(database):
                pass
        finally:
            self._close(database)
            self._tell(_settle, self._ended, None)

    def _do_next(self, database: Database) -> bool:
        """Do the next round, or what is due meanwhile; return False at the end."""
        due = self._swept + _SWEEP_S
        if not self._is_synced:
            due = min(due, self._synced + self._interval_s)
        try:
            round_ = self._rounds.get(timeout=max(due - monotonic(), 0.0))
        except Empty:
            pass
        else:
            if round_ is None:
                return False
            self._do(database, round_)
            if not self._tell(self._on_done, round_):
                return False
        self._do_chores(database)
        return True

    def _do(self, database: Database, round_: Round) -> None:
        for name in round_.names:
            try:
                round_.kept[name] = database.load(name, self._clock())
            except Exception as error:
                round_.kept[name] = self._see_failure(error)
        if not round_.growths:
            return
        began = monotonic()
        is_synced = began - self._synced >= self._interval_s
        try:
            database.commit(round_.growths, is_synced=is_synced)
            self._see_sync(is_synced, began)
        except Exception as error:
            round_.error = self._see_failure(error)
        self.commit_count += 1
        self.commit_s += monotonic() - began
        try:
            self.file_bytes = database.file_bytes
        except Exception as error:  # after the commit: what is on disk stays there
            self._see_failure(error)

    def _do_chores(self, database: Database) -> None:
        now = monotonic()
        try:
            if not self._is_synced and now - self._synced >= self._interval_s:
                self._synced = now  # so that a failing disk is not asked all the time
                database.sync()
                self._is_synced = True
            if now - self._swept >= _SWEEP_S:
                self._swept = now
                if database.sweep(self._clock(), _SWEEP_COUNT):
                    self._swept = now - _SWEEP_S  # there is more
        except Exception as error:
            self._see_failure(error)

    def _see_sync(self, is_synced: bool, now: float) -> None:
        self._is_synced = is_synced
        if is_synced:
            self._synced = now

    def _close(self, database: Database) -> None:
        try:
            database.close()
        except Exception as error:
            self._see_failure(error)

    def _see_failure(self, error: Exception) -> BrokerUnavailable:
        """Tell the operator; return what to tell those who wait, who must not wait for ever."""
        if not isinstance(error, BrokerUnavailable):  # a mistake of ours
            logger.error("the durable broker failed", exc_info=error)
            return BrokerUnavailable("failed")
        if monotonic() - self._warned >= _WARNING_S:
            self._warned = monotonic()
            logger.warning("the file of the durable broker %s", error)
        return error

    def _tell(self, callback: Callable[..., object], *arguments: object) -> bool:
        """Call callback in the loop; return False where that is closed."""
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            return False
        return True


def _settle(future: "Future[None]", error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
