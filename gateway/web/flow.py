"""Whether an asyncio transport takes more bytes, and the waiting until it does."""

import asyncio
from contextlib import suppress
from typing import Final

# Writes in a row before others get the event loop: at most some milliseconds.
WRITES_PER_TURN: Final = 64


class PeerLeft(ConnectionResetError):
    """The peer left, or is being left: what is written reaches nobody, and nothing more comes.

    A class of its own, so that a handler which ends with it is not confused with one whose
    connection to somebody else broke.
    """


def end_writing(asyncio_transport: asyncio.Transport) -> None:
    """Tell the peer that nothing follows what was written; it must be able to, so not over TLS."""
    with suppress(OSError):  # the peer has reset the connection, which asyncio is about to see
        asyncio_transport.write_eof()


class WriteFlow:
    """The writing half of one connection, as its writers see it."""

    __slots__ = ("_waiters", "asyncio_transport", "is_lost", "is_paused", "writes_count")

    def __init__(self, asyncio_transport: asyncio.Transport) -> None:
        self.asyncio_transport = asyncio_transport
        self.is_paused = False  # above the high-water mark, not yet below the low one
        self.is_lost = False
        self.writes_count = 0  # since others last had a turn, as writers count them
        self._waiters: list[asyncio.Future[None]] = []

    def check(self) -> None:
        """Raise PeerLeft if what is written would reach nobody."""
        if self.asyncio_transport.is_closing() or self.is_lost:
            raise PeerLeft("Cannot write to closing transport")

    async def flush(self) -> None:
        """Wait until the socket has taken everything that was written; raise as drain() does."""
        self.check()
        transport = self.asyncio_transport
        low_bytes, high_bytes = transport.get_write_buffer_limits()
        transport.set_write_buffer_limits(0)  # pauses now unless nothing is left, until then
        try:
            await self.drain()
        finally:
            transport.set_write_buffer_limits(high_bytes, low_bytes)

    async def drain(self) -> None:
        """Wait while paused; raise PeerLeft if the peer left or leaves meanwhile."""
        if self.is_lost:
            raise PeerLeft("Cannot write to closing transport")
        if self.is_paused:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    async def give_turn(self) -> None:
        """Let others have the event loop; raise PeerLeft where it turns out that the peer did.

        Due after WRITES_PER_TURN writes. A peer that reads as fast as it is written to, or gets
        nothing because it asked with HEAD, would keep the event loop to itself otherwise.
        """
        self.writes_count = 0
        await asyncio.sleep(0)
        if self.is_lost:
            raise PeerLeft("The peer left")

    def pause(self) -> None:
        """Make drain() wait."""
        self.is_paused = True

    def resume(self) -> None:
        """Let everyone go on who waits."""
        self.is_paused = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def lose(self) -> None:
        """Fail everyone who waits or will write: the socket is closed."""
        self.is_lost = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(PeerLeft("The peer left"))
