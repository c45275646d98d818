"""What a process holds on to, counted before and after something nasty, and what was complained of.

A test that ends here has left behind neither connection, task, timer, file nor object of ours, and
nothing in the log that an operator would take for a fault of the server.
"""

import asyncio
import gc
import logging
import os
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from gateway.web.connection import Connection
from gateway.web.request import BaseRequest
from gateway.web.server import Server

Handler = Callable[[BaseRequest], Awaitable[Any]]
Address = tuple[str, int]

# Longer than anything here takes; only a failing test waits for all of it.
PATIENCE_S = 30
# How often objects are counted before they are taken for left behind; once is nearly always enough.
OBJECT_ROUNDS = 20
# Types whose objects are counted are those of these packages.
PACKAGES = ("gateway.", "protocol.", "asyncio.", "uvloop.", "httptools.")
LOGGERS = ("asyncio", "gateway")
# asyncio's bookkeeping for the loop itself, which comes and goes with the test's own steps.
UNCOUNTED = {"asyncio.events.Handle", "uvloop.loop.Handle", "asyncio.locks.Event"}
UNCOUNTED |= {"protocol.deflate.Agreement"}  # kept for the next connection, 360 at the most
# What closing a socket with it sends: a reset.
RESETTING = struct.pack("ii", 1, 0)


def type_name(thing: object) -> str:
    kind = type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"


def count_objects() -> Counter[str]:
    """Return how many objects of ours and of asyncio's were made since gc.freeze() and are held.

    Timers count until they are cancelled.
    """
    gc.collect()
    counts: Counter[str] = Counter()
    for thing in gc.get_objects():
        name = type_name(thing)
        if not name.startswith(PACKAGES) or name in UNCOUNTED:
            continue
        if not (isinstance(thing, asyncio.TimerHandle) and thing.cancelled()):
            counts[name] += 1
    return counts


def count_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class Complaints(logging.Handler):
    """Every log record from WARNING on, and every one with a traceback; and what the loop says."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.contexts: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or record.exc_info:
            self.records.append(record)

    def note(self, _loop: object, context: dict[str, Any]) -> None:
        self.contexts.append(context)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def tracebacks(self) -> str:
        texts = [logging.Formatter().format(record) for record in self.records if record.exc_info]
        return "\n".join(texts)


@asynccontextmanager
async def complaining() -> AsyncIterator[Complaints]:
    """Give what is complained of meanwhile; the event loop must not complain at all."""
    complaints = Complaints()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(complaints.note)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(complaints)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False  # pytest would keep the records, and those what was under way
    try:
        yield complaints
        gc.collect()  # so that a failure which nobody looked at is told now
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(complaints)
            logger.setLevel(level)
            logger.propagate = True
    assert complaints.contexts == [], complaints.contexts


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(0.001)


def held_connections(server: Server) -> int:
    """Return how many connections the server has not forgotten, open or not."""
    return len(server._connections)  # noqa: SLF001 - connections leaves out the closed ones


class Watched:
    """A server under attack."""

    address: Address

    def __init__(self, server: Server, complaints: Complaints) -> None:
        self.server = server
        self.complaints = complaints
        self.made_count = 0
        self._clients: list[socket.socket] = []

    def make_connection(self) -> Connection:
        """Be the server's protocol factory, and count."""
        self.made_count += 1
        return self.server()

    @property
    def ended_count(self) -> int:
        """How many connections have come and gone."""
        return self.made_count - held_connections(self.server)

    def connect(self, wire: bytes = b"") -> socket.socket:
        """Return a blocking socket to the server that has sent wire, which must be small."""
        client = socket.create_connection(self.address)
        self._clients.append(client)
        if wire:
            client.sendall(wire)
        return client

    def disconnect(self) -> None:
        """Close what a test that failed left open: another's garbage collector would find it."""
        for client in self._clients:
            client.close()

    async def heard(self, count: int = 1) -> None:
        """Wait until count connections have brought bytes since the last time, or ended already."""
        connections = self.server._connections  # noqa: SLF001

        def heard_count() -> int:
            return sum(connection.heard for connection in connections) + self.ended_count

        await eventually(lambda: heard_count() >= count)
        for connection in connections:
            connection.heard = False

    async def gone(self) -> None:
        """Wait until the server has forgotten every connection."""
        await eventually(lambda: held_connections(self.server) == 0)

    async def ask(self, *pieces: bytes) -> bytes:
        """Return all that is answered until the server closes; each piece is heard by itself."""
        reader, writer = await asyncio.open_connection(*self.address)
        async with asyncio.timeout(PATIENCE_S):
            try:
                for piece in pieces:
                    writer.write(piece)
                    if len(pieces) > 1:
                        await self.heard(self.made_count)
                        await turns()
                return await reader.read()
            finally:
                writer.transport.abort()


def reset(client: socket.socket) -> None:
    """Close client so that its peer's next look at the connection is an error."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETTING)
    client.close()


async def turns(count: int = 5) -> None:
    """Let the event loop turn, so that what is on its way arrives."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def watched(
    handler: Handler,
    *,
    expected: tuple[str, ...] = (),
    ssl_context: ssl.SSLContext | None = None,
    **options: Any,
) -> AsyncIterator[Watched]:
    """Serve handler; afterwards nothing is left, and exactly the expected messages are logged."""
    loop = asyncio.get_running_loop()
    first = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    first.close()  # libuv keeps a file from the first listener on
    await turns()
    tasks, files = asyncio.all_tasks(), count_files()
    gc.freeze()
    async with complaining() as complaints:
        server = Server(handler, **{"access_log": None, **options})
        watch = Watched(server, complaints)
        listener = await loop.create_server(
            watch.make_connection, "127.0.0.1", 0, ssl=ssl_context, backlog=2048
        )
        watch.address = listener.sockets[0].getsockname()
        try:
            yield watch
            await watch.gone()
            await eventually(lambda: asyncio.all_tasks() == tasks)
        finally:
            listener.close()
            watch.disconnect()
            await server.shutdown(1)
        del server, listener, watch.server
        await turns()
    messages, tracebacks = complaints.messages, complaints.tracebacks
    complaints.records.clear()  # they hold exceptions, and those whatever was under way
    for _ in range(OBJECT_ROUNDS):
        if not (left := count_objects()):
            break
        await asyncio.sleep(0.001)
    gc.unfreeze()
    assert left == Counter(), left
    assert count_files() == files
    assert messages == list(expected), tracebacks or messages
