"""The inbox of a WebSocket over a pair of sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.web.server import Server
from gateway.web.websocket.connection import WebSocketConnection
from gateway.web.websocket.inbox import MAX_INBOX_BYTES, MESSAGE_OVERHEAD_BYTES, Inbox
from gateway.web.websocket.message import WSMsgType
from protocol.errors import WebSocketError
from protocol.frames import BINARY, TEXT

KEY = bytes(4)
ATTACHED = tuple[Inbox, socket.socket]


@asynccontextmanager
async def attaching(inbox: Inbox) -> AsyncIterator[ATTACHED]:
    """Give inbox, as that of an open connection, and the socket of its peer."""

    async def handler(request: object) -> Any:
        raise AssertionError("no request is sent")

    loop = asyncio.get_running_loop()
    ours, peer = socket.socketpair()
    peer.setblocking(False)
    with peer:
        _, accepted = await loop.connect_accepted_socket(Server(handler), ours)
        connection = WebSocketConnection(
            accepted, inbox, max_message_bytes=1 << 20, autoping=False, autoclose=False
        )
        inbox.attach(connection)
        accepted.upgrade(connection)
        yield inbox, peer
        connection.abort()
        await inbox.wait_ended()


@pytest.fixture
async def attached() -> AsyncIterator[ATTACHED]:
    async with attaching(Inbox()) as both:
        yield both


async def fill(inbox: Inbox) -> int:
    """Put messages of 1 KiB until the connection is not read any more; return how many."""
    count = 0
    while inbox.connection.asyncio_transport.is_reading():
        inbox.on_message(BINARY, bytes(1024))
        count += 1
    return count


async def start_get(inbox: Inbox) -> "asyncio.Task[Any]":
    """Return a task that waits in get()."""
    task = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    assert inbox.waiter is not None
    return task


async def test_messages_come_out_oldest_first(attached):
    inbox, peer = attached
    peer.send(b"\x81\x81" + KEY + b"a" + b"\x82\x81" + KEY + b"b" + b"\x89\x81" + KEY + b"c")
    assert await inbox.get() == (WSMsgType.TEXT, "a", "")
    assert await inbox.get() == (WSMsgType.BINARY, b"b", "")
    assert await inbox.get() == (WSMsgType.PING, b"c", "")


async def test_getting_waits_for_a_message(attached):
    inbox, peer = attached
    getting = await start_get(inbox)
    peer.send(b"\x8a\x81" + KEY + b"a")
    assert await getting == (WSMsgType.PONG, b"a", "")
    assert inbox.waiter is None


async def test_cancelling_loses_no_message(attached):
    inbox, _ = attached
    getting = await start_get(inbox)
    inbox.on_message(TEXT, "a")
    getting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await getting
    assert (await inbox.get()).data == "a"


async def test_an_inbox_that_is_full_stops_reading_until_it_is_empty(attached):
    inbox, _ = attached
    count = await fill(inbox)
    assert MAX_INBOX_BYTES * 0.8 < count * 1024 <= MAX_INBOX_BYTES
    transport = inbox.connection.asyncio_transport
    for _ in range(count):
        assert not transport.is_reading()
        await inbox.get()
    assert transport.is_reading()
    assert await fill(inbox) == count


@pytest.mark.parametrize("limit", [0, 1000, 10_000])
async def test_of_what_one_read_brings_only_one_message_is_taken_beyond_the_limit(limit):
    most = limit // (100 + MESSAGE_OVERHEAD_BYTES) + 1
    async with attaching(Inbox(max_bytes=limit)) as (inbox, peer):
        peer.send((b"\x82\xe4" + KEY + bytes(100)) * 3 * most)
        for _ in range(3):
            await inbox.get()
            taken = 1
            while not inbox.is_empty:
                await inbox.get()
                taken += 1
            assert taken == most


async def test_empty_messages_fill_it_too(attached):
    inbox, _ = attached
    for _ in range(10_000):
        inbox.on_message(TEXT, "")
    assert not inbox.connection.asyncio_transport.is_reading()


async def test_a_close_frame_waits_behind_the_messages_before_it(attached):
    inbox, peer = attached
    peer.send(b"\x81\x81" + KEY + b"a" + b"\x88\x85" + KEY + b"\x0f\xa0bye")
    assert (await inbox.get()).data == "a"
    assert await inbox.get() == (WSMsgType.CLOSE, 4000, "bye")


async def test_a_close_frame_without_a_code_has_code_0(attached):
    inbox, peer = attached
    peer.send(b"\x88\x80" + KEY)
    assert await inbox.get() == (WSMsgType.CLOSE, 0, "")


async def test_a_peer_that_breaks_the_protocol_is_an_error_behind_its_messages(attached):
    inbox, peer = attached
    peer.send(b"\x81\x81" + KEY + b"a" + b"\x83\x80" + KEY)
    assert (await inbox.get()).data == "a"
    message = await inbox.get()
    assert message.type is WSMsgType.ERROR
    assert isinstance(message.data, WebSocketError)
    assert inbox.exception is message.data
    inbox.connection.close()
    assert (await inbox.get()).type is WSMsgType.CLOSED


async def test_a_peer_that_vanishes_ends_the_waiting(attached):
    inbox, peer = attached
    getting = await start_get(inbox)
    peer.close()
    assert (await getting).type is WSMsgType.CLOSED
    await inbox.wait_ended()


async def test_shutting_wakes_who_waits_and_drops_what_waits(attached):
    inbox, _ = attached
    getting = await start_get(inbox)
    inbox.shut()
    assert (await getting).type is WSMsgType.CLOSING
    inbox.on_message(TEXT, "a")
    inbox.shut()
    inbox.connection.abort()
    assert (await inbox.get()).type is WSMsgType.CLOSED


async def test_the_error_that_ends_a_shut_inbox_is_no_message(attached):
    inbox, _ = attached
    inbox.shut()
    error = TimeoutError()
    inbox.connection.abort(error)
    await inbox.wait_ended()
    assert inbox.exception is error
    assert (await inbox.get()).type is WSMsgType.CLOSED


async def test_draining_waits_until_the_peer_reads(attached):
    inbox, peer = attached
    await inbox.drain()
    while not inbox.connection.is_writing_paused:
        inbox.connection.send(BINARY, bytes(65536))
    draining = [asyncio.create_task(inbox.drain()) for _ in range(2)]
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    while inbox.connection.is_writing_paused:
        assert not any(task.done() for task in draining)
        await loop.sock_recv(peer, 1 << 20)
    await asyncio.gather(*draining)


async def test_draining_fails_when_the_peer_vanishes(attached):
    inbox, peer = attached
    while not inbox.connection.is_writing_paused:
        inbox.connection.send(BINARY, bytes(65536))
    draining = asyncio.create_task(inbox.drain())
    await asyncio.sleep(0)
    peer.close()
    with pytest.raises(ConnectionResetError):
        await draining
