"""What a WebSocket client can do wrong: each is told what it was, and nobody else notices."""

import json

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed

from gateway.config import ChannelsConfig, SessionConfig, WebSocketConfig
from tests.gateway.clients import Gateway, RawWebSocket, WebSocketClient, serving

JSON = "gateway.v1.json"
MSGPACK = "gateway.v1.msgpack"
CURSOR_OF_B = "AQFiCEVnbURLejBnAEfdB4A"


@pytest.fixture
async def client(gateway: Gateway) -> WebSocketClient:
    """Return a JSON session."""
    return await gateway.websocket(JSON)


@pytest.fixture
async def witness(gateway: Gateway) -> WebSocketClient:
    """Return another session, which must not be affected."""
    client = await gateway.websocket(MSGPACK)
    await client.ask(type="subscribe", channel="witnessed")
    return client


async def check_served(gateway: Gateway, witness: WebSocketClient) -> None:
    """Fail unless witness gets what is published, and its commands are obeyed."""
    await gateway.publish("witnessed", "still here")
    assert (await witness.read())["data"] == "still here"
    assert (await witness.ask(type="ping"))["type"] == "pong"


async def check_refused(client: WebSocketClient, message: str | bytes, expected: str) -> None:
    """Fail unless message is refused as expected, `code, id: words`, and the session goes on."""
    await client.connection.send(message)
    error = await client.read()
    head, _, words = expected.partition(": ")
    code, _, command_id = head.partition(" ")
    assert (error["type"], error["code"], error["retry"]) == ("error", code, False)
    assert error.get("id") == (int(command_id) if command_id else None)
    assert words in error["message"]
    assert (await client.ask(type="ping"))["type"] == "pong"


# --- messages that are no commands, in JSON -----------------------------------------------------

MALFORMED = [
    ("", "malformed"),
    ("{", "malformed"),
    ("{}{}", "malformed"),
    ("not JSON", "malformed: JSON"),
    ('{"type":"ping"', "malformed"),
    ("null", "malformed"),
    ("[]", "malformed"),
    ('"ping"', "malformed"),
    ("[" * 10_000, "malformed"),
    ('{"type":"ping","id":7,"x":"\\ud800"}', "malformed"),
    ('{"id":7,"type":"publish","channel":"a","data":"\\ud800"}', "malformed"),
    (b'{"type":"ping","id":7}', "malformed: text"),
    ("{}", "unknown_type: subscribe"),
    ('{"id":7}', "unknown_type 7: subscribe"),
    ('{"id":7,"type":"dance"}', "unknown_type 7: dance"),
    ('{"id":7,"type":"Ping"}', "unknown_type 7: Ping"),
    ('{"id":7,"type":5}', "unknown_type 7: 5"),
    ('{"id":7,"type":null}', "unknown_type 7"),
    ('{"id":7,"type":"ping","extra":1}', "invalid_field 7: extra"),
    ('{"id":7,"type":"subscribe"}', "invalid_field 7: channel"),
    ('{"id":7,"type":"subscribe","channel":5}', "invalid_field 7: $.channel"),
    ('{"id":7,"type":"subscribe","channel":null}', "invalid_field 7: $.channel"),
    ('{"id":7,"type":"subscribe","channel":"a","chanel":"b"}', "invalid_field 7: chanel"),
    ('{"id":7,"type":"subscribe","channel":"a","cursor":5}', "invalid_field 7: $.cursor"),
    ('{"id":7,"type":"subscribe","channel":"a","history":0}', "invalid_field 7: $.history"),
    ('{"id":7,"type":"subscribe","channel":"a","offset":-1}', "invalid_field 7: $.offset"),
    ('{"id":7,"type":"publish","channel":"a"}', "invalid_field 7: data"),
    ('{"id":7,"type":"publish","data":1}', "invalid_field 7: channel"),
    ('{"id":7,"type":"publish","channel":"a","data":1,"key":2}', "invalid_field 7: $.key"),
    ('{"id":7,"type":"publish","channel":"a","data":1,"tags":{"a":1}}', "invalid_field 7: $.tags"),
    ('{"id":7,"type":"history","channel":"a","limit":1001}', "invalid_field 7: $.limit"),
    ('{"id":7,"type":"history","channel":"a","reverse":"yes"}', "invalid_field 7: $.reverse"),
    ('{"id":7,"type":"auth"}', "invalid_field 7: token"),
    ('{"id":0,"type":"ping"}', "invalid_field: $.id"),
    ('{"id":-1,"type":"ping"}', "invalid_field: $.id"),
    ('{"id":1.5,"type":"ping"}', "invalid_field: $.id"),
    ('{"id":"7","type":"ping"}', "invalid_field: $.id"),
    ('{"id":true,"type":"ping"}', "invalid_field: $.id"),
]


@pytest.mark.parametrize(("message", "expected"), MALFORMED)
async def test_a_message_that_is_no_command_is_told_why(
    gateway, client, witness, message, expected
):
    await check_refused(client, message, expected)
    await check_served(gateway, witness)


# --- commands that cannot be obeyed -------------------------------------------------------------

IMPOSSIBLE = [
    ({"type": "auth", "token": "t"}, "unsupported"),
    ({"type": "unsubscribe", "channel": "a"}, "not_subscribed: a"),
    ({"type": "subscribe", "channel": "taken"}, "already_subscribed: taken"),
    *(
        ({"type": kind, "channel": name} | extra, "invalid_channel")
        for kind, extra in (
            ("subscribe", {}),
            ("publish", {"data": 1}),
            ("history", {}),
            ("presence", {}),
        )
        for name in ("", "a\0b", "a\nb", "\x7f", "\x85", "x" * 256, "é" * 128)
    ),
    ({"type": "subscribe", "channel": "a", "cursor": ""}, "invalid_cursor"),
    ({"type": "subscribe", "channel": "a", "cursor": "nonsense"}, "invalid_cursor"),
    ({"type": "subscribe", "channel": "a", "cursor": "é"}, "invalid_cursor"),
    ({"type": "subscribe", "channel": "b", "cursor": CURSOR_OF_B + "A"}, "invalid_cursor"),
    ({"type": "subscribe", "channel": "b", "cursor": CURSOR_OF_B[:-1]}, "invalid_cursor"),
    ({"type": "subscribe", "channel": "b", "cursor": CURSOR_OF_B + "="}, "invalid_cursor"),
    ({"type": "history", "channel": "a", "cursor": "nonsense"}, "invalid_cursor"),
    ({"type": "subscribe", "channel": "a", "epoch": "e"}, "invalid_field: epoch and offset"),
    ({"type": "subscribe", "channel": "a", "offset": 1}, "invalid_field: epoch and offset"),
    (
        {"type": "subscribe", "channel": "a", "epoch": "e", "offset": 1, "history": 1},
        "invalid_field: history",
    ),
    ({"type": "subscribe", "channel": "b", "cursor": "x", "history": 1}, "invalid_field: history"),
]


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
@pytest.mark.parametrize(("command", "expected"), IMPOSSIBLE)
async def test_a_command_that_cannot_be_obeyed_is_told_why_under_its_id(
    gateway, witness, codec, command, expected
):
    client = await gateway.websocket(codec)
    await client.ask(type="subscribe", channel="taken")
    error = await client.ask(**command)
    code, _, words = expected.partition(": ")
    assert (error["type"], error["code"], error["retry"]) == ("error", code, False)
    assert words in error["message"]
    await gateway.publish("taken", "here, too")
    assert (await client.read())["data"] == "here, too"
    await check_served(gateway, witness)


@pytest.mark.parametrize("kind", ["subscribe", "history"])
async def test_a_cursor_of_another_channel_or_with_one_character_changed_is_refused(
    gateway, client, kind
):
    reader = await gateway.websocket()
    cursor = (await reader.ask(type="subscribe", channel="a"))["cursor"]
    assert (await client.ask(type=kind, channel="b", cursor=cursor))["code"] == "invalid_cursor"
    for at, character in enumerate(cursor):
        changed = cursor[:at] + ("A" if character != "A" else "B") + cursor[at + 1 :]
        assert (await client.ask(type=kind, channel="a", cursor=changed))["type"] == "error"
    assert (await client.ask(type=kind, channel="a", cursor=cursor))["type"] != "error"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("18446744073709551616", "64 bits"),
        ("1e400", "JSON"),
        ("[" * 129 + "]" * 129, "128"),
    ],
)
async def test_data_that_messagepack_could_not_carry_is_refused(client, data, reason):
    message = f'{{"id":7,"type":"publish","channel":"a","data":{data}}}'
    await client.connection.send(message)
    error = await client.read()
    assert (error["code"], error["id"]) == ("invalid_data", 7)
    assert reason in error["message"]
    assert (await client.ask(type="history", channel="a"))["publications"] == []


async def test_a_session_has_as_many_subscriptions_as_it_may():
    async with serving(session=SessionConfig(max_subscriptions=2)) as gateway:
        client = await gateway.websocket()
        replies = [await client.ask(type="subscribe", channel=name) for name in "abc"]
        assert [reply["type"] for reply in replies] == ["subscribed", "subscribed", "error"]
        assert replies[2]["code"] == "limit_reached"
        await client.ask(type="unsubscribe", channel="a")
        assert (await client.ask(type="subscribe", channel="c"))["type"] == "subscribed"


async def test_a_node_has_as_many_channels_as_it_may():
    async with serving(channels=ChannelsConfig(max_channels=1)) as gateway:
        client = await gateway.websocket()
        await client.ask(type="subscribe", channel="a")
        for command in ({"type": "subscribe"}, {"type": "publish", "data": 1}):
            error = await client.ask(channel="b", **command)
            assert (error["code"], error["retry"]) == ("overloaded", True)
        assert (await client.ask(type="publish", channel="a", data=1))["type"] == "published"


# --- MessagePack --------------------------------------------------------------------------------

PUBLISH = {"type": "publish", "channel": "a", "id": 7}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", "malformed"),
        (b"\xc1", "malformed: MessagePack"),
        (b"\x81\xa4type", "malformed"),
        (msgpack.packb([1]), "malformed"),
        (msgpack.packb({1: 2}), "malformed"),
        (b"\xdf\xff\xff\xff\xff", "malformed"),
        (msgpack.packb({"type": "ping", "id": 7}) + b"\xc0", "malformed"),
        (json.dumps({"type": "ping", "id": 7}), "malformed: binary"),
        (msgpack.packb({"type": "dance", "id": 7}), "unknown_type 7: dance"),
        (msgpack.packb({"type": "subscribe", "channel": 5, "id": 7}), "invalid_field 7: $.channel"),
        (msgpack.packb({"type": "ping", "id": 7, "extra": 1}), "invalid_field 7: extra"),
        (msgpack.packb({"type": "ping", "id": "7"}), "invalid_field: $.id"),
        (msgpack.packb({**PUBLISH, "data": {"inside": b"binary"}}), "invalid_data 7: binary"),
        (msgpack.packb({**PUBLISH, "data": {1: "key"}}), "invalid_data 7"),
        (msgpack.packb({**PUBLISH, "data": float("nan")}), "invalid_data 7"),
        (msgpack.packb({**PUBLISH, "data": msgpack.ExtType(5, b"x")}), "invalid_data 7"),
        (msgpack.packb({**PUBLISH, "data": msgpack.Timestamp(1)}), "invalid_data 7"),
    ],
)
async def test_a_messagepack_message_that_is_no_command_is_told_why(
    gateway, witness, message, expected
):
    await check_refused(await gateway.websocket(MSGPACK), message, expected)
    await check_served(gateway, witness)


# --- frames that break WebSocket: RFC 6455 section 7.4.1 ----------------------------------------

KEY = bytes(4)  # masks nothing


@pytest.mark.parametrize(
    ("wire", "close_code"),
    [
        pytest.param(b"\x83\x80" + KEY, 1002, id="an opcode that means nothing"),
        pytest.param(b"\xc1\x80" + KEY, 1002, id="a reserved bit"),
        pytest.param(b"\x81\x02{}", 1002, id="no mask"),
        pytest.param(b"\x80\x80" + KEY, 1002, id="a continuation of nothing"),
        pytest.param(b"\x09\x80" + KEY, 1002, id="a ping in fragments"),
        pytest.param(b"\x89\xfe\x00\x7e" + KEY, 1002, id="a ping that is too long"),
        pytest.param(b"\x88\x81" + KEY + b"\x03", 1002, id="half a close code"),
        pytest.param(b"\x81\x81" + KEY + b"\xff", 1007, id="text that is not UTF-8"),
        pytest.param(b"\x01\x81" + KEY + b"\xff", 1007, id="a fragment that is not UTF-8"),
        pytest.param(b"\x81\xfe\x01\x01" + KEY, 1009, id="a message announced too big"),
        pytest.param(b"\x82\xff" + b"\x7f" * 8 + KEY, 1009, id="a message announced enormous"),
        pytest.param(
            b"\x01\xfe\x01\x00" + KEY + b"x" * 256 + b"\x80\x81" + KEY, 1009, id="fragments too big"
        ),
    ],
)
async def test_a_frame_that_breaks_the_protocol_closes_with_its_code(wire, close_code):
    async with serving(websocket=WebSocketConfig(max_message_bytes=256)) as gateway:
        witness = await gateway.websocket()
        await witness.ask(type="subscribe", channel="witnessed")
        client = await open_raw(gateway)
        client.send(wire)
        assert await client.read_close_code() == close_code
        await client.read_end()
        await gateway.wait_presence("a", 0)
        await check_served(gateway, witness)


async def test_commands_before_a_malformed_frame_are_obeyed(gateway):
    client = await open_raw(gateway)
    client.send_frame('{"type":"publish","channel":"b","data":1}')
    client.send(b"\x83\x80" + KEY)
    assert await client.read_close_code() == 1002
    assert len((await gateway.get("/channels/b/history")).json["publications"]) == 1


async def open_raw(gateway: Gateway) -> RawWebSocket:
    """Return a welcomed session that is subscribed to channel a."""
    client = await gateway.raw_websocket()
    await client.shake_hands()
    client.send_frame('{"type":"subscribe","channel":"a","id":1}')
    kinds = [(await client.read())["type"] for _ in range(2)]
    assert kinds == ["welcome", "subscribed"]
    return client


# --- a client that only makes errors ------------------------------------------------------------


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
async def test_too_many_malformed_commands_in_a_row_end_the_session_with_3500(codec):
    async with serving(session=SessionConfig(max_errors=3)) as gateway:
        witness = await gateway.websocket()
        await witness.ask(type="subscribe", channel="witnessed")
        client = await gateway.websocket(codec)
        for _ in range(2):
            for _ in range(3):
                await client.send(type="dance")
            await client.send(type="ping", id=1)
            pushes = await client.read_many(4)
            assert [each["type"] for each in pushes] == ["error", "error", "error", "pong"]
        for _ in range(5):
            await client.send(type="dance")
        *errors, closing = await client.read_many(5)
        assert {error["code"] for error in errors} == {"unknown_type"}
        assert (closing["type"], closing["code"], closing["reconnect"]) == ("closing", 3500, False)
        with pytest.raises(ConnectionClosed) as end:
            await client.read()
        assert end.value.rcvd is not None
        assert (end.value.rcvd.code, end.value.rcvd.reason) == (3500, closing["reason"])
        await check_served(gateway, witness)
