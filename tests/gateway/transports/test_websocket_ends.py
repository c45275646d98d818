"""How WebSocket sessions end: by silence, by the client, and when the gateway stops."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from gateway.config import HeartbeatConfig, WebSocketConfig
from tests.gateway.clients import (
    LITTLE_BYTES,
    UPGRADE,
    Gateway,
    RawWebSocket,
    WebSocketClient,
    bounded,
    publish_read_by,
    serving,
    stall,
)

CODECS = ["gateway.v1.json", "gateway.v1.msgpack"]
OFTEN = HeartbeatConfig(interval_s=0.2)
# A client that does not answer a close frame is not waited for long.
IMPATIENT = WebSocketConfig(close_timeout_s=0.2)


async def subscribe_raw(gateway: Gateway, receive_bytes: int | None = None) -> RawWebSocket:
    """Return a subscriber of channel a that answers nothing by itself."""
    client = await gateway.raw_websocket(receive_bytes=receive_bytes)
    await client.shake_hands()
    client.send_frame('{"type":"subscribe","channel":"a","id":1}')
    assert [(await client.read())["type"] for _ in range(2)] == ["welcome", "subscribed"]
    return client


async def subscribe(gateway: Gateway, *codec: str) -> WebSocketClient:
    """Return a subscriber of channel a that answers pings and close frames."""
    client = await gateway.websocket(*codec)
    await client.ask(type="subscribe", channel="a")
    return client


async def read_close(client: WebSocketClient) -> int:
    """Return the code of the close frame that comes next."""
    with pytest.raises(ConnectionClosed) as end:
        await client.read()
    assert end.value.rcvd is not None
    return end.value.rcvd.code


# --- heartbeat ----------------------------------------------------------------------------------


async def test_a_silent_client_is_pinged_then_told_so_and_dropped():
    async with serving(heartbeat=OFTEN, websocket=IMPATIENT) as gateway:
        client = await subscribe_raw(gateway)
        assert await client.read_frame() == (Opcode.PING, b"")
        closing = await client.read()
        assert (closing["type"], closing["code"], closing["reconnect"]) == ("closing", 3000, True)
        assert await client.read_close_code() == 3000
        await gateway.wait_presence("a", 0)
        await client.read_end()


async def test_a_client_that_answers_pings_stays_while_silent_ones_go():
    async with serving(heartbeat=OFTEN, websocket=IMPATIENT) as gateway:
        answering = await subscribe(gateway)
        for _ in range(3):
            silent = await subscribe_raw(gateway)
            await silent.read_end()
        await gateway.wait_presence("a", 1)
        await gateway.publish("a", "still here")
        assert (await answering.read())["data"] == "still here"


async def test_a_command_is_as_good_an_answer_as_a_pong():
    async with serving(heartbeat=OFTEN) as gateway:
        client = await subscribe_raw(gateway)
        for number in range(2, 7):
            assert await client.read_frame() == (Opcode.PING, b"")
            client.send_frame(f'{{"type":"ping","id":{number}}}')
            assert await client.read() == {"type": "pong", "id": number}


async def test_a_client_that_sends_but_is_quiet_in_between_hears_a_ping_at_every_interval():
    async with serving(heartbeat=OFTEN) as gateway:
        client = await subscribe_raw(gateway)
        for _ in range(4):
            client.send_frame('{"type":"ping"}')
            assert await client.read_frame() == (Opcode.PING, b"")


async def shake_hands_with_ping_messages(gateway: Gateway) -> RawWebSocket:
    """Return a client that answers nothing by itself, and has asked for pings as messages."""
    client = await gateway.raw_websocket()
    client.send(UPGRADE.replace("/ws", "/ws?ping=message"))
    assert (await client.read_head())[0] == 101
    assert (await client.read())["type"] == "welcome"
    return client


async def test_a_client_that_asks_for_it_is_pinged_by_a_push_and_any_command_is_an_answer():
    async with serving(heartbeat=OFTEN, websocket=IMPATIENT) as gateway:
        client = await shake_hands_with_ping_messages(gateway)
        for _ in range(4):
            assert await client.read() == {"type": "ping"}
            client.send_frame('{"type":"ping"}')  # without an id: nothing comes back
        assert await client.read() == {"type": "ping"}
        assert (await client.read())["code"] == 3000


async def test_the_ping_push_comes_in_the_codec_of_the_session():
    async with serving(heartbeat=OFTEN) as gateway:
        client = await gateway.websocket("gateway.v1.msgpack", query="ping=message")
        assert await client.read() == {"type": "ping"}


async def test_a_client_that_is_sent_a_lot_is_pinged_all_the_same():
    async with serving(heartbeat=OFTEN) as gateway:
        client = await gateway.websocket(query="ping=message")
        await client.ask(type="subscribe", channel="a")
        kinds: set[str] = set()
        while kinds != {"ping", "message"}:
            await gateway.publish("a", 1)
            kinds.add((await client.read())["type"])


async def test_a_client_that_neither_reads_nor_sends_is_dropped():
    async with serving(heartbeat=OFTEN, websocket=IMPATIENT) as gateway:
        healthy = await subscribe(gateway)
        stalled = await subscribe_raw(gateway, receive_bytes=LITTLE_BYTES)
        async with bounded():
            while len(gateway.node.hub.sessions) > 1:
                await publish_read_by(gateway, healthy)
        await stalled.read_end()


# --- the client goes ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 3999, 4000])
async def test_a_close_by_the_client_is_echoed_and_ends_the_session(gateway, code):
    client = await subscribe(gateway)
    await client.connection.close(code, "bye")
    assert await read_close(client) == code
    await gateway.wait_presence("a", 0)


async def test_commands_before_a_close_frame_are_obeyed_and_those_behind_it_are_not(gateway):
    witness = await subscribe(gateway)
    client = await subscribe_raw(gateway)
    client.send_frame('{"type":"publish","channel":"a","data":"before"}')
    client.send_frame((1000).to_bytes(2, "big"), Opcode.CLOSE)
    client.send_frame('{"type":"publish","channel":"a","data":"behind"}')
    await client.read_end()
    await gateway.wait_presence("a", 1)
    await gateway.publish("a", "later")
    assert [push["data"] for push in await witness.read_many(2)] == ["before", "later"]


async def test_a_client_that_vanishes_is_forgotten_and_its_neighbours_go_on(gateway):
    witness = await subscribe(gateway)
    vanishing, ending = await subscribe_raw(gateway), await subscribe_raw(gateway)
    await gateway.wait_presence("a", 3)
    vanishing.vanish()
    ending.writer.write_eof()
    await ending.read_end()
    await gateway.wait_presence("a", 1)
    await gateway.publish("a", "still here")
    assert (await witness.read())["data"] == "still here"


async def test_a_client_that_vanishes_in_the_middle_of_a_handshake_leaves_nothing(gateway):
    client = await gateway.raw_websocket()
    await client.shake_hands()
    client.vanish()
    half = await gateway.raw_websocket()
    half.send("GET /ws HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\n")
    half.vanish()
    async with bounded():
        while gateway.node.hub.sessions:
            assert (await gateway.get("/healthz")).status == 200


# --- the gateway goes ---------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
async def test_a_stop_delivers_what_is_published_says_closing_and_closes_with_1012(gateway, codec):
    client = await subscribe(gateway, codec)
    await gateway.publish("a", "the last")
    stopping = asyncio.create_task(gateway.stop())
    message, closing = await client.read_many(2)
    assert message["data"] == "the last"
    assert (closing["type"], closing["code"], closing["reconnect"]) == ("closing", 1012, True)
    assert closing["retry_after_ms"] > 0
    assert await read_close(client) == 1012
    await stopping


async def test_a_stop_sends_clients_away_to_come_back_at_different_times(gateway):
    clients = [await gateway.websocket() for _ in range(20)]
    stopping = asyncio.create_task(gateway.stop())
    waits = {(await client.read())["retry_after_ms"] for client in clients}
    assert len(waits) > 1
    await stopping


async def test_a_stopped_gateway_accepts_nobody(gateway):
    await gateway.stop()
    with pytest.raises(OSError):  # noqa: PT011 - its kind and text are the system's
        await gateway.websocket()


async def test_a_stop_does_not_wait_for_a_client_that_answers_no_close_frame():
    async with serving(websocket=IMPATIENT) as gateway:
        client = await subscribe_raw(gateway)
        stopping = asyncio.create_task(gateway.stop())
        assert (await client.read())["type"] == "closing"
        assert await client.read_close_code() == 1012
        await client.read_end()
        await stopping


async def test_a_stop_does_not_wait_for_a_client_that_does_not_read():
    async with serving(websocket=IMPATIENT) as gateway:
        client = await subscribe_raw(gateway, receive_bytes=LITTLE_BYTES)
        await stall(gateway, await subscribe(gateway))
        await gateway.stop()
        await client.read_end()


async def test_a_stop_ends_a_connection_that_never_became_a_session(gateway):
    idle, half = await gateway.open(), await gateway.raw_websocket()
    half.send("GET /ws HTTP/1.1\r\nHost: gateway\r\n")
    assert (await gateway.get("/healthz")).status == 200
    stopping = asyncio.create_task(gateway.stop())
    await idle.read_end()
    await half.read_end()
    half.vanish()  # whoever was cut short may go on for a while, and be read
    await stopping
