"""Large messages are compressed in threads; over real sockets, with `websockets` as the client."""

import asyncio
import random

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from gateway.web.websocket.outbox import MAX_AT_ONCE_BYTES
from tests.gateway.web.websocket.peers import BIG, KEY, opened, raw_opened

DEFLATE = [ClientPerMessageDeflateFactory()]
NOISE = random.Random(1).randbytes(4 * BIG)  # nothing takes longer to compress


async def until_gone(condition) -> int:
    """Let the event loop turn while condition holds; return how often."""
    turns = 0
    while condition():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_messages_arrive_in_the_order_in_which_they_are_sent():
    async with opened(extensions=DEFLATE) as (websocket, peer):
        large = "large " * MAX_AT_ONCE_BYTES
        messages = ["before", large, "behind", b"\x00" * BIG, large, "", b"last"]
        sends = [
            *map(websocket.send_str, messages[:2]),
            websocket.send_str(messages[2], compress=0),
            websocket.send_bytes(messages[3]),
            *map(websocket.send_str, messages[4:6]),
            websocket.send_bytes(messages[6]),
        ]
        await asyncio.gather(*sends)
        assert [await peer.recv() for _ in messages] == messages
        await websocket.send_str("before")
        assert await peer.recv() == "before"


async def test_others_get_their_turn_while_a_message_is_compressed():
    async with raw_opened(offer=b"permessage-deflate") as (websocket, peer):
        sending = asyncio.create_task(websocket.send_bytes(NOISE))
        reading = asyncio.create_task(peer.read(2))
        assert await until_gone(lambda: not reading.done()) > 100
        assert await reading == b"\xc2\x7f"
        await peer.read(int.from_bytes(await peer.read(8), "big"))
        await sending


async def test_pings_do_not_wait_for_messages_that_are_compressed():
    async with raw_opened(offer=b"permessage-deflate") as (websocket, peer):
        sending = asyncio.create_task(websocket.send_bytes(NOISE))
        await asyncio.sleep(0)
        await websocket.ping(b"p")
        assert await peer.read(3) == b"\x89\x01p"
        assert await peer.read(2) == b"\xc2\x7f"
        await peer.read(int.from_bytes(await peer.read(8), "big"))
        await sending


async def test_a_send_that_is_cancelled_is_sent_nevertheless_and_in_order():
    async with opened(extensions=DEFLATE) as (websocket, peer):
        await websocket.send_str("before")
        sending = asyncio.create_task(websocket.send_bytes(NOISE))
        waiting = asyncio.create_task(websocket.send_str("waiting"))
        await asyncio.sleep(0)
        sending.cancel()
        waiting.cancel()
        await asyncio.gather(sending, waiting, return_exceptions=True)
        await websocket.send_str("behind")
        expected = ["before", NOISE, "waiting", "behind"]
        assert [await peer.recv() for _ in expected] == expected


async def test_a_message_that_is_not_ready_when_the_websocket_closes_is_not_sent():
    async with raw_opened(offer=b"permessage-deflate") as (websocket, peer):
        sending = asyncio.create_task(websocket.send_bytes(NOISE))
        waiting = asyncio.create_task(websocket.send_str("waiting"))
        await asyncio.sleep(0)
        closing = asyncio.create_task(websocket.close())
        assert await peer.read_close() == 1000
        for send in (sending, waiting):
            with pytest.raises(ConnectionResetError):
                await send
        peer.send(b"\x88\x82" + KEY + b"\x03\xe8")
        assert await peer.reader.read() == b""
        await closing


async def test_a_peer_that_vanishes_meanwhile_ends_the_sending():
    async with raw_opened(offer=b"permessage-deflate") as (websocket, peer):
        sending = asyncio.create_task(websocket.send_bytes(NOISE))
        await asyncio.sleep(0)
        peer.writer.transport.abort()
        await until_gone(lambda: websocket.close_code is None)
        with pytest.raises(ConnectionResetError):
            await sending
