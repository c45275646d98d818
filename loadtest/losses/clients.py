"""Clients that come and go: on any transport, reading, stalling, vanishing, coming back."""

import asyncio
import random
from typing import Any, Final

from loadtest.clients.connection import connect_narrow_socket
from loadtest.losses.verdict import Reader
from loadtest.losses.visits import VISITS, Visit
from protocol.cursor import Position

# Between two attempts while the gateway does not listen.
_RETRY_S: Final = 0.05
# How many visits end as if the client's host had vanished.
_RESET_SHARE: Final = 0.3
# A client without any progress for so long stands still although there is more.
_PATIENCE_S: Final = 10.0
# As small as the kernel lets it be: what a stalled client does not read shall wait at the server.
_RECEIVE_BUFFER_BYTES: Final = 4096


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

    async def roam(self, ending: asyncio.Event) -> None:
        """Visit, and stay away, until ending is set."""
        over = asyncio.create_task(ending.wait())
        while not over.done():
            visit = await self._begin_visit()
            if visit is not None:
                await self._spend(visit, over)
                visit.leave(by_reset=self._rng.random() < _RESET_SHARE)
            await asyncio.wait([over], timeout=self._choose_s())

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
                visit.leave(by_reset=False)
        self.reader.finish({channel: ends[channel] for channel in self._channels})

    def _has_reached(self, ends: dict[str, Position]) -> bool:
        return all(self.reader.positions.get(each) == ends[each] for each in self._channels)

    async def _spend(self, visit: Visit, over: "asyncio.Task[bool]") -> None:
        """Read for a while, stalling and disturbing now and then, at most until over is done."""
        loop = asyncio.get_running_loop()
        leave_at = loop.time() + self._choose_s() * 3
        while loop.time() < leave_at and await self._pass_time(visit, over):
            whim = self._rng.random()
            if whim < 0.3:
                visit.asyncio_transport.pause_reading()
                if await self._pass_time(visit, over):
                    visit.asyncio_transport.resume_reading()
            elif whim < 0.6:
                visit.disturb()

    async def _pass_time(self, visit: Visit, over: "asyncio.Task[bool]") -> bool:
        """Return after a while whether the visit goes on."""
        ends: list[asyncio.Future[Any]] = [visit.ended, over]
        done, _ = await asyncio.wait(
            ends, timeout=self._choose_s(), return_when=asyncio.FIRST_COMPLETED
        )
        return not done and not visit.asyncio_transport.is_closing()

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
            sock = await connect_narrow_socket(self._address, _RECEIVE_BUFFER_BYTES)
            _, visit = await loop.create_connection(
                lambda: kind(host, self._channels, self.reader, self._rng), sock=sock
            )
        except OSError:
            await asyncio.sleep(_RETRY_S)
            return None
        return visit

    def _choose_s(self) -> float:
        """Return how long a whim takes: mostly short, at most max_stall_s."""
        return self._max_stall_s * self._rng.random() ** 3
