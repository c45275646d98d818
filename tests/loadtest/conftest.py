"""Servers in the test's own process, for scenarios whose workers are processes of their own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from gateway.config import Config, ServerConfig, SessionConfig, WebSocketConfig
from gateway.node import Node


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node that lets its clients publish as much as they like."""
    node = Node(
        Config(
            server=ServerConfig(port=0),
            websocket=WebSocketConfig(close_timeout_s=0.1),
            session=SessionConfig(commands_per_s=0, bytes_per_s=0),
        )
    )
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
def target(node: Node) -> str:
    """The node's ws:// URL."""
    return f"ws://127.0.0.1:{node.port}/ws"


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Listen = Callable[[Talk], Awaitable[str]]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Return what starts a server that talks so to each client, and returns its host and port."""
    async with AsyncExitStack() as stack:

        async def start(talk: Talk) -> str:
            async def talk_and_close(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                try:
                    await talk(reader, writer)
                except (asyncio.IncompleteReadError, ConnectionError):
                    pass  # the client has what it wanted
                finally:
                    writer.close()

            server = await asyncio.start_server(talk_and_close, "127.0.0.1", 0)
            stack.callback(server.close)
            host, port = server.sockets[0].getsockname()
            return f"{host}:{port}"

        yield start
