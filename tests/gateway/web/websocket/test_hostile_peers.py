"""Peers of a WebSocket that leave, stall or attack, and what that leaves behind: nothing."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from gateway.web.request import BaseRequest
from gateway.web.takeover import TakeoverResponse
from gateway.web.websocket.connection import Listener, WebSocketConnection
from gateway.web.websocket.response import WebSocketResponse
from protocol.handshake import Accepted, accept_headers, judge
from tests.gateway.web.ledger import Watched, reset, turns, watched
from tests.gateway.web.websocket.peers import BIG, HANDSHAKE, KEY, raw_opened

TEXT_OF_10 = b"\x81\x8a" + KEY + b"x" * 10
PING = b"\x89\x80" + KEY


async def shake_hands(attack: Watched, offer: bytes = b"") -> socket.socket:
    """Return a socket that is a WebSocket now."""
    client = attack.connect(HANDSHAKE[:-2] + offer + b"\r\n")
    client.setblocking(False)
    head = await asyncio.get_running_loop().sock_recv(client, 4096)
    assert head.startswith(b"HTTP/1.1 101 ")
    return client


class Echo(Listener):
    """Sends back what it gets."""

    connection: WebSocketConnection

    def on_message(self, opcode: int, data: str | bytes) -> None:
        self.connection.send(opcode, data)


async def echo_by_callbacks(request: BaseRequest) -> TakeoverResponse:
    verdict = judge(request.method, request.version, request.headers)
    assert isinstance(verdict, Accepted)
    echo = Echo()
    connection = echo.connection = WebSocketConnection(
        request.protocol, echo, max_message_bytes=BIG
    )
    response = TakeoverResponse(connection, status=101, headers=accept_headers(verdict, None))
    await response.prepare(request)
    return response


@pytest.mark.parametrize("wire", [TEXT_OF_10, PING])
@pytest.mark.parametrize("end", [reset, socket.socket.close])
async def test_nothing_is_logged_of_answers_to_a_peer_that_left(
    wire: bytes, end: Callable[[socket.socket], None]
):
    async with watched(echo_by_callbacks) as attack:
        for _ in range(5):
            client = await shake_hands(attack)
            client.send(wire * 10_000)
            await turns()
            end(client)
            del client
            await attack.gone()


async def test_a_handler_is_told_that_its_peer_left_and_the_log_is_not():
    has_left = asyncio.Event()
    told_count = 0

    async def handler(request: BaseRequest) -> Any:
        nonlocal told_count
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        await has_left.wait()
        try:
            for _ in range(100):
                await websocket.send_str("without waiting for anything")
        except ConnectionResetError:
            told_count += 1
        return websocket

    async with watched(handler) as attack:
        reset(await shake_hands(attack))
        has_left.set()
        await attack.gone()
    assert told_count == 1


async def test_a_handler_that_sends_nothing_for_ever_waits_for_a_peer_that_does_not_read():
    async with raw_opened(writer_limit=1000) as (websocket, peer):
        peer.writer.transport.pause_reading()
        filling = asyncio.create_task(websocket.send_bytes(bytes(20 * BIG)))
        await turns(100)
        assert not filling.done()
        for send in (websocket.ping, websocket.pong, lambda: websocket.send_str("")):

            async def send_10_000(send: Any = send) -> None:
                for _ in range(10_000):
                    await send()

            sending = asyncio.create_task(send_10_000())
            await turns()
            assert sending.cancel()
        peer.writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await filling
