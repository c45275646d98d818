"""The response that is written piece by piece, over real sockets."""

import asyncio
import re
from collections.abc import Awaitable
from typing import Any

import pytest

from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.stream_response import StreamResponse

GET_11 = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_11_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def streamed(request: BaseRequest) -> StreamResponse:
    response = StreamResponse()
    await response.prepare(request)
    await response.write(b"one")
    await response.write(b"two")
    return response


async def test_one_response_cannot_answer_two_requests(talk: Any) -> None:
    shared = Response(text="OK")

    async def handler(request: BaseRequest) -> StreamResponse:
        return shared

    answers = await talk(handler, GET_11 + GET_11_CLOSE)

    assert re.findall(rb"HTTP/1.1 \d+", answers) == [b"HTTP/1.1 200", b"HTTP/1.1 500"]


async def test_the_head_of_a_stream_leaves_before_its_body(connected: Any) -> None:
    go_on = asyncio.Event()

    async def handler(request: BaseRequest) -> StreamResponse:
        response = StreamResponse()
        await response.prepare(request)
        await go_on.wait()
        return response

    async with connected(handler) as (reader, writer):
        writer.write(GET_11_CLOSE)
        head = await reader.readuntil(b"\r\n\r\n")
        go_on.set()
        body = await reader.read()

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"0\r\n\r\n"


async def test_what_was_sent_is_counted_with_the_head(talk: Any) -> None:
    responses: list[StreamResponse] = []

    async def handler(request: BaseRequest) -> StreamResponse:
        responses.append(await streamed(request))
        return responses[0]

    answer = await talk(handler, GET_11_CLOSE)

    assert responses[0].body_length == len(answer)
    with pytest.warns(DeprecationWarning, match="output_length"):
        assert responses[0].output_length == len(answer)


async def test_a_response_tells_where_it_stands(ask: Any) -> None:
    notes: list[object] = []

    async def handler(request: BaseRequest) -> StreamResponse:
        response = StreamResponse()
        notes.extend([repr(response), response.prepared, response.task])
        await response.prepare(request)
        notes.extend([repr(response), response.prepared, response.task is request.task])
        await response.write_eof()
        await response.write_eof()
        notes.extend([repr(response), response.prepared, response.keep_alive])
        return response

    answer = await ask(b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n", handler)

    assert notes == [
        *("<StreamResponse OK not prepared>", False, None),
        *("<StreamResponse OK GET /a >", True, True),
        *("<StreamResponse OK eof>", True, True),
    ]
    assert answer.body == b"0\r\n\r\n"


async def test_calls_out_of_order_are_refused(ask: Any) -> None:
    refusals: list[type[BaseException]] = []

    async def refused(awaitable: Awaitable[object]) -> None:
        try:
            await awaitable
        except Exception as error:
            refusals.append(type(error))

    async def handler(request: BaseRequest) -> StreamResponse:
        response = StreamResponse()
        await refused(response.write(b"early"))
        await refused(response.write_eof(b"early"))
        await response.prepare(request)
        await refused(response.write("text"))  # type: ignore[arg-type]
        await refused(response.write_eof("text"))  # type: ignore[arg-type]
        with pytest.raises(AssertionError):
            response.set_status(404)
        await response.write_eof(b"x")
        await refused(response.write(b"late"))
        return response

    answer = await ask(GET_11, handler)

    assert refusals == [RuntimeError, *[AssertionError] * 3, RuntimeError]
    assert answer.body == b"1\r\nx\r\n0\r\n\r\n"
    assert answer.keeps_alive


async def test_draining_by_hand_works_and_warns(ask: Any) -> None:
    async def handler(request: BaseRequest) -> StreamResponse:
        response = StreamResponse()
        with pytest.warns(DeprecationWarning, match="drain"), pytest.raises(AssertionError):
            await response.drain()
        await response.prepare(request)
        await response.write(b"x")
        with pytest.warns(DeprecationWarning, match="drain"):
            await response.drain()
        return response

    assert (await ask(GET_11, handler)).body == b"1\r\nx\r\n0\r\n\r\n"


def test_a_response_is_a_mapping_for_the_handlers_own_state() -> None:
    response = StreamResponse()
    response["a"] = 1
    response["b"] = 2
    del response["a"]

    assert dict(response) == {"b": 2}
    assert len(response) == 1
    assert "a" not in response


def test_a_response_is_true_and_equals_only_itself() -> None:
    response = StreamResponse()

    assert response
    assert response == response
    assert response != StreamResponse()
    assert len({response, response, StreamResponse()}) == 2
