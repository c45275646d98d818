"""Clients that come and go: on any transport, reading, stalling, vanishing, coming back."""

import asyncio
import random
import socket
from typing import Final

from loadtest.losses.verdict import Reader
from loadtest.losses.visits import VISITS, Visit
from protocol.cursor import Position

# Between two attempts while the gateway does not listen.
_RETRY_S: Final = 0.05
# A client without any progress for so long stands still although there is more.
_PATIENCE_S: Final = 10.0
# SO_LINGER on, with no time: closing resets the connection, as a vanished host's does.
_RESETTING: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Client:
    """One client, whose whims come from rng; max_stall_s bounds how long each of them takes."""

    def __init__(
        self,
        address: tuple[str, int],
        channels: list[str],
        reader: Reader,
        rng: random.Random,
        max_stall_s: float,
    ) -> None:
        self.reader = reader
        self._address = address
        self._channels = channels
        self._rng = rng
        self._max_stall_s = max_stall_s

    async def roam(self) -> None:
        """Visit, and stay away, until cancelled."""
        while True:
            visit = await self._begin_visit()
            if visit is not None:
                try:
                    await self._spend(visit)
                finally:
                    visit.asyncio_transport.abort()
            await asyncio.sleep(self._choose_s())

    async def catch_up(self, ends: dict[str, Position]) -> None:
        """Visit until the client stands at the ends of its channels, or gets no further."""
        loop = asyncio.get_running_loop()
        before, since = dict(self.reader.positions), loop.time()
        while not self._has_reached(ends) and loop.time() - since < _PATIENCE_S:
            visit = await self._begin_visit()
            while visit is not None and not visit.ended.done() and not self._has_reached(ends):
                await asyncio.wait([visit.ended], timeout=_RETRY_S)
                if self.reader.positions != before:
                    before, since = dict(self.reader.positions), loop.time()
                elif loop.time() - since >= _PATIENCE_S:
                    break
            if visit is not None:
                visit.asyncio_transport.abort()
        self.reader.finish({channel: ends[channel] for channel in self._channels})

    def _has_reached(self, ends: dict[str, Position]) -> bool:
        return all(self.reader.positions.get(each) == ends[each] for each in self._channels)

    async def _spend(self, visit: Visit) -> None:
        """Read for a while, stalling and disturbing now and then; sometimes leave by a reset."""
        loop = asyncio.get_running_loop()
        leave_at = loop.time() + self._choose_s() * 3
        while not visit.ended.done() and loop.time() < leave_at:
            await asyncio.wait([visit.ended], timeout=self._choose_s())
            if visit.ended.done():
                return
            whim = self._rng.random()
            if whim < 0.3:
                visit.asyncio_transport.pause_reading()
                await asyncio.wait([visit.ended], timeout=self._choose_s())
                if not visit.asyncio_transport.is_closing():
                    visit.asyncio_transport.resume_reading()
            elif whim < 0.6:
                visit.disturb()
        if self._rng.random() < 0.3:
            visit.set_option(socket.SO_LINGER, _RESETTING)

    async def _begin_visit(self) -> Visit | None:
        """Return a visit whose request is on its way, None where the gateway cannot be reached."""
        loop = asyncio.get_running_loop()
        kinds = VISITS
        # The parameters of a URL give positions for all channels or for none.
        if 0 < len(self.reader.positions) < len(self._channels):
            kinds = VISITS[:2]
        kind = self._rng.choice(kinds)
        host = f"{self._address[0]}:{self._address[1]}"
        try:
            _, visit = await loop.create_connection(
                lambda: kind(host, self._channels, self.reader, self._rng), *self._address
            )
        except OSError:
            await asyncio.sleep(_RETRY_S)
            return None
        return visit

    def _choose_s(self) -> float:
        """Return how long a whim takes: mostly short, at most max_stall_s."""
        return self._max_stall_s * self._rng.random() ** 3
