"""Whatever a peer sends, it gets well-formed answers or a close, and the log stays quiet."""

import asyncio
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.web.exceptions import HTTPNotFound
from gateway.web.response import Response
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from gateway.web.websocket.response import WebSocketResponse
from tests.gateway.web.answers import Answers
from tests.protocol.wires import PLACES, cut, wires

PROPERTIES = (
    *("url", "rel_url", "path", "path_qs", "query", "query_string", "host", "scheme", "remote"),
    *("content_type", "charset", "cookies", "forwarded", "if_match", "if_none_match", "if_range"),
    *("if_modified_since", "if_unmodified_since", "keep_alive", "can_read_body", "content_length"),
)


class MemoryTransport(asyncio.Transport):
    """A socket that keeps what is written."""

    def __init__(self):
        super().__init__()
        self.sent = b""
        self.is_closed = False

    def write(self, data):
        assert not self.is_closed
        self.sent += data

    def can_write_eof(self):
        return True

    def write_eof(self):
        pass

    def close(self):
        self.is_closed = True

    abort = close

    def is_closing(self):
        return self.is_closed

    def pause_reading(self):
        pass

    resume_reading = pause_reading

    def get_write_buffer_size(self):
        return 0


async def read(request):
    return Response(body=await request.read())


async def read_some(request):
    return Response(body=await request.content.read(2))


async def ignore(request):
    return Response(text="ignored")


async def stream(request):
    response = StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    return response


async def fail(request):
    raise HTTPNotFound


async def talk_websocket(request):
    response = WebSocketResponse()
    await response.prepare(request)
    await response.close()
    return response


HANDLERS = {
    "/some": read_some,
    "/ignore": ignore,
    "/stream": stream,
    "/raise": fail,
    "/websocket": talk_websocket,
}


async def pass_turns():
    for _ in range(40):
        await asyncio.sleep(0)


async def talk(pieces):
    """Return what a server sends to a peer that sends pieces and then leaves, and the methods."""

    async def handler(request):
        methods.append(request.method)
        for name in PROPERTIES:
            getattr(request, name)
        return await HANDLERS.get(request.path, read)(request)

    methods = []
    server = Server(handler, access_log=None)
    connection, transport = server(), MemoryTransport()
    connection.connection_made(transport)
    for piece in pieces:
        if not transport.is_closed:
            connection.data_received(piece)
            await pass_turns()
    if not transport.is_closed:
        connection.eof_received()
    transport.close()
    await pass_turns()
    connection.connection_lost(None)
    await pass_turns()
    assert server.connections == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await server.shutdown(0)
    return transport.sent, methods


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(wires(), min_size=1, max_size=3), PLACES)
def test_whatever_is_sent_is_answered_well_or_not_at_all(runner, caplog, drawn, places):
    caplog.clear()
    caplog.set_level(logging.INFO)

    sent, methods = runner.run(talk(cut(b"".join(drawn), places)))

    answers = Answers(sent, dict(enumerate(methods)))
    finals = [answer for answer in answers if answer.status >= 200]
    assert len(finals) <= len(methods) + 1
    assert [answer for answer in finals if answer.status == 500] == []
    assert caplog.records == []
