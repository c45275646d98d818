"""POST /publish, history and presence as a back end meets them: over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from gateway.api import API
from gateway.config import AuthConfig, ChannelsConfig, Config, HubConfig
from gateway.errors import BrokerUnavailable
from gateway.hub import Hub
from gateway.router import Router
from gateway.web.server import Server
from tests.gateway.clients import Gateway, Reply, bounded, encode_request, serving

KEY = "a key with spaces and ü"
TOO_DEEP = '{"channel": "a", "data": ' + "[" * 129 + "]" * 129 + "}"


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with serving() as running:
        yield running


async def post(gateway: Gateway, body: str | bytes, *headers: str) -> Reply:
    data = body if isinstance(body, bytes) else body.encode()
    return await gateway.fetch("POST", "/publish", headers, data)


async def history(gateway: Gateway, channel: str, query: str = "") -> Reply:
    return await gateway.fetch("GET", f"/channels/{quote(channel, safe='')}/history{query}")


def offsets(publications: list[dict[str, Any]]) -> list[int]:
    return [each["offset"] for each in publications]


def is_error(reply: Reply, status: int, code: str) -> bool:
    """Whether reply is an error of this kind in the shape that all errors have."""
    error = reply.json
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert error.keys() == {"type", "code", "message", "retry"}
    return (reply.status, error["type"], error["code"]) == (status, "error", code)


# --- publishing ---------------------------------------------------------------------------------


async def test_one_object_is_answered_with_its_place(gateway: Gateway) -> None:
    first = await post(gateway, '{"channel": "a", "data": 1}')
    second = await post(gateway, '{"channel": "a", "data": 2}')
    assert (first.status, first.headers["Content-Type"]) == (200, "application/json")
    epoch = first.json["epoch"]
    assert first.json == {"channel": "a", "epoch": epoch, "offset": 1}
    assert second.json == {"channel": "a", "epoch": epoch, "offset": 2}


async def test_an_array_is_answered_with_an_array_in_its_order(gateway: Gateway) -> None:
    channels = ["a", "b", "a", "a", "c", "b"]
    places = (
        await post(gateway, json.dumps([{"channel": each, "data": each} for each in channels]))
    ).json
    assert [(each["channel"], each["offset"]) for each in places] == [
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("a", 3),
        ("c", 1),
        ("b", 2),
    ]


@pytest.mark.parametrize(("body", "count"), [("[]", 0), ('[{"channel": "a", "data": 1}]', 1)])
async def test_an_array_of_none_or_one_is_an_array(gateway: Gateway, body, count) -> None:
    reply = await post(gateway, body)
    assert (reply.status, len(reply.json), type(reply.json)) == (200, count, list)


async def test_data_reaches_a_subscriber_byte_for_byte_with_key_and_tags(gateway) -> None:
    stream = await gateway.event_stream(channel="a")
    data = '{ "b":1.50, "a" : "\\u00e9/\\/", "a":[ ] }'
    await post(gateway, f'{{"tags": {{"t": "v"}}, "data": {data}, "key": "k", "channel": "a"}}')
    await stream.read()
    kind, text = await stream.read_event()
    push = json.loads(text)
    assert kind == "message"
    assert f'"data":{data}' in text
    assert (push["offset"], push["key"], push["tags"]) == (1, "k", {"t": "v"})


@pytest.mark.parametrize("data", ["null", "0", '""', "[]", "-1.5e300", "18446744073709551615"])
async def test_any_json_value_can_be_published(gateway: Gateway, data: str) -> None:
    await post(gateway, f'{{"channel": "a", "data": {data}}}')
    (publication,) = (await history(gateway, "a")).json["publications"]
    assert (publication["offset"], publication["data"]) == (1, json.loads(data))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Content-Type: text/plain; charset=utf-16",),
        ("Content-Type: application/x-www-form-urlencoded",),
        ("Content-Type: multipart/form-data",),
        ("Content-Type: ;;;",),
        ("Accept: text/html",),
    ],
)
async def test_the_content_type_does_not_matter(gateway: Gateway, headers) -> None:
    reply = await post(gateway, '{"channel": "a", "data": 1}', *headers)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")


MALFORMED = [
    ("", "malformed"),
    (" ", "malformed"),
    ("{", "malformed"),
    ("channel=a&data=1", "malformed"),
    ('{"channel": "a", "data": 1} {}', "malformed"),
    (b"\xff\xfe{\x00}\x00", "malformed"),
    ('{"channel": "a", "data": ' + "[" * 100_000, "malformed"),
    ("[" * 100_000, "invalid_field"),
    ("1", "invalid_field"),
    ("null", "invalid_field"),
    ('"text"', "invalid_field"),
    ("{}", "invalid_field"),
    ("[1]", "invalid_field"),
    ('{"channel": "a"}', "invalid_field"),
    ('{"data": 1}', "invalid_field"),
    ('{"channel": 1, "data": 1}', "invalid_field"),
    ('{"channel": null, "data": 1}', "invalid_field"),
    ('{"channel": "a", "data": 1, "key": 1}', "invalid_field"),
    ('{"channel": "a", "data": 1, "tags": {"t": 1}}', "invalid_field"),
    ('{"channel": "a", "data": 1, "type": "publish"}', "invalid_field"),
    ('{"channel": "", "data": 1}', "invalid_channel"),
    ('{"channel": "' + "x" * 256 + '", "data": 1}', "invalid_channel"),
    ('{"channel": "a\\u0000", "data": 1}', "invalid_channel"),
    ('{"channel": "a", "data": 18446744073709551616}', "invalid_data"),
    ('{"channel": "a", "data": "\\ud800"}', "malformed"),
    ('{"channel": "a", "data": 1e999}', "invalid_data"),
    (TOO_DEEP, "invalid_data"),
    (b'{"channel": "a", "data": "\xff"}', "invalid_data"),
    ('[{"channel": "a", "data": 1}, {"channel": "", "data": 1}]', "invalid_channel"),
    ('[{"channel": "a", "data": 1}, {"channel": "b", "data": 1e999}]', "invalid_data"),
]


@pytest.mark.parametrize(("body", "code"), MALFORMED)
async def test_what_cannot_be_published_is_refused_as_a_whole(gateway, body, code) -> None:
    reply = await post(gateway, body)
    assert is_error(reply, 400, code)
    assert reply.json["retry"] is False
    assert (await history(gateway, "a")).json["publications"] == []


async def test_an_error_says_where_in_the_body_it_is(gateway: Gateway) -> None:
    reply = await post(gateway, '[{"channel": "a", "data": 1}, {"channel": 2, "data": 1}]')
    assert "$[1].channel" in reply.json["message"] or "$[...].channel" in reply.json["message"]


async def test_one_request_may_carry_a_thousand_publications_and_no_more(gateway) -> None:
    batch = [{"channel": "a", "data": n} for n in range(1001)]
    assert is_error(await post(gateway, json.dumps(batch)), 413, "too_large")
    places = (await post(gateway, json.dumps(batch[:1000]))).json
    assert offsets(places) == list(range(1, 1001))


@pytest.mark.parametrize("framing", ["length", "chunks", "expectation"])
async def test_a_body_above_the_limit_is_refused(gateway: Gateway, framing: str) -> None:
    limit = gateway.node.config.server.max_body_bytes
    body = b'{"channel": "a", "data": "' + b"x" * limit + b'"}'
    client = await gateway.open()
    head = "POST /publish HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
    if framing == "chunks":
        client.send(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode())
        client.send(body + b"\r\n0\r\n\r\n")
    elif framing == "length":
        client.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    else:  # nothing is sent until the gateway asks for it, which it need not
        client.send(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n")
        status, headers = await client.read_head()
        if status == 100:
            client.send(body)
        else:
            async with bounded():
                reply = Reply(status, headers, await client.reader.read())
            assert is_error(reply, 413, "too_large")
            return
    assert is_error(await client.read_reply(), 413, "too_large")


async def test_a_body_at_the_limit_is_published(gateway: Gateway) -> None:
    limit = gateway.node.config.server.max_body_bytes
    head, tail = '{"channel": "a", "data": "', '"}'
    reply = await post(gateway, head + "x" * (limit - len(head + tail)) + tail)
    assert (reply.status, reply.json["offset"]) == (200, 1)


async def test_one_channel_too_many_is_told_as_a_limit() -> None:
    async with serving(channels=ChannelsConfig(max_channels=1)) as gateway:
        await gateway.publish("a", 1)
        reply = await post(gateway, '{"channel": "b", "data": 1}')
        assert is_error(reply, 429, "limit_reached")
        assert (await history(gateway, "b")).json["publications"] == []
        assert (await post(gateway, '{"channel": "a", "data": 1}')).status == 200


async def test_publications_over_many_connections_have_one_order_for_everybody(gateway) -> None:
    channels, senders, rounds = ("a", "b", "c"), 20, 10
    total = senders * rounds
    readers = [
        *[await gateway.websocket(each) for each in ("gateway.v1.json", "gateway.v1.msgpack")],
        await gateway.event_stream(channel=channels),
    ]
    for client in readers[:2]:
        for channel in channels:
            await client.ask(type="subscribe", channel=channel)
    await readers[2].read_many(len(channels))

    async def send(sender: int) -> None:
        connection = await gateway.open()
        for number in range(rounds):
            batch = [{"channel": each, "data": [sender, number]} for each in channels]
            connection.send(encode_request("POST", "/publish", body=json.dumps(batch).encode()))
            status, headers = await connection.read_head()
            assert status == 200
            places = json.loads(await connection.reader.readexactly(int(headers["Content-Length"])))
            for place in places:
                placed[place["channel"]][place["offset"]] = [sender, number]

    placed: dict[str, dict[int, list[int]]] = {channel: {} for channel in channels}
    async with bounded():
        await asyncio.gather(*map(send, range(senders)))
    for reader in readers:
        messages = await reader.read_many(total * len(channels))
        for channel in channels:
            seen = [each for each in messages if each["channel"] == channel]
            assert offsets(seen) == list(range(1, total + 1))
            assert {each["offset"]: each["data"] for each in seen} == placed[channel]


# --- the API key --------------------------------------------------------------------------------


@pytest.fixture
async def locked() -> AsyncIterator[Gateway]:
    """Return a gateway whose publishers need a key."""
    async with serving(auth=AuthConfig(api_key=KEY)) as running:
        yield running


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Authorization: Bearer",),
        ("Authorization: Bearer wrong",),
        (f"Authorization: {KEY}",),
        (f"Authorization: Basic {KEY}",),
        (f"Authorization: Bearer {KEY[:-1]}",),
        (f"Authorization: Bearer {KEY}x",),
        ("X-API-Key:",),
        ("X-API-Key: wrong",),
        (f"X-API-Key: Bearer {KEY}",),
        (f"Cookie: X-API-Key={KEY}",),
    ],
)
async def test_without_the_key_nothing_is_published(locked: Gateway, headers) -> None:
    reply = await post(locked, '{"channel": "a", "data": 1}', *headers)
    assert is_error(reply, 401, "unauthorized")
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert KEY not in reply.body.decode()
    assert (await history(locked, "a")).json["publications"] == []


@pytest.mark.parametrize(
    "header",
    [
        f"Authorization: Bearer {KEY}",
        f"authorization: bearer {KEY}",
        f"Authorization: BEARER   {KEY}  ",
        f"X-API-Key: {KEY}",
        f"x-api-key:{KEY}",
    ],
)
async def test_with_the_key_it_is_published(locked: Gateway, header: str) -> None:
    reply = await post(locked, '{"channel": "a", "data": 1}', header)
    assert (reply.status, reply.json["offset"]) == (200, 1)


async def test_the_key_is_asked_for_before_the_body_is_looked_at(locked: Gateway) -> None:
    assert is_error(await post(locked, "{"), 401, "unauthorized")


async def test_where_no_key_is_configured_any_or_none_will_do(gateway: Gateway) -> None:
    for headers in ((), ("X-API-Key: any",), ("Authorization: Basic abc",)):
        assert (await post(gateway, '{"channel": "a", "data": 1}', *headers)).status == 200


# --- a broker out of reach ----------------------------------------------------------------------


class UnreachableBroker:
    """A broker that can do nothing now."""

    def _fail(self, *_: Any, **__: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(BrokerUnavailable("the broker is out of reach"))
        return future

    follow = publish = history = _fail


class Front:
    """The API before such a broker, where clients expect a node."""

    async def start(self) -> None:
        broker = UnreachableBroker()
        hub = Hub(broker, HubConfig(), asyncio.get_running_loop().call_soon)
        api = API(hub, broker, Config())
        routes = {"/publish": {"POST": api.publish}}
        self._server = Server(Router(routes, {"history": api.history}, {}), access_log=None)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._listener.close()
        await self._server.shutdown(0)


async def test_a_broker_out_of_reach_is_told_as_a_reason_to_try_again() -> None:
    front = Front()
    await front.start()
    gateway = Gateway(front)
    batch = '[{"channel": "a", "data": 1}, {"channel": "b", "data": 2}]'
    told = {
        "type": "error",
        "code": "overloaded",
        "message": "the broker is out of reach",
        "retry": True,
    }
    for asked, expected in (
        (post(gateway, '{"channel": "a", "data": 1}'), told),
        (post(gateway, batch), [told, told]),
        (history(gateway, "a"), told),
    ):
        reply = await asked
        assert (reply.status, reply.json) == (503, expected)
        assert reply.headers["Retry-After"] == "1"
    await gateway.close()
