"""A gateway process and SIGINT or SIGTERM: clients are told, the exit status is 0, stderr is empty.

Where nothing else is said its timeouts are an hour: it ends because everybody left.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.gateway.clients import (
    EventStream,
    Gateway,
    RawWebSocket,
    Socket,
    WebSocketClient,
    bounded,
    encode_request,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM)
every_signal = pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
every_loop = pytest.mark.parametrize("loop", ["--uvloop", "--no-uvloop"])
PATIENT = {
    "GATEWAY_SERVER__SHUTDOWN_TIMEOUT_S": "3600",
    "GATEWAY_WEBSOCKET__CLOSE_TIMEOUT_S": "3600",
    "PYTHONWARNINGS": "default",  # what is not closed is told on stderr
}
HASTY = PATIENT | {
    "GATEWAY_SERVER__SHUTDOWN_TIMEOUT_S": "0.2",
    "GATEWAY_WEBSOCKET__CLOSE_TIMEOUT_S": "0.2",
}
# 20 MB, more than the buffers of a loopback connection hold.
FLOOD = [["x" * 30_000] * 30] * 22


class Process:
    """A gateway that runs in another process, where clients expect a node."""

    def __init__(self, commands: Any, loop: str, environment: dict[str, str]) -> None:
        self._started, url = commands.serve(loop, **environment)
        self.port = int(url.rpartition(":")[2])

    def signal(self, number: int) -> None:
        self._started.process.send_signal(number)

    async def wait_end(self) -> tuple[int, str]:
        """Return the exit status, and what stood on stderr besides what is told at INFO."""
        status, _, errors = await asyncio.to_thread(self._started.finish)
        lines = errors.splitlines(keepends=True)
        return status, "".join(line for line in lines if " INFO " not in line)

    async def stop(self) -> None:
        """Leave that to the fixture."""


@pytest.fixture
def serving(commands: Any) -> Callable[..., Any]:
    """Start a process and have clients of it: `async with serving(loop) as (process, clients)`."""

    @asynccontextmanager
    async def serve(
        loop: str = "--uvloop", **environment: str
    ) -> AsyncIterator[tuple[Process, Gateway]]:
        process = Process(commands, loop, PATIENT | environment)
        clients = Gateway(process)
        try:
            yield process, clients
        finally:
            await clients.close()

    return serve


async def subscribe(clients: Gateway, *subprotocols: str) -> WebSocketClient:
    client = await clients.websocket(*subprotocols)
    await client.ask(type="subscribe", channel="a")
    return client


async def open_event_stream(clients: Gateway, **options: Any) -> EventStream:
    stream = await clients.event_stream(channel="a", **options)
    await stream.read()
    return stream


async def begin_poll(clients: Gateway) -> Socket:
    client = await clients.open()
    client.send(encode_request("GET", "/poll?channel=polled", ["Connection: close"]))
    return client


async def open_raw_websocket(clients: Gateway, **options: Any) -> RawWebSocket:
    """Return a subscribed client that will not answer a close frame."""
    client = await clients.raw_websocket(**options)
    await client.shake_hands()
    await client.read()
    client.send_frame('{"type": "subscribe", "id": 1, "channel": "a"}')
    await client.read()
    return client


async def is_told(client: Socket | WebSocketClient) -> bool:
    """Whether client was told of the restart, by whatever it has left to read."""
    if type(client) is Socket:
        reply = await client.read_reply()
        return reply.status == 200 and "cursor" in reply.json
    while (push := await client.read())["type"] == "message":
        pass
    if isinstance(client, WebSocketClient):
        async with bounded():
            await client.connection.wait_closed()
        assert client.connection.close_code == 1012
    return (push["type"], push["code"]) == ("closing", 1012)


@every_signal
@every_loop
async def test_two_hundred_clients_are_told_before_the_process_ends(serving, number, loop) -> None:
    async with serving(loop) as (process, clients):
        everybody = [
            *await asyncio.gather(*[subscribe(clients, "gateway.v1.json") for _ in range(50)]),
            *await asyncio.gather(*[subscribe(clients, "gateway.v1.msgpack") for _ in range(50)]),
            *await asyncio.gather(*[open_event_stream(clients) for _ in range(50)]),
            *await asyncio.gather(*[begin_poll(clients) for _ in range(50)]),
        ]
        await clients.wait_subscriptions(200)
        process.signal(number)
        assert await asyncio.gather(*map(is_told, everybody)) == [True] * 200
        assert await process.wait_end() == (0, "")


@every_loop
async def test_publishers_at_work_are_no_reason_not_to_end(serving, loop) -> None:
    async with serving(loop) as (process, clients):
        reader = await subscribe(clients)
        publishing = [asyncio.ensure_future(publish_to_the_end(clients)) for _ in range(10)]
        await reader.read_many(50)
        process.signal(signal.SIGTERM)
        assert await is_told(reader)
        assert all(await asyncio.gather(*publishing))
        assert await process.wait_end() == (0, "")


async def publish_to_the_end(clients: Gateway) -> int:
    """Publish until the connection is closed; return how often that succeeded."""
    connection = await clients.open()
    body = json.dumps({"channel": "a", "data": "x"}).encode()
    count = 0
    try:
        async with bounded():
            while True:
                connection.send(encode_request("POST", "/publish", body=body))
                status, headers = await connection.read_head()
                await connection.reader.readexactly(int(headers["Content-Length"]))
                assert status in (200, 503)
                count += status == 200
    except (ConnectionError, asyncio.IncompleteReadError):
        return count


@every_loop
async def test_idle_and_half_sent_requests_are_no_reason_not_to_end(serving, loop) -> None:
    async with serving(loop) as (process, clients):
        idle, begun, kept = [await clients.open() for _ in range(3)]
        begun.send("POST /publish HTTP/1.1\r\nHost:")
        kept.send(encode_request("GET", "/healthz"))
        await kept.read_head()
        await subscribe(clients)
        process.signal(signal.SIGTERM)
        for client in (idle, begun, kept):
            await client.read_end()
        assert await process.wait_end() == (0, "")


@every_loop
async def test_a_body_that_never_comes_delays_the_end_only_by_the_timeout(serving, loop) -> None:
    async with serving(loop, **HASTY) as (process, clients):
        client, witness = await clients.open(), await open_event_stream(clients)
        request = encode_request("POST", "/publish", ["Expect: 100-continue"], b"never sent")
        client.send(request.removesuffix(b"never sent"))
        assert (await client.read_head())[0] == 100
        process.signal(signal.SIGTERM)
        assert await is_told(witness)
        assert await process.wait_end() == (0, "")


@every_loop
async def test_who_reads_nothing_delays_the_end_only_by_the_timeout(serving, loop) -> None:
    async with serving(loop, **HASTY) as (process, clients):
        await open_event_stream(clients, receive_bytes=4096)
        await open_raw_websocket(clients, receive_bytes=4096)
        witnesses = [await open_event_stream(clients), await subscribe(clients)]
        for batch in FLOOD:
            await clients.publish("a", *batch)
            for witness in witnesses:
                assert [each["data"] for each in await witness.read_many(len(batch))] == batch
        process.signal(signal.SIGTERM)
        assert [await is_told(each) for each in witnesses] == [True, True]
        assert await process.wait_end() == (0, "")


@every_loop
async def test_who_does_not_answer_the_close_frame_delays_the_end_only_by_the_timeout(
    serving, loop
) -> None:
    async with serving(loop, **HASTY) as (process, clients):
        client, witness = await open_raw_websocket(clients), await subscribe(clients)
        process.signal(signal.SIGTERM)
        assert await is_told(client)
        assert await is_told(witness)
        assert await client.read_close_code() == 1012
        await client.read_end()
        assert await process.wait_end() == (0, "")


@every_signal
@every_loop
async def test_a_second_signal_ends_the_wait_for_those_who_do_not_leave(
    serving, number, loop
) -> None:
    # What is dropped without a farewell need not be closed in order.
    async with serving(loop, PYTHONWARNINGS="ignore") as (process, clients):
        client = await open_raw_websocket(clients)
        await begin_poll(clients)
        process.signal(number)
        assert await is_told(client)
        process.signal(number)
        assert await process.wait_end() == (0, "")
