"""WebSocketResponse with permessage-deflate over real sockets; `websockets` is the other side."""

import asyncio
import json
import tracemalloc
import zlib

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from gateway.web.websocket.response import WSMsgType
from protocol.deflate import deflate_message
from protocol.errors import WebSocketError
from protocol.frames import BINARY, TEXT, encode_masked_frame
from tests.gateway.web.websocket.peers import BIG, KEY, opened, raw_opened

HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692 section 7.2.3.1
OFFER = b"permessage-deflate"


def compressed(opcode: int, payload: bytes) -> bytes:
    return encode_masked_frame(opcode, payload, KEY, rsv1=True)


def offering(**parameters: object) -> list[ClientPerMessageDeflateFactory]:
    return [ClientPerMessageDeflateFactory(**parameters)]


@pytest.mark.parametrize(
    ("parameters", "bits"),
    [
        ({}, 15),
        ({"client_max_window_bits": True}, 15),
        ({"client_max_window_bits": 9}, 15),
        ({"client_max_window_bits": 15}, 15),
        ({"server_max_window_bits": 9}, 9),
        ({"server_max_window_bits": 12, "client_max_window_bits": 12}, 12),
        ({"server_no_context_takeover": True}, 15),
        ({"client_no_context_takeover": True}, 15),
        (
            {
                "server_no_context_takeover": True,
                "client_no_context_takeover": True,
                "server_max_window_bits": 10,
                "client_max_window_bits": 10,
            },
            10,
        ),
    ],
)
async def test_both_sides_understand_one_another_whatever_they_agree_upon(parameters, bits):
    async with opened(extensions=offering(**parameters)) as (websocket, peer):
        assert websocket.compress == bits
        text = json.dumps([{"name": f"\u017elu\u0165 {n}", "value": n} for n in range(3000)])
        for message in ("", "a", text, "", text[::-1], text, bytes(BIG), b"", b"\xff"):
            await peer.send(message)
            if isinstance(message, str):
                assert await websocket.receive_str() == message
                await websocket.send_str(message)
            else:
                assert await websocket.receive_bytes() == message
                await websocket.send_bytes(message)
            assert await peer.recv() == message
        await peer.send([text[:1], text[1:1000], "", text[1000:]])
        assert await websocket.receive_str() == text


async def test_nothing_is_compressed_for_a_client_that_does_not_offer_it():
    async with opened() as (websocket, peer):
        assert "Sec-WebSocket-Extensions" not in peer.response.headers
        assert websocket.compress == 0
        await websocket.send_str("a", compress=15)
        assert await peer.recv() == "a"


async def test_nothing_is_compressed_where_the_handler_does_not_want_it():
    async with raw_opened(offer=OFFER, compress=False) as (websocket, peer):
        assert websocket.compress == 0
        await websocket.send_str("a")
        assert await peer.read(3) == b"\x81\x01a"


async def test_each_message_may_be_sent_as_it_is():
    async with raw_opened(offer=OFFER) as (websocket, peer):
        await websocket.send_str("Hello", compress=0)
        assert await peer.read(7) == b"\x81\x05Hello"
        await websocket.send_bytes(b"Hello", compress=0)
        assert await peer.read(7) == b"\x82\x05Hello"
        await websocket.send_json("a", compress=0)
        assert await peer.read(5) == b'\x81\x03"a"'
        await websocket.send_frame(b"Hello", WSMsgType.TEXT, compress=0)
        assert await peer.read(7) == b"\x81\x05Hello"


@pytest.mark.parametrize("compress", [None, 9, 15, True])
async def test_whatever_else_is_said_the_window_is_that_of_the_connection(compress):
    async with raw_opened(offer=OFFER) as (websocket, peer):
        await websocket.send_str("Hello", compress)
        await websocket.send_bytes(b"Hello", compress)
        await websocket.send_json("", compress)
        await websocket.send_frame(b"Hello", WSMsgType.TEXT, compress)
        inflater, got = zlib.decompressobj(-15), []
        for _ in range(4):
            first, size = await peer.read(2)
            payload = inflater.decompress(await peer.read(size) + b"\x00\x00\xff\xff")
            got.append((first, payload))
    assert got == [(0xC1, b"Hello"), (0xC2, b"Hello"), (0xC1, b'""'), (0xC1, b"Hello")]


async def test_control_frames_are_never_compressed():
    async with raw_opened(offer=OFFER) as (websocket, peer):
        await websocket.ping(b"Hello")
        await websocket.pong(b"Hello")
        await websocket.send_frame(b"Hello", WSMsgType.PING, compress=15)
        peer.send(b"\x89\x85" + KEY + b"Hello")
        assert await peer.read(28) == b"\x89\x05Hello\x8a\x05Hello" * 2
        closing = asyncio.create_task(websocket.close())
        assert await peer.read_close() == 1000
        peer.send(b"\x88\x82" + KEY + b"\x03\xe8")
        await closing


async def test_many_tasks_send_compressed_without_mixing_their_messages():
    async with opened(extensions=offering()) as (websocket, peer):
        texts = [f"{number} " * 20_000 for number in range(30)]
        await asyncio.gather(*map(websocket.send_str, texts))
        assert [await peer.recv() for _ in texts] == texts


async def test_a_send_that_is_cancelled_leaves_the_next_ones_readable():
    async with opened(extensions=offering(), writer_limit=0) as (websocket, peer):
        await websocket.send_str("before")
        for number in range(5):
            sending = asyncio.create_task(websocket.send_str(f"{number}" * BIG))
            await asyncio.sleep(0)
            sending.cancel()
        await websocket.send_str("after")
        assert await peer.recv() == "before"
        got = [await peer.recv()]
        while got[-1] != "after":
            got.append(await peer.recv())
        assert got == [f"{number}" * BIG for number in range(5)] + ["after"]


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        pytest.param(compressed(TEXT, b"\x07"), 1007, id="corrupt"),
        pytest.param(compressed(TEXT, deflate_message(b"\xff")), 1007, id="not UTF-8"),
        pytest.param(compressed(BINARY, deflate_message(bytes(BIG))), 1009, id="a bomb"),
        pytest.param(b"\xc0\x80" + KEY, 1002, id="RSV1 on a continuation"),
        pytest.param(b"\xc9\x80" + KEY, 1002, id="RSV1 on a ping"),
    ],
)
async def test_breaking_the_extension_is_answered_with_its_code(wire, code):
    async with raw_opened(offer=OFFER, max_msg_size=1024) as (websocket, peer):
        peer.send(compressed(TEXT, HELLO) + wire)
        assert (await websocket.receive()).data == "Hello"
        message = await websocket.receive()
        assert message.type is WSMsgType.ERROR
        assert isinstance(message.data, WebSocketError)
        assert websocket.close_code == code
        assert await peer.read_close() == code


async def test_messages_may_be_as_large_as_max_msg_size_when_decompressed():
    async with opened(extensions=offering(), max_msg_size=1000) as (websocket, peer):
        await peer.send(bytes(1000))
        assert await websocket.receive_bytes() == bytes(1000)
        await peer.send(bytes(1001))
        with pytest.raises(ConnectionClosed):
            await peer.recv()
        assert peer.close_code == 1009


async def test_a_max_msg_size_of_0_is_no_bound_on_compressed_messages_either():
    async with opened(extensions=offering(), max_msg_size=0) as (websocket, peer):
        await peer.send(bytes(5 * BIG))
        assert len(await websocket.receive_bytes()) == 5 * BIG


async def test_compressed_messages_that_nobody_receives_stay_compressed():
    async with raw_opened(offer=OFFER) as (websocket, peer):
        bombs = compressed(BINARY, deflate_message(bytes(BIG))) * 50
        peer.send(bombs + compressed(TEXT, HELLO))
        tracemalloc.start()
        try:
            for _ in range(200):
                await asyncio.sleep(0)
            used_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert BIG < used_bytes < 5 * BIG
        for _ in range(50):
            assert await websocket.receive_bytes() == bytes(BIG)
        assert await websocket.receive_str() == "Hello"


async def test_the_peers_close_frame_is_found_behind_messages_that_nobody_receives():
    async with raw_opened(offer=OFFER) as (websocket, peer):
        bombs = compressed(BINARY, deflate_message(bytes(BIG))) * 50
        peer.send(bombs + b"\x88\x82" + KEY + b"\x03\xe8")
        await websocket.receive()
        assert await websocket.close()
        assert websocket.close_code == 1000
