"""A node from start to stop, in this process: who is told, what is refused, and what is left.

Timeouts of the gateway are an hour here: whatever ended only by one of them would fail its test.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway.config import (
    ChannelsConfig,
    Config,
    HubConfig,
    LongpollConfig,
    ServerConfig,
    WebSocketConfig,
)
from gateway.node import DRAIN_COUNT, Node
from gateway.session import Positions, Session
from gateway.stream import PUBLICATION_BYTES
from protocol.cursor import decode_cursor
from protocol.messages import Push
from tests.gateway.clients import EventStream, Gateway, Socket, bounded, encode_request

HOUR_S = 3600
SERVER = ServerConfig(port=0, shutdown_timeout_s=HOUR_S)
PATIENT = {
    "server": SERVER,
    "websocket": WebSocketConfig(close_timeout_s=HOUR_S),
    "longpoll": LongpollConfig(timeout_s=HOUR_S, max_timeout_s=HOUR_S),
}


@asynccontextmanager
async def serving(**sections: Any) -> AsyncIterator[Gateway]:
    node = Node(Config(**(PATIENT | sections)))
    await node.start()
    gateway = Gateway(node)
    try:
        yield gateway
    finally:
        await gateway.close()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with serving() as running:
        yield running


async def begin_poll(gateway: Gateway, channel: str) -> Socket:
    """Return a connection whose poll is being handled."""
    before = await gateway.count_subscriptions()
    client = await gateway.open()
    client.send(encode_request("GET", f"/poll?channel={channel}", ["Connection: close"]))
    await gateway.wait_subscriptions(before + 1)
    return client


async def open_event_stream(gateway: Gateway, channel: str) -> EventStream:
    """Return an event stream that is subscribed."""
    stream = await gateway.event_stream(channel=channel)
    await stream.read()
    return stream


# --- what is left -------------------------------------------------------------------------------


class Leftovers:
    """What exists in this process and was not there at the beginning."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks = asyncio.all_tasks()
        self._files = os.listdir("/dev/fd")
        for name in ("call_later", "call_at"):
            setattr(loop, name, self._recording(getattr(loop, name)))

    def _recording(self, schedule: Callable[..., asyncio.TimerHandle]) -> Callable[..., Any]:
        def record(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
            self._timers.append(schedule(*arguments, **options))
            return self._timers[-1]

        return record

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks() - self._tasks - {asyncio.current_task()}

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        now = self._loop.time()
        return [each for each in self._timers if not each.cancelled() and each.when() > now]

    @property
    def file_count(self) -> int:
        return len(os.listdir("/dev/fd")) - len(self._files)

    @property
    def everything(self) -> tuple[set[Any], list[Any], int]:
        return self.tasks, self.timers, self.file_count


NOTHING: tuple[set[Any], list[Any], int] = (set(), [], 0)


@pytest.fixture
async def leftovers() -> Leftovers:
    """Return the count, begun when the event loop has what it makes for its first server."""
    async with serving() as gateway:
        await gateway.get("/healthz")
    return Leftovers()


async def test_a_node_that_nobody_came_to_leaves_nothing_behind(leftovers: Leftovers) -> None:
    node = Node(Config(**PATIENT))
    await node.start()
    assert leftovers.tasks
    await node.stop()
    assert leftovers.everything == NOTHING


async def test_a_node_whose_clients_are_there_to_the_end_leaves_nothing_behind(leftovers) -> None:
    async with serving() as gateway:
        clients = [await gateway.websocket() for _ in range(3)]
        for client in clients:
            await client.ask(type="subscribe", channel="a")
        await open_event_stream(gateway, "b")
        await begin_poll(gateway, "c")
        await gateway.open()
        await gateway.publish("a", 1)
        await gateway.stop()
        assert leftovers.tasks == set()
        for client in clients:
            await client.connection.wait_closed()
    assert leftovers.everything == NOTHING


async def test_a_node_whose_clients_vanished_leaves_nothing_behind(leftovers: Leftovers) -> None:
    async with serving() as gateway:
        websocket = await gateway.raw_websocket()
        await websocket.shake_hands()
        await websocket.read()
        websocket.send_frame('{"type": "subscribe", "id": 1, "channel": "a"}')
        await websocket.read()
        stream = await open_event_stream(gateway, "b")
        poll = await begin_poll(gateway, "c")
        for client in (websocket, stream, poll):
            client.vanish()
        await gateway.wait_subscriptions(0)
        assert gateway.node.hub.sessions == set()
        await gateway.stop()
    assert leftovers.everything == NOTHING


async def test_an_address_in_use_is_an_error_and_leaves_nothing_behind(leftovers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = Node(Config(server=ServerConfig(port=taken.getsockname()[1])))
        with pytest.raises(OSError, match="in use"):
            await node.start()
    assert leftovers.everything == NOTHING


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "x" * 300])
async def test_an_address_that_is_not_ours_is_an_error_and_leaves_nothing_behind(
    leftovers, host
) -> None:
    node = Node(Config(server=ServerConfig(host=host, port=0)))
    with pytest.raises(OSError, match=r"address|name"):
        await node.start()
    assert leftovers.everything == NOTHING


async def test_a_stopped_node_leaves_its_port_to_the_next(gateway: Gateway) -> None:
    await gateway.stop()
    async with serving(server=ServerConfig(port=gateway.node.port)) as successor:
        assert (await successor.get("/readyz")).status == 200


# --- who is told --------------------------------------------------------------------------------


@pytest.mark.parametrize("subprotocol", ["gateway.v1.json", "gateway.v1.msgpack"])
async def test_a_websocket_is_told_to_come_back_and_closed_with_1012(gateway, subprotocol) -> None:
    client = await gateway.websocket(subprotocol)
    await gateway.stop()
    closing = await client.read()
    assert 500 <= closing.pop("retry_after_ms") <= 5000
    assert closing == {
        "type": "closing",
        "code": 1012,
        "reason": "the node is shutting down",
        "reconnect": True,
    }
    await client.connection.wait_closed()
    assert client.connection.close_code == 1012


async def test_an_event_stream_is_told_when_to_come_back_and_ends(gateway: Gateway) -> None:
    stream = await open_event_stream(gateway, "a")
    await gateway.stop()
    closing = await stream.read()
    assert (closing["type"], closing["code"], closing["reconnect"]) == ("closing", 1012, True)
    assert stream.retry_ms == closing["retry_after_ms"]
    assert await stream.read_event() == ("", "")


async def test_a_waiting_poll_is_answered_with_a_cursor_to_go_on_from(gateway: Gateway) -> None:
    (place,) = await gateway.publish("a", 1)
    poll = await begin_poll(gateway, "a")
    await gateway.stop()
    reply = await poll.read_reply()
    assert reply.status == 200
    assert (reply.json["messages"], reply.json["gaps"]) == ([], [])
    assert decode_cursor(reply.json["cursor"])["a"] == (place["epoch"], 1)


async def test_clients_are_told_to_come_back_at_different_times(gateway: Gateway) -> None:
    streams = [await open_event_stream(gateway, "a") for _ in range(10)]
    await gateway.stop()
    assert len({(await each.read())["retry_after_ms"] for each in streams}) > 1


async def test_a_request_in_hand_is_finished(gateway: Gateway) -> None:
    client = await gateway.open()
    body = b'{"channel": "a", "data": 1}'
    head = encode_request("POST", "/publish", ["Expect: 100-continue"], body)
    client.send(head.removesuffix(body))
    assert (await client.read_head())[0] == 100
    stopping = asyncio.create_task(gateway.stop())
    async with bounded():
        with suppress(ConnectionError):  # as soon as the node has begun to stop
            while True:
                (await gateway.open()).vanish()
    client.send(body)
    reply = await client.read_reply()
    assert (reply.status, reply.json["offset"]) == (200, 1)
    await stopping


async def test_nobody_loses_a_message_that_was_on_its_way_when_the_node_stopped() -> None:
    async with serving(hub=HubConfig(turn_deliveries=1)) as gateway:
        streams = [await open_event_stream(gateway, "a") for _ in range(100)]
        await gateway.publish("a", 1)
        await gateway.stop()
        for stream in streams:
            seen = 0
            while (push := await stream.read())["type"] == "message":
                seen = push["offset"]
            assert push["type"] == "closing"
            assert decode_cursor(stream.last_event_id)["a"].offset == seen


# --- what is refused ----------------------------------------------------------------------------


class CrowdMember:
    """One of many clients: to tell them all to leave takes a node many turns."""

    encode_push = None

    def write(self, data: bytes) -> None:
        """Take it."""

    def push(self, push: Push, positions: Positions) -> None:
        """Take it."""

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Leave."""


async def ask_while_draining(gateway: Gateway, request: bytes) -> Socket:
    """Return a connection, kept from before, on which request came while the node drained."""
    client = await gateway.open()
    client.send(encode_request("GET", "/readyz"))
    status, headers = await client.read_head()
    await client.reader.readexactly(int(headers["Content-Length"]))
    assert status == 200
    for _ in range(20 * DRAIN_COUNT):
        gateway.node.hub.attach(Session(CrowdMember(), lambda *_: b""))
    client.send(request)
    await gateway.stop()
    return client


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/readyz", 503),
        ("HEAD", "/readyz", 503),
        ("GET", "/", 503),
        ("GET", "/ws", 503),
        ("GET", "/poll?channel=a", 503),
        ("POST", "/publish", 503),
        ("GET", "/channels/a/history", 503),
        ("GET", "/nonsense", 503),
    ],
)
async def test_a_draining_node_is_alive_but_not_ready_and_takes_no_work(
    gateway, method, path, status
) -> None:
    request = encode_request(method, path, body=b'{"channel": "a", "data": 1}')
    reply = await (await ask_while_draining(gateway, request)).read_reply()
    assert reply.status == status
    if status == 503:
        assert reply.headers["Retry-After"]
        error = {} if method == "HEAD" else reply.json
        assert error.get("code", "shutting_down") == "shutting_down"
        assert error.get("retry", True) is True


async def test_an_event_source_that_comes_while_draining_is_asked_to_come_back(gateway) -> None:
    client = await ask_while_draining(gateway, encode_request("GET", "/sse?channel=a"))
    stream = EventStream(client.reader, client.writer)
    status, headers = await stream.read_head()
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/event-stream")
    push = await stream.read()
    assert (push["type"], push["code"], push["retry"]) == ("error", "shutting_down", True)
    assert stream.retry_ms == gateway.node.config.sse.retry_ms
    assert await stream.read_event() == ("", "")


# --- what it tells of itself --------------------------------------------------------------------


async def read_metrics(gateway: Gateway) -> dict[str, float]:
    reply = await gateway.get("/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in reply.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.split(" ") for line in lines)}


async def test_metrics_count_what_happened() -> None:
    async with serving(channels=ChannelsConfig(history_count=1)) as gateway:
        assert await read_metrics(gateway) == {
            "gateway_connections": 1,  # the one that asks
            "gateway_sessions": 0,
            "gateway_subscriptions": 0,
            "gateway_channels": 0,
            "gateway_log_bytes": 0,
            "gateway_publications_total": 0,
            "gateway_deliveries_total": 0,
            "gateway_gaps_total": 0,
        }
        client = await gateway.websocket()
        await client.ask(type="subscribe", channel="a")
        stream = await gateway.event_stream(channel=["a", "b"])
        await stream.read_many(2)
        poll = await begin_poll(gateway, "c")
        await gateway.publish("a", 1, 2, 3)
        await stream.read_many(3)
        late = await gateway.websocket()
        reply = await late.ask(type="subscribe", channel="a", epoch="lost", offset=9)
        assert reply["type"] == "subscribed"
        assert (await late.read_many(2))[0]["type"] == "gap"
        assert await read_metrics(gateway) == {
            "gateway_connections": 5,
            "gateway_sessions": 4,
            "gateway_subscriptions": 5,
            "gateway_channels": 3,
            "gateway_log_bytes": 1 + PUBLICATION_BYTES,
            "gateway_publications_total": 3,
            "gateway_deliveries_total": 3 + 3 + 1,
            "gateway_gaps_total": 1,
        }
        for each in (stream, poll):
            each.vanish()
        await gateway.wait_subscriptions(2)
        after = await read_metrics(gateway)
    assert (after["gateway_sessions"], after["gateway_subscriptions"]) == (2, 2)
    assert (after["gateway_connections"], after["gateway_publications_total"]) == (3, 3)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_the_url_is_where_the_node_answers(host: str, shown: str) -> None:
    try:
        socket.create_server((host, 0), family=socket.getaddrinfo(host, 0)[0][0]).close()
    except OSError:
        pytest.skip(f"there is no {host} here")
    async with serving(server=ServerConfig(host=host, port=0)) as gateway:
        port = gateway.node.port
        assert gateway.node.url == f"http://{shown}:{port}"
        async with bounded():
            client = Socket(*await asyncio.open_connection(host, port))
        client.send(encode_request("GET", "/readyz", ["Connection: close"]))
        assert (await client.read_reply()).body == b"ok\n"
        client.writer.close()
