"""One sweep for all connections instead of a timer or a task for each.

The peers stand in a queue, and each is visited a period after it came or was visited last. So the
pings of thousands do not go out at the same moment, unless that is when they came.
"""

import logging
from asyncio import AbstractEventLoop, TimerHandle
from contextvars import Context
from typing import Final, Protocol
from weakref import WeakValueDictionary

logger = logging.getLogger("gateway")

# A period's ticks: how far a visit may be off is the 128th of one, 0.2 s of 25 s. As many as
# connect in that time are visited together; a thousand pings take some milliseconds.
TICKS: Final = 128


class Peer(Protocol):
    """Something that must be shown, or must show, to be alive."""

    def beat(self) -> None:
        """Be visited: note whether the peer was heard since the last visit, ping it or drop it."""


class Sweep:
    """Visits every peer once per period_s, in seconds; without peers it has no timer.

    Time is counted in ticks that the event loop has run, and it has read from sockets between two
    of them: a loop that was late takes nobody's time to answer, and misses no answer that waits.
    """

    def __init__(self, loop: AbstractEventLoop, period_s: float) -> None:
        self.period_s = period_s
        self._loop = loop
        self._context = Context()  # not that of whoever happens to come first
        self._ticks_count = 0
        self._due: dict[Peer, int] = {}  # the tick of each one's next visit, soonest first
        self._timer: TimerHandle | None = None

    def add(self, peer: Peer) -> None:
        """Visit peer from now on, for the first time after one period."""
        if peer not in self._due:
            self._due[peer] = self._ticks_count + TICKS
            if self._timer is None:
                self._start()

    def remove(self, peer: Peer) -> None:
        """Visit peer no more; does nothing for one that is not visited."""
        self._due.pop(peer, None)
        if not self._due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        tick_s = self.period_s / TICKS
        self._timer = self._loop.call_later(tick_s, self._tick, context=self._context)

    def _tick(self) -> None:
        self._start()
        self._ticks_count += 1
        next_due = self._ticks_count + TICKS
        for peer in self._list_due():
            if self._due.pop(peer, None) is None:  # an earlier one of this tick has removed it
                continue
            self._due[peer] = next_due
            try:
                peer.beat()
            except Exception:
                logger.exception("a peer cannot be visited")

    def _list_due(self) -> list[Peer]:
        peers = []
        for peer, tick in self._due.items():
            if tick > self._ticks_count:
                break
            peers.append(peer)
        return peers


class Sweeps:
    """The sweeps of one event loop: one for each period, as long as somebody keeps it."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._by_period: WeakValueDictionary[float, Sweep] = WeakValueDictionary()

    def find(self, period_s: float) -> Sweep:
        """Return the sweep of period_s, in seconds, for whoever keeps it while standing in it."""
        sweep = self._by_period.get(period_s)
        if sweep is None:
            sweep = self._by_period[period_s] = Sweep(self._loop, period_s)
        return sweep
