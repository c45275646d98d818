"""Real sockets for the tests of the web server: a fresh server each, on port 0 of the loopback."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import Any

import pytest
import pytest_asyncio

from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from tests.gateway.web.differential.peers import Peers

Handler = Callable[[BaseRequest], Awaitable[object]]
Maker = Callable[[], StreamResponse]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

# Sent behind the request in question: it is answered only where the connection lives on.
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LAST_STATUS = b"HTTP/1.1 299 Last\r\n"


class Answer:
    """One response as it came: whether another one followed, and its parts; Date only checked."""

    def __init__(self, everything: bytes) -> None:
        first, found, _ = everything.partition(LAST_STATUS)
        head, _, self.body = first.partition(b"\r\n\r\n")
        self.status_line, *lines = head.decode().split("\r\n")
        pairs = [tuple(line.split(": ", 1)) for line in lines]
        dates = [value for name, value in pairs if name == "Date"]
        self.headers = [pair for pair in pairs if pair[0] != "Date"]
        self.keeps_alive = bool(found)
        assert len(dates) == 1
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", dates[0])


@pytest.fixture
def connected() -> Callable[..., AbstractAsyncContextManager[Streams]]:
    """Connect to a server of a handler: `async with connected(handler) as (reader, writer)`."""

    @asynccontextmanager
    async def connect(handler: Handler, **options: Any) -> AsyncIterator[Streams]:
        server = Server(handler, **{"access_log": None, **options})
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        with closing(listener):
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            with closing(writer):
                yield reader, writer
        await server.shutdown(1)

    return connect


@pytest.fixture
def talk(connected: Callable[..., Any]) -> Callable[..., Awaitable[bytes]]:
    """Return all that a server answers until it closes: `await talk(handler, wire)`."""

    async def talk_until_closed(handler: Handler, wire: bytes, **options: Any) -> bytes:
        async with connected(handler, **options) as (reader, writer):
            writer.write(wire)
            answer: bytes = await reader.read()
            return answer

    return talk_until_closed


@pytest.fixture
def ask(talk: Callable[..., Awaitable[bytes]]) -> Callable[..., Awaitable[Answer]]:
    """Return the answer that a handler, or a function, makes: `await ask(wire, make)`."""

    async def ask_for(wire: bytes, make: Maker | Handler) -> Answer:
        async def handler(request: BaseRequest) -> object:
            if request.path == "/last":
                return Response(status=299, reason="Last")
            if asyncio.iscoroutinefunction(make):
                return await make(request)
            return make()

        return Answer(await talk(handler, wire + LAST))

    return ask_for


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peers() -> AsyncIterator[Peers]:
    """Return our server and aiohttp's, both listening for all tests of a module."""
    async with Peers().listening() as both:
        yield both
