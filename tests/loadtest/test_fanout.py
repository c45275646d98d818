"""The fan-out scenario against a real node: it counts what arrived, and notices what did not."""

import os

import pytest

from gateway.config import Config, ServerConfig, SessionConfig
from gateway.node import Node
from loadtest.client import LoadError
from loadtest.fanout import Fanout
from loadtest.process import ProcessStats


@pytest.fixture
async def target():
    unlimited = SessionConfig(commands_per_s=0, bytes_per_s=0)
    node = Node(Config(server=ServerConfig(port=0), session=unlimited))
    await node.start()
    yield f"ws://127.0.0.1:{node.port}/ws"
    await node.stop()


@pytest.mark.parametrize(("in_flight", "data_bytes"), [(1, 64), (20, 2), (3, 30_000)])
async def test_every_delivery_is_accounted_for(
    target: str, in_flight: int, data_bytes: int
) -> None:
    run = Fanout(target, subscriber_count=70, in_flight_count=in_flight, data_bytes=data_bytes)
    result = await run.run(seconds=0.2, server=ProcessStats(os.getpid()))
    assert result.missing_bytes == 0
    assert result.publications >= in_flight
    assert result.deliveries_per_s > 0
    assert result.server_us_per_delivery is not None


async def test_without_a_process_its_figures_are_absent(target: str) -> None:
    result = await Fanout(target, subscriber_count=1, in_flight_count=1, data_bytes=2).run(
        seconds=0.1, server=None
    )
    assert (result.server_us_per_delivery, result.server_rss_kib) == (None, None)


async def test_a_target_that_is_no_gateway_is_named(target: str) -> None:
    run = Fanout(
        target.replace("/ws", "/healthz"), subscriber_count=1, in_flight_count=1, data_bytes=2
    )
    with pytest.raises(LoadError, match=r"HTTP.1\.1 200"):
        await run.run(seconds=0.1, server=None)


async def test_a_url_of_another_kind_is_refused() -> None:
    run = Fanout("http://127.0.0.1/", subscriber_count=1, in_flight_count=1, data_bytes=2)
    with pytest.raises(LoadError, match="ws://"):
        await run.run(seconds=0.1, server=None)


async def test_a_target_that_limits_its_publishers_is_told_apart_from_one_that_loses() -> None:
    config = Config(
        server=ServerConfig(port=0), session=SessionConfig(commands_per_s=10, commands_burst=10)
    )
    node = Node(config)
    await node.start()
    target = f"ws://127.0.0.1:{node.port}/ws"
    run = Fanout(target, subscriber_count=1, in_flight_count=20, data_bytes=2)
    with pytest.raises(LoadError, match="GATEWAY_SESSION__COMMANDS_PER_S=0"):
        await run.run(seconds=1.0, server=None)
    await node.stop()
