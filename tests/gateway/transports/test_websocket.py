"""Sessions over WebSocket: the opening, every command with its reply, and what data looks like.

What is refused is in test_websocket_refused.py, what happens to positions in
test_websocket_recovery.py, and how sessions end in test_websocket_ends.py.
"""

import json

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from gateway.config import HeartbeatConfig, HubConfig, WebSocketConfig
from tests.gateway.clients import UPGRADE, Gateway, WebSocketClient, encode_frame, serving, untimed

JSON = "gateway.v1.json"
MSGPACK = "gateway.v1.msgpack"


@pytest.fixture(params=[JSON, MSGPACK])
async def client(request: pytest.FixtureRequest, gateway: Gateway) -> WebSocketClient:
    """Return a session of each codec in turn."""
    return await gateway.websocket(request.param)


# --- the opening --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((), None),
        ((JSON,), JSON),
        ((MSGPACK,), MSGPACK),
        ((MSGPACK, JSON), MSGPACK),
        ((JSON, MSGPACK), JSON),
        (("gateway.v9.xml", MSGPACK), MSGPACK),
    ],
)
async def test_the_first_subprotocol_that_is_known_is_spoken_and_json_where_none_is_offered(
    gateway, offered, chosen
):
    client = await gateway.websocket(*offered)
    assert client.connection.subprotocol == chosen
    assert (await client.ask(type="ping"))["type"] == "pong"


async def test_unknown_subprotocols_alone_are_refused_with_400(gateway):
    with pytest.raises(InvalidStatus) as refusal:
        await gateway.websocket("gateway.v9.xml")
    response = refusal.value.response
    assert response.status_code == 400
    error = json.loads(response.body)
    assert (error["type"], error["code"], error["retry"]) == ("error", "unsupported", False)
    assert JSON in error["message"]
    assert MSGPACK in error["message"]


async def test_the_welcome_tells_the_session_the_version_and_the_pace_of_pings():
    async with serving(heartbeat=HeartbeatConfig(interval_s=7.5)) as gateway:
        one, other = await gateway.websocket(JSON), await gateway.websocket(MSGPACK)
        assert one.welcome.pop("session") != other.welcome.pop("session")
        expected = {"type": "welcome", "protocol": 1, "ping_interval": 7.5, "user": None}
        assert one.welcome == other.welcome == expected


async def test_the_welcome_is_first_even_for_commands_in_the_segment_of_the_handshake(gateway):
    client = await gateway.raw_websocket()
    commands = [
        '{"type":"subscribe","channel":"a","id":1}',
        '{"type":"publish","channel":"a","data":"x","id":2}',
        '{"type":"ping","id":3}',
    ]
    await client.shake_hands(behind=b"".join(map(encode_frame, commands)))
    welcome, *replies, message = [await client.read() for _ in range(5)]
    assert welcome["type"] == "welcome"
    kinds = [(reply["id"], reply["type"]) for reply in replies]
    assert kinds == [(1, "subscribed"), (2, "published"), (3, "pong")]
    assert (message["type"], message["data"]) == ("message", "x")


async def test_a_command_cut_between_the_segment_of_the_handshake_and_the_next_is_whole(gateway):
    client = await gateway.raw_websocket()
    command = encode_frame('{"type":"ping","id":1}')
    await client.shake_hands(behind=command[:9])
    assert (await client.read())["type"] == "welcome"
    client.send(command[9:])
    assert await client.read() == {"type": "pong", "id": 1}


async def test_another_version_is_refused_with_426_that_names_ours(gateway):
    client = await gateway.open()
    client.send(UPGRADE.replace("Version: 13", "Version: 12"))
    status, headers = await client.read_head()
    assert (status, headers["Sec-WebSocket-Version"]) == (426, "13")


@pytest.mark.parametrize(
    ("method", "status", "code"), [("GET", 400, "malformed"), ("POST", 405, "method_not_allowed")]
)
async def test_what_asks_for_no_websocket_is_refused_in_json(gateway, method, status, code):
    reply = await gateway.fetch(method, "/ws")
    assert (reply.status, reply.json["code"]) == (status, code)
    assert reply.headers.get("Allow") == ("GET" if status == 405 else None)


@pytest.mark.parametrize("query", ["ping=frame", "ping=", "ping=message&ping=message", "pong=1"])
async def test_a_query_that_is_not_understood_is_refused(gateway, query):
    client = await gateway.raw_websocket()
    client.send(
        UPGRADE.replace("/ws", f"/ws?{query}").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    )
    reply = await client.read_reply()
    assert (reply.status, reply.json["code"]) == (400, "invalid_field")


async def test_a_full_node_refuses_before_the_upgrade_and_keeps_whom_it_has():
    async with serving(hub=HubConfig(max_sessions=2)) as gateway:
        clients = [await gateway.websocket() for _ in range(2)]
        client = await gateway.raw_websocket()
        client.send(UPGRADE.replace("Upgrade\r\n", "Upgrade, close\r\n"))
        status, headers = await client.read_head()
        assert (status, headers["Retry-After"]) == (503, "5")
        assert [(await each.ask(type="ping"))["type"] for each in clients] == ["pong", "pong"]
        await clients.pop().connection.close()
        await gateway.websocket()


@pytest.mark.parametrize(
    ("allowed", "origin", "is_welcome"),
    [
        ((), None, True),
        ((), "http://{host}", True),
        ((), "https://{host}", True),  # a proxy may have taken the TLS away
        ((), "https://evil.example", False),
        ((), "http://{host}.evil.example", False),
        ((), "http://127.0.0.1:1", False),
        ((), "null", False),
        (("https://app.example",), None, True),
        (("https://app.example",), "https://app.example", True),
        (("https://app.example",), "http://app.example", False),
        (("https://app.example",), "http://{host}", False),
        (("*",), "https://anybody.example", True),
    ],
)
async def test_a_page_may_connect_from_our_host_or_from_where_it_is_allowed(
    allowed, origin, is_welcome
):
    async with serving(websocket=WebSocketConfig(allowed_origins=allowed)) as gateway:
        if origin is not None:
            origin = origin.format(host=f"127.0.0.1:{gateway.node.port}")
        if is_welcome:
            assert (await gateway.websocket(origin=origin)).welcome["type"] == "welcome"
            return
        with pytest.raises(InvalidStatus) as refusal:
            await gateway.websocket(origin=origin)
        assert refusal.value.response.status_code == 403
        assert json.loads(refusal.value.response.body)["code"] == "unauthorized"


# --- commands and replies, in both codecs -------------------------------------------------------


async def test_subscribed_comes_before_the_messages_that_follow_it(gateway, client):
    (before,) = await gateway.publish("a", "before")
    await client.send(type="subscribe", channel="a", id=1)
    await client.send(type="publish", channel="a", data={"n": 1}, id=2)
    subscribed, published, message = await client.read_many(3)
    assert isinstance(subscribed.pop("cursor"), str)
    epoch = before["epoch"]
    assert subscribed == {
        **{"type": "subscribed", "id": 1, "channel": "a", "epoch": epoch, "offset": 1},
        **{"recovered": False, "overflow": "gap"},
        "retention": {"count": 1000, "bytes": 1024 * 1024, "age_s": 300.0},
    }
    assert published == {
        **{"type": "published", "id": 2, "channel": "a", "epoch": epoch, "offset": 2}
    }
    assert message == {"type": "message", "channel": "a", "offset": 2, "data": {"n": 1}}


async def test_nothing_of_a_channel_follows_after_unsubscribed(gateway, client):
    await client.ask(type="subscribe", channel="a")
    await client.ask(type="subscribe", channel="b")
    reply = await client.ask(type="unsubscribe", channel="a")
    assert reply == {"type": "unsubscribed", "id": 3, "channel": "a"}
    await gateway.publish("a", 1)
    await gateway.publish("b", 2)
    assert (await client.read())["channel"] == "b"


async def test_a_channel_can_be_subscribed_to_again(gateway, client):
    await client.ask(type="subscribe", channel="a")
    await client.ask(type="unsubscribe", channel="a")
    await gateway.publish("a", "missed")
    assert (await client.ask(type="subscribe", channel="a"))["offset"] == 1
    await gateway.publish("a", "seen")
    assert (await client.read())["data"] == "seen"


async def test_key_and_tags_arrive_with_the_message(gateway, client):
    await client.ask(type="subscribe", channel="a")
    extras = {"key": "k", "tags": {"colour": "red"}}
    await client.ask(type="publish", channel="a", data=None, **extras)
    message = {"type": "message", "channel": "a", "offset": 1, "data": None, **extras}
    assert await client.read() == message
    page = await client.ask(type="history", channel="a")
    assert untimed(page) == [{"offset": 1, "data": None, **extras}]


async def test_history_is_read_in_pages_in_both_directions(gateway, client):
    await gateway.publish("a", *range(1, 6))
    for is_reverse, expected in ((False, [1, 2, 3, 4, 5]), (True, [5, 4, 3, 2, 1])):
        seen, position = [], {}
        while True:
            page = await client.ask(
                type="history", channel="a", limit=2, reverse=is_reverse, **position
            )
            assert (page["type"], page["channel"]) == ("history", "a")
            if not page["publications"]:
                break
            assert all(each["offset"] == each["data"] for each in page["publications"])
            seen.append([each["data"] for each in page["publications"]])
            position = {"cursor": page["cursor"]}
        assert seen == [expected[:2], expected[2:4], expected[4:]]


async def test_presence_counts_the_subscribers_of_every_transport(gateway, client):
    empty = await client.ask(type="presence", channel="a")
    assert empty == {"type": "presence", "id": 1, "channel": "a", "count": 0, "members": []}
    other = await gateway.websocket()
    await client.ask(type="subscribe", channel="a")
    await other.ask(type="subscribe", channel="a")
    stream = await gateway.event_stream(channel="a")
    await stream.read()
    page = await client.ask(type="presence", channel="a")
    assert page["count"] == 3
    members = {member["session"] for member in page["members"]}
    assert len(members) == 3
    assert {client.welcome["session"], other.welcome["session"]} < members


async def test_a_command_without_an_id_gets_no_reply_but_its_error(client):
    for kind in ("subscribe", "presence", "history", "unsubscribe"):
        await client.send(type=kind, channel="a")
    await client.send(type="publish", channel="a", data=1)
    await client.send(type="ping")
    await client.send(type="unsubscribe", channel="a")
    assert await client.ask(type="ping") == {"type": "pong", "id": 1}
    (error,) = await client.read_many(1)
    assert (error["type"], error["code"]) == ("error", "not_subscribed")
    assert "id" not in error


async def test_commands_sent_at_once_are_answered_in_their_order(client):
    for number in range(1, 201):
        await client.send(type="publish", channel="a", data=number, id=number)
    replies = await client.read_many(200)
    assert [(each["id"], each["offset"]) for each in replies] == [(n, n) for n in range(1, 201)]


async def test_a_message_of_the_greatest_size_is_taken(gateway):
    client = await gateway.websocket(JSON)
    empty = '{"type":"publish","channel":"a","id":1,"data":""}'
    room_bytes = gateway.node.config.websocket.max_message_bytes - len(empty)
    await client.connection.send(empty.replace('""', f'"{"x" * room_bytes}"'))
    assert (await client.read())["type"] == "published"


# --- data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{ "b" : 1,\t"a":[ 1.0, 1e3, -0 ,0.10 ] }',
        r'"\u00e9\/\ud83d\ude00 \" é 😀"',
        '{"a":1,"a":2}',
        "18446744073709551615",
        "[]",
        "null",
        '""',
    ],
)
async def test_json_reaches_json_byte_for_byte(gateway, text):
    subscriber, publisher = await gateway.websocket(JSON), await gateway.websocket()
    await subscriber.ask(type="subscribe", channel="a")
    await publisher.connection.send(f'{{"type":"publish","channel":"a","data":{text}}}')
    body = f'{{"channel":"a","data":{text}}}'.encode()
    assert (await gateway.fetch("POST", "/publish", body=body)).status == 200
    for offset in (1, 2):
        message = await subscriber.connection.recv()
        assert message == f'{{"type":"message","channel":"a","offset":{offset},"data":{text}}}'


@pytest.mark.parametrize("publisher", [JSON, MSGPACK])
async def test_subscribers_of_both_codecs_see_the_same(gateway, publisher):
    values = [
        None,
        True,
        [False, 0, -1, 2**64 - 1, -(2**63)],
        0.5,
        'é 😀 \n \0 "',
        {"nested": {"list": [1, [2, {"": None}]]}},
        "x" * 40_000,
    ]
    subscribers = [await gateway.websocket(JSON), await gateway.websocket(MSGPACK)]
    for each in subscribers:
        await each.ask(type="subscribe", channel="a")
    sender = await gateway.websocket(publisher)
    for value in values:
        await sender.ask(type="publish", channel="a", data=value)
    for each in subscribers:
        assert [push["data"] for push in await each.read_many(len(values))] == values


async def test_binary_is_binary_for_messagepack_and_base64_for_json(gateway):
    readers = {codec: await gateway.websocket(codec) for codec in (JSON, MSGPACK)}
    for reader in readers.values():
        await reader.ask(type="subscribe", channel="a")
    await readers[MSGPACK].ask(type="publish", channel="a", data=b"\x00\xff\x10")
    as_json, as_msgpack = [await reader.read() for reader in readers.values()]
    assert (as_json["data"], as_json["encoding"]) == ("AP8Q", "base64")
    assert as_msgpack["data"] == b"\x00\xff\x10"
    assert "encoding" not in as_msgpack
    pages = [await reader.ask(type="history", channel="a") for reader in readers.values()]
    assert [untimed(page) for page in pages] == [
        [{"offset": 1, "data": "AP8Q", "encoding": "base64"}],
        [{"offset": 1, "data": b"\x00\xff\x10"}],
    ]


async def test_a_ping_frame_is_answered_with_its_payload(gateway):
    client = await gateway.raw_websocket()
    await client.shake_hands()
    assert (await client.read())["type"] == "welcome"
    client.send_frame(b"are you there?", Opcode.PING)
    assert await client.read_frame() == (Opcode.PONG, b"are you there?")
