"""The idle scenario against a real node: it keeps its connections by answering pings."""

import os

import pytest

from gateway.config import Config, ServerConfig, WebSocketConfig
from gateway.node import Node
from loadtest.idle import measure
from loadtest.process import ProcessStats


@pytest.fixture
async def node():
    config = Config(server=ServerConfig(port=0), websocket=WebSocketConfig(close_timeout_s=0.1))
    node = Node(config)
    await node.start()
    yield node
    await node.stop()


async def test_who_answers_pings_is_kept_and_what_that_costs_is_told(node: Node) -> None:
    target = f"ws://127.0.0.1:{node.port}/ws"

    class Beating(ProcessStats):
        """A look at the process in the moment of a heartbeat, which ends whoever was not heard."""

        def cpu_s(self) -> float:
            for session in tuple(node.hub.sessions):
                session.transport.beat()
            self.kept_count = len(node.hub.sessions)
            return super().cpu_s()

    process = Beating(os.getpid())
    result = await measure(target, count=70, seconds=0.5, server=process)
    assert (result.connections, result.pings, process.kept_count) == (70, 70, 70)
    assert result.lost_connections == 0
    assert result.server_cpu_s_per_minute is not None
    assert result.server_kib_per_connection is not None


async def test_connections_that_the_target_ends_are_counted(node: Node) -> None:
    target = f"ws://127.0.0.1:{node.port}/ws"

    class Ending(ProcessStats):
        """A look at the process that has every session ended."""

        def cpu_s(self) -> float:
            for session in tuple(node.hub.sessions):
                session.transport.disconnect(1012, "enough")
            return 0.0

    result = await measure(target, count=3, seconds=0.5, server=Ending(os.getpid()))
    assert result.lost_connections == 3
