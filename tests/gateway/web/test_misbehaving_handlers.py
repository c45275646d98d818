"""Handlers that do wrong: their connection goes on right or ends, and the operator hears why, once.

Each is asked over a real socket with another request right behind, which is answered only where the
connection can be trusted. Above 400 lines because there are many ways to do wrong.
"""

import asyncio
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from gateway.web.exceptions import HTTPNotFound
from gateway.web.request import BaseRequest
from gateway.web.response import Response, StreamResponse
from gateway.web.websocket.response import WebSocketResponse
from tests.gateway.web.ledger import Handler, eventually, reset, turns, watched

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LOGGED = ("Error handling request from 127.0.0.1",)


class Oops(Exception):
    """What a handler did not think of."""


class Exit(BaseException):
    """What no handler should think of."""


def beside(first: Handler) -> Handler:
    """Return a handler that is first, but answers 299 for the path /last."""

    async def handler(request: BaseRequest) -> Any:
        if request.path == "/last":
            return Response(status=299)
        return await first(request)

    return handler


async def started(
    request: BaseRequest, *pieces: bytes, length: int | None = None
) -> StreamResponse:
    """Return a response of which the head and pieces are written."""
    response = StreamResponse()
    response.content_length = length
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    return response


# --- handlers that fail ---------------------------------------------------------------------------


async def raise_at_once(request: BaseRequest) -> Any:
    raise Oops


async def return_nothing(request: BaseRequest) -> Any:
    return None


async def return_text(request: BaseRequest) -> Any:
    return "text"


async def raise_a_response_that_cannot_be_sent(request: BaseRequest) -> Any:
    raise HTTPNotFound(headers={"X": "a\r\nb"})


async def return_a_response_that_cannot_be_sent(request: BaseRequest) -> Any:
    return Response(headers={"X": "a\r\nb"})


async def return_a_body_that_fails_at_once(request: BaseRequest) -> Any:
    async def body() -> AsyncIterator[bytes]:
        raise Oops
        yield b""

    return Response(body=body())


async def write_before_prepare(request: BaseRequest) -> Any:
    await StreamResponse().write(b"x")


async def finish_before_prepare(request: BaseRequest) -> Any:
    await StreamResponse().write_eof(b"x")


@pytest.mark.parametrize(
    "handler",
    [
        raise_at_once,
        return_nothing,
        return_text,
        raise_a_response_that_cannot_be_sent,
        return_a_response_that_cannot_be_sent,
        return_a_body_that_fails_at_once,
        write_before_prepare,
        finish_before_prepare,
    ],
)
@pytest.mark.parametrize("wire", [GET, POST], ids=["get", "post"])
async def test_a_failure_before_the_head_is_a_500_and_the_end(
    handler: Handler, wire: bytes
) -> None:
    async with watched(beside(handler), expected=LOGGED) as server:
        answer = await server.ask(wire + LAST)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


async def raise_after_the_head(request: BaseRequest) -> Any:
    await started(request)
    raise Oops


async def raise_after_a_piece(request: BaseRequest) -> Any:
    await started(request, b"piece")
    raise Oops


async def raise_a_response_after_a_piece(request: BaseRequest) -> Any:
    await started(request, b"piece")
    raise HTTPNotFound


async def return_another_response_after_a_piece(request: BaseRequest) -> Any:
    await started(request, b"piece")
    return Response(text="other")


async def return_nothing_after_a_piece(request: BaseRequest) -> Any:
    await started(request, b"piece")


async def prepare_two(request: BaseRequest) -> Any:
    first = await started(request, b"piece")
    await StreamResponse().prepare(request)
    return first


async def return_a_body_that_fails_later(request: BaseRequest) -> Any:
    async def body() -> AsyncIterator[bytes]:
        yield b"piece"
        raise Oops

    return Response(body=body())


async def return_a_body_of_text(request: BaseRequest) -> Any:
    async def body() -> AsyncIterator[Any]:
        yield b"piece"
        yield "piece"

    return Response(body=body())


async def write_text(request: BaseRequest) -> Any:
    response: Any = await started(request, b"piece")
    await response.write("piece")


@pytest.mark.parametrize(
    "handler",
    [
        raise_after_the_head,
        raise_after_a_piece,
        raise_a_response_after_a_piece,
        return_another_response_after_a_piece,
        return_nothing_after_a_piece,
        prepare_two,
        return_a_body_that_fails_later,
        return_a_body_of_text,
        write_text,
    ],
)
@pytest.mark.parametrize("wire", [GET, POST], ids=["get", "post"])
async def test_a_failure_after_the_head_is_an_end_without_an_end(
    handler: Handler, wire: bytes
) -> None:
    async with watched(beside(handler), expected=LOGGED) as server:
        answer = await server.ask(wire + LAST)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nTransfer-Encoding: chunked\r\n" in answer
    assert not answer.endswith(b"0\r\n\r\n")


async def write_after_the_end(request: BaseRequest) -> Any:
    response = await started(request, b"piece")
    await response.write_eof()
    await response.write(b"more")


async def raise_after_the_end(request: BaseRequest) -> Any:
    response = await started(request, b"piece")
    await response.write_eof()
    raise Oops


async def return_another_after_the_end(request: BaseRequest) -> Any:
    response = await started(request, b"piece")
    await response.write_eof()
    return Response(text="other")


@pytest.mark.parametrize(
    "handler", [write_after_the_end, raise_after_the_end, return_another_after_the_end]
)
async def test_a_failure_after_the_end_leaves_the_answer_whole(handler: Handler) -> None:
    async with watched(beside(handler), expected=LOGGED) as server:
        answer = await server.ask(GET + LAST)
    assert answer.endswith(b"5\r\npiece\r\n0\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_response_answers_one_request_however_often_it_is_returned() -> None:
    responses: list[Response] = []

    async def handler(request: BaseRequest) -> Any:
        return responses[0]

    async with watched(handler, expected=LOGGED) as server:
        responses.append(Response(text="again"))
        answer = await server.ask(GET + GET + LAST)
        responses.clear()
    assert [line[:3] for line in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"500"]


async def test_a_response_begun_for_another_request_is_refused() -> None:
    begun: list[StreamResponse] = []

    async def handler(request: BaseRequest) -> Any:
        if not begun:
            begun.append(await started(request, b"piece"))
            await turns()
        return begun[0]

    async with watched(handler, expected=LOGGED) as server:
        answer = await server.ask(GET + GET + LAST)
        begun.clear()
    assert [line[:3] for line in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"500"]
    assert answer.count(b"5\r\npiece\r\n0\r\n\r\n") == 1


async def test_a_websocket_that_is_returned_unprepared_refuses_or_begins_and_ends() -> None:
    async def handler(request: BaseRequest) -> Any:
        return WebSocketResponse()

    async with watched(beside(handler)) as server:
        refusal = await server.ask(GET + LAST)
        accepted = await server.ask(HANDSHAKE + b"\x88\x82\0\0\0\0\x03\xe8")
    assert refusal.startswith(b"HTTP/1.1 4")
    assert b"HTTP/1.1 299 " in refusal
    assert accepted.startswith(b"HTTP/1.1 101 ")
    assert accepted.endswith(b"\r\n\r\n\x88\x02\x03\xe8")


# --- handlers that end otherwise ------------------------------------------------------------------


async def cancel_itself(request: BaseRequest) -> Any:
    request.task.cancel()
    await asyncio.sleep(0)


async def raise_cancelled(request: BaseRequest) -> Any:
    raise asyncio.CancelledError


async def be_cancelled_after_a_piece(request: BaseRequest) -> Any:
    await started(request, b"piece")
    raise asyncio.CancelledError


async def close_its_transport(request: BaseRequest) -> Any:
    assert request.transport is not None
    request.transport.close()
    return Response(text="late")


async def abort_its_transport(request: BaseRequest) -> Any:
    assert request.transport is not None
    request.transport.abort()
    return Response(text="late")


async def abort_its_transport_and_linger(request: BaseRequest) -> Any:
    assert request.transport is not None
    request.transport.abort()
    await turns()
    return Response(text="late")


async def abort_its_transport_in_a_stream(request: BaseRequest) -> Any:
    response = await started(request, b"piece")
    assert request.transport is not None
    request.transport.abort()
    await turns()
    await response.write(b"late")


async def abort_after_the_end(request: BaseRequest) -> Any:
    response = await started(request, b"piece")
    await response.write_eof()
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.mark.parametrize(
    "handler",
    [
        cancel_itself,
        raise_cancelled,
        be_cancelled_after_a_piece,
        close_its_transport,
        abort_its_transport,
        abort_its_transport_and_linger,
        abort_its_transport_in_a_stream,
        abort_after_the_end,
    ],
)
@pytest.mark.parametrize("wire", [GET, POST], ids=["get", "post"])
@pytest.mark.parametrize("is_cancelling", [False, True])
async def test_an_end_that_the_handler_wanted_is_nobodys_error(
    handler: Handler, wire: bytes, is_cancelling: bool
) -> None:
    async with watched(beside(handler), handler_cancellation=is_cancelling) as server:
        try:
            answer = await server.ask(wire + LAST)
        except ConnectionResetError:
            answer = b""
    assert b"late" not in answer
    assert b"HTTP/1.1 299 " not in answer


async def test_a_failure_that_is_no_exception_is_logged_and_ends_the_connection() -> None:
    async def handler(request: BaseRequest) -> Any:
        raise Exit

    async with watched(beside(handler), expected=("Error around the handler",)) as server:
        assert await server.ask(GET + LAST) == b""


async def test_a_handler_that_swallows_its_cancellation_is_answered_for_like_others() -> None:
    begun = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def handler(request: BaseRequest) -> Any:
        tasks.append(request.task)
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Response(text="alive")

    async with watched(beside(handler)) as server:
        asking = asyncio.create_task(server.ask(GET + LAST))
        await begun.wait()
        tasks.pop().cancel()
        answer = await asking
    assert b"alive" in answer
    assert b"HTTP/1.1 299 " in answer


# --- handlers and the peer that leaves ------------------------------------------------------------


async def wait_for_ever(request: BaseRequest) -> Any:
    await asyncio.Event().wait()


async def stream_for_ever(request: BaseRequest) -> Any:
    response = await started(request)
    while True:
        await response.write(bytes(64 * 1024))


async def drip_for_ever(request: BaseRequest) -> Any:
    response = await started(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.001)


async def generate_for_ever(request: BaseRequest) -> Any:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.001)

    return Response(body=body())


async def read_for_ever(request: BaseRequest) -> Any:
    await request.read()


async def keep_the_stream_alive(request: BaseRequest) -> Any:
    response = await started(request)
    with suppress(asyncio.CancelledError):
        while True:
            await response.write(bytes(64 * 1024))
    return response


@pytest.mark.parametrize(
    ("handler", "is_cancelling"),
    [
        (wait_for_ever, True),
        *((stream_for_ever, is_cancelling) for is_cancelling in (False, True)),
        *((drip_for_ever, is_cancelling) for is_cancelling in (False, True)),
        *((generate_for_ever, is_cancelling) for is_cancelling in (False, True)),
        *((read_for_ever, is_cancelling) for is_cancelling in (False, True)),
        (keep_the_stream_alive, True),
    ],
)
async def test_the_peers_leaving_ends_a_handler_and_is_no_error(
    handler: Handler, is_cancelling: bool
) -> None:
    wire = POST[:-1] + (GET if handler is not read_for_ever else b"")
    async with watched(handler, handler_cancellation=is_cancelling) as server:
        clients = [server.connect(wire) for _ in range(20)]
        await server.heard(20)
        await turns(20)
        for number, client in enumerate(clients):
            if number % 2:
                reset(client)
            else:
                client.close()
        clients.clear()


async def fail_in_a_group(request: BaseRequest) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(request.read())
    except* RuntimeError:  # two read at once
        await stream_for_ever(request)


async def stream_in_a_group(request: BaseRequest) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(stream_for_ever(request))


async def chat_in_a_group(request: BaseRequest) -> Any:
    websocket = WebSocketResponse()
    await websocket.prepare(request)

    async def send() -> None:
        while True:
            await websocket.send_str("x" * 1000)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        group.create_task(send())
        await websocket.receive()


@pytest.mark.parametrize(
    ("handler", "wire"),
    [(stream_in_a_group, GET), (fail_in_a_group, POST[:-1]), (chat_in_a_group, HANDSHAKE)],
    ids=["stream", "read", "websocket"],
)
async def test_the_peers_leaving_is_no_error_in_a_group_of_tasks_either(
    handler: Handler, wire: bytes
) -> None:
    async with watched(handler) as server:
        for _ in range(5):
            client = server.connect(wire)
            await server.heard()
            await turns()
            reset(client)
            del client


async def test_a_peer_that_broke_the_protocol_is_no_error_of_the_handler_that_still_sends() -> None:
    async def handler(request: BaseRequest) -> Any:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        while True:
            await websocket.send_str("x")
            await asyncio.sleep(0)

    async with watched(handler) as server:
        answer = await server.ask(HANDSHAKE, b"\x83\x80\0\0\0\0")
    assert b"\x88" in answer


async def test_sending_fails_at_once_when_the_socket_did() -> None:
    clients = []

    async def handler(request: BaseRequest) -> Any:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        reset(clients.pop())
        while True:  # not one turn of the event loop, in which it would be told
            await websocket.send_str("x")

    async with watched(handler) as server:
        clients.append(server.connect())
        clients[0].sendall(HANDSHAKE)
        await eventually(lambda: server.ended_count == 1)


async def test_pings_are_not_answered_when_the_socket_failed() -> None:
    clients = []

    async def handler(request: BaseRequest) -> Any:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        reset(clients.pop())
        request.protocol.data_received(b"\x89\x80\0\0\0\0" * 20)
        return websocket

    async with watched(handler) as server:
        clients.append(server.connect())
        clients[0].sendall(HANDSHAKE)
        await eventually(lambda: server.ended_count == 1)


@pytest.mark.parametrize("has_peer_left", [False, True])
async def test_a_connection_to_somebody_else_that_breaks_is_an_error(has_peer_left: bool) -> None:
    async def handler(request: BaseRequest) -> Any:
        if has_peer_left:
            await eventually(lambda: request.transport is None)
        raise ConnectionResetError("the database left")

    async with watched(handler, expected=LOGGED) as server:
        client = server.connect(GET)
        await server.heard()
        reset(client)


async def test_a_handler_that_hangs_outlives_its_peer_until_the_server_ends() -> None:
    ended = []

    async def handler(request: BaseRequest) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(request.path)

    async with watched(handler) as server:
        for _ in range(10):
            reset(server.connect(GET + GET))
        await eventually(lambda: server.server.requests_count == 10)
        await eventually(lambda: server.server.connections == [])
        assert ended == []
        await server.server.shutdown(0.01)
        assert ended == ["/"] * 10


# --- handlers and lengths -------------------------------------------------------------------------


async def test_bytes_beyond_the_length_are_cut_and_the_next_request_is_answered() -> None:
    async def handler(request: BaseRequest) -> Any:
        response = await started(request, b"12", b"34", length=3)
        await response.write(b"5")
        await response.write_eof(b"6")
        return response

    async with watched(beside(handler)) as server:
        answer = await server.ask(GET + LAST)
    assert b"\r\n\r\n123HTTP/1.1 299 " in answer


async def test_a_body_short_of_its_length_ends_the_connection() -> None:
    async def handler(request: BaseRequest) -> Any:
        return await started(request, b"12", length=3)

    async with watched(beside(handler)) as server:
        answer = await server.ask(GET + LAST)
    assert answer.endswith(b"\r\n\r\n12")


# --- handlers and the request's body --------------------------------------------------------------


async def leave_the_body(request: BaseRequest) -> Any:
    return Response()


async def read_half(request: BaseRequest) -> Any:
    await request.content.readexactly(4)
    return Response()


async def read_after_the_end(request: BaseRequest) -> Any:
    response = await started(request, b"piece")
    await response.write_eof()
    assert await request.read() == b"123456789" * 1000
    return response


async def put_back(request: BaseRequest) -> Any:
    with pytest.warns(DeprecationWarning, match="unread_data"):
        request.content.unread_data(await request.content.readexactly(4))
    return Response()


@pytest.mark.parametrize("handler", [leave_the_body, read_half, read_after_the_end, put_back])
@pytest.mark.parametrize("is_late", [False, True])
async def test_a_body_that_is_not_read_right_does_not_become_the_next_request(
    handler: Handler, is_late: bool
) -> None:
    body = b"123456789" * 1000
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    wire = head + body + LAST
    pieces = (wire[:100], wire[100:-100], wire[-100:]) if is_late else (wire,)
    async with watched(beside(handler)) as server:
        answer = await server.ask(*pieces)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 299 " in answer
    assert answer.count(b"HTTP/1.1 ") == 2


# --- what goes on in the background ---------------------------------------------------------------


async def test_what_a_background_task_writes_late_reaches_nobody() -> None:
    outcomes: list[str] = []

    async def handler(request: BaseRequest) -> Any:
        response = await started(request, b"piece")

        async def go_on() -> None:
            await turns()
            for write in (response.write, response.write_eof, request.writer.write):
                try:
                    await write(b"more")
                except (RuntimeError, ConnectionResetError) as error:
                    outcomes.append(type(error).__name__)

        tasks.append(asyncio.create_task(go_on()))
        return response

    tasks: list[asyncio.Task[None]] = []
    async with watched(beside(handler)) as server:
        asking = asyncio.create_task(server.ask(GET, LAST))
        await eventually(lambda: bool(outcomes))
        tasks.clear()
        answer = await asking
        del asking
    assert b"5\r\npiece\r\n0\r\n\r\nHTTP/1.1 299 " in answer
    assert outcomes == ["RuntimeError"]


@pytest.mark.parametrize(
    "wire", [GET, GET + GET, POST[:-1]], ids=["get", "pipelined", "unfinished"]
)
async def test_a_background_task_cannot_finish_what_its_handler_broke_off(wire: bytes) -> None:
    outcomes: list[str] = []

    async def handler(request: BaseRequest) -> Any:
        response = await started(request, b"piece")

        async def go_on() -> None:
            await turns()
            for write in (response.write, response.write_eof):
                try:
                    await write(b"more")
                except ConnectionResetError as error:
                    outcomes.append(type(error).__name__)

        tasks.append(asyncio.create_task(go_on()))
        raise Oops

    tasks: list[asyncio.Task[None]] = []
    async with watched(handler, expected=LOGGED) as server:
        client = server.connect(wire)
        await eventually(lambda: len(outcomes) == 2)
        tasks.clear()
        answer = b"".join(iter(lambda: client.recv(65536), b""))
        client.close()
    assert answer.endswith(b"5\r\npiece\r\n")
    assert outcomes == ["PeerLeft"] * 2


async def test_a_background_task_reads_no_body_after_the_answer() -> None:
    outcomes: list[str] = []

    async def handler(request: BaseRequest) -> Any:
        async def go_on() -> None:
            try:
                await request.read()
            except Exception as error:
                outcomes.append(type(error).__name__)

        tasks.append(asyncio.create_task(go_on()))
        await turns()
        return Response()

    tasks: list[asyncio.Task[None]] = []
    async with watched(handler) as server:
        client = server.connect(POST[:-1])
        await server.heard()
        await eventually(lambda: outcomes == ["PayloadAccessError"])
        await asyncio.wait(tasks)
        tasks.clear()
        client.close()


# --- WebSockets -----------------------------------------------------------------------------------


async def raise_after_the_upgrade(request: BaseRequest) -> Any:
    await WebSocketResponse().prepare(request)
    raise Oops


async def return_nothing_after_the_upgrade(request: BaseRequest) -> Any:
    await WebSocketResponse().prepare(request)


async def return_another_after_the_upgrade(request: BaseRequest) -> Any:
    await WebSocketResponse().prepare(request)
    return Response(text="other")


async def upgrade_twice(request: BaseRequest) -> Any:
    await WebSocketResponse().prepare(request)
    await WebSocketResponse().prepare(request)


@pytest.mark.parametrize(
    "handler",
    [
        raise_after_the_upgrade,
        return_nothing_after_the_upgrade,
        return_another_after_the_upgrade,
        upgrade_twice,
    ],
)
async def test_a_failure_after_the_upgrade_closes_with_1011(handler: Handler) -> None:
    async with watched(handler, expected=LOGGED) as server:
        answer = await server.ask(HANDSHAKE + b"\x88\x82\0\0\0\0\x03\xf3")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\r\n\r\n\x88\x02\x03\xf3")


async def abort_the_websocket(request: BaseRequest) -> Any:
    websocket = WebSocketResponse()
    await websocket.prepare(request)
    assert request.transport is not None
    request.transport.abort()
    async for _ in websocket:
        pass
    return websocket


async def send_after_the_close(request: BaseRequest) -> Any:
    websocket = WebSocketResponse()
    await websocket.prepare(request)
    await websocket.close()
    await websocket.send_str("late")


async def cancel_the_websocket(request: BaseRequest) -> Any:
    await WebSocketResponse().prepare(request)
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    "handler", [abort_the_websocket, send_after_the_close, cancel_the_websocket]
)
@pytest.mark.parametrize("is_cancelling", [False, True])
async def test_an_end_of_the_websocket_is_nobodys_error(
    handler: Handler, is_cancelling: bool
) -> None:
    async with watched(handler, handler_cancellation=is_cancelling) as server:
        try:
            answer = await server.ask(HANDSHAKE + b"\x88\x82\0\0\0\0\x03\xe8")
        except ConnectionResetError:
            answer = b""
    assert b"late" not in answer


# --- handlers that end the program ----------------------------------------------------------------

PROGRAM = """
    import asyncio
    from gateway import web

    async def handler(request):
        raise {ending}

    async def main():
        runner = web.ServerRunner(web.Server(handler))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        try:
            await reader.read()
        finally:
            writer.close()
            await runner.cleanup()
            print("clean")

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("ending", "status", "complaint"),
    [("web.GracefulExit", 1, ""), ("KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt")],
)
def test_a_handler_may_end_the_program_and_nothing_but_that_is_told(
    ending: str, status: int, complaint: str
) -> None:
    program = textwrap.dedent(PROGRAM).format(ending=ending)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (status, "clean\n")
    assert ended.stderr.rpartition("\n")[0].rpartition("\n")[2] == complaint
    assert "never retrieved" not in ended.stderr


async def test_a_handler_that_gives_up_just_when_its_peer_resets_ends_the_connection() -> None:
    clients: list[socket.socket] = []

    async def handler(request: BaseRequest) -> Any:
        reset(clients.pop())
        raise asyncio.CancelledError

    async with watched(handler) as attack:
        for _ in range(5):
            clients.append(attack.connect())
            clients[0].sendall(POST[:-1])
            await eventually(lambda: not clients)
            await attack.gone()
