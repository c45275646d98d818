"""One sweep for all connections instead of a timer or a task for each.

The peers stand in as many slots as an interval has ticks, and each tick visits one slot: every peer
is visited once per interval, and the pings of thousands do not go out at the same moment.
"""

import logging
from asyncio import AbstractEventLoop, TimerHandle
from typing import Final, Protocol

logger = logging.getLogger("gateway")

SLOTS: Final = 32


class Peer(Protocol):
    """Something that must be shown, or must show, to be alive."""

    def beat(self) -> None:
        """Be visited: note whether the peer was heard since the last visit, ping it or drop it."""


class Heartbeat:
    """Visits every peer once per interval_s, in seconds."""

    def __init__(self, loop: AbstractEventLoop, interval_s: float) -> None:
        self._loop = loop
        self._tick_s = interval_s / SLOTS
        self._slots: list[set[Peer]] = [set() for _ in range(SLOTS)]
        self._next = 0
        self._timer: TimerHandle | None = None

    def add(self, peer: Peer) -> None:
        """Visit peer from now on, for the first time within one interval."""
        self._slot_of(peer).add(peer)

    def remove(self, peer: Peer) -> None:
        """Visit peer no more; does nothing for one that is not visited."""
        self._slot_of(peer).discard(peer)

    def start(self) -> None:
        """Begin to tick."""
        self._timer = self._loop.call_later(self._tick_s, self._tick)

    def stop(self) -> None:
        """Tick no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _slot_of(self, peer: Peer) -> set[Peer]:
        # Objects of one size lie at multiples of it, so the low bits of their addresses repeat; the
        # top bits of their multiple of 2^64 / golden ratio do not (Knuth, volume 3, section 6.4).
        return self._slots[(id(peer) * 0x9E3779B97F4A7C15 >> 59) % SLOTS]

    def _tick(self) -> None:
        self.start()
        slot = self._slots[self._next]
        self._next = (self._next + 1) % SLOTS
        for peer in tuple(slot):
            if peer in slot:  # an earlier one of this tick may have removed it
                try:
                    peer.beat()
                except Exception:
                    logger.exception("a peer cannot be visited")
