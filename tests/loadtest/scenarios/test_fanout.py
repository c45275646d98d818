"""The fan-out scenario, against a node and against hubs that lose and repeat."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.config import ChannelsConfig, Config, ServerConfig, SessionConfig, WebSocketConfig
from gateway.node import Node
from loadtest import deliveries
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.recorder import Recorder
from loadtest.result import Result
from loadtest.run import Plan, run
from loadtest.scenarios.fanout import Share
from tests.loadtest.conftest import Listen, Talk

NO_FAULTS = {"missing": 0, "surplus": 0}


async def fan_out_briefly(target: str, workers: int = 1, **options: Any) -> Result:
    return await run(Plan("fanout", target, options, seconds=0.3, workers=workers))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"in_flight": 5}, id="closed loop"),
        pytest.param({"rate": 50.0}, id="open loop"),
        pytest.param({"channels": 4, "in_flight": 3}, id="channels"),
        pytest.param({"msgpack": True}, id="MessagePack"),
        pytest.param({"bytes": 2000, "in_flight": 40, "deflate": True}, id="compressed"),
        pytest.param({"bytes": 20_000, "in_flight": 20}, id="large"),
    ],
)
async def test_all_subscribers_get_everything(
    target: str, workers: int, options: dict[str, Any]
) -> None:
    result = await fan_out_briefly(target, workers, subscribers=4, **options)
    publications = result.figure("publications")
    assert publications
    assert result.figure("deliveries") == publications * 4
    assert result.histogram().count == publications * 4
    assert result.faults == NO_FAULTS


async def test_at_a_rate_as_much_is_published_as_it_says(target: str) -> None:
    result = await fan_out_briefly(target, subscribers=2, rate=100.0)
    assert result.figure("publications") == 30


async def test_more_workers_than_subscribers_do_no_harm(target: str) -> None:
    result = await fan_out_briefly(target, workers=3, subscribers=1)
    assert result.faults == NO_FAULTS
    assert result.figure("deliveries") == result.figure("publications")


async def test_those_who_stall_are_not_counted(target: str) -> None:
    result = await fan_out_briefly(target, subscribers=10, stalled=20, in_flight=64, bytes=1000)
    publications = result.figure("publications")
    assert publications
    assert result.figure("deliveries") == publications * 8
    assert result.faults == NO_FAULTS


async def test_compression_that_is_not_agreed_to_is_told(target: str, listen: Listen) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    plan = Plan("fanout", f"ws://{await listen(talk)}/", {"deflate": True}, dialect="plain")
    with pytest.raises(LoadError, match="did not agree to permessage-deflate"):
        await run(plan)


async def test_messagepack_is_only_for_gateways(target: str) -> None:
    with pytest.raises(LoadError, match="--msgpack is for a gateway"):
        await run(Plan("fanout", target, {"msgpack": True}, dialect="plain"))


@pytest.fixture
async def limited() -> AsyncIterator[str]:
    """The URL of a node that limits its clients."""
    node = Node(
        Config(
            server=ServerConfig(port=0),
            websocket=WebSocketConfig(close_timeout_s=0.1),
            session=SessionConfig(commands_per_s=1, commands_burst=1),
            channels=ChannelsConfig(),
        )
    )
    await node.start()
    yield f"ws://127.0.0.1:{node.port}/ws"
    await node.stop()


async def test_a_gateway_that_limits_its_clients_is_told_how_to_be_started(limited: str) -> None:
    with pytest.raises(LoadError, match="start it with GATEWAY_SESSION__COMMANDS_PER_S=0"):
        await fan_out_briefly(limited, subscribers=1, in_flight=10)


def make_hub(times: int) -> Talk:
    """Deliver everything so many times to each subscriber, except that a first one is lost."""
    subscribers: list[asyncio.StreamWriter] = []
    published: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        if not line.startswith(b"GET / "):
            subscribers.append(writer)
            await reader.read()
            return
        while True:
            head = await reader.readexactly(6)
            text = await reader.readexactly(head[1] & 0x7F)
            data = text.partition(b" ")[2]
            published.append(data)
            for number, subscriber in enumerate(subscribers):
                if number or len(published) != 1:
                    subscriber.write((b"\x81%c" % len(data) + data) * times)

    return talk


async def fan_out_here(authority: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Run one worker's share in this process, without patience; return what it has counted."""
    monkeypatch.setattr(deliveries, "_PATIENCE_S", 0.1)
    recorder = Recorder()
    options = {"subscribers": 2, "rate": 50.0, "bytes": 20}
    share = Share(Job("fanout", f"ws://{authority}/", "plain", "k", 0.2, options), recorder)
    await share.open()
    await share.run()
    await share.close()
    return recorder.counts


async def test_a_hub_that_loses_is_found_out(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = await fan_out_here(await listen(make_hub(1)), monkeypatch)
    assert counts == {"publications": 10, "deliveries": 19, "missing": 1}


async def test_a_hub_that_repeats_is_found_out(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = await fan_out_here(await listen(make_hub(2)), monkeypatch)
    assert counts == {"publications": 10, "deliveries": 20, "surplus": 18, "missing": 0}


async def test_a_share_of_stalled_readers_that_is_nobody_is_refused(target: str) -> None:
    with pytest.raises(LoadError, match="5 percent of 10 subscribers of a channel are nobody"):
        await fan_out_briefly(target, channels=100, subscribers=10, stalled=5)
