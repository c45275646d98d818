"""Event streams as they are on the wire, and what an EventSource does with them.

Slow, vanishing and unwelcome readers are in test_sse_ends.py.
"""

import json

import pytest

from gateway.config import ChannelsConfig, HeartbeatConfig, SseConfig
from tests.gateway.clients import EventStream, Gateway, serving


async def open_stream(gateway: Gateway, *channels: str, **parameters: object) -> EventStream:
    """Return an event stream whose `subscribed` events and first id have been read."""
    stream = await gateway.event_stream(channel=channels, **parameters)
    assert stream.status == 200
    for channel in channels:
        subscribed = await stream.read()
        assert (subscribed["type"], subscribed["channel"]) == ("subscribed", channel)
    return stream


async def read_data(stream: EventStream, count: int) -> list[object]:
    """Return the data of the next messages."""
    return [push["data"] for push in await stream.read_many(count)]


# --- the wire -----------------------------------------------------------------------------------


async def test_the_head_keeps_caches_and_proxies_from_holding_events_back(gateway):
    stream = await gateway.event_stream(channel="a")
    assert stream.status == 200
    assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["Cache-Control"] == "no-store"
    assert stream.headers["X-Accel-Buffering"] == "no"
    assert stream.headers["Connection"] == "close"
    assert not stream.headers.keys() & {"Content-Length", "Transfer-Encoding"}


async def test_a_stream_begins_with_retry_subscribed_and_its_id():
    async with serving(sse=SseConfig(retry_ms=1234)) as gateway:
        await gateway.publish("a", 1)
        stream = await gateway.event_stream(channel=["a", "b"])
        assert await stream.read_block() == ["retry: 1234"]
        for channel, offset in (("a", 1), ("b", 0)):
            event, data = await stream.read_block()
            assert event == "event: subscribed"
            subscribed = json.loads(data.removeprefix("data: "))
            assert (subscribed["channel"], subscribed["offset"]) == (channel, offset)
            assert not subscribed["recovered"]
        (line,) = await stream.read_block()
        assert line.startswith("id: ")


async def test_a_message_has_its_id_and_data_but_no_event_field(gateway):
    stream = await open_stream(gateway, "a")
    (first_id,) = await stream.read_block()
    await gateway.publish("a", [1])
    id_line, data_line = await stream.read_block()
    assert id_line.startswith("id: ")
    assert id_line != first_id
    assert data_line == 'data: {"type":"message","channel":"a","offset":1,"data":[1]}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n  "a": 1\n}', '{\n  "a": 1\n}'),
        ("[1,\r\n2,\r3,\n\n4]", "[1,\n2,\n3,\n\n4]"),  # line ends are the stream's, not JSON's
        (r'"one\ntwo\r\n"', r'"one\ntwo\r\n"'),
        ('"data: x\u2028\u2029é"', '"data: x\u2028\u2029é"'),
    ],
)
async def test_data_with_line_ends_is_whole(gateway, text, expected):
    stream = await open_stream(gateway, "a")
    body = f'{{"channel":"a","data":{text}}}'.encode()
    assert (await gateway.fetch("POST", "/publish", body=body)).status == 200
    event, data = await stream.read_event()
    assert event == "message"
    assert data == f'{{"type":"message","channel":"a","offset":1,"data":{expected}}}'
    assert json.loads(data)["data"] == json.loads(text)


async def test_binary_is_base64_key_and_tags_come_along(gateway):
    stream = await open_stream(gateway, "a")
    client = await gateway.websocket("gateway.v1.msgpack")
    extras = {"key": "k", "tags": {"colour": "red"}}
    await client.ask(type="publish", channel="a", data=b"\x00\xff", **extras)
    message = {"type": "message", "channel": "a", "offset": 1, "data": "AP8=", **extras}
    assert await stream.read() == {**message, "encoding": "base64"}


async def test_a_silent_stream_is_kept_alive_by_comments():
    async with serving(heartbeat=HeartbeatConfig(interval_s=0.2)) as gateway:
        stream = await open_stream(gateway, "a")
        (_id,) = await stream.read_block()
        assert [await stream.read_block() for _ in range(3)] == [[":"]] * 3
        await gateway.publish("a", "after comments")
        assert await read_data(stream, 1) == ["after comments"]


# --- coming back --------------------------------------------------------------------------------


async def test_every_id_is_the_place_to_go_on_from_in_all_channels(gateway):
    stream = await open_stream(gateway, "a", "b")
    for number in range(6):
        await gateway.publish("ab"[number % 2], number)
    ids = []
    for number in range(6):
        assert await read_data(stream, 1) == [number]
        ids.append(stream.last_event_id)
    assert len(set(ids)) == 6
    for number, last_event_id in enumerate(ids):
        again = await open_stream(gateway, "a", "b", last_event_id=last_event_id)
        rest = await read_data(again, 5 - number)
        assert sorted(rest) == list(range(number + 1, 6))
        assert again.last_event_id == ids[-1] or number == 5


async def test_the_id_of_the_beginning_is_a_place_to_go_on_from(gateway):
    stream = await open_stream(gateway, "a", "b")
    await gateway.publish("b", 1)
    assert await read_data(stream, 1) == [1]
    early = await open_stream(gateway, "a", "b")
    (line,) = await early.read_block()
    early.vanish()
    await gateway.publish("a", 2)
    await gateway.publish("b", 3)
    again = await gateway.event_stream(channel=["a", "b"], last_event_id=line.removeprefix("id: "))
    assert [(await again.read())["recovered"] for _ in range(2)] == [True, True]
    assert await read_data(again, 2) == [2, 3]


@pytest.mark.parametrize("last_event_id", [None, ""])
async def test_cursor_is_where_a_first_connection_begins(gateway, last_event_id):
    cursor = (await gateway.poll(channel="a", timeout=0))["cursor"]
    await gateway.publish("a", 1, 2)
    stream = await open_stream(gateway, "a", cursor=cursor, last_event_id=last_event_id)
    assert await read_data(stream, 2) == [1, 2]


async def test_last_event_id_wins_over_the_cursor_of_the_url(gateway):
    cursor = (await gateway.poll(channel="a", timeout=0))["cursor"]
    first = await open_stream(gateway, "a", cursor=cursor)
    await gateway.publish("a", 1, 2)
    assert await read_data(first, 1) == [1]
    again = await open_stream(gateway, "a", cursor=cursor, last_event_id=first.last_event_id)
    assert await read_data(again, 1) == [2]


async def test_epochs_and_offsets_belong_to_the_channels_in_their_order(gateway):
    places = {name: await gateway.publish(name, 1, 2, 3) for name in "ab"}
    stream = await open_stream(
        gateway,
        *("b", "a"),
        epoch=[places["b"][0]["epoch"], places["a"][0]["epoch"]],
        offset=[1, 2],
    )
    seen = [(push["channel"], push["data"]) for push in await stream.read_many(3)]
    assert sorted(seen) == [("a", 3), ("b", 2), ("b", 3)]


async def test_a_channel_that_the_cursor_does_not_know_begins_now(gateway):
    cursor = (await gateway.poll(channel="a", timeout=0))["cursor"]
    await gateway.publish("b", "before")
    await gateway.publish("a", 1)
    stream = await gateway.event_stream(channel=["a", "b"], cursor=cursor)
    assert [(await stream.read())["recovered"] for _ in range(2)] == [True, False]
    await gateway.publish("b", "after")
    assert sorted(map(str, await read_data(stream, 2))) == ["1", "after"]


@pytest.mark.parametrize(
    ("epoch", "offset", "first", "reason"), [(None, 1, 2, "expired"), ("another", 9, 1, "epoch")]
)
async def test_a_loss_is_an_event_of_the_stream_and_told_once(epoch, offset, first, reason):
    async with serving(channels=ChannelsConfig(history_count=2)) as gateway:
        (place, *_) = await gateway.publish("a", 1, 2, 3, 4, 5)
        position = {"epoch": epoch or place["epoch"], "offset": offset}
        stream = await gateway.event_stream(channel="a", **position)
        subscribed, gap, *messages = await stream.read_many(4)
        assert (subscribed["offset"], subscribed["recovered"]) == (first - 1, False)
        assert gap == {
            **{"type": "gap", "channel": "a", "epoch": place["epoch"]},
            **{"from": first, "to": 3, "reason": reason},
        }
        assert [push["offset"] for push in messages] == [4, 5]
        again = await gateway.event_stream(channel="a", last_event_id=stream.last_event_id)
        assert (await again.read())["recovered"]
        await gateway.publish("a", 6)
        assert await read_data(again, 1) == [6]


async def test_a_long_log_is_read_on_while_more_is_published(gateway):
    cursor = (await gateway.poll(channel=["a", "b"], timeout=0))["cursor"]
    await gateway.publish("a", *range(700))
    stream = await open_stream(gateway, "b", "a", cursor=cursor)
    await gateway.publish("b", *range(100))
    await gateway.publish("a", *range(700, 800))
    pushes = await stream.read_many(900)
    for channel, count in (("a", 800), ("b", 100)):
        data = [push["data"] for push in pushes if push["channel"] == channel]
        assert data == list(range(count))
