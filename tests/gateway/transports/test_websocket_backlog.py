"""What waits in front of a reply, a pong and `closing` where a client does not keep up."""

import socket

import pytest
from websockets.frames import Opcode

from gateway.config import ChannelsConfig, HubConfig, WebSocketConfig
from protocol.codes import CloseCode
from tests.gateway.clients import (
    LITTLE_BYTES,
    Gateway,
    RawWebSocket,
    publish_read_by,
    serving,
    stall,
)

# Room for megabytes of lag, so that only the write path bounds what waits.
ROOMY = ChannelsConfig(lag_bytes=64 * 1024 * 1024, lag_count=100_000)
# What may be in front: the high-water mark here, as much again in the kernel, a batch that crossed
# each, and what the client's own kernel holds.
BOUND_BYTES = (
    2 * WebSocketConfig().high_water_bytes + 2 * HubConfig().catch_up_bytes + 16 * LITTLE_BYTES
)

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the kernel's send buffer has no limit of ours"
)


async def lag_by_megabytes(gateway: Gateway) -> tuple[RawWebSocket, int]:
    """Return a client that reads nothing of the megabytes owed to it, and the newest offset."""
    healthy = await gateway.websocket()
    await healthy.ask(type="subscribe", channel="a")
    client = await gateway.raw_websocket(receive_bytes=LITTLE_BYTES)
    await client.shake_hands()
    client.send_frame('{"type":"subscribe","channel":"a","id":1}')
    assert [(await client.read())["type"] for _ in range(2)] == ["welcome", "subscribed"]
    await stall(gateway, healthy)
    for _ in range(100):
        last = await publish_read_by(gateway, healthy, 40)
    return client, last


async def count_bytes_before(client: RawWebSocket, opcode: Opcode, text: bytes) -> int:
    """Return how much the client has to read before a frame of that kind that holds text."""
    size = 0
    while not ((frame := await client.read_frame())[0] == opcode and text in frame[1]):
        size += len(frame[1])
    return size


async def test_a_pong_to_a_client_that_lags_by_megabytes_comes_soon():
    async with serving(channels=ROOMY) as gateway:
        client, last = await lag_by_megabytes(gateway)
        client.send_frame('{"type":"ping","id":2}')
        client.send_frame("", Opcode.PING)
        assert await count_bytes_before(client, Opcode.TEXT, b'"pong"') < BOUND_BYTES
        assert await count_bytes_before(client, Opcode.PONG, b"") < BOUND_BYTES
        while (push := await client.read())["offset"] < last:
            assert push["type"] == "message"


async def test_closing_comes_soon_to_a_client_that_lags_by_megabytes():
    async with serving(channels=ROOMY) as gateway:
        client, _ = await lag_by_megabytes(gateway)
        (slow,) = [each for each in gateway.node.hub.sessions if each.is_paused]
        slow.transport.disconnect(CloseCode.GOING_AWAY, "test")
        assert await count_bytes_before(client, Opcode.TEXT, b'"closing"') < BOUND_BYTES
        assert await client.read_close_code() == CloseCode.GOING_AWAY
