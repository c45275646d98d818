"""What the configuration says of time and room, kept by a running node at its edges.

The server keeps times to within a second, so each of these takes one or two.
"""

import asyncio
from typing import Any

import pytest

from gateway.config import ChannelsConfig, HeartbeatConfig, LongpollConfig, ServerConfig
from gateway.web.websocket.connection import MAX_BACKLOG_BYTES
from tests.gateway.clients import (
    LITTLE_BYTES,
    PADDING,
    Gateway,
    Socket,
    bounded,
    encode_request,
    serving,
)

SOON_S = 0.01


def limited(**limits: Any) -> ServerConfig:
    return ServerConfig(port=0, **limits)


async def read_late_answer(client: Socket) -> int:
    """Return the status that comes before the gateway closes."""
    status, _ = await client.read_head()
    await client.read_end()
    return status


@pytest.mark.parametrize("begun", ["", "GET /healthz HTTP/1.1\r\nHo", "GET /ws HTTP/1.1\r\n"])
async def test_who_does_not_finish_a_handshake_is_closed(begun):
    async with serving(server=limited(head_timeout_s=SOON_S)) as gateway:
        client = await gateway.open()
        client.send(begun)
        if begun:
            assert await read_late_answer(client) == 408
        else:
            await client.read_end()


async def test_a_body_that_stops_coming_is_a_408():
    async with serving(server=limited(body_timeout_s=SOON_S)) as gateway:
        client = await gateway.open()
        client.send(encode_request("POST", "/publish", body=b"{" + bytes(100))[:-50])
        assert await read_late_answer(client) == 408


async def test_a_connection_that_idles_between_requests_is_closed():
    async with serving(server=limited(keepalive_timeout_s=SOON_S)) as gateway:
        client = await gateway.open()
        client.send(encode_request("GET", "/healthz"))
        assert (await client.read_head())[0] == 200
        await client.read_end()


async def test_a_poll_whose_answer_nobody_reads_is_dropped():
    sections = {
        "server": limited(write_timeout_s=SOON_S, max_unread_bytes=1 << 28),
        "channels": ChannelsConfig(history_count=100_000, history_bytes=1 << 26),
        "longpoll": LongpollConfig(max_response_bytes=1 << 26),
    }
    async with serving(**sections) as gateway:
        (first,) = await gateway.publish("a", 0)
        for _ in range(24):
            await gateway.publish("a", *[PADDING] * 900)
        client = await gateway.open(receive_bytes=LITTLE_BYTES)
        position = f"epoch={first['epoch']}&offset=1"
        client.send(encode_request("GET", f"/poll?channel=a&{position}&timeout=0"))
        await wait_only_connection_lost(gateway)


async def wait_only_connection_lost(gateway: Gateway) -> None:
    """Return when the node has had a connection, and has none any more."""
    server = gateway.node._server  # noqa: SLF001
    for is_there in (True, False):
        async with bounded():
            while bool(server.connections) is not is_there:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(("size", "status"), [(0, 200), (1, 431)])
async def test_a_head_may_be_as_large_as_max_head_bytes(size, status):
    request = "GET /healthz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nX-Filler: "
    async with serving(server=limited(max_head_bytes=1024)) as gateway:
        client = await gateway.open()
        client.send(request + "x" * (1024 - len(request) - 4 + size) + "\r\n\r\n")
        assert (await client.read_head())[0] == status


async def test_a_client_that_asks_and_never_reads_costs_bounded_memory_and_is_ended():
    often = HeartbeatConfig(interval_s=1.0)
    async with serving(heartbeat=often) as gateway:
        await gateway.publish("a", *[PADDING] * 900)
        client = await gateway.raw_websocket(receive_bytes=LITTLE_BYTES)
        await client.shake_hands()
        for number in range(1, 1000):
            command = f'{{"type":"history","id":{number},"channel":"a","limit":1000}}'
            client.send_frame(command)  # each is answered with 0.9 MB
        (session,) = gateway.node.hub.sessions
        asyncio_transport = session.transport.connection.asyncio_transport
        peak_bytes = 0
        async with bounded():
            while gateway.node.hub.sessions:
                peak_bytes = max(peak_bytes, asyncio_transport.get_write_buffer_size())
                await asyncio.sleep(0)
        assert MAX_BACKLOG_BYTES < peak_bytes < MAX_BACKLOG_BYTES + 1_000_000
