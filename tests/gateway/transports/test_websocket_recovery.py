"""Where a WebSocket subscription begins, and a client that reads too slowly: nothing is lost
silently.
"""

import json

import pytest

from gateway.config import ChannelsConfig
from tests.gateway.clients import (
    LITTLE_BYTES,
    PADDING,
    Account,
    Gateway,
    RawWebSocket,
    publish_read_by,
    serving,
    stall,
)

CODECS = ["gateway.v1.json", "gateway.v1.msgpack"]

in_each_codec = pytest.mark.parametrize("codec", CODECS)


def without(push: dict, *names: str) -> dict:
    """Return push without some fields that it must have."""
    assert push.keys() >= set(names)
    return {name: value for name, value in push.items() if name not in names}


# --- positions ----------------------------------------------------------------------------------


@in_each_codec
async def test_from_a_cursor_everything_later_comes_and_then_what_is_new(gateway, codec):
    first = await gateway.websocket(codec)
    cursor = (await first.ask(type="subscribe", channel="a"))["cursor"]
    await first.connection.close()
    await gateway.publish("a", 1, 2, 3)
    client = await gateway.websocket(codec)
    subscribed = await client.ask(type="subscribe", channel="a", cursor=cursor)
    assert (subscribed["offset"], subscribed["recovered"]) == (0, True)
    await gateway.publish("a", 4)
    assert [push["data"] for push in await client.read_many(4)] == [1, 2, 3, 4]


@in_each_codec
async def test_from_an_epoch_and_offset_what_is_later_comes(gateway, codec):
    (place, *_) = await gateway.publish("a", 1, 2, 3)
    client = await gateway.websocket(codec)
    position = {"epoch": place["epoch"], "offset": 2}
    subscribed = await client.ask(type="subscribe", channel="a", **position)
    assert (subscribed["offset"], subscribed["recovered"]) == (2, True)
    assert (await client.read())["data"] == 3


@in_each_codec
@pytest.mark.parametrize(("count", "expected"), [(1, [5]), (3, [3, 4, 5]), (99, [1, 2, 3, 4, 5])])
async def test_the_last_n_come_first_and_count_for_no_recovery(gateway, codec, count, expected):
    await gateway.publish("a", 1, 2, 3, 4, 5)
    client = await gateway.websocket(codec)
    subscribed = await client.ask(type="subscribe", channel="a", history=count)
    assert (subscribed["offset"], subscribed["recovered"]) == (expected[0] - 1, False)
    await gateway.publish("a", 6)
    pushes = await client.read_many(len(expected) + 1)
    assert [push["data"] for push in pushes] == [*expected, 6]


@in_each_codec
async def test_what_the_log_no_longer_has_is_a_gap_of_reason_expired(codec):
    async with serving(channels=ChannelsConfig(history_count=2)) as gateway:
        (place, *_) = await gateway.publish("a", 1, 2, 3, 4, 5)
        client = await gateway.websocket(codec)
        position = {"epoch": place["epoch"], "offset": 1}
        subscribed = await client.ask(type="subscribe", channel="a", **position)
        assert (subscribed["offset"], subscribed["recovered"]) == (1, False)
        gap, *messages = await client.read_many(3)
        assert gap == {
            **{"type": "gap", "channel": "a", "epoch": place["epoch"]},
            **{"from": 2, "to": 3, "reason": "expired"},
        }
        assert [push["offset"] for push in messages] == [4, 5]


@in_each_codec
@pytest.mark.parametrize(("epoch", "offset"), [("another", 1), (None, 6)])
async def test_a_position_of_another_log_is_a_gap_of_reason_epoch(codec, epoch, offset):
    async with serving(channels=ChannelsConfig(history_count=2)) as gateway:
        (place, *_) = await gateway.publish("a", 1, 2, 3, 4, 5)
        client = await gateway.websocket(codec)
        position = {"epoch": epoch or place["epoch"], "offset": offset}
        subscribed = await client.ask(type="subscribe", channel="a", **position)
        assert without(subscribed, "cursor", "id", "overflow", "retention") == {
            **{"type": "subscribed", "channel": "a", "epoch": place["epoch"]},
            **{"offset": 0, "recovered": False},
        }
        gap, *messages = await client.read_many(3)
        assert without(gap, "epoch", "channel") == {
            **{"type": "gap", "from": 1, "to": 3, "reason": "epoch"}
        }
        assert [push["offset"] for push in messages] == [4, 5]


async def test_another_log_that_still_has_everything_is_an_empty_gap_of_reason_epoch(gateway):
    await gateway.publish("a", 1)
    client = await gateway.websocket()
    subscribed = await client.ask(type="subscribe", channel="a", epoch="another", offset=9)
    gap, message = await client.read_many(2)
    assert (subscribed["offset"], gap["from"], gap["to"], gap["reason"]) == (0, 1, 0, "epoch")
    assert message["offset"] == 1


async def test_a_page_of_history_from_a_lost_position_has_the_gap(gateway):
    async with serving(channels=ChannelsConfig(history_count=2)) as other:
        client = await other.websocket()
        cursor = (await client.ask(type="subscribe", channel="a"))["cursor"]
        await other.publish("a", 1, 2, 3)
        page = await client.ask(type="history", channel="a", cursor=cursor)
        assert without(page["gap"], "epoch") == {
            **{"type": "gap", "channel": "a", "from": 1, "to": 1, "reason": "expired"}
        }
        assert [each["offset"] for each in page["publications"]] == [2, 3]


@in_each_codec
async def test_a_long_log_is_read_on_while_more_is_published(gateway, codec):
    (place, *_) = await gateway.publish("a", *[PADDING] * 500)
    client = await gateway.websocket(codec)
    await client.ask(type="subscribe", channel="a", epoch=place["epoch"], offset=0)
    account = Account()
    for _ in range(50):
        await gateway.publish("a", PADDING)
        for push in await client.read_many(11):
            account.add(push)
    assert account.seen == list(range(1, 551))


# --- a client that does not read ----------------------------------------------------------------


async def subscribe_slowly(gateway: Gateway) -> RawWebSocket:
    """Return a client of channel a that takes little it does not read."""
    client = await gateway.raw_websocket(receive_bytes=LITTLE_BYTES)
    await client.shake_hands()
    client.send_frame('{"type":"subscribe","channel":"a","id":1}')
    assert [(await client.read())["type"] for _ in range(2)] == ["welcome", "subscribed"]
    return client


async def read_up_to(client: RawWebSocket, account: Account, last: int) -> None:
    while account.offset < last:
        account.add(await client.read())


@in_each_codec
async def test_a_stalled_client_gets_everything_in_order_once_it_reads(gateway, codec):
    healthy = await gateway.websocket(codec)
    await healthy.ask(type="subscribe", channel="a")
    client = await subscribe_slowly(gateway)
    await stall(gateway, healthy)
    for _ in range(10):
        last = await publish_read_by(gateway, healthy)
    account = Account()
    await read_up_to(client, account, last)
    assert account.seen == list(range(1, last + 1))
    last = await publish_read_by(gateway, healthy)
    await read_up_to(client, account, last)
    assert account.missing == []


@in_each_codec
async def test_a_stalled_client_that_falls_out_of_the_log_gets_the_exact_gap(codec):
    channels = ChannelsConfig(history_count=10, lag_count=30)
    async with serving(channels=channels) as gateway:
        healthy = await gateway.websocket(codec)
        await healthy.ask(type="subscribe", channel="a")
        client = await subscribe_slowly(gateway)
        await stall(gateway, healthy)
        for _ in range(5):
            last = await publish_read_by(gateway, healthy)
        account = Account()
        await read_up_to(client, account, last)
        kept = list(range(last - 29, last + 1))
        assert account.seen[-30:] == kept
        assert account.missing == list(range(account.seen[-31] + 1, kept[0]))
        assert len(account.missing) >= 50
        last = await publish_read_by(gateway, healthy)
        await read_up_to(client, account, last)
        assert account.offset == last


async def test_a_client_that_stalls_again_and_again_misses_nothing(gateway):
    healthy = await gateway.websocket()
    await healthy.ask(type="subscribe", channel="a")
    client = await subscribe_slowly(gateway)
    account = Account()
    for _ in range(3):
        last = await stall(gateway, healthy)
        await read_up_to(client, account, last - 20)
    await read_up_to(client, account, last)
    assert account.seen == list(range(1, last + 1))


async def test_the_commands_of_a_client_that_does_not_read_are_obeyed(gateway):
    healthy = await gateway.websocket()
    await healthy.ask(type="subscribe", channel="a")
    client = await subscribe_slowly(gateway)
    await stall(gateway, healthy)
    command = {"type": "publish", "channel": "a", "data": "said", "id": 2}
    client.send_frame(json.dumps(command))
    message = await healthy.read()
    assert message["data"] == "said"
    pushes = [await client.read()]
    while pushes[-1]["type"] != "published":
        pushes.append(await client.read())
    assert (pushes[-1]["id"], pushes[-1]["offset"]) == (2, message["offset"])
    assert pushes[-2]["offset"] < message["offset"]  # a reply does not wait for the backlog


async def test_a_client_that_unsubscribes_while_it_lags_gets_nothing_more(gateway):
    healthy = await gateway.websocket()
    await healthy.ask(type="subscribe", channel="a")
    client = await subscribe_slowly(gateway)
    await stall(gateway, healthy)
    last = await publish_read_by(gateway, healthy)
    client.send_frame('{"type":"unsubscribe","channel":"a","id":2}')
    client.send_frame('{"type":"ping","id":3}')
    pushes = [await client.read()]
    while pushes[-1]["type"] != "unsubscribed":
        pushes.append(await client.read())
    assert pushes[-2]["offset"] < last
    assert await client.read() == {"type": "pong", "id": 3}


async def test_a_client_that_vanishes_while_it_lags_is_forgotten(gateway):
    healthy = await gateway.websocket()
    await healthy.ask(type="subscribe", channel="a")
    client = await subscribe_slowly(gateway)
    await stall(gateway, healthy)
    await gateway.wait_presence("a", 2)
    client.vanish()
    await gateway.wait_presence("a", 1)
    await publish_read_by(gateway, healthy)


async def test_a_client_that_asks_without_reading_gets_every_reply_once_it_reads(gateway):
    await gateway.publish("a", *[PADDING] * 10)
    client = await gateway.raw_websocket(receive_bytes=LITTLE_BYTES)
    await client.shake_hands()
    numbers = range(1, 1001)
    for number in numbers:
        client.send_frame(f'{{"type":"history","channel":"a","id":{number}}}')
    assert (await client.read())["type"] == "welcome"
    assert [(await client.read())["id"] for _ in numbers] == list(numbers)
