"""Event streams that are refused, that nobody reads, that vanish, and that a stop ends."""

import asyncio
import json
import socket
from contextlib import suppress

import pytest

from gateway.config import ChannelsConfig, HeartbeatConfig, HubConfig, LongpollConfig, SseConfig
from tests.gateway.clients import (
    LITTLE_BYTES,
    Account,
    EventStream,
    Gateway,
    WebSocketClient,
    bounded,
    publish_read_by,
    serving,
    stall,
)


@pytest.fixture
async def healthy(gateway: Gateway) -> WebSocketClient:
    """Return a subscriber of channel a that reads at once."""
    return await subscribe(gateway)


async def subscribe(gateway: Gateway) -> WebSocketClient:
    client = await gateway.websocket()
    await client.ask(type="subscribe", channel="a")
    return client


async def open_slowly(gateway: Gateway) -> EventStream:
    """Return a stream of channel a that takes little it does not read."""
    stream = await gateway.event_stream(channel="a", receive_bytes=LITTLE_BYTES)
    assert (await stream.read())["type"] == "subscribed"
    return stream


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "invalid_field"),
        ("channel=", "invalid_channel"),
        ("channel=a%00b", "invalid_channel"),
        ("channel=%ff", "malformed"),
        ("channel=a&channel=a", "already_subscribed"),
        ("channel=a&cursor=nonsense", "invalid_cursor"),
        ("channel=a&cursor=", "invalid_cursor"),
        ("channel=a&epoch=e", "invalid_field"),
        ("channel=a&epoch=e&offset=-1", "invalid_field"),
        ("chanel=a", "invalid_field"),
        ("channel=a&timeout=5", "invalid_field"),
        ("channel=a&channel=b&channel=c", "invalid_field"),
    ],
)
async def test_what_would_be_wrong_at_every_retry_is_a_400_in_json(query, code):
    async with serving(longpoll=LongpollConfig(max_channels=2)) as gateway:
        reply = await gateway.fetch("GET", f"/sse?{query}")
        assert reply.status == 400
        assert reply.headers["Content-Type"].startswith("application/json")
        assert (reply.json["type"], reply.json["code"]) == ("error", code)
        assert not reply.json["retry"]


async def test_a_mangled_last_event_id_is_a_400(gateway):
    reply = await gateway.fetch("GET", "/sse?channel=a", ["Last-Event-ID: nonsense"])
    assert (reply.status, reply.json["code"]) == (400, "invalid_cursor")


async def test_only_get_opens_a_stream(gateway):
    reply = await gateway.fetch("POST", "/sse?channel=a")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")


async def test_a_full_node_answers_200_and_when_to_come_back_and_closes():
    channels = ChannelsConfig(max_channels=1)
    async with serving(channels=channels, sse=SseConfig(retry_ms=1234)) as gateway:
        welcome = await gateway.event_stream(channel="a")
        for wanted in (["b"], ["a", "b"]):
            stream = await gateway.event_stream(channel=wanted)
            assert stream.status == 200
            assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert await stream.read_block() == ["retry: 1234"]
            event, data = await stream.read_event()
            assert (event, json.loads(data)["code"]) == ("error", "overloaded")
            await stream.read_end()
        await gateway.publish("a", 1)
        assert [push["type"] for push in await welcome.read_many(2)] == ["subscribed", "message"]
        await gateway.wait_presence("a", 1)


async def test_a_node_with_all_its_sessions_sends_a_stream_and_a_poll_away_to_come_back():
    async with serving(hub=HubConfig(max_sessions=1)) as gateway:
        kept = await gateway.event_stream(channel="a")
        stream = await gateway.event_stream(channel="a")
        assert stream.status == 200
        assert await stream.read_block() == ["retry: 5000"]
        error = await stream.read()
        assert (error["code"], error["retry"], error["retry_after_ms"]) == (
            "overloaded",
            True,
            5000,
        )
        await stream.read_end()
        reply = await gateway.get("/poll", channel="a")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        await gateway.publish("a", 1)
        assert [push["type"] for push in await kept.read_many(2)] == ["subscribed", "message"]
        kept.vanish()
        await gateway.wait_presence("a", 0)
        assert (await gateway.get("/poll", channel="a", timeout=0)).status == 200


# --- a reader that does not read ----------------------------------------------------------------


async def read_up_to(stream: EventStream, account: Account, last: int) -> None:
    while account.offset < last:
        account.add(await stream.read())


async def test_a_stalled_reader_gets_everything_in_order_once_it_reads(gateway, healthy):
    stream = await open_slowly(gateway)
    await stall(gateway, healthy)
    for _ in range(10):
        last = await publish_read_by(gateway, healthy)
    account = Account()
    await read_up_to(stream, account, last)
    assert account.seen == list(range(1, last + 1))
    last = await publish_read_by(gateway, healthy)
    await read_up_to(stream, account, last)
    assert account.missing == []


async def test_a_stalled_reader_that_falls_out_of_the_log_gets_the_exact_gap():
    channels = ChannelsConfig(history_count=10, lag_count=30)
    async with serving(channels=channels) as gateway:
        healthy = await subscribe(gateway)
        stream = await open_slowly(gateway)
        await stall(gateway, healthy)
        for _ in range(5):
            last = await publish_read_by(gateway, healthy)
        account = Account()
        while not account.missing:
            account.add(await stream.read())
        in_gap = stream.last_event_id
        await read_up_to(stream, account, last)
        assert account.seen[-30:] == list(range(last - 29, last + 1))
        assert account.missing == list(range(account.seen[-31] + 1, last - 29))
        again = await gateway.event_stream(channel="a", last_event_id=in_gap)
        assert (await again.read())["recovered"] is False  # the lag bounds are over, history is 10
        healthy_again = Account(last - 30)
        await read_up_to(again, healthy_again, last)
        assert healthy_again.missing == list(range(last - 29, last - 9))


async def test_a_reader_that_goes_while_it_lags_comes_back_to_where_it_was():
    channels = ChannelsConfig(history_count=100_000, history_bytes=100_000_000)
    async with serving(channels=channels) as gateway:
        stream = await open_slowly(gateway)
        last = await stall(gateway, await subscribe(gateway))
        account = Account()
        await read_up_to(stream, account, 5)
        stream.vanish()
        again = await gateway.event_stream(channel="a", last_event_id=stream.last_event_id)
        assert (await again.read())["offset"] == 5
        await read_up_to(again, account, last)
        assert account.seen == list(range(1, last + 1))


async def test_a_stream_of_which_nothing_is_read_is_dropped_and_comes_back_without_loss():
    # What the kernel still holds is lost with the connection, so the log has to have all of it.
    channels = ChannelsConfig(history_count=100_000, history_bytes=100_000_000)
    async with serving(heartbeat=HeartbeatConfig(interval_s=0.1), channels=channels) as gateway:
        stream = await gateway.event_stream(channel="a", receive_bytes=LITTLE_BYTES)
        epoch = (await stream.read())["epoch"]
        healthy = await subscribe(gateway)
        async with bounded():
            while len(gateway.node.hub.sessions) > 1:
                last = await publish_read_by(gateway, healthy)
        account = Account()
        with suppress(ConnectionError, asyncio.IncompleteReadError, json.JSONDecodeError):
            while push := await stream.read():
                account.add(push)
        assert account.offset < last
        again = await gateway.event_stream(channel="a", epoch=epoch, offset=account.offset)
        assert (await again.read())["recovered"]
        while account.offset < last:
            account.add(await again.read())
        assert account.seen == list(range(1, last + 1))


async def test_the_kernel_gives_a_vanished_reader_one_interval_to_acknowledge(gateway):
    await gateway.event_stream(channel="a")
    (connection,) = gateway.node._server.connections  # noqa: SLF001
    kernel = connection.get_extra_info("socket")
    assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000


# --- a reader that goes -------------------------------------------------------------------------


async def test_a_reader_that_vanishes_or_ends_its_half_is_forgotten(gateway, healthy):
    streams = [await gateway.event_stream(channel="a") for _ in range(3)]
    await gateway.wait_presence("a", 4)
    streams[0].vanish()
    streams[1].writer.write_eof()
    await gateway.wait_presence("a", 2)
    await streams[1].read_end()
    await gateway.publish("a", "still here")
    assert [push["type"] for push in await streams[2].read_many(2)] == ["subscribed", "message"]
    assert (await healthy.read())["data"] == "still here"


async def test_a_reader_that_vanishes_while_it_lags_is_forgotten(gateway, healthy):
    stream = await open_slowly(gateway)
    await stall(gateway, healthy)
    stream.vanish()
    await gateway.wait_presence("a", 1)
    await publish_read_by(gateway, healthy)


async def test_what_a_reader_sends_behind_its_request_is_dropped(gateway):
    stream = await gateway.event_stream(channel="a")
    stream.send("GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n" + "x" * 100_000)
    assert (await stream.read())["type"] == "subscribed"
    await gateway.publish("a", 1)
    assert (await stream.read())["data"] == 1


# --- the gateway goes ---------------------------------------------------------------------------


async def test_a_stop_delivers_what_is_published_says_when_to_come_back_and_closes(gateway):
    stream = await gateway.event_stream(channel="a")
    assert (await stream.read())["type"] == "subscribed"
    await gateway.publish("a", "the last")
    stopping = asyncio.create_task(gateway.stop())
    message, closing = await stream.read_many(2)
    assert message["data"] == "the last"
    assert (closing["code"], closing["reconnect"]) == (1012, True)
    assert stream.retry_ms == closing["retry_after_ms"]
    assert await stream.read_event() == ("", "")
    await stopping


async def test_a_stop_does_not_wait_for_a_reader_that_does_not_read(gateway, healthy):
    stream = await open_slowly(gateway)
    await stall(gateway, healthy)
    stopping = asyncio.create_task(gateway.stop())
    await stopping
    await stream.read_end()
