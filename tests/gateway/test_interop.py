"""All ways in and out of the gateway together: one log per channel, whoever publishes and reads."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from tests.gateway.clients import (
    Account,
    EventStream,
    Gateway,
    Push,
    Socket,
    WebSocketClient,
    serving,
)

Position = dict[str, Any]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """Return a running gateway; it and its clients have ended when the test has."""
    async with serving() as running:
        yield running


# --- a client on each transport -----------------------------------------------------------------


class Follower(Protocol):
    """A client of channel a that can leave, and come back as another with its position.

    position is as this transport's clients know it, and goes into any transport's request.
    """

    position: Position

    async def come(self, gateway: Gateway, position: Position) -> list[Push]:
        """Follow from position, or from now if it is empty; return the gaps told first."""

    async def read(self) -> list[Push]:
        """Return the next messages and gaps, at least one."""

    async def leave(self) -> None:
        """Go without a word."""


class WebSocketFollower:
    """A session of one codec; it knows the epoch, and the offset of what it read last."""

    client: WebSocketClient

    def __init__(self, codec: str) -> None:
        self.position: Position = {}
        self._codec = codec

    async def come(self, gateway: Gateway, position: Position) -> list[Push]:
        self.client = await gateway.websocket(self._codec)
        subscribed = await self.client.ask(type="subscribe", channel="a", **position)
        self.position = {"epoch": subscribed["epoch"], "offset": subscribed["offset"]}
        return await self.read() if position and not subscribed["recovered"] else []

    async def read(self) -> list[Push]:
        push = await self.client.read()
        self.position["offset"] = push["to"] if push["type"] == "gap" else push["offset"]
        return [push]

    async def leave(self) -> None:
        self.client.connection.transport.abort()
        await self.client.connection.wait_closed()


class EventStreamFollower:
    """An event stream; it knows the newest id."""

    stream: EventStream

    def __init__(self) -> None:
        self.position: Position = {}

    async def come(self, gateway: Gateway, position: Position) -> list[Push]:
        self.stream = await gateway.event_stream(channel="a", **position)
        subscribed = await self.stream.read()
        gaps = await self.read() if position and not subscribed["recovered"] else []
        (line,) = await self.stream.read_block()
        self.position = {"cursor": line.removeprefix("id: ")}
        return gaps

    async def read(self) -> list[Push]:
        push = await self.stream.read()
        self.position = {"cursor": self.stream.last_event_id}
        return [push]

    async def leave(self) -> None:
        self.stream.vanish()


class PollFollower:
    """One poll after the other; it knows the cursor of the last answer."""

    gateway: Gateway

    def __init__(self) -> None:
        self.position: Position = {}

    async def come(self, gateway: Gateway, position: Position) -> list[Push]:
        self.gateway = gateway
        self.position = position
        return [] if position else await self._poll(timeout=0)

    async def read(self) -> list[Push]:
        return await self._poll()

    async def leave(self) -> None:
        """Do nothing: between two polls nobody is there."""

    async def _poll(self, **parameters: Any) -> list[Push]:
        answer = await self.gateway.poll(channel="a", **self.position, **parameters)
        self.position = {"cursor": answer["cursor"]}
        return [*answer["gaps"], *answer["messages"]]


FOLLOWERS = {
    "websocket-json": lambda: WebSocketFollower("gateway.v1.json"),
    "websocket-msgpack": lambda: WebSocketFollower("gateway.v1.msgpack"),
    "sse": EventStreamFollower,
    "longpoll": PollFollower,
}
from_each_to_each = pytest.mark.parametrize(
    ("before", "after"), list(itertools.product(FOLLOWERS, repeat=2))
)


async def come(gateway: Gateway, kind: str, position: Position) -> Follower:
    """Return a follower that has come, and missed nothing."""
    follower: Follower = FOLLOWERS[kind]()
    assert await follower.come(gateway, position) == []
    return follower


async def read_data(follower: Follower, count: int) -> list[Any]:
    """Return the data of the next count messages."""
    data: list[Any] = []
    while len(data) < count:
        data += [push["data"] for push in await follower.read()]
    assert len(data) == count
    return data


# --- the same for everybody ---------------------------------------------------------------------


async def test_what_anybody_publishes_everybody_receives_in_the_same_order(gateway, commands):
    followers = [await come(gateway, kind, {}) for kind in FOLLOWERS]
    data = {name: [[name, n] for n in range(10)] for name in ("HTTP", "JSON", "MessagePack", "CLI")}

    async def publish_by_websocket(name: str, codec: str) -> None:
        client = await gateway.websocket(codec)
        for each in data[name]:
            assert (await client.ask(type="publish", channel="a", data=each))["channel"] == "a"

    async def publish_by_http() -> None:
        for each in data["HTTP"]:
            await gateway.publish("a", each)

    async def publish_by_command() -> None:
        arguments = ("publish", "--url", gateway.node.url, "a", "-")
        lines = "\n".join(map(json.dumps, data["CLI"]))
        status, output, _ = await asyncio.to_thread(commands.run, *arguments, stdin=lines)
        assert (status, len(output.splitlines())) == (0, 10)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish_by_websocket("JSON", "gateway.v1.json"))
        tasks.create_task(publish_by_websocket("MessagePack", "gateway.v1.msgpack"))
        tasks.create_task(publish_by_http())
        tasks.create_task(publish_by_command())
    first, *others = [await read_data(follower, 40) for follower in followers]
    assert all(received == first for received in others)
    for name, published in data.items():
        assert [each for each in first if each[0] == name] == published
    page = (await gateway.get("/channels/a/history")).json
    assert [each["data"] for each in page["publications"]] == first


async def test_a_message_is_the_same_on_every_transport(gateway):
    followers = [await come(gateway, kind, {}) for kind in FOLLOWERS]
    publisher = await gateway.websocket("gateway.v1.msgpack")
    extras = {"key": "k", "tags": {"colour": "red"}}
    for data in ({"é": [1, 2.5, None, "😀\n"]}, b"\x00\xff"):
        await publisher.ask(type="publish", channel="a", data=data, **extras)
        pushes = [(await follower.read())[0] for follower in followers]
        binary = pushes.pop(1)
        assert binary["data"] == data
        assert all(push == pushes[0] for push in pushes)
        in_json = {"data": "AP8=", "encoding": "base64"} if isinstance(data, bytes) else {}
        assert {**binary, **in_json} == pushes[0]


# --- leaving and coming back --------------------------------------------------------------------


@from_each_to_each
async def test_who_drops_and_returns_with_its_position_loses_and_repeats_nothing(
    gateway, before, after
):
    first = await come(gateway, before, {})
    await gateway.publish("a", 1, 2, 3)
    assert await read_data(first, 3) == [1, 2, 3]
    await gateway.publish("a", 4, 5)  # under way when the client goes, and never read
    await first.leave()
    await gateway.publish("a", 6)
    second = await come(gateway, after, first.position)
    await gateway.publish("a", 7)
    assert await read_data(second, 4) == [4, 5, 6, 7]
    await gateway.publish("a", "and on")
    assert await read_data(second, 1) == ["and on"]


@from_each_to_each
async def test_who_returns_before_it_has_read_anything_goes_on_from_where_it_began(
    gateway, before, after
):
    await gateway.publish("a", "earlier")
    first = await come(gateway, before, {})
    await first.leave()
    await gateway.publish("a", "meanwhile")
    second = await come(gateway, after, first.position)
    assert await read_data(second, 1) == ["meanwhile"]


async def test_who_changes_transports_all_the_time_under_load_misses_nothing(gateway):
    account, last = Account(), 300

    async def publish() -> None:
        for number in range(1, last + 1):
            await gateway.publish("a", number)

    follower = await come(gateway, "longpoll", {})
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish())
        for kind in itertools.cycle(FOLLOWERS):
            for _ in range(3):
                if account.offset < last:
                    for push in await follower.read():
                        account.add(push)
            await follower.leave()
            if account.offset == last:
                break
            follower = await come(gateway, kind, follower.position)
    assert account.seen == list(range(1, last + 1))


@from_each_to_each
async def test_a_restart_is_a_gap_of_reason_epoch_and_then_the_new_log(before, after):
    async with serving() as gateway:
        first = await come(gateway, before, {})
        await gateway.publish("a", 1, 2, 3)
        assert await read_data(first, 3) == [1, 2, 3]
        await first.leave()
    async with serving(gateway.node.port) as gateway:
        await gateway.publish("a", "new")
        second: Follower = FOLLOWERS[after]()
        pushes = await second.come(gateway, first.position)
        while len(pushes) < 2:
            pushes += await second.read()
        gap, message = pushes
        assert (gap["type"], gap["from"], gap["to"], gap["reason"]) == ("gap", 1, 0, "epoch")
        assert (message["offset"], message["data"]) == (1, "new")


async def test_one_cursor_over_several_channels_goes_from_transport_to_transport(gateway):
    channels = ["a", "b", "c"]
    stream = await gateway.event_stream(channel=channels)
    assert [push["type"] for push in await stream.read_many(3)] == ["subscribed"] * 3
    for channel in channels:
        await gateway.publish(channel, 1)
    assert len(await stream.read_many(2)) == 2  # one is still unread
    answer = await gateway.poll(channel=channels, cursor=stream.last_event_id)
    assert [push["data"] for push in answer["messages"]] == [1]
    for channel in channels:
        await gateway.publish(channel, 2)
    client = await gateway.websocket()
    for channel in channels:
        position = {"channel": channel, "cursor": answer["cursor"]}
        assert (await client.ask(type="subscribe", **position))["recovered"]
    pushes = await client.read_many(3)
    assert [(push["channel"], push["data"]) for push in pushes] == [(name, 2) for name in channels]


async def test_a_client_that_breaks_every_rule_disturbs_nobody(gateway):
    followers = [await come(gateway, kind, {}) for kind in FOLLOWERS]
    waiting = asyncio.gather(*(follower.read() for follower in followers))
    await gateway.wait_subscriptions(len(followers))
    rubbish = [b"\0" * 1000, b"GET /sse?channel=%zz HTTP/1.1\r\n\r\n", b"POST /publish\r\n\r\n"]
    for wire in rubbish:
        client: Socket = await gateway.open()
        client.send(wire)
        await client.read_end()
    raw = await gateway.raw_websocket()
    await raw.shake_hands(behind=b"\xff" * 1000)
    assert await raw.read_close_code() == 1002
    await gateway.publish("a", "still here")
    assert [push["data"] for (push,) in await waiting] == ["still here"] * len(followers)
