"""One request over a real socket, for the tests of what answers HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import NamedTuple

import pytest
from multidict import CIMultiDict

from gateway.web.request import BaseRequest
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse

Handler = Callable[[BaseRequest], Awaitable[StreamResponse]]


class Reply(NamedTuple):
    """One response, read to the end of its connection."""

    status: int
    headers: CIMultiDict[str]
    body: bytes


Fetch = Callable[[Handler, str], Awaitable[Reply]]


@pytest.fixture
def fetch() -> Fetch:
    """Return what answers one request: `await fetch(handler, "GET /path")`."""

    async def fetch_once(handler: Handler, request_line: str) -> Reply:
        server = Server(handler, access_log=None)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        with closing(listener):
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            with closing(writer):
                head = f"{request_line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                reply = parse_reply(await reader.read())
        await server.shutdown(1)
        return reply

    return fetch_once


def parse_reply(everything: bytes) -> Reply:
    """Return the response that everything is; its length is checked unless it has no body."""
    head, _, body = everything.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = CIMultiDict(line.split(": ", 1) for line in lines)
    assert not body or int(headers["Content-Length"]) == len(body)
    return Reply(int(status_line.split(" ")[1]), headers, body)
