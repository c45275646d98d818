"""A backlog of megabytes: it is streamed, and nothing waits behind it."""

import json
import socket
from collections.abc import Awaitable, Callable

import pytest
from websockets.frames import Opcode

from gateway.config import ChannelsConfig, HubConfig, LongpollConfig, SseConfig, WebSocketConfig
from protocol.codes import CloseCode
from protocol.cursor import Position, encode_cursor
from tests.gateway.clients import (
    LITTLE_BYTES,
    PADDING,
    Account,
    Gateway,
    Push,
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

with_kernel_limit = pytest.mark.skipif(
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


@with_kernel_limit
async def test_a_pong_to_a_client_that_lags_by_megabytes_comes_soon():
    async with serving(channels=ROOMY) as gateway:
        client, last = await lag_by_megabytes(gateway)
        client.send_frame('{"type":"ping","id":2}')
        client.send_frame("", Opcode.PING)
        assert await count_bytes_before(client, Opcode.TEXT, b'"pong"') < BOUND_BYTES
        assert await count_bytes_before(client, Opcode.PONG, b"") < BOUND_BYTES
        while (push := await client.read())["offset"] < last:
            assert push["type"] == "message"


@with_kernel_limit
async def test_closing_comes_soon_to_a_client_that_lags_by_megabytes():
    async with serving(channels=ROOMY) as gateway:
        client, _ = await lag_by_megabytes(gateway)
        (slow,) = [each for each in gateway.node.hub.sessions if each.is_paused]
        slow.transport.disconnect(CloseCode.GOING_AWAY, "test")
        assert await count_bytes_before(client, Opcode.TEXT, b'"closing"') < BOUND_BYTES
        assert await client.read_close_code() == CloseCode.GOING_AWAY


# --- recovery of a backlog far above every buffer, while publications keep arriving -------------

LONG = ChannelsConfig(history_bytes=64 * 1024 * 1024, history_count=100_000)
BACKLOG_COUNT = 8000


async def fill(gateway: Gateway) -> str:
    """Publish megabytes to channel a; return the cursor of its beginning."""
    batch = [PADDING] * 500
    for _ in range(BACKLOG_COUNT // len(batch)):
        epoch = (await gateway.publish("a", *batch))[0]["epoch"]
    return encode_cursor({"a": Position(epoch, 0)})


async def read_while_publishing(
    gateway: Gateway, read: Callable[[], Awaitable[Push]], publish_until: int
) -> int:
    """Return the most that waited for the session, once everything published is read in order.

    A publication comes with every hundred that are read.
    """
    (session,) = gateway.node.hub.sessions
    account = Account()
    most_bytes = 0
    last = BACKLOG_COUNT
    while account.offset < last:
        account.add(await read())
        waiting = session.transport.write.__self__.get_write_buffer_size()
        most_bytes = max(most_bytes, waiting)
        if account.offset % 100 == 0 and last < publish_until:
            last = (await gateway.publish("a", PADDING))[0]["offset"]
    assert account.seen == list(range(1, publish_until + 1))
    return most_bytes


async def test_a_websocket_is_streamed_megabytes_in_small_pieces_while_more_is_published():
    async with serving(channels=LONG) as gateway:
        cursor = await fill(gateway)
        client = await gateway.raw_websocket(receive_bytes=LITTLE_BYTES)
        await client.shake_hands()
        command = {"type": "subscribe", "channel": "a", "id": 1, "cursor": cursor}
        client.send_frame(json.dumps(command))
        assert [(await client.read())["type"] for _ in range(2)] == ["welcome", "subscribed"]
        most_bytes = await read_while_publishing(gateway, client.read, BACKLOG_COUNT + 50)
        assert most_bytes <= WebSocketConfig().high_water_bytes + HubConfig().catch_up_bytes * 1.1


async def test_an_event_stream_is_streamed_megabytes_in_small_pieces_while_more_is_published():
    async with serving(channels=LONG) as gateway:
        cursor = await fill(gateway)
        stream = await gateway.event_stream(
            channel="a", last_event_id=cursor, receive_bytes=LITTLE_BYTES
        )
        assert (await stream.read())["recovered"]
        most_bytes = await read_while_publishing(gateway, stream.read, BACKLOG_COUNT + 50)
        assert most_bytes <= SseConfig().high_water_bytes + HubConfig().catch_up_bytes * 1.2


async def test_polls_are_answered_with_megabytes_in_bounded_pieces_while_more_is_published():
    async with serving(channels=LONG) as gateway:
        cursor = await fill(gateway)
        account = Account()
        while account.offset < BACKLOG_COUNT + 5:
            reply = await gateway.get("/poll", channel="a", cursor=cursor)
            bound_bytes = LongpollConfig().max_response_bytes + HubConfig().catch_up_bytes * 1.1
            assert len(reply.body) <= bound_bytes
            cursor = reply.json["cursor"]
            for push in reply.json["messages"]:
                account.add(push)
            if len(account.seen) < BACKLOG_COUNT:
                await gateway.publish("a", PADDING)
        assert account.missing == []
