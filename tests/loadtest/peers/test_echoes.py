"""The peers, and ours beside them, that send messages back or answer requests with two bytes."""

import asyncio

import pytest
from websockets.asyncio.client import connect

from loadtest.compare.servers import SERVERS
from tests.loadtest.peers.conftest import Start

ECHOES = [name for name in SERVERS if name.endswith(" echo")]
PLAIN = [name for name in SERVERS if name.endswith(" plain")]


@pytest.mark.parametrize("name", ECHOES)
async def test_an_echo_sends_every_message_back_in_order(start: Start, name: str) -> None:
    async with connect(f"ws://127.0.0.1:{await start(name)}/") as client:
        await client.send("a")
        await client.send("ü" * 1000)
        assert [await client.recv(), await client.recv()] == ["a", "ü" * 1000]


@pytest.mark.parametrize("name", [*ECHOES, "aiohttp", "websockets", "picows", "socketify"])
async def test_a_peer_agrees_to_no_compression(start: Start, name: str) -> None:
    async with connect(f"ws://127.0.0.1:{await start(name)}/", compression="deflate") as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


@pytest.mark.parametrize("name", PLAIN)
async def test_a_plain_server_answers_two_requests_on_one_connection(
    start: Start, name: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", await start(name))
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"content-length: 2\r\n" in head.lower()
        assert await reader.readexactly(2) == b"OK"
    writer.close()
