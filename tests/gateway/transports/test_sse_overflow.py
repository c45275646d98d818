"""The overflow policy of an event stream, which holds for all of its channels."""

import json

import pytest

from gateway.config import ChannelsConfig
from protocol.cursor import Position, decode_cursor, encode_cursor
from tests.gateway.clients import (
    LITTLE_BYTES,
    Account,
    EventStream,
    Gateway,
    publish_read_by,
    serving,
    stall,
)

LITTLE_LOG = ChannelsConfig(history_count=10, lag_count=30)


async def publish_keys(gateway: Gateway, channel: str, keys: str) -> str:
    """Publish one publication for each key; return the epoch of channel."""
    batch = [{"channel": channel, "key": key, "data": 0} for key in keys]
    reply = await gateway.fetch("POST", "/publish", body=json.dumps(batch).encode())
    epoch: str = reply.json[0]["epoch"]
    return epoch


async def read_account(stream: EventStream, count: int, after: int) -> Account:
    """Return what the next pushes of channel a say; the id of each is the position after it."""
    account = Account(after)
    for _ in range(count):
        account.add(await stream.read())
        assert decode_cursor(stream.last_event_id)["a"].offset == account.offset
    return account


async def test_latest_holds_for_every_channel_of_a_stream_that_comes_back_late():
    async with serving(channels=ChannelsConfig(history_count=4)) as gateway:
        epochs = [await publish_keys(gateway, channel, "xxxxabaa") for channel in "ab"]
        cursor = encode_cursor(
            {name: Position(epoch, 1) for name, epoch in zip("ab", epochs, strict=True)}
        )
        stream = await gateway.event_stream(
            channel=["a", "b"], overflow="latest", last_event_id=cursor
        )
        pushes = await stream.read_many(2)
        assert [push["overflow"] for push in pushes] == ["latest", "latest"]
        for channel in "ab":
            pushes = await stream.read_many(4)
            assert {push["channel"] for push in pushes} == {channel}
            places = [push.get("offset") or (push["from"], push["to"]) for push in pushes]
            assert places == [(2, 5), 6, (7, 7), 8]
            assert {push["reason"] for push in pushes if "reason" in push} == {"expired"}
        assert decode_cursor(stream.last_event_id)["b"].offset == 8


@pytest.mark.parametrize("overflow", ["gap", "latest"])
async def test_a_stalled_stream_has_an_id_that_is_right_after_each_gap(overflow):
    async with serving(channels=LITTLE_LOG) as gateway:
        healthy = await gateway.websocket()
        await healthy.ask(type="subscribe", channel="a")
        stream = await gateway.event_stream(
            channel="a", overflow=overflow, receive_bytes=LITTLE_BYTES
        )
        await stream.read()
        last = await stall(gateway, healthy)
        for _ in range(3):
            last = await publish_read_by(gateway, healthy)
        account = Account()
        while account.offset < last:
            account.add(await stream.read())
            assert decode_cursor(stream.last_event_id)["a"].offset == account.offset
        kept = list(range(last - 29, last + 1)) if overflow == "gap" else [last]
        assert account.seen[-len(kept) :] == kept
        assert account.missing == list(range(account.seen[-len(kept) - 1] + 1, kept[0]))


async def test_a_stalled_stream_with_disconnect_ends_and_comes_back_with_its_last_id():
    async with serving(channels=LITTLE_LOG) as gateway:
        healthy = await gateway.websocket()
        await healthy.ask(type="subscribe", channel="a")
        parameters = {"channel": "a", "overflow": "disconnect"}
        stream = await gateway.event_stream(receive_bytes=LITTLE_BYTES, **parameters)
        await stream.read()
        await stall(gateway, healthy)
        for _ in range(3):
            last = await publish_read_by(gateway, healthy)
        account = Account()
        while (push := await stream.read())["type"] == "message":
            account.add(push)
        assert (push["type"], push["code"], push["reconnect"]) == ("closing", 3001, True)
        await stream.read_end()
        again = await gateway.event_stream(last_event_id=stream.last_event_id, **parameters)
        await again.read()
        account.add(await again.read())
        assert len(account.missing) == last - 10 - account.seen[-1]


@pytest.mark.parametrize(
    ("overflow", "words"), [("drop", "disconnect"), ("latest", "allowed: gap")]
)
async def test_a_policy_that_cannot_be_had_is_refused_for_good(overflow, words):
    channels = ChannelsConfig(allowed_overflows=("gap",))
    async with serving(channels=channels) as gateway:
        reply = await gateway.get("/sse", channel="a", overflow=overflow)
        assert (reply.status, reply.json["code"]) == (400, "invalid_field")
        assert words in reply.json["message"]
