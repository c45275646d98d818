"""Responses that hand their connection over to a receiver."""

import asyncio
from typing import Any

import pytest

from gateway.web.request import BaseRequest
from gateway.web.stream_response import StreamResponse
from gateway.web.takeover import TakeoverResponse
from protocol.errors import StateError

GET_11 = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD_11 = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"


class Echo:
    """A receiver that sends back what it gets and closes after a full stop."""

    def __init__(self) -> None:
        self.asyncio_transport: asyncio.Transport | None = None
        self.waiting = b""

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        self.speak()

    def speak(self) -> None:
        if self.asyncio_transport is not None:
            self.asyncio_transport.write(self.waiting)
            if self.waiting.endswith(b"."):
                self.asyncio_transport.close()
            self.waiting = b""

    def eof_received(self) -> bool | None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.asyncio_transport = None

    def pause_writing(self) -> None:
        return

    def resume_writing(self) -> None:
        return

    def shutdown(self) -> None:
        if self.asyncio_transport is not None:
            self.asyncio_transport.close()


async def taken_over(request: BaseRequest, **arguments: object) -> TakeoverResponse:
    echo = Echo()
    response = TakeoverResponse(echo, **arguments)  # type: ignore[arg-type]
    await response.prepare(request)
    echo.asyncio_transport = request.protocol.asyncio_transport
    echo.speak()
    return response


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_takeover_with_101_sends_exactly_its_headers_and_hands_the_rest_over(
    talk: Any,
) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return await taken_over(request, status=101, headers=headers)

    answer = await talk(handler, UPGRADE + b"behind the head.")

    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        b"behind the head."
    )


async def test_any_other_takeover_ends_with_the_connection(connected: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Content-Length": "5", "Date": "today"}
        response = await taken_over(request, headers=headers)
        with pytest.raises(RuntimeError, match="receiver"):
            await response.write(b"x")
        return response

    async with connected(handler) as (reader, writer):
        writer.write(GET_11)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"behind.")
        body = await reader.read()

    assert head == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nDate: today\r\n"
        b"Connection: close\r\nServer: realtime-gateway\r\n\r\n"
    )
    assert body == b"behind."


@pytest.mark.parametrize(("wire", "status"), [(HEAD_11, 200), (GET_11, 204)])
async def test_nothing_takes_over_where_no_body_may_follow(
    ask: Any, wire: bytes, status: int
) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        return await taken_over(request, status=status)

    answer = await ask(wire, handler)

    assert answer.status_line == "HTTP/1.1 500 Internal Server Error"
    assert answer.body == b"" or wire is GET_11


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [({}, b""), ({"status": 101}, b"Connection: Upgrade\r\nUpgrade: websocket\r\n")],
)
async def test_nothing_of_a_takeover_is_sent_before_the_body_of_its_request_is_here(
    connected: Any, arguments: dict[str, int], lines: bytes
) -> None:
    failures = []

    async def handler(request: BaseRequest) -> StreamResponse:
        try:
            return await taken_over(request, **arguments)
        except StateError as failure:
            failures.append(failure)
            raise

    async with connected(handler) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n" + lines + b"\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert len(failures) == 1


async def test_what_a_receiver_writes_is_in_no_content_coding(talk: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        response = TakeoverResponse(Echo(), first=b"first")
        response.enable_compression()
        await response.prepare(request)
        assert request.transport is not None
        request.transport.close()
        return response

    answer = await talk(handler, GET_11[:-2] + b"Accept-Encoding: gzip\r\n\r\n")

    assert b"Content-Encoding" not in answer
    assert answer.endswith(b"\r\n\r\nfirst")
