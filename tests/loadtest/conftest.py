"""A node in the test's own process, for scenarios whose workers are processes of their own."""

from collections.abc import AsyncIterator

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
