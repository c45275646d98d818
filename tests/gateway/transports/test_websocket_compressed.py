"""Sessions that have agreed on permessage-deflate, beside such that have not."""

import json
import zlib

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from gateway.config import WebSocketConfig
from gateway.transports import encoders
from tests.gateway.clients import UPGRADE, Gateway, RawWebSocket, encode_frame, serving

JSON = "gateway.v1.json"
MSGPACK = "gateway.v1.msgpack"
TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.2
RSV1 = 0x40
TEXTS = [f"{number} {'lorem ipsum ' * 100}" for number in range(3)]

CONTEXTS = "server_no_context_takeover; client_no_context_takeover"


async def offer(gateway: Gateway, *offers: str) -> tuple[RawWebSocket, str | None]:
    """Return a connection that has made these offers, and what it was answered."""
    client = await gateway.raw_websocket()
    lines = "".join(f"Sec-WebSocket-Extensions: {each}\r\n" for each in offers)
    client.send(UPGRADE.removesuffix("\r\n") + lines + "\r\n")
    status, headers = await client.read_head()
    assert status == 101
    return client, headers.get("Sec-WebSocket-Extensions")


async def read_frame(client: RawWebSocket) -> tuple[bool, bytes]:
    """Return whether the next frame is compressed, and what it holds."""
    first, size = await client.reader.readexactly(2)
    if size > 125:
        size = int.from_bytes(await client.reader.readexactly(2 if size == 126 else 8), "big")
    payload = await client.reader.readexactly(size)
    if first & RSV1:
        return True, zlib.decompressobj(-12).decompress(payload + TAIL)
    return False, payload


def compressed(payload: bytes) -> bytes:
    """Return a text frame of payload, which is compressed already."""
    frame = encode_frame(payload)
    return bytes((frame[0] | RSV1,)) + frame[1:]


def deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-12)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


# --- what is agreed upon ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ([], None),
        (["permessage-deflate"], f"permessage-deflate; {CONTEXTS}"),
        (
            ["permessage-deflate; client_max_window_bits"],  # what browsers offer
            f"permessage-deflate; {CONTEXTS}; client_max_window_bits=12",
        ),
        (
            ["permessage-deflate; server_max_window_bits=12; client_max_window_bits=9"],
            f"permessage-deflate; {CONTEXTS}; server_max_window_bits=12; client_max_window_bits=9",
        ),
        (["permessage-deflate; server_max_window_bits=11"], None),
        (
            ["permessage-deflate; server_max_window_bits=11, permessage-deflate"],
            f"permessage-deflate; {CONTEXTS}",
        ),
        (
            ["permessage-bzip2", "permessage-deflate; server_no_context_takeover"],
            f"permessage-deflate; {CONTEXTS}",
        ),
        (["permessage-deflate; client_max_window_bits=16"], None),
        (["permessage-deflate; server_max_window_bits=ten"], None),
        (["permessage-deflate; no_such_thing"], None),
        (['permessage-deflate; server_max_window_bits="'], None),
    ],
)
async def test_an_offer_is_taken_where_one_compression_can_serve_all(gateway, offers, answer):
    client, answered = await offer(gateway, *offers)
    assert answered == answer
    await client.read_frame()  # the welcome
    client.send_frame('{"type": "subscribe", "channel": "news", "id": 1}')
    assert (await client.read())["type"] == "subscribed"
    await gateway.publish("news", TEXTS[0])
    is_compressed, payload = await read_frame(client)
    assert is_compressed is (answer is not None)
    assert json.loads(payload)["data"] == TEXTS[0]


async def test_nothing_is_compressed_where_the_configuration_says_so():
    async with serving(websocket=WebSocketConfig(compression=False)) as gateway:
        _, answered = await offer(gateway, "permessage-deflate")
        assert answered is None
        client = await gateway.websocket(JSON)
        await client.ask(type="subscribe", channel="news")
        await gateway.publish("news", TEXTS[0])
        assert (await client.read())["data"] == TEXTS[0]


@pytest.mark.parametrize("min_bytes", [0, 100_000])
async def test_the_configuration_says_from_which_size_on_a_message_is_compressed(min_bytes):
    async with serving(websocket=WebSocketConfig(compression_min_bytes=min_bytes)) as gateway:
        client, _ = await offer(gateway, "permessage-deflate")
        await client.read_frame()
        client.send_frame('{"type": "subscribe", "channel": "news", "id": 1}')
        await client.read()
        await gateway.publish("news", "a" * 50)
        assert (await read_frame(client))[0] is (min_bytes == 0)


# --- what is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"client_max_window_bits": True},
        {"client_max_window_bits": 9, "server_max_window_bits": 12},
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
    ],
)
@pytest.mark.parametrize("codec", [JSON, MSGPACK])
async def test_publications_travel_compressed_in_both_directions(gateway, codec, parameters):
    extensions = [ClientPerMessageDeflateFactory(**parameters)]
    client = await gateway.websocket(codec, extensions=extensions, compression=None)
    assert client.connection.protocol.extensions
    await client.ask(type="subscribe", channel="news")
    for text in TEXTS:
        assert (await client.ask(type="publish", channel="news", data=text))["type"] == "published"
    assert [push["data"] for push in await client.read_many(3)] == TEXTS


async def test_only_publications_are_compressed(gateway):
    client, _ = await offer(gateway, "permessage-deflate")
    await gateway.publish("news", *TEXTS)
    client.send_frame('{"type": "history", "channel": "news", "id": 1}')
    client.send_frame('{"type": "subscribe", "channel": "news", "id": 2, "history": 2}')
    client.send_frame(json.dumps({"type": "no such thing", "id": 3, "x": "y" * 1000}))
    got = [await read_frame(client) for _ in range(6)]
    kinds = [(json.loads(payload)["type"], is_compressed) for is_compressed, payload in got]
    assert sorted(kinds) == [
        ("error", False),
        ("history", False),
        ("message", True),
        ("message", True),
        ("subscribed", False),
        ("welcome", False),
    ]


async def test_subscribers_of_every_encoding_get_the_same_and_each_is_made_once(
    gateway, monkeypatch
):
    payloads = []

    def deflate_message(payload: bytes) -> bytes:
        payloads.append(payload)
        return whole(payload)

    whole = encoders.deflate_message
    monkeypatch.setattr(encoders, "deflate_message", deflate_message)
    clients = [
        await gateway.websocket(codec, compression=compression)
        for codec in (JSON, MSGPACK)
        for compression in ("deflate", None)
        for _ in range(5)
    ]
    for client in clients:
        assert bool(client.connection.protocol.extensions) is (
            "Sec-WebSocket-Extensions" in client.connection.response.headers
        )
        await client.ask(type="subscribe", channel="news")
    (place, *_) = await gateway.publish("news", *TEXTS)
    for client in clients:
        assert [push["data"] for push in await client.read_many(3)] == TEXTS
    assert len(payloads) == 2 * len(TEXTS)
    late = await gateway.websocket(JSON)
    await late.ask(type="subscribe", channel="news", epoch=place["epoch"], offset=1)
    assert [push["data"] for push in await late.read_many(2)] == TEXTS[1:]


async def test_a_subscriber_that_stalls_gets_the_rest_compressed(gateway):
    client, _ = await offer(gateway, "permessage-deflate")
    await client.read_frame()
    client.send_frame('{"type": "subscribe", "channel": "news", "id": 1}')
    await client.read()
    (session,) = gateway.node.hub.sessions
    gateway.node.hub.pause(session)
    await gateway.publish("news", *TEXTS)
    gateway.node.hub.resume(session)
    got = [await read_frame(client) for _ in TEXTS]
    assert [json.loads(payload)["data"] for _, payload in got] == TEXTS
    assert all(is_compressed for is_compressed, _ in got)


# --- what clients send --------------------------------------------------------------------------

BIG = b'{"type": "ping", "id": 9}'.ljust(64 * 1024 + 1)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(compressed(b"\x07"), 1007, id="corrupt"),
        pytest.param(compressed(deflate(b"\xff")), 1007, id="not UTF-8"),
        pytest.param(compressed(deflate(bytes(10_000_000))), 1009, id="a bomb"),
        pytest.param(compressed(deflate(BIG)), 1009, id="above max_message_bytes"),
        pytest.param(compressed(b"\xf2\x00\x11\x00\x00"), 1007, id="refers to the one before"),
    ],
)
async def test_who_breaks_the_compression_is_told_so_and_nobody_else_notices(gateway, frame, code):
    witness = await gateway.websocket(JSON)
    await witness.ask(type="subscribe", channel="news")
    client, _ = await offer(gateway, "permessage-deflate")
    client.send(compressed(deflate(b'{"type": "ping", "id": 1}')) + frame)
    assert (await client.read())["type"] == "welcome"
    assert await client.read() == {"type": "pong", "id": 1}
    assert await client.read_close_code() == code
    await gateway.publish("news", TEXTS[0])
    assert (await witness.read())["data"] == TEXTS[0]


async def test_who_agreed_on_nothing_may_not_compress(gateway):
    client = await gateway.raw_websocket()
    await client.shake_hands()
    client.send(compressed(deflate(b'{"type": "ping", "id": 1}')))
    assert await client.read_close_code() == 1002


async def test_a_command_may_be_as_large_as_ever_once_it_is_decompressed():
    async with serving(websocket=WebSocketConfig(max_message_bytes=1000)) as gateway:
        client = await gateway.websocket(JSON)
        await client.connection.send('{"type": "ping", "id": 1}'.ljust(1000))
        assert await client.read() == {"type": "pong", "id": 1}
        await client.connection.send('{"type": "ping", "id": 2}'.ljust(1001))
        with pytest.raises(ConnectionClosed):
            await client.read()
        assert client.connection.close_code == 1009
