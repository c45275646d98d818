"""Whether an asyncio transport takes more bytes, and the waiting until it does."""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Final

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows does not tell
    ioctl = None  # type: ignore[assignment]

_TCP_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux; RFC 5482
_TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux, macOS
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


def count_unread_bytes(asyncio_transport: asyncio.Transport) -> int:
    """Return how much of what was written the peer's machine has not taken.

    The kernel's buffer is part of it where it tells: on a slow path that holds half a minute. For
    heartbeats, which ask rarely: it is a system call.
    """
    endpoint = asyncio_transport.get_extra_info("socket")
    kernel_bytes = 0
    if ioctl is not None and endpoint is not None and endpoint.fileno() >= 0:
        with suppress(OSError):
            kernel_bytes = int.from_bytes(ioctl(endpoint, TIOCOUTQ, bytes(4)), sys.byteorder)
    return asyncio_transport.get_write_buffer_size() + kernel_bytes


def set_user_timeout(asyncio_transport: asyncio.Transport, timeout_s: float) -> None:
    """Have the kernel drop the connection when the peer's machine takes nothing for timeout_s.

    It is about what was written: nothing is found out while nothing is. Only Linux can; elsewhere,
    and where the socket is none of TCP, it does nothing.
    """
    endpoint = asyncio_transport.get_extra_info("socket")
    if endpoint is not None and _TCP_USER_TIMEOUT is not None:
        with suppress(OSError):
            endpoint.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(timeout_s * 1000))


def limit_backlog(asyncio_transport: asyncio.Transport, high_water_bytes: int) -> None:
    """Have writing pause once more than high_water_bytes wait here, behind as many in the kernel.

    Without a limit of its own the kernel takes megabytes for a peer that does not read, before
    asyncio sees any of it wait, and whatever is written then comes after them. What is on its way
    to the peer does not count, so a fast connection is as fast. Linux and macOS have it; elsewhere
    the kernel's send buffer is what it is.
    """
    asyncio_transport.set_write_buffer_limits(high_water_bytes)
    endpoint = asyncio_transport.get_extra_info("socket")
    if _TCP_NOTSENT_LOWAT is not None and endpoint is not None:
        with suppress(OSError):  # not a TCP socket, or gone
            endpoint.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, high_water_bytes)


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
                del waiter  # it holds an exception, whose traceback holds this frame: a cycle

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
