"""One sweep for all connections instead of a timer or a task for each.

The peers stand in as many slots as a period has ticks, and each tick visits one slot: every peer
is visited once per period, and the pings of thousands do not go out at the same moment.
"""

import logging
from asyncio import AbstractEventLoop, TimerHandle
from contextvars import Context
from typing import Final, Protocol
from weakref import WeakValueDictionary

logger = logging.getLogger("gateway")

# A tick is a 32nd of a period: 0.8 s of 25 s, which is how far a visit may be off.
SLOTS: Final = 32


class Peer(Protocol):
    """Something that must be shown, or must show, to be alive."""

    def beat(self) -> None:
        """Be visited: note whether the peer was heard since the last visit, ping it or drop it."""


class Sweep:
    """Visits every peer once per period_s, in seconds; without peers it has no timer.

    Two visits of one peer are never less than a period apart, however late the event loop is: a
    stall gives nobody less time to answer. They are further apart only by as much as it is late.
    """

    def __init__(self, loop: AbstractEventLoop, period_s: float) -> None:
        self._loop = loop
        self._context = Context()  # not that of whoever happens to come first
        self.period_s = period_s
        self._tick_s = period_s / SLOTS
        self._slots: list[set[Peer]] = [set() for _ in range(SLOTS)]
        self._next = 0
        self._count = 0
        self._timer: TimerHandle | None = None

    def add(self, peer: Peer) -> None:
        """Visit peer from now on, for the first time within one period."""
        slot = self._slot_of(peer)
        if peer not in slot:
            slot.add(peer)
            self._count += 1
            if self._timer is None:
                self._start()

    def remove(self, peer: Peer) -> None:
        """Visit peer no more; does nothing for one that is not visited."""
        slot = self._slot_of(peer)
        if peer in slot:
            slot.remove(peer)
            self._count -= 1
            if not self._count and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _slot_of(self, peer: Peer) -> set[Peer]:
        # Objects of one size lie at multiples of it, so the low bits of their addresses repeat; the
        # top bits of their multiple of 2^64 / golden ratio do not (Knuth, volume 3, section 6.4).
        return self._slots[(id(peer) * 0x9E3779B97F4A7C15 >> 59) % SLOTS]

    def _start(self) -> None:
        self._timer = self._loop.call_later(self._tick_s, self._tick, context=self._context)

    def _tick(self) -> None:
        self._start()
        slot = self._slots[self._next]
        self._next = (self._next + 1) % SLOTS
        for peer in tuple(slot):
            if peer in slot:  # an earlier one of this tick may have removed it
                try:
                    peer.beat()
                except Exception:
                    logger.exception("a peer cannot be visited")


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
