"""Lean connections for load: they count what arrives, and make no object per message."""

import asyncio
import itertools
import socket
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from loadtest.clients.dialects import Opening
from loadtest.errors import LoadError, Unreachable

# A handshake, a welcome and a reply are below this; more before the marker is not our protocol.
_MAX_OPENING_BYTES: Final = 64 * 1024
# Connections that are opened at the same time: below the smallest usual listen backlog.
_OPENING_COUNT: Final = 64
# The kernel gives one source address some 28,000 ports towards one target.
_PORTS_OF_ADDRESS: Final = 20_000
# A connection that is not open after this long is not going to be: some servers answer nothing.
_PATIENCE_S: Final = 20.0
# As small as the kernel lets it be: what a stalled client does not read shall wait at the server.
STALLED_RECEIVE_BYTES: Final = 4096
# SO_LINGER on, with a time of 0: closing resets the connection.
_RESET: Final = struct.pack("ii", 1, 0)
# As much as is read at once; one buffer serves all connections of a process.
_BUFFER_BYTES: Final = 256 * 1024


class Target(NamedTuple):
    """Where connections go; path has the query, too."""

    host: str
    port: int
    path: str
    url: str

    @property
    def authority(self) -> str:
        """What a Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_target(url: str, default_path: str = "/ws") -> Target:
    """Return where a ws:// or http:// URL leads; raise LoadError for any other.

    default_path is that of a URL that has none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError as error:
        raise LoadError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in ("ws", "http") or parts.hostname is None:
        raise LoadError(f"{url!r} is not a ws:// or http:// URL")
    path = parts.path or default_path
    return Target(parts.hostname, port, f"{path}?{parts.query}" if parts.query else path, url)


class LoadConnection(asyncio.BufferedProtocol):
    """One connection, which sends an opening and is open once it has read the opening's marker.

    An empty opening makes it open as soon as it is connected.
    What it reads afterwards is at the beginning of the shared buffer, only for the time of
    take(nbytes), which subclasses define. lost is called when the other side closes.
    """

    __slots__ = ("_asyncio_transport", "_is_dropped", "_opening", "_read", "opened")
    buffer = bytearray(_BUFFER_BYTES)

    def __init__(self, opening: Opening) -> None:
        self.opened: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._asyncio_transport: asyncio.Transport | None = None
        self._opening = opening
        self._read = b""
        self._is_dropped = False  # by abort(), so its loss is no news

    @property
    def asyncio_transport(self) -> asyncio.Transport:
        """The asyncio transport; RuntimeError before there is one."""
        if self._asyncio_transport is None:
            raise RuntimeError("not connected")
        return self._asyncio_transport

    @property
    def is_lost(self) -> bool:
        """Whether the connection is closed, or closing."""
        return self.asyncio_transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the opening."""
        self._asyncio_transport = cast(asyncio.Transport, transport)
        if self._opening.request:
            self._asyncio_transport.write(self._opening.request)
        else:
            self._be_open()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the buffer that all share: what it holds is looked at before the next read."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Look for the marker, then have what arrives taken."""
        if self.opened is None:
            self.take(nbytes)
            return
        self._read += self.buffer[:nbytes]
        _, marker, rest = self._read.partition(self._opening.marker)
        agreement = self._opening.agreement
        if self._is_refused:
            self._fail(f"the target answered {self._read[:200]!r}")
        elif marker and agreement.lower() not in self._read.lower():
            self._fail(f"the target did not agree to {agreement.decode()}")
        elif marker:
            self._be_open()
            self.begin(rest)
        elif len(self._read) > _MAX_OPENING_BYTES:
            self._fail(f"the target answered {self._read[:200]!r}")
        elif self._opening.second and b"\r\n\r\n" in self._read:
            self.asyncio_transport.write(self._opening.second)
            self._opening = self._opening._replace(second=b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail an opening that was not finished; tell of a loss after it."""
        if self.opened is None and not self._is_dropped:
            self.lost()
        self._fail(f"the target closed the connection: {exc or 'no reason given'}")

    def abort(self) -> None:
        """Reset the connection, if there is one."""
        self._is_dropped = True
        if self._asyncio_transport is not None:
            reset(self._asyncio_transport)

    def begin(self, rest: bytes) -> None:
        """Take what has arrived with the marker, behind it; the base class drops it."""

    def take(self, nbytes: int) -> None:
        """Take what has arrived; the base class drops it."""

    def lost(self) -> None:
        """Take note that the connection, which was open, is closed."""

    @property
    def _is_refused(self) -> bool:
        wanted = b"HTTP/1.1 101" if self._opening.is_upgrade else b"HTTP/1.1 200"
        return not wanted.startswith(self._read[: len(wanted)])

    def _be_open(self) -> None:
        assert self.opened is not None
        self._read = b""
        self.opened.set_result(None)
        self.opened = None

    def _fail(self, reason: str) -> None:
        if self.opened is not None and not self.opened.done():
            self.opened.set_exception(LoadError(reason))


def reset(asyncio_transport: asyncio.Transport) -> None:
    """Drop a connection as if this host had vanished, so that no port waits in TIME_WAIT."""
    if not asyncio_transport.is_closing():
        sock = asyncio_transport.get_extra_info("socket")
        if sock is not None:  # uvloop has closed it where connecting was cancelled
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        asyncio_transport.abort()


async def connect(
    target: Target,
    connection: LoadConnection,
    number: int = 0,
    receive_bytes: int | None = None,
) -> None:
    """Open connection; number is its place among all, for its source address.

    receive_bytes is how much the kernel shall hold that is not read; None leaves it to the kernel.
    Raises LoadError, Unreachable where no connection comes about; then nothing is left of it.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await _reach(target, connection, number, receive_bytes)
            if connection.opened is not None:
                await connection.opened
    except TimeoutError:
        connection.abort()
        raise LoadError(f"the target did not answer within {_PATIENCE_S:.0f} s") from None
    except BaseException:
        connection.abort()
        raise


async def _reach(
    target: Target, connection: LoadConnection, number: int, receive_bytes: int | None
) -> None:
    loop = asyncio.get_running_loop()
    source = _find_source(target.host, number)
    address = (target.host, target.port)
    try:
        if receive_bytes is None:
            await loop.create_connection(lambda: connection, *address, local_addr=source)
        else:
            sock = await connect_narrow_socket(address, receive_bytes, source)
            await loop.create_connection(lambda: connection, sock=sock)
    except OSError as error:
        raise Unreachable(target.url, error) from error


async def connect_narrow_socket(
    address: tuple[str, int], receive_bytes: int, source: tuple[str, int] | None = None
) -> socket.socket:
    """Return a socket that is connected from source to address, with a receive buffer of that size.

    The size is set before connecting, so that segments fit. Raises OSError.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if source is not None:
            sock.bind(source)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_all(
    target: Target,
    connections: Iterable[tuple[int, LoadConnection]],
    receive_bytes: int | None = None,
) -> None:
    """Open all, some at a time; each comes with its number among those of all workers.

    The first is opened alone, so that a target that nobody can reach is tried only once.
    """
    waiting = iter(connections)
    for number, connection in itertools.islice(waiting, 1):
        await connect(target, connection, number, receive_bytes)

    async def open_in_turn() -> None:
        for number, connection in waiting:
            await connect(target, connection, number, receive_bytes)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_OPENING_COUNT):
                group.create_task(open_in_turn())
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None


def _find_source(host: str, number: int) -> tuple[str, int] | None:
    """Return the address to connect from, None for any; one of loopback's for every 20,000th."""
    if number < _PORTS_OF_ADDRESS:
        return None
    if not host.startswith("127."):
        return None
    return f"127.0.0.{1 + number // _PORTS_OF_ADDRESS}", 0
