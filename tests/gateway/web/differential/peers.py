"""aiohttp's server and ours side by side: the same handler and the same bytes for both.

What must differ, the values of Date and Server, is replaced before anything is compared.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from types import ModuleType
from typing import Any, NamedTuple

from aiohttp import web as aiohttp_web

from gateway import web
from tests.gateway.clients import bounded

# What is done on both: with the module to do it with, and what its handler gets.
Handler = Callable[[ModuleType, Any], Awaitable[Any]]
MODULES = (web, aiohttp_web)

HOST = b"Host: example.org\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
# Sent behind a request that does not end the connection: its answer shows that it lived on.
LAST = b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


class Difference(NamedTuple):
    """What only our answer has, what only theirs has, and why."""

    ours: bytes
    theirs: bytes
    reason: str


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    """Return a request to example.org with these headers and that body, as they are."""
    return b"\r\n".join([line, b"Host: example.org", *headers, b"", body])


def get(*headers: bytes) -> bytes:
    """Return a request for / with these headers."""
    return request(b"GET / HTTP/1.1", *headers)


def post(body: bytes, *headers: bytes) -> bytes:
    """Return a request with a body of a stated length."""
    length = b"Content-Length: %d" % len(body)
    return request(b"POST /a/b?c=d%20e HTTP/1.1", *headers, length, body=body)


def post_chunks(chunks: Iterable[bytes], *headers: bytes, trailers: bytes = b"") -> bytes:
    """Return a request with a body in these chunks."""
    framed = b"".join([b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks])
    body = framed + b"0\r\n" + trailers + b"\r\n"
    return request(b"POST / HTTP/1.1", *headers, b"Transfer-Encoding: chunked", body=body)


class Peers:
    """Both servers, or those of modules; they hand every request to the same handler at a time."""

    def __init__(self, modules: Sequence[ModuleType] = MODULES) -> None:
        self._modules = modules
        self._handler: Handler | None = None
        self._addresses: list[Any] = []
        self.servers: list[Any] = []

    @asynccontextmanager
    async def listening(self, **options: Any) -> AsyncIterator["Peers"]:
        """Listen until the end of the context."""
        loop = asyncio.get_running_loop()
        self.servers = [self._server(module, **options) for module in self._modules]
        listeners = [await loop.create_server(server, "127.0.0.1", 0) for server in self.servers]
        self._addresses = [listener.sockets[0].getsockname() for listener in listeners]
        yield self
        for listener, server in zip(listeners, self.servers, strict=True):
            listener.close()
            await server.shutdown(1)

    def _server(self, module: ModuleType, **options: Any) -> Any:
        async def handle(request: Any) -> Any:
            if request.path == "/last":
                return module.Response(text="last")
            assert self._handler is not None
            return await self._handler(module, request)

        return module.Server(handle, **{"access_log": None, **options})

    async def ask(
        self,
        handler: Handler,
        wire: bytes,
        *,
        piece_bytes: int | None = None,
        is_last: bool = False,
    ) -> list[bytes]:
        """Return all that each answers until it closes.

        wire is sent in pieces, if wanted. With is_last nothing follows it, which the server hears.
        """
        self._handler = handler
        pieces = [wire]
        if piece_bytes is not None:
            pieces = [wire[i : i + piece_bytes] for i in range(0, len(wire), piece_bytes)]
        return [await self._talk(address, pieces, is_last) for address in self._addresses]

    async def _talk(self, address: Any, pieces: list[bytes], is_last: bool) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        with closing(writer):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)  # without it asyncio would join them
            async with bounded():
                if is_last:
                    answer = await reader.readuntil(b"\r\n\r\n")
                    writer.write_eof()
                    answer += await reader.read()
                else:
                    answer = await reader.read()
        return re.sub(rb"(Date|Server): [^\r\n]+", rb"\1: *", answer)


def check(ours: bytes, theirs: bytes, difference: Difference | None) -> None:
    """Assert that the answers are the same, or differ as it is said."""
    if difference is None:
        assert ours == theirs
        return
    assert difference.ours in ours
    assert difference.theirs in theirs
    assert difference.ours not in theirs or difference.theirs not in ours


def statuses(answer: bytes) -> list[int]:
    """Return the status of each response in answer."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]


def attempt(probe: Callable[[], object]) -> str:
    """Return what probe returns, as text, or the name of the exception that it raises."""
    try:
        return repr(probe())
    except Exception as error:
        return name_of(error)


def name_of(error: BaseException) -> str:
    """Return the name of the first class of error that is not a module's own."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    own = type(error).__name__
    return own if own.startswith("HTTP") else names[0]


def unlike(
    ours: dict[str, str], theirs: dict[str, str], known: Iterable[str] = ()
) -> dict[str, tuple[str | None, str | None]]:
    """Return what is not the same in both, but for the names that are known to differ."""
    return {
        name: (ours.get(name), theirs.get(name))
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name) and name not in known
    }
