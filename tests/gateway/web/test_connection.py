"""A connection speaks HTTP until a receiver takes it over; everyone hears when the peer left."""

import asyncio
import gc
import logging
from contextvars import ContextVar

import pytest

from gateway.web.connection import Connection
from gateway.web.response import Response
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from gateway.web.takeover import TakeoverResponse
from protocol.errors import StateError

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
HEADERS = {"Connection": "upgrade", "Upgrade": "websocket"}
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
PATIENCE_S = 10


class Recorder:
    """A receiver that notes what it hears and echoes what it gets."""

    def __init__(self, transport):
        self.transport = transport
        self.heard = []
        self.is_over = asyncio.Event()

    def data_received(self, data):
        self.heard.append(data)
        self.transport.write(data)

    def eof_received(self):
        self.heard.append("eof")

    def connection_lost(self, exc):
        self.heard.append("lost")
        self.is_over.set()

    def pause_writing(self):
        self.heard.append("pause")

    def resume_writing(self):
        self.heard.append("resume")

    def shutdown(self):
        self.transport.close()


class Taker:
    """A handler that gives each connection to a recorder."""

    def __init__(self, status=101):
        self.status = status
        self.recorders = []
        self.connections = []

    async def __call__(self, request):
        self.connections.append(request.protocol)
        self.recorders.append(Recorder(request.transport))
        headers = HEADERS if self.status == 101 else None
        return TakeoverResponse(self.recorders[-1], status=self.status, headers=headers)


class Unconnected(asyncio.Transport):
    """An asyncio transport without a socket."""

    is_closed = False

    def write(self, data):
        pass

    def is_closing(self):
        return self.is_closed

    def close(self):
        self.is_closed = True


async def eventually(condition):
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(0)


async def test_a_receiver_gets_every_byte_behind_the_request(connected):
    taker = Taker()
    async with connected(taker) as (reader, writer):
        writer.write(UPGRADE + b"one")
        assert await reader.readexactly(len(SWITCHED)) == SWITCHED
        assert await reader.readexactly(3) == b"one"
        writer.write(GET)
        assert await reader.readexactly(len(GET)) == GET
        writer.close()
        (recorder,) = taker.recorders
        async with asyncio.timeout(PATIENCE_S):
            await recorder.is_over.wait()
    assert recorder.heard[0] == b"one"
    assert recorder.heard[-2:] == ["eof", "lost"]
    assert b"".join(recorder.heard[1:-2]) == GET


async def test_a_connection_that_was_taken_over_has_neither_task_nor_http(connected):
    taker = Taker()
    before = asyncio.all_tasks()
    async with connected(taker) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readexactly(len(SWITCHED))
        await eventually(lambda: asyncio.all_tasks() == before)
        (connection,) = taker.connections
        assert (connection.task, connection.conversation) == (None, None)


async def test_a_stream_of_another_kind_takes_a_connection_over_as_well(connected):
    taker = Taker(status=200)
    async with connected(taker) as (reader, writer):
        writer.write(GET)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in head
        taker.recorders[0].transport.write(b"data: x\n\n")
        assert await reader.readexactly(9) == b"data: x\n\n"


async def test_a_connection_tells_whether_it_heard_anything(connected):
    taker = Taker()
    async with connected(taker) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readexactly(len(SWITCHED))
        (connection,) = taker.connections
        assert connection.heard
        connection.heard = False
        writer.write(b"one")
        await reader.readexactly(3)
        assert connection.heard


async def test_a_receiver_hears_of_a_peer_that_does_not_read(connected):
    taker = Taker()
    async with connected(taker, tcp_keepalive=False) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readexactly(len(SWITCHED))
        (recorder,) = taker.recorders
        size = 32 * 1024 * 1024
        recorder.transport.write(bytes(size))
        assert recorder.heard == ["pause"]
        await reader.readexactly(size)
        await eventually(lambda: recorder.heard == ["pause", "resume"])


async def test_a_receiver_is_told_that_writing_was_paused_before_it_came(connected):
    recorders = []

    async def handler(request):
        request.transport.set_write_buffer_limits(0)
        request.transport.write(bytes(32 * 1024 * 1024))
        recorders.append(Recorder(request.transport))
        return TakeoverResponse(recorders[0], status=101, headers=HEADERS)

    async with connected(handler) as (_, writer):
        writer.write(UPGRADE + b"one")
        await eventually(lambda: recorders and recorders[0].heard)
        await eventually(lambda: recorders[0].heard[:2] == ["pause", b"one"])


async def test_a_connection_is_taken_over_once(connected):
    failures = []

    async def handler(request):
        response = TakeoverResponse(Recorder(request.transport), status=101, headers=HEADERS)
        await response.prepare(request)
        try:
            request.protocol.upgrade(Recorder(request.transport))
        except StateError as failure:
            failures.append(failure)
        return response

    async with connected(handler) as (reader, writer):
        writer.write(UPGRADE + b"one")
        assert await reader.readexactly(len(SWITCHED) + 3) == SWITCHED + b"one"
    assert len(failures) == 1


async def test_a_connection_whose_peer_left_is_not_taken_over(connected):
    recorders, failures = [], []

    async def handler(request):
        request.transport.abort()
        recorders.append(Recorder(request.transport))
        try:
            request.protocol.upgrade(recorders[0])
        except ConnectionResetError as failure:
            failures.append(failure)
        return Response()

    async with connected(handler) as (_, writer):
        writer.write(UPGRADE + b"one")
        await eventually(lambda: failures)
    assert recorders[0].heard == []


async def test_a_handler_goes_on_when_its_peer_leaves_and_fails_where_it_writes(connected, caplog):
    begun, ended = asyncio.Event(), asyncio.Event()
    outcomes = []

    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        begun.set()
        try:
            await eventually(lambda: request.transport is None)
            outcomes.append(request.remote)
            await response.write(b"too late")
        except ConnectionResetError as failure:
            outcomes.append(str(failure))
            raise
        finally:
            ended.set()

    with caplog.at_level(logging.DEBUG):
        async with connected(handler) as (_, writer):
            writer.write(GET)
            await begun.wait()
            writer.close()
            await ended.wait()
    assert outcomes == ["127.0.0.1", "Cannot write to closing transport"]
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []


async def test_a_handler_is_cancelled_where_that_is_wanted(connected):
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handler(request):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with connected(handler, handler_cancellation=True) as (_, writer):
        writer.write(GET)
        await begun.wait()
        writer.close()
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()


@pytest.mark.parametrize("has_peer", [False, True])
async def test_a_handler_that_is_cancelled_before_it_begins_leaves_no_connection(has_peer):
    begun = []

    async def handler(request):
        begun.append(request)
        return Response()

    server = Server(handler, access_log=None, handler_cancellation=True, tcp_keepalive=False)
    connection = server()
    connection.connection_made(Unconnected())
    connection.data_received(GET)
    if has_peer:
        connection.cancel()
    else:
        connection.connection_lost(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert begun == []
    assert connection.task is None
    if has_peer:
        assert connection.is_lost
        connection.connection_lost(None)
    assert connection.conversation is None
    async with asyncio.timeout(PATIENCE_S):
        await server.shutdown()


async def test_a_receiver_that_fails_at_the_end_keeps_no_connection():
    class Careless(Recorder):
        def connection_lost(self, exc):
            raise OSError("careless")

    async def handler(request):
        return TakeoverResponse(Careless(request.transport), status=101, headers=HEADERS)

    server = Server(handler, access_log=None, tcp_keepalive=False)
    connection = server()
    connection.connection_made(Unconnected())
    connection.data_received(UPGRADE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="careless"):
        connection.connection_lost(None)
    async with asyncio.timeout(PATIENCE_S):
        await server.shutdown()


@pytest.mark.parametrize("wire", [b"", GET, GET[:9], UPGRADE])
async def test_a_connection_that_ended_does_not_wait_for_the_garbage_collector(connected, wire):
    async def handler(request):
        if "Upgrade" in request.headers:
            return TakeoverResponse(Recorder(request.transport), status=101, headers=HEADERS)
        return Response(text="x")

    def count():
        return sum(type(thing) is Connection for thing in gc.get_objects())

    gc.freeze()  # what there was before is not looked through again and again
    gc.disable()
    try:
        async with connected(handler) as (reader, writer):
            writer.write(wire)
            if wire.endswith(b"\r\n\r\n"):
                await reader.readuntil(b"\r\n\r\n")
            await eventually(lambda: count() == 1)
        await eventually(lambda: count() == 0)
    finally:
        gc.enable()
        gc.unfreeze()


async def test_the_kernel_looks_for_peers_that_vanished_unless_it_should_not(connected):
    import socket

    kept = []

    async def handler(request):
        peer = request.get_extra_info("socket")
        kept.append(peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        kept.append(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return Response()

    for is_kept in (True, False):
        async with connected(handler, tcp_keepalive=is_kept) as (reader, writer):
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
    assert [bool(option) for option in kept] == [True, True, False, True]


async def test_bytes_after_the_end_are_forgotten():
    async def handler(request):
        return Response()

    server = Server(handler, access_log=None, tcp_keepalive=False)
    connection = server()
    connection.connection_made(asyncio.Transport())
    connection.connection_lost(None)
    connection.data_received(GET)
    connection.pause_writing()
    connection.resume_writing()
    assert (server.requests_count, connection.is_last) == (0, True)


async def test_a_request_does_not_see_the_context_in_which_another_let_the_peer_send(connected):
    variable = ContextVar("variable", default="unset")
    seen = []

    async def handler(request):
        seen.append(variable.get())
        variable.set(request.path)
        if request.can_read_body:
            await eventually(lambda: request.content.is_full)  # so that the peer has to stop
        return Response(body=b"<%d>" % len(await request.read()))

    async with asyncio.timeout(PATIENCE_S), connected(handler) as (reader, writer):
        for size in (500_000, 0):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            writer.write(bytes(size))
            await reader.readuntil(b"<%d>" % size)
    assert seen == ["unset", "unset"]


async def test_a_request_sees_the_context_of_whoever_listens():
    variable = ContextVar("variable", default="unset")

    async def handler(request):
        return Response(text=f"<{variable.get()}>")

    server = Server(handler, access_log=None)
    variable.set("set")
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    writer.write(GET + LAST)
    assert (await reader.read()).count(b"<set>") == 2
    writer.close()
    listener.close()
    await server.shutdown(PATIENCE_S)
