"""How the workers of one run agree: the first publishes, and the others must know what and when.

The first worker tells each round of publications before it publishes it, so whoever reads of a
delivery finds its round already there. The others tell when a round has reached all of theirs.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from struct import Struct
from typing import Final

from loadtest.errors import LoadError

# Microseconds when the first publication of a round was due, and how many there are.
_ROUND: Final = Struct("=qI")
_ARRIVED: Final = b"."
_READ_BYTES: Final = 64 * 1024


class Leader:
    """The first worker's side, the others at the sockets fds.

    on_arrived is called with how many have told that a round has arrived.
    """

    def __init__(self, fds: list[int], on_arrived: Callable[[int], None]) -> None:
        self.awaited_count = 0  # who has yet to tell
        self._on_arrived = on_arrived
        self._followers = [socket.socket(fileno=fd) for fd in fds]
        for follower in self._followers:
            follower.setblocking(False)
            asyncio.get_running_loop().add_reader(follower, self._hear, follower)

    def await_all(self) -> int:
        """Expect all to tell that the last round has arrived; return how many they are."""
        self.awaited_count += len(self._followers)
        return len(self._followers)

    def tell(self, due_us: int, count: int) -> None:
        """Tell of so many publications, the first of them due then; LoadError if nobody listens."""
        for follower in self._followers:
            try:
                follower.sendall(_ROUND.pack(due_us, count))
            except BlockingIOError:
                raise LoadError("a worker is too slow to follow; give it less to do") from None
            except OSError:
                pass  # it has ended, which the parent hears, too

    def close(self) -> None:
        """Tell all that it is over; does nothing the second time."""
        while self._followers:
            follower = self._followers.pop()
            asyncio.get_running_loop().remove_reader(follower)
            follower.close()

    def _hear(self, follower: socket.socket) -> None:
        told = b""
        with contextlib.suppress(ConnectionResetError):
            told = follower.recv(_READ_BYTES)
        if not told:  # it has ended
            asyncio.get_running_loop().remove_reader(follower)
        self.awaited_count -= len(told)
        self._on_arrived(len(told))


class Follower:
    """Another worker's side, the first at the socket fd; on_round(due_us, count) is called.

    is_over is set when there will be no further round.
    """

    def __init__(self, fd: int, on_round: Callable[[int, int], None]) -> None:
        self.is_over = asyncio.Event()
        self._on_round = on_round
        self._leader = socket.socket(fileno=fd)
        self._leader.setblocking(False)
        self._told = b""
        asyncio.get_running_loop().add_reader(self._leader, self.hear)

    def hear(self) -> None:
        """Have on_round called for all that was told until now."""
        try:
            told = self._leader.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:  # it has ended without hearing all
            told = b""
        if not told:
            asyncio.get_running_loop().remove_reader(self._leader)
            self.is_over.set()
            return
        told = self._told + told
        whole = len(told) - len(told) % _ROUND.size
        self._told = told[whole:]
        for due_us, count in _ROUND.iter_unpack(told[:whole]):
            self._on_round(due_us, count)

    def tell_arrived(self) -> None:
        """Tell that everything published has reached all of this worker's subscribers."""
        with contextlib.suppress(OSError):  # nobody waits for it any more
            self._leader.sendall(_ARRIVED)

    def close(self) -> None:
        """Leave."""
        asyncio.get_running_loop().remove_reader(self._leader)
        self._leader.close()
