"""What `joined` and `left` look like on each transport, over real sockets."""

from collections.abc import AsyncIterator

import pytest

from gateway.config import ChannelsConfig, PresenceConfig
from tests.gateway.clients import (
    LITTLE_BYTES,
    Gateway,
    encode_request,
    serving,
    stall,
)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    rooms = ChannelsConfig(joined_left=True)
    async with serving(channels=rooms, presence=PresenceConfig(interval_s=0.01)) as running:
        yield running


@pytest.mark.parametrize("subprotocol", ["gateway.v1.json", "gateway.v1.msgpack"])
async def test_a_websocket_is_told_who_comes_and_goes(gateway: Gateway, subprotocol: str) -> None:
    client = await gateway.websocket(subprotocol)
    await client.ask(type="subscribe", channel="a")
    assert (await client.read())["session"] == client.welcome["session"]
    other = await gateway.websocket()
    session = other.welcome["session"]
    await other.ask(type="subscribe", channel="a")
    told = {"channel": "a", "session": session}
    assert await client.read() == {"type": "joined", "count": 2, **told}
    await other.ask(type="unsubscribe", channel="a")
    assert await client.read() == {"type": "left", "count": 1, **told}


async def test_an_event_stream_is_told_without_an_id(gateway: Gateway) -> None:
    stream = await gateway.event_stream(channel="a")
    assert (await stream.read())["type"] == "subscribed"
    (line,) = await stream.read_block()
    assert line.startswith("id: ")
    event, data = await stream.read_block()
    assert (event, data[:24]) == ("event: joined", 'data: {"type":"joined","')


async def test_a_poll_is_no_member_and_is_told_nothing(gateway: Gateway) -> None:
    client = await gateway.websocket()
    await client.ask(type="subscribe", channel="a")
    assert (await client.read())["type"] == "joined"
    poll = await gateway.open()
    poll.send(encode_request("GET", "/poll?channel=a", ["Connection: close"]))
    await gateway.wait_subscriptions(2)
    assert (await client.ask(type="presence", channel="a"))["count"] == 1
    other = await gateway.websocket()
    await other.ask(type="subscribe", channel="a")
    assert (await client.read())["count"] == 2
    await gateway.publish("a", 1)
    answer = (await poll.read_reply()).json
    assert [each["data"] for each in answer["messages"]] == [1]
    assert (await client.read())["type"] == "message"


async def test_a_client_that_reads_nothing_is_told_the_count_when_it_does(gateway: Gateway) -> None:
    healthy = await gateway.websocket()
    slow = await gateway.event_stream(channel="a", receive_bytes=LITTLE_BYTES)
    assert (await slow.read())["type"] == "subscribed"
    assert (await slow.read())["count"] == 1
    await healthy.ask(type="subscribe", channel="a")
    assert (await healthy.read())["count"] == 2
    await stall(gateway, healthy)
    other = await gateway.websocket()
    await other.ask(type="subscribe", channel="a")
    assert (await healthy.read())["count"] == 3
    while (push := await slow.read())["type"] != "presence":
        pass
    assert (push["channel"], push["count"], "members" in push) == ("a", 3, False)
