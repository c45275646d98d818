"""A server makes connections, looks after all of them with one timer, and ends them."""

import asyncio
from contextlib import closing

import pytest

from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from gateway.web.takeover import TakeoverResponse
from tests.gateway.web.jumping import JumpingLoop

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


async def respond(request):
    return Response()


class Gate:
    """A handler that waits until the test lets it go, or cancels it."""

    def __init__(self):
        self.begun = asyncio.Event()
        self.opened = asyncio.Event()
        self.is_cancelled = False

    async def __call__(self, request):
        self.begun.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        return Response()


class Stubborn(Gate):
    """A handler that does not end when it is cancelled, but soon after."""

    async def __call__(self, request):
        try:
            return await super().__call__(request)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            raise


class Receiver:
    """What takes a connection over and does nothing with it."""

    def __init__(self, transport):
        self.transport = transport

    def data_received(self, data):
        pass

    def eof_received(self):
        pass

    def connection_lost(self, exc):
        pass

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass

    def shutdown(self):
        pass


class PoliteReceiver(Receiver):
    """A receiver that says goodbye."""

    def shutdown(self):
        self.transport.write(b"goodbye")
        self.transport.close()


def taking_over(make_receiver):
    async def handler(request):
        return TakeoverResponse(make_receiver(request.transport), status=101)

    return handler


@pytest.fixture
async def listen():
    """Connect to a server: `reader, writer = await (await listen(server))()`."""
    listeners, writers = [], []

    async def start(server):
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        listeners.append(listener)

        async def connect():
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            writers.append(writer)
            return reader, writer

        return connect

    yield start
    for ending in (*writers, *listeners):
        with closing(ending):
            pass


def make(handler=respond, **options):
    return Server(handler, access_log=None, **options)


async def test_unknown_options_are_refused_by_name():
    with pytest.raises(TypeError, match=r"keepalive_timeuot, max_size$"):
        make(keepalive_timeuot=1, max_size=2)
    with pytest.raises(TypeError):
        make(handler_cancelation=True)


def test_a_server_needs_an_event_loop():
    with pytest.raises(RuntimeError):
        make()
    loop = asyncio.new_event_loop()
    with closing(loop):
        assert make(loop=loop).connections == []


async def test_a_server_knows_what_it_was_made_of():
    server = make(handler_cancellation=True)
    assert server.request_handler is respond
    assert server.request_factory is BaseRequest
    assert server.handler_cancellation
    assert not make().handler_cancellation


async def test_a_server_counts_requests_and_lists_connections(listen):
    server = make()
    connect = await listen(server)
    assert (server.requests_count, server.connections) == (0, [])
    (reader, writer), _ = await connect(), await connect()
    writer.write(GET + GET)
    for _ in range(2):
        await reader.readuntil(b"\r\n\r\n")
    assert server.requests_count == 2
    assert len(server.connections) == 2
    assert server.connections[0].asyncio_transport.get_extra_info("peername") == (
        writer.get_extra_info("sockname")
    )
    writer.write(GET[:-2] + b"Connection: close\r\n\r\n")
    await reader.read()
    assert len(server.connections) == 1
    await server.shutdown()
    assert server.connections == []


async def test_idle_connections_close_before_the_shutdown(listen):
    server = make()
    connect = await listen(server)
    (used, writer), (unused, _) = await connect(), await connect()
    writer.write(GET)
    await used.readuntil(b"\r\n\r\n")
    server.pre_shutdown()
    assert await used.read() == b""
    assert await unused.read() == b""


async def test_a_handler_may_finish_and_its_response_says_close(listen):
    gate = Gate()
    server = make(gate)
    reader, writer = await (await listen(server))()
    writer.write(GET)
    await gate.begun.wait()
    server.pre_shutdown()
    ending = asyncio.create_task(server.shutdown(60))
    await asyncio.sleep(0)
    gate.opened.set()
    answer = await reader.read()
    assert answer.startswith(OK)
    assert b"\r\nConnection: close\r\n" in answer
    await ending
    assert not gate.is_cancelled


@pytest.mark.parametrize("kind", [Gate, Stubborn])
async def test_a_handler_that_does_not_finish_in_time_is_cancelled(listen, kind):
    gate = kind()
    server = make(gate)
    reader, writer = await (await listen(server))()
    writer.write(GET)
    await gate.begun.wait()
    await server.shutdown(0.01)
    assert gate.is_cancelled
    assert await reader.read() == b""
    assert server.connections == []


async def test_a_handler_whose_peer_left_is_waited_for_and_cancelled_as_well(listen):
    gate = Gate()
    server = make(gate)
    _, writer = await (await listen(server))()
    writer.write(GET)
    await gate.begun.wait()
    writer.transport.abort()
    while server.connections:  # noqa: ASYNC110 - nobody would set an event
        await asyncio.sleep(0)
    await server.shutdown(0.01)
    assert gate.is_cancelled


async def test_a_connection_that_comes_too_late_is_closed(listen):
    server = make()
    connect = await listen(server)
    await server.shutdown()
    reader, _ = await connect()
    assert await reader.read() == b""
    await server.shutdown()


async def test_a_receiver_may_say_goodbye(listen):
    server = make(taking_over(PoliteReceiver))
    reader, writer = await (await listen(server))()
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    await server.shutdown(60)
    assert await reader.read() == b"goodbye"


async def test_a_receiver_that_does_not_finish_in_time_loses_its_socket(listen):
    server = make(taking_over(Receiver))
    reader, writer = await (await listen(server))()
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    await server.shutdown(0.01)
    assert await reader.read() == b""
    assert server.connections == []


async def test_a_receiver_outlives_the_end_of_accepting(listen):
    server = make(taking_over(PoliteReceiver))
    reader, writer = await (await listen(server))()
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    server.pre_shutdown()
    await asyncio.sleep(0)
    assert len(server.connections) == 1
    await server.shutdown(60)


class CountingLoop(JumpingLoop):
    """An event loop on virtual time that counts its timers."""

    timers_count = 0

    def call_at(self, when, callback, *args, context=None):
        self.timers_count += 1
        return super().call_at(when, callback, *args, context=context)


class Transport(asyncio.Transport):
    """A socket that is open until it is closed."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop
        self.sent = b""
        self.closed_at_s = None

    def write(self, data):
        self.sent += data

    def is_closing(self):
        return self.closed_at_s is not None

    def close(self):
        self.closed_at_s = self.closed_at_s or self.loop.time()

    abort = close

    def can_write_eof(self):
        return False


def run_for(seconds, make_connections):
    """Let virtual time pass for a server with connections that the test makes."""
    loop = CountingLoop()

    async def main():
        made = make_connections(loop)
        await asyncio.sleep(seconds)
        return made

    with closing(loop):
        return loop.run_until_complete(main()), loop


def test_one_timer_looks_after_all_connections():
    def make_connections(loop):
        server = make(keepalive_timeout=75, head_timeout_s=30, tcp_keepalive=False)
        connections = [server() for _ in range(50)]
        for connection in connections:
            connection.connection_made(Transport(loop))
        for connection in connections[:20]:
            connection.data_received(GET)
        return connections

    connections, loop = run_for(100, make_connections)
    closed_at_s = [connection.asyncio_transport.closed_at_s for connection in connections]
    assert set(closed_at_s[:20]) <= {75.0, 76.0, 77.0}
    assert set(closed_at_s[20:]) <= {30.0, 31.0, 32.0}
    assert loop.timers_count < 110


def test_a_connection_that_fails_when_it_is_late_leaves_the_others_their_timeouts(caplog):
    class Failing(Transport):
        def write(self, data):
            raise OSError("as no asyncio transport should")

        def abort(self):
            self.close()
            self.loop.call_soon(self.get_protocol().connection_lost, None)

    def make_connections(loop):
        server = make(head_timeout_s=30, tcp_keepalive=False)
        connections = [server() for _ in range(3)]
        for connection, kind in zip(connections, [Failing, Transport, Transport], strict=True):
            transport = kind(loop)
            transport.get_protocol = lambda connection=connection: connection
            connection.connection_made(transport)
            connection.data_received(GET[:5])
        return connections

    connections, _ = run_for(50, make_connections)
    closed_at_s = [connection.asyncio_transport.closed_at_s for connection in connections]
    assert None not in closed_at_s
    assert b" 408 " in connections[2].asyncio_transport.sent
    assert [record.message for record in caplog.records] == ["Error when a timeout passed"]


def test_no_timer_runs_without_connections():
    def make_connections(loop):
        server = make(tcp_keepalive=False)
        connection = server()
        connection.connection_made(Transport(loop))
        connection.connection_lost(None)

    _, loop = run_for(100, make_connections)
    assert loop.timers_count < 5


def test_an_operator_hears_once_a_minute_that_connections_are_dropped(caplog):
    def make_connections(loop):
        server = make(max_connections=1, head_timeout_s=1000, tcp_keepalive=False)

        def connect():
            connection = server()
            connection.connection_made(Transport(loop))
            if connection.is_lost:
                connection.connection_lost(None)

        for at_s in range(100):
            loop.call_later(at_s, connect)

    run_for(100, make_connections)
    warnings = [record for record in caplog.records if record.name == "gateway.web"]
    assert [record.levelname for record in warnings] == ["WARNING", "WARNING"]
    assert "max_connections=1" in warnings[0].getMessage()


async def test_a_peer_that_never_reads_is_dropped_and_its_handler_hears_it(listen):
    failed = asyncio.Event()

    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1 << 20))
        except ConnectionResetError:
            failed.set()
            raise

    server = make(handler, write_timeout_s=0.01)
    _, writer = await (await listen(server))()
    writer.transport.pause_reading()
    writer.write(GET)
    async with asyncio.timeout(60):
        await failed.wait()
    await server.shutdown(60)
