"""One order per channel, for everybody: of what many publish at once, in every way there is."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import BrokerConfig
from tests.gateway.clients import Gateway, Push, Socket, bounded, encode_request, serving

CHANNELS = ("a", "b")
SUBPROTOCOLS = ("gateway.v1.json", "gateway.v1.msgpack")
PUBLISHERS = 6  # of each kind
ROUNDS = 15


@pytest.fixture(params=["memory", "interval", "always"])
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Return a gateway on each broker; one that writes to a disk answers later than it is asked."""
    data, fsync = str(tmp_path / "data"), request.param
    config = BrokerConfig() if fsync == "memory" else BrokerConfig(data=data, fsync=fsync)
    async with serving(broker=config) as running:
        yield running


def batch_of(name: str, number: int) -> bytes:
    """Return a body that publishes twice to each channel; names tell publishers apart."""
    data = [[name, 2 * number], [name, 2 * number + 1]]
    return json.dumps([{"channel": c, "data": each} for each in data for c in CHANNELS]).encode()


async def read_places(client: Socket) -> list[dict[str, Any]]:
    """Return what one request was answered, on a connection that stays open."""
    status, headers = await client.read_head()
    assert status == 200
    async with bounded():
        body = await client.reader.readexactly(int(headers["Content-Length"]))
    places: list[dict[str, Any]] = json.loads(body)
    return places


async def publish_one_by_one(gateway: Gateway, name: str) -> None:
    """Publish over HTTP, each request once the one before is answered."""
    client = await gateway.open()
    for number in range(ROUNDS):
        client.send(encode_request("POST", "/publish", body=batch_of(name, number)))
        await read_places(client)


async def publish_pipelined(gateway: Gateway, name: str) -> None:
    """Publish over HTTP, all requests at once, with heads and bodies cut anywhere."""
    client = await gateway.open()
    requests = [
        encode_request("POST", "/publish", body=batch_of(name, number)) for number in range(ROUNDS)
    ]
    wire = b"".join(requests)
    for start in range(0, len(wire), 1000):
        client.send(wire[start : start + 1000])
        await client.writer.drain()
        await asyncio.sleep(0)
    for _ in range(ROUNDS):
        await read_places(client)


async def publish_on_a_websocket(gateway: Gateway, name: str) -> None:
    """Publish on a WebSocket, without waiting for replies until the last."""
    client = await gateway.websocket(SUBPROTOCOLS[len(name) % 2])
    for number in range(2 * ROUNDS):
        for channel in CHANNELS:
            await client.send(type="publish", channel=channel, data=[name, number])
    assert (await client.ask(type="ping"))["type"] == "pong"


async def publish_inside(gateway: Gateway, name: str) -> None:
    """Publish from the program that the node is part of."""
    for number in range(2 * ROUNDS):
        for channel in CHANNELS:
            await gateway.node.publish(channel, [name, number])
        await asyncio.sleep(0)


WAYS = (publish_one_by_one, publish_pipelined, publish_on_a_websocket, publish_inside)
TOTAL = len(WAYS) * PUBLISHERS * 2 * ROUNDS


async def poll_all(gateway: Gateway, cursor: str) -> list[Push]:
    """Return everything behind cursor, poll by poll."""
    messages: list[Push] = []
    while len(messages) < TOTAL * len(CHANNELS):
        answer = await gateway.poll(channel=CHANNELS, cursor=cursor)
        assert answer["gaps"] == []
        messages += answer["messages"]
        cursor = answer["cursor"]
    return messages


async def subscribe(gateway: Gateway) -> list[Any]:
    """Return what will return all messages, for each transport and codec."""
    sockets = [await gateway.websocket(each) for each in SUBPROTOCOLS]
    for client in sockets:
        for channel in CHANNELS:
            await client.ask(type="subscribe", channel=channel)
    stream = await gateway.event_stream(channel=CHANNELS)
    await stream.read_many(len(CHANNELS))
    cursor = (await gateway.poll(channel=CHANNELS, timeout=0))["cursor"]
    count = TOTAL * len(CHANNELS)
    return [each.read_many(count) for each in (*sockets, stream)] + [poll_all(gateway, cursor)]


async def test_all_subscribers_see_one_order_in_which_each_publisher_has_its_own(gateway) -> None:
    reading = [asyncio.create_task(each) for each in await subscribe(gateway)]
    publishing = [
        way(gateway, f"{way.__name__} {'x' * number}")
        for way in WAYS
        for number in range(PUBLISHERS)
    ]
    async with bounded():
        await asyncio.gather(*publishing)
        views = await asyncio.gather(*reading)
    for channel in CHANNELS:
        orders = [
            [(each["offset"], tuple(each["data"])) for each in view if each["channel"] == channel]
            for view in views
        ]
        assert orders.count(orders[0]) == len(views)
        assert [offset for offset, _ in orders[0]] == list(range(1, TOTAL + 1))
        by_publisher: dict[str, list[int]] = {}
        for _, (name, number) in orders[0]:
            by_publisher.setdefault(name, []).append(number)
        assert len(by_publisher) == len(WAYS) * PUBLISHERS
        assert all(numbers == list(range(2 * ROUNDS)) for numbers in by_publisher.values())
        check_batches(orders[0])


def check_batches(order: list[tuple[int, Any]]) -> None:
    """Fail where something stands between the two publications of one HTTP request."""
    items = [item for _, item in order]
    for index, (name, number) in enumerate(items):
        if "one_by_one" in name or "pipelined" in name:
            neighbour = index + (1 if number % 2 == 0 else -1)
            assert items[neighbour] == (name, number ^ 1)


async def test_places_are_those_that_subscribers_see(gateway: Gateway) -> None:
    reader = await gateway.websocket()
    await reader.ask(type="subscribe", channel="a")
    placed: dict[int, Any] = {}

    async def publish(name: str) -> None:
        client = await gateway.open()
        for number in range(ROUNDS):
            client.send(encode_request("POST", "/publish", body=batch_of(name, number)))
            places = [each for each in await read_places(client) if each["channel"] == "a"]
            data = [[name, 2 * number], [name, 2 * number + 1]]
            placed.update(zip([each["offset"] for each in places], data, strict=True))

    async with bounded():
        await asyncio.gather(*[publish(str(each)) for each in range(10)])
    pushes = await reader.read_many(10 * 2 * ROUNDS)
    assert {each["offset"]: each["data"] for each in pushes} == placed


async def test_a_request_is_published_when_its_body_is_complete_not_when_it_began(gateway) -> None:
    slow = await gateway.open()
    request = encode_request("POST", "/publish", body=batch_of("slow", 0))
    slow.send(request[:-1])
    await gateway.fetch("GET", "/channels/a/history")
    await gateway.publish("a", "quick")
    slow.send(request[-1:])
    places = await read_places(slow)
    assert [each["offset"] for each in places if each["channel"] == "a"] == [2, 3]
