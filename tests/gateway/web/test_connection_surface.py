"""What programs ask of request.protocol and of Server.connections, as they do with aiohttp."""

import asyncio
import logging

import pytest

from gateway.web.response import Response
from gateway.web.server import Server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_a_connection_tells_whose_it_is_and_how_it_is_treated(connected):
    found = {}
    access_log = logging.getLogger("of access")

    async def handler(request):
        connection = request.protocol
        found.update(
            transport=connection.transport is request.transport,
            peername=connection.peername,
            ssl_context=connection.ssl_context,
            connected=connection.connected,
            keepalive_timeout=connection.keepalive_timeout,
            logger=connection.logger,
            debug=connection.debug,
            access_log=connection.access_log,
            repr=repr(connection),
        )
        return Response()

    options = {"keepalive_timeout": 7, "debug": True, "logger": logging.getLogger("of errors")}
    async with connected(handler, access_log=access_log, **options) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        own_name = writer.get_extra_info("sockname")
    assert found == {
        "transport": True,
        "peername": own_name,
        "ssl_context": None,
        "connected": True,
        "keepalive_timeout": 7,
        "logger": logging.getLogger("of errors"),
        "debug": True,
        "access_log": access_log,
        "repr": "<Connection connected>",
    }


async def test_a_connection_can_be_shown_before_it_is_made():
    async def handler(request):
        raise AssertionError("no request is sent")

    # As asyncio's debug mode does where a TLS handshake fails; what went wrong was not shown then.
    assert repr(Server(handler)()) == "<Connection disconnected>"


async def test_a_connection_that_is_lost_has_no_transport_but_an_address(connected):
    handled = asyncio.get_running_loop().create_future()

    async def handler(request):
        address = request.protocol.peername
        with pytest.raises(ConnectionResetError):
            await request.read()
        assert request.transport is request.protocol.transport is None
        assert not request.protocol.connected
        assert repr(request.protocol) == "<Connection disconnected>"
        handled.set_result((address, request.protocol.peername, request.remote))
        return Response()

    async with connected(handler) as (_, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        await asyncio.sleep(0)
        writer.close()
        before, after, remote = await asyncio.wait_for(handled, 10)
    assert before == after
    assert remote == "127.0.0.1"


@pytest.mark.parametrize("close", [lambda c: c.close(), lambda c: c.keep_alive(False)])
async def test_a_connection_that_is_closed_in_a_handler_ends_with_its_answer(talk, close):
    async def handler(request):
        close(request.protocol)
        return Response(text="last words")

    answer = await talk(handler, GET * 2)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"last words")


async def test_a_connection_that_should_be_kept_alive_is(connected):
    async def handler(request):
        request.protocol.keep_alive(True)
        return Response()

    async with connected(handler) as (reader, writer):
        for _ in range(2):
            writer.write(GET)
            assert await reader.readuntil(b"\r\n\r\n")


async def test_a_connection_that_is_closed_by_force_sends_no_answer(talk):
    async def handler(request):
        request.protocol.force_close()
        return Response(text="nobody hears this")

    assert await talk(handler, GET) == b""
