"""What POST /publish answers where it is too much: who is refused, for how long, and who is not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.broker import Draft
from gateway.config import ChannelsConfig, PublishConfig, ServerConfig
from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.publication import Data
from tests.gateway.clients import Gateway, Reply, Socket, bounded, encode_request, serving
from tests.gateway.late import Front, LateBroker, UnreachableBroker


@asynccontextmanager
async def fronting(broker: Any, **sections: Any) -> AsyncIterator[Gateway]:
    front = Front(broker, **sections)
    await front.start()
    gateway = Gateway(front)  # type: ignore[arg-type]
    try:
        yield gateway
    finally:
        await gateway.close()


def batch(count: int, channel: str = "a") -> bytes:
    return json.dumps([{"channel": channel, "data": n} for n in range(count)]).encode()


async def post(gateway: Gateway, body: bytes) -> Reply:
    return await gateway.fetch("POST", "/publish", body=body)


def error(code: str, message: str, **fields: Any) -> dict[str, Any]:
    """Return an error that is worth another try."""
    return {"type": "error", "code": code, "message": message, "retry": True, **fields}


async def test_one_request_may_carry_a_thousand_publications_and_no_more() -> None:
    async with serving() as gateway:
        refused = await post(gateway, batch(1001))
        assert (refused.status, refused.json["code"]) == (413, "too_large")
        assert len((await post(gateway, batch(1000))).json) == 1000


async def test_how_many_a_request_may_carry_is_configurable() -> None:
    async with serving(publish=PublishConfig(max_batch_count=2)) as gateway:
        assert (await post(gateway, batch(3))).status == 413
        places = (await post(gateway, batch(2))).json
        assert [place["offset"] for place in places] == [1, 2]


async def test_one_channel_too_many_is_worth_a_later_try() -> None:
    async with serving(channels=ChannelsConfig(max_channels=1)) as gateway:
        await gateway.publish("a", 1)
        reply = await post(gateway, b'{"channel": "b", "data": 1}')
        assert (reply.status, reply.json["code"]) == (503, "overloaded")
        assert (reply.headers["Retry-After"], reply.json["retry"]) == ("1", True)
        assert (await post(gateway, b'{"channel": "a", "data": 1}')).status == 200


# --- how many per second ------------------------------------------------------------------------

RATE = PublishConfig(publications_per_s=2, publications_burst=10, max_batch_count=10)


async def test_more_per_second_than_the_node_takes_is_429_and_publishes_nothing() -> None:
    broker = LateBroker()
    await broker.start(lambda _: None)
    async with fronting(broker.near, publish=RATE) as gateway:
        assert (await post(gateway, batch(9))).status == 200
        reply = await post(gateway, batch(4))
        assert (reply.status, reply.headers["Retry-After"]) == (429, "2")
        text = "this node takes 2 publications per second"
        assert reply.json == error("rate_limited", text, retry_after_ms=1500)
        assert broker.near.publication_count == 9
        assert (await post(gateway, batch(1))).status == 200
        gateway.node.now = 2.0
        assert (await post(gateway, batch(4))).status == 200
        assert (await post(gateway, batch(1))).headers["Retry-After"] == "1"


async def test_what_could_not_be_published_anyway_does_not_count() -> None:
    broker = LateBroker()
    await broker.start(lambda _: None)
    async with fronting(broker.near, publish=RATE) as gateway:
        for _ in range(3):
            assert (await post(gateway, batch(10, channel=""))).status == 400
            assert (await post(gateway, b"[]")).status == 200
        assert (await post(gateway, batch(10))).status == 200


async def test_without_a_rate_as_many_are_taken_as_come() -> None:
    async with serving() as gateway:
        for _ in range(3):
            assert (await post(gateway, batch(1000))).status == 200


# --- how many bytes at once ---------------------------------------------------------------------

LITTLE = {
    "publish": PublishConfig(max_pending_bytes=1000),
    "server": ServerConfig(max_body_bytes=1000),
}
OVERLOADED = error("overloaded", "publications under way hold as many bytes as they may, 1000")


def sized(size: int) -> bytes:
    """Return a body of so many bytes."""
    head, tail = b'{"channel": "a", "data": "', b'"}'
    return head + b"x" * (size - len(head + tail)) + tail


async def begin(gateway: Gateway, request: bytes) -> Socket:
    """Send request, and return when the endpoint has taken it as far as it goes."""
    client = await gateway.open()
    client.send(request)
    await gateway.fetch("GET", "/channels/a/history")
    return client


@pytest.fixture
async def late() -> AsyncIterator[tuple[LateBroker, Gateway]]:
    """Return a broker that answers later, and a gateway before it that may hold little for it."""
    broker = LateBroker()
    await broker.start(lambda _: None)
    async with fronting(broker, **LITTLE) as gateway:
        yield broker, gateway


async def test_more_than_may_wait_for_the_broker_is_503_until_it_has_answered(late) -> None:
    broker, gateway = late
    client = await gateway.open()
    client.send(encode_request("POST", "/publish", ["Connection: close"], sized(600)))
    await broker.wait_asked(1)
    reply = await post(gateway, sized(401))
    assert (reply.status, reply.headers["Retry-After"], reply.json) == (503, "1", OVERLOADED)
    await broker.answer()
    assert (await client.read_reply()).json["offset"] == 1
    publishing = asyncio.create_task(post(gateway, sized(401)))
    await broker.wait_asked(1)
    await broker.answer()
    assert (await publishing).json["offset"] == 2


async def test_a_client_that_leaves_takes_neither_its_publication_nor_its_bytes_back(late) -> None:
    broker, gateway = late
    client = await gateway.open()
    client.send(encode_request("POST", "/publish", body=sized(600)))
    await broker.wait_asked(1)
    client.vanish()
    for _ in range(3):  # the first may still meet the request that is being cancelled
        assert (await post(gateway, sized(401))).status == 503
    await broker.answer()
    assert broker.near.publication_count == 1
    publishing = asyncio.create_task(post(gateway, sized(1000)))
    await broker.wait_asked(1)
    await broker.answer()
    assert (await publishing).json["offset"] == 2


async def test_a_broker_that_fails_later_is_told_at_each_item_and_gives_bytes_back(
    late,
) -> None:
    broker, gateway = late
    body = json.dumps([{"channel": each, "data": 1} for each in "aba"]).encode()
    for _ in range(20):
        publishing = asyncio.create_task(post(gateway, body))
        await broker.wait_asked(2)
        await broker.fail(MessageError(ErrorCode.OVERLOADED, "full", retry_after_ms=2001))
        await broker.answer()
        reply = await publishing
        assert (reply.status, reply.headers["Retry-After"]) == (503, "3")
        told = error("overloaded", "full", retry_after_ms=2001)
        assert [reply.json[0], reply.json[2]] == [told, told]
        assert reply.json[1]["channel"] == "b"


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_bodies_that_are_being_read_count_for_what_has_come_of_them(framing: str) -> None:
    broker = LateBroker()
    await broker.start(lambda _: None)
    async with fronting(broker.near, **LITTLE) as gateway:
        body = sized(900)
        head = "POST /publish HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        if framing == "length":
            slow = await begin(gateway, f"{head}Content-Length: 900\r\n\r\n".encode() + body[:500])
        else:
            begun = f"{head}Transfer-Encoding: chunked\r\n\r\n{500:x}\r\n"
            slow = await begin(gateway, begun.encode() + body[:500] + b"\r\n")
        reply = await post(gateway, sized(501))
        assert (reply.status, reply.json) == (503, OVERLOADED)
        assert (await post(gateway, sized(500))).status == 200
        rest = body[500:]
        slow.send(rest if framing == "length" else b"190\r\n" + rest + b"\r\n0\r\n\r\n")
        assert (await slow.read_reply()).status == 200
        assert (await post(gateway, sized(1000))).status == 200


async def test_a_body_that_does_not_fit_is_refused_before_it_is_asked_for(late) -> None:
    broker, gateway = late
    waiting = await gateway.open()
    waiting.send(encode_request("POST", "/publish", body=sized(600)))
    await broker.wait_asked(1)
    client = await gateway.open()
    client.send(
        "POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (await client.read_head())[0] == 503


async def test_a_body_that_breaks_off_gives_its_bytes_back() -> None:
    broker = LateBroker()
    await broker.start(lambda _: None)
    async with fronting(broker.near, **LITTLE) as gateway:
        head = "POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n"
        for _ in range(3):
            client = await begin(gateway, head.encode() + sized(900)[:800])
            client.vanish()
            async with bounded():
                while (await post(gateway, sized(1000))).status == 503:
                    """The gateway has not heard of it yet."""


async def test_what_subscribers_cannot_be_given_is_503_for_the_whole_batch() -> None:
    async with serving(channels=ChannelsConfig(history_count=0, lag_count=0)) as gateway:
        await gateway.websocket()
        stream = await gateway.node.hub.follow("a")
        while not stream.is_overfull:
            await gateway.node.publish_batch("a", [Draft(Data(b"1"))] * 100)
        end = stream.last
        reply = await post(gateway, batch(3))
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        assert [each["code"] for each in reply.json] == ["overloaded"] * 3
        assert stream.last == end


# --- a broker out of reach ----------------------------------------------------------------------


async def test_a_broker_out_of_reach_is_told_as_a_reason_to_try_again() -> None:
    async with fronting(UnreachableBroker()) as gateway:
        told = error("overloaded", "the broker is out of reach")
        body = json.dumps([{"channel": each, "data": 1} for each in "ab"]).encode()
        for asked, expected in ((b'{"channel": "a", "data": 1}', told), (body, [told, told])):
            reply = await post(gateway, asked)
            assert (reply.status, reply.json) == (503, expected)
            assert reply.headers["Retry-After"] == "1"
