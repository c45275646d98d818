"""What a WebSocket subscription may ask for if its position leaves the log, and what it is told."""

import pytest

from gateway.config import ChannelsConfig, PrefixConfig
from tests.gateway.clients import LITTLE_BYTES, PADDING, Account, Gateway, serving, stall

CODECS = ["gateway.v1.json", "gateway.v1.msgpack"]

in_each_codec = pytest.mark.parametrize("codec", CODECS)
LITTLE_LOG = ChannelsConfig(history_count=10, lag_count=30)


@in_each_codec
async def test_the_policy_that_applies_is_told(codec):
    prefix = PrefixConfig(prefix="latest-", overflow="latest")
    async with serving(channels=ChannelsConfig(prefixes=(prefix,))) as gateway:
        client = await gateway.websocket(codec)
        for channel, wish, overflow in [
            ("a", {}, "gap"),
            ("b", {"overflow": "disconnect"}, "disconnect"),
            ("latest-a", {}, "latest"),
            ("latest-b", {"overflow": "gap"}, "gap"),
        ]:
            subscribed = await client.ask(type="subscribe", channel=channel, **wish)
            assert (subscribed["type"], subscribed["overflow"]) == ("subscribed", overflow)


@in_each_codec
async def test_a_policy_that_the_channel_does_not_allow_is_refused_and_nothing_is_subscribed(codec):
    channels = ChannelsConfig(allowed_overflows=("gap", "latest"))
    async with serving(channels=channels) as gateway:
        client = await gateway.websocket(codec)
        error = await client.ask(type="subscribe", channel="a", overflow="disconnect")
        assert (error["type"], error["code"]) == ("error", "invalid_field")
        assert "allowed: gap, latest" in error["message"]
        await gateway.wait_presence("a", 0)
        subscribed = await client.ask(type="subscribe", channel="a", overflow="latest")
        assert subscribed["overflow"] == "latest"


async def test_a_policy_that_there_is_not_is_refused(gateway):
    client = await gateway.websocket()
    error = await client.ask(type="subscribe", channel="a", overflow="drop")
    assert (error["code"], error["retry"]) == ("invalid_field", False)
    assert "drop" in error["message"]


async def stall_one(gateway: Gateway, overflow: str):
    """Return a client that does not read, the offset it is owed up to, and who publishes."""
    healthy = await gateway.websocket()
    await healthy.ask(type="subscribe", channel="a")
    client = await gateway.raw_websocket(receive_bytes=LITTLE_BYTES)
    await client.shake_hands()
    client.send_frame(f'{{"type":"subscribe","id":1,"channel":"a","overflow":"{overflow}"}}')
    assert [(await client.read())["type"] for _ in range(2)] == ["welcome", "subscribed"]
    await stall(gateway, healthy)
    for value in ("old", "new"):
        for key in ("x", "y", "z"):
            await gateway.fetch("POST", "/publish", body=keyed(key, value))
    for number in range(25):
        await gateway.fetch("POST", "/publish", body=keyed("w", number))
    await healthy.read_many(31)
    return client


def keyed(key: str, value: object) -> bytes:
    return f'{{"channel":"a","key":"{key}","data":["{value}","{PADDING}"]}}'.encode()


async def test_a_stalled_client_with_latest_gets_the_newest_of_each_key_and_the_gaps_between():
    async with serving(channels=LITTLE_LOG) as gateway:
        client = await stall_one(gateway, "latest")
        account = Account()
        pushes = [await client.read()]
        while pushes[-1].get("key") != "w":
            pushes.append(await client.read())
        for push in pushes:
            account.add(push)
        kept = [push for push in pushes if push["type"] == "message" and push.get("key")]
        assert [(push["key"], push["data"][0]) for push in kept] == [
            *[("x", "new"), ("y", "new"), ("z", "new"), ("w", "24")]
        ]
        gaps = [push for push in pushes if push["type"] == "gap"]
        assert [gap["reason"] for gap in gaps] == ["slow"] * 2
        assert gaps[1]["to"] - gaps[1]["from"] + 1 == 24


async def test_a_stalled_client_with_disconnect_is_told_to_come_back_and_gets_its_gap_then():
    async with serving(channels=LITTLE_LOG) as gateway:
        client = await stall_one(gateway, "disconnect")
        account = Account()
        while (push := await client.read())["type"] == "message":
            account.add(push)
        assert (push["type"], push["code"], push["reconnect"]) == ("closing", 3001, True)
        assert await client.read_close_code() == 3001
        again = await gateway.websocket()
        epoch = (await gateway.poll(channel="a", timeout=0))["positions"]["a"]["epoch"]
        position = {"epoch": epoch, "offset": account.offset, "overflow": "disconnect"}
        await again.ask(type="subscribe", channel="a", **position)
        gap = await again.read()
        account.add(gap)
        assert gap["reason"] == "expired"
        account.add(await again.read())
