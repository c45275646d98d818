"""RFC 9112 section 9 over sockets: what persists, pipelines, upgrades, expects, and breaks off."""

import asyncio
import logging
from contextlib import closing

import pytest

from gateway.web.response import Response
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from gateway.web.takeover import TakeoverResponse
from tests.gateway.web.answers import Answers
from tests.protocol.rfc9112 import POST_CHUNKED, get, wire_of

GET = get()
LAST = wire_of("GET /last HTTP/1.1", "Host: a", "Connection: close")
OLD = b"GET / HTTP/1.0\r\n\r\n"
CONNECT = wire_of("CONNECT b:80 HTTP/1.1", "Host: b")
UPGRADE = get("Connection: upgrade", "Upgrade: websocket")
EXPECTING = wire_of("POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Expect: 100-continue")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def say(request):
    return Response(text=request.path)


async def stream(request):
    response = StreamResponse()
    await response.prepare(request)
    await response.write(b"streamed")
    return response


async def part(request):
    response = Response(text="bye")
    response.force_close()
    return response


async def echo(request):
    return Response(body=await request.read())


# The request, the handler, the Connection header of the answer, and whether another one follows.
PERSISTENCE = {
    "1.1": (GET, say, None, True),
    "1.1 keep-alive": (get("Connection: keep-alive"), say, None, True),
    "1.1 close": (get("Connection: close"), say, "close", False),
    "1.1 CLOSE among others": (get("Connection: a, CLOSE,b"), say, "close", False),
    "1.1 close in the second line": (
        get("Connection: a", "Connection: close"),
        say,
        "close",
        False,
    ),
    "1.1 close beside keep-alive": (get("Connection: close, keep-alive"), say, "close", False),
    "1.1 close for a proxy": (get("Proxy-Connection: close"), say, None, True),
    "1.1 streamed": (GET, stream, None, True),
    "1.1 when the handler parts": (GET, part, "close", False),
    "1.0": (OLD, say, None, False),
    "1.0 keep-alive": (OLD[:-2] + b"Connection: keep-alive\r\n\r\n", say, "keep-alive", True),
    "1.0 Keep-Alive": (OLD[:-2] + b"Connection: Keep-Alive\r\n\r\n", say, "keep-alive", True),
    "1.0 keep-alive and close": (
        OLD[:-2] + b"Connection: keep-alive, close\r\n\r\n",
        say,
        None,
        False,
    ),
    "1.0 keep-alive, streamed": (OLD[:-2] + b"Connection: keep-alive\r\n\r\n", stream, None, False),
    "1.0 keep-alive when the handler parts": (
        *(OLD[:-2] + b"Connection: keep-alive\r\n\r\n", part, None, False),
    ),
    "1.0 keep-alive for a proxy": (
        OLD[:-2] + b"Proxy-Connection: keep-alive\r\n\r\n",
        say,
        None,
        False,
    ),
    "an upgrade that is refused": (UPGRADE, say, "close", False),
    "a tunnel that is refused": (CONNECT, say, "close", False),
    "a body that is read": (POST_CHUNKED + b"1\r\nx\r\n0\r\n\r\n", echo, None, True),
    "a body that is not read": (POST_CHUNKED + b"1\r\nx\r\n0\r\n\r\n", say, None, True),
    "a body that came unasked": (EXPECTING + b"abc", echo, None, True),
}


@pytest.mark.parametrize("name", PERSISTENCE)
async def test_connections_persist_by_the_rules_and_say_so(talk, name):
    wire, handler, connection, persists = PERSISTENCE[name]

    async def handle(request):
        return Response(text="last") if request.path == "/last" else await handler(request)

    answers = Answers(await talk(handle, wire + LAST, lingering_time=0.5))
    assert answers[0].headers.get("Connection") == connection
    assert [answer.body for answer in answers[1:]] == [b"last"] * persists


async def test_pipelined_requests_are_answered_in_order_though_handlers_are_slow(talk):
    begun = []

    async def handler(request):
        begun.append(request.path)
        if len(begun) % 3:
            await asyncio.sleep(0)
        assert request.path == begun[-1]  # one at a time
        return Response(body=request.path.encode() + await request.read())

    wire = b"".join(
        wire_of(f"PUT /{number} HTTP/1.1", "Host: a", "Content-Length: 9", body=b"GET / HTT")
        + wire_of(f"PUT /c{number} HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
        + b"5\r\n\r\n\r\n0\r\n0\r\n\r\n"
        for number in range(1000)
    )
    answers = Answers(await talk(handler, wire + LAST))
    assert [answer.body for answer in answers[:-1:2]] == [
        b"/%dGET / HTT" % number for number in range(1000)
    ]
    assert [answer.body for answer in answers[1::2]] == [
        b"/c%d\r\n\r\n0" % number for number in range(1000)
    ]
    assert answers[-1].body == b"/last"


class Tunnel:
    """A receiver that gives back what it gets."""

    def __init__(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data.upper())

    def eof_received(self):
        return None

    def connection_lost(self, exc):
        pass

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass

    def shutdown(self):
        self.transport.close()


async def test_what_follows_connect_belongs_to_the_tunnel(connected):
    async def handler(request):
        return TakeoverResponse(Tunnel(request.transport), status=200)

    async with connected(handler) as (reader, writer):
        writer.write(CONNECT + b"get /smuggled http/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head == b"HTTP/1.1 200 OK\r\n\r\n"
        assert await reader.readuntil(b"\r\n\r\n") == b"GET /SMUGGLED HTTP/1.1\r\n\r\n"
        writer.write(b"more")
        assert await reader.readexactly(4) == b"MORE"


@pytest.mark.parametrize("wire", [UPGRADE, CONNECT])
async def test_what_follows_an_offer_that_is_refused_is_not_handled(talk, wire):
    handled = []

    async def handler(request):
        handled.append(request.raw_path)
        return Response(status=403)

    answers = Answers(await talk(handler, wire + GET, lingering_time=0.5), {0: "CONNECT"})
    assert [answer.status for answer in answers] == [403]
    assert len(handled) == 1


async def test_the_peer_is_told_to_continue_once_the_body_is_wanted(connected):
    wanted = asyncio.Event()

    async def handler(request):
        await wanted.wait()
        return await echo(request)

    async with connected(handler) as (reader, writer):
        writer.write(EXPECTING)
        wanted.set()
        assert await reader.readexactly(len(CONTINUE)) == CONTINUE
        writer.write(b"abc" + LAST)
        answers = Answers(await reader.read())
    assert [answer.body for answer in answers] == [b"abc", b""]


async def test_a_connection_ends_whose_peer_waits_to_send_a_body_that_nobody_wants(connected):
    async with connected(say) as (reader, writer):
        writer.write(EXPECTING)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in head
        writer.write(GET)  # it may be a body or a request: nobody knows
        assert await reader.read() == b"/"


async def test_chunks_may_be_expected_too(connected):
    async with connected(echo) as (reader, writer):
        writer.write(POST_CHUNKED[:-2] + b"Expect: 100-Continue\r\n\r\n")
        assert await reader.readexactly(len(CONTINUE)) == CONTINUE
        writer.write(b"3\r\nabc\r\n0\r\n\r\n" + LAST)
        answers = Answers(await reader.read())
    assert [answer.body for answer in answers] == [b"abc", b""]


async def test_a_length_that_is_too_large_is_refused_before_the_peer_is_told_to_continue(talk):
    wire = EXPECTING.replace(b"Length: 3", b"Length: 9999999")
    answers = Answers(await talk(echo, wire, lingering_time=0.5))
    assert [answer.status for answer in answers] == [413]
    assert answers[0].headers["Connection"] == "close"


async def test_nobody_is_told_to_continue_in_http_1_0(talk):
    wire = EXPECTING.replace(b"HTTP/1.1", b"HTTP/1.0") + b"abc"
    answers = Answers(await talk(echo, wire))
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"abc")]


async def test_a_refusal_reaches_a_peer_that_goes_on_sending(connected):
    size = 8 * 1024 * 1024  # more than the buffers of both sockets hold
    async with connected(say) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + bytes(size))
        await writer.drain()
        answers = Answers(await reader.read())
    assert [answer.status for answer in answers] == [400]
    assert answers[0].body.endswith(b"\n\nThe name of a header field is not a token\n")


WHOLE = {
    "no body": GET,
    "length": wire_of("PUT / HTTP/1.1", "Host: a", "Content-Length: 9", body=b"123456789"),
    "chunks": POST_CHUNKED + b'4;a="b"\r\n1234\r\n5\r\n56789\r\n0\r\nA: b\r\n\r\n',
    "expectation": EXPECTING + b"abc",
    "two requests": GET + GET,
}


@pytest.mark.parametrize("name", WHOLE)
async def test_an_end_after_any_byte_is_answered_well_or_not_at_all(caplog, name):
    caplog.set_level(logging.INFO)
    server = Server(echo, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)

    async def send(wire):
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        with closing(writer):
            writer.write(wire)
            writer.write_eof()
            return Answers(await reader.read())

    with closing(listener):
        wire = WHOLE[name]
        outcomes = [await send(wire[:stop]) for stop in range(len(wire) + 1)]
    await server.shutdown(1)
    assert {answer.status for answers in outcomes for answer in answers} <= {100, 200, 400}
    assert [answer.status for answer in outcomes[9]] == [400]  # a head that is not whole
    assert caplog.records == []
    assert server.connections == []
