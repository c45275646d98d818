"""What was published, and what of it has arrived: the bookkeeping of one worker."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from loadtest.errors import LoadError
from loadtest.recorder import Recorder, now_us

EVENTS: Final = "deliveries"
# Without any delivery for so long the target has lost something, or stands still.
_PATIENCE_S: Final = 10.0


class Log:
    """What was published in one channel: when each was due, and where its delivery ends.

    Deliveries are numbered from 1 on; due_us and ends begin with a zero, for what is before the
    first one. ends are in bytes, of all deliveries in a row. last is the last delivery, as it
    should arrive. expected returns the delivery of a number.
    """

    __slots__ = ("_expected", "due_us", "ends", "last")

    def __init__(self, expected: Callable[[int], bytes]) -> None:
        self._expected = expected
        self.due_us = [0]
        self.ends = [0]
        self.last = b""

    @property
    def count(self) -> int:
        """How many were published."""
        return len(self.ends) - 1

    def add(self, due_us: int) -> int:
        """Take note of one more publication; return its number."""
        number = len(self.ends)
        self.last = self._expected(number)
        self.ends.append(self.ends[-1] + len(self.last))
        self.due_us.append(due_us)
        return number


class Deliveries:
    """What all subscribers of a worker are owed and have got, told to a recorder.

    on_arrived is called whenever nothing is owed any more, on_failed when the run has failed, and
    hear where something has arrived of which nobody has told yet that it was published.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.on_arrived: Callable[[], None] = lambda: None
        self.on_failed: Callable[[], None] = lambda: None
        self.hear: Callable[[], None] = lambda: None
        self._recorder = recorder
        self._owed_count = 0
        self._progress = asyncio.Event()
        self._is_given_up = False
        self._failure: LoadError | None = None

    @property
    def owed_count(self) -> int:
        """How much has yet to arrive."""
        return self._owed_count

    def owe(self, count: int) -> None:
        """Take note that so much more is to arrive."""
        self._owed_count += count

    def settle(self, count: int) -> None:
        """Take note that so much of what is owed has arrived."""
        self._owed_count -= count
        if self._owed_count == 0:
            self._progress.set()
            self.on_arrived()

    def take(self, log: Log, before: int, last: int) -> None:
        """Take note that one subscriber has just got all of log behind before up to last."""
        latency, due_us = self._recorder.latency, log.due_us
        now, newest = now_us(), due_us[last]
        if due_us[before + 1] == newest:
            latency.record(now - newest, last - before)
        else:
            for due in due_us[before + 1 : last + 1]:
                latency.record(now - due)
        self.count(last - before)

    def count(self, count: int) -> None:
        """Take note that one subscriber has just got so many deliveries."""
        self._recorder.add(EVENTS, count)
        self.settle(count)

    def add(self, name: str, count: int = 1) -> None:
        """Count something else."""
        self._recorder.add(name, count)

    def fail(self, reason: str) -> None:
        """End the run with a LoadError."""
        self._failure = self._failure or LoadError(reason)
        self._progress.set()
        self.on_failed()

    def check(self) -> None:
        """Raise the LoadError of a run that has failed."""
        if self._failure is not None:
            raise self._failure

    async def wait(self) -> bool:
        """Return whether nothing is owed, False if nothing arrives any more.

        Once that was so, it returns at once.
        """
        while self._owed_count > 0 and self._failure is None and not self._is_given_up:
            self._progress.clear()
            owed_count = self._owed_count
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._progress.wait()
            self._is_given_up = owed_count == self._owed_count
        self.check()
        return self._owed_count <= 0
