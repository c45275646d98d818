"""WebSocketResponse over real sockets: `websockets` as client, raw sockets for what it cannot send.

Above 400 lines because aiohttp's WebSocketResponse does many things.
"""

import asyncio
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.web.exceptions import HTTPException
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.websocket.response import (
    WebSocketResponse,
    WSCloseCode,
    WSMessageTypeError,
    WSMsgType,
)
from protocol.errors import WebSocketError
from tests.gateway.web.websocket.peers import (
    BIG,
    HANDSHAKE,
    KEY,
    echo,
    opened,
    raw_client,
    raw_opened,
    serving,
)

# --- messages -------------------------------------------------------------------------------------


async def test_text_and_binary_messages_of_all_sizes_are_echoed():
    async with serving(echo) as (_, port), connect(f"ws://127.0.0.1:{port}", max_size=None) as peer:
        for size in (0, 1, 125, 126, 65535, 65536, BIG):
            await peer.send("\u00e9" * size)
            assert await peer.recv() == "\u00e9" * size
            await peer.send(b"\xff" * size)
            assert await peer.recv() == b"\xff" * size


async def test_fragmented_messages_arrive_whole():
    async with opened() as (websocket, peer):
        await peer.send(["a", "\u00e9" * 1000, "", "c"])
        assert await websocket.receive_str() == "a" + "\u00e9" * 1000 + "c"
        await peer.send([b"a", b"b" * 100_000])
        assert await websocket.receive_bytes() == b"a" + b"b" * 100_000


async def test_a_message_behind_the_handshake_is_the_first_one():
    async with serving(echo) as (_, port), raw_client(port) as peer:
        await peer.shake_hands(behind=b"\x81\x82" + KEY + b"hi" + b"\x81\x82")
        peer.send(KEY + b"ho")
        assert await peer.read(8) == b"\x81\x02hi\x81\x02ho"


async def test_messages_are_received_and_sent_as_what_they_are():
    async with opened() as (websocket, peer):
        await peer.send("text")
        assert await websocket.receive() == (WSMsgType.TEXT, "text", "")
        await peer.send(b"bytes")
        assert await websocket.receive() == (WSMsgType.BINARY, b"bytes", "")
        await peer.send('{"a": 1}')
        assert await websocket.receive_json() == {"a": 1}
        await websocket.send_str("text")
        await websocket.send_bytes(bytearray(b"bytes"))
        await websocket.send_bytes(memoryview(b"view"))
        await websocket.send_json({"a": 1})
        await websocket.send_json({}, dumps=repr)
        await websocket.send_frame(b"frame", WSMsgType.TEXT)
        got = [await peer.recv() for _ in range(6)]
        assert got == ["text", b"bytes", b"view", '{"a": 1}', "{}", "frame"]


async def test_texts_stay_bytes_for_a_handler_that_wants_them_so():
    async with opened(decode_text=False) as (websocket, peer):
        for _ in range(3):
            await peer.send('"\u00e9"')
        assert await websocket.receive() == (WSMsgType.TEXT, b'"\xc3\xa9"', "")
        assert await websocket.receive_str() == b'"\xc3\xa9"'
        assert await websocket.receive_json() == "\u00e9"
        await peer.send(b"bytes")
        assert await websocket.receive_bytes() == b"bytes"


async def test_json_may_be_encoded_to_bytes():
    async with opened() as (websocket, peer):
        await websocket.send_json_bytes("\u00e9", dumps=msgspec.json.encode)
        assert await peer.recv() == '"\u00e9"'


async def test_a_message_of_another_type_than_asked_for_is_an_error():
    async with opened() as (websocket, peer):
        await peer.send(b"bytes")
        with pytest.raises(WSMessageTypeError):
            await websocket.receive_str()
        await peer.send("text")
        with pytest.raises(TypeError):
            await websocket.receive_bytes()


async def test_only_what_a_message_can_hold_is_sent():
    async with opened() as (websocket, _):
        with pytest.raises(TypeError):
            await websocket.send_str(b"bytes")
        with pytest.raises(TypeError):
            await websocket.send_bytes("text")
        with pytest.raises(ValueError, match="125"):
            await websocket.ping(b"x" * 126)
        with pytest.raises(ValueError, match="CLOSE"):
            await websocket.send_frame(b"", WSMsgType.CLOSE)
        with pytest.raises(RuntimeError):
            await websocket.write(b"body")


async def test_many_tasks_send_without_mixing_their_frames():
    async with opened() as (websocket, peer):
        texts = [str(number) * 1000 for number in range(50)]
        await asyncio.gather(*map(websocket.send_str, texts))
        assert [await peer.recv() for _ in texts] == texts


# --- ping and pong --------------------------------------------------------------------------------


async def test_pings_are_answered_also_while_nobody_receives():
    async with opened() as (_, peer):
        await (await peer.ping(b"are you there?"))


async def test_pings_of_the_handler_reach_the_peer():
    async with raw_opened(autoping=False) as (websocket, peer):
        await websocket.ping()
        await websocket.ping(b"a")
        await websocket.pong("b")
        assert await peer.read(8) == b"\x89\x00\x89\x01a\x8a\x01b"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_frames_are_sent_from_whatever_holds_bytes(kind):
    async with raw_opened() as (websocket, peer):
        await websocket.ping(kind(b"a"))
        await websocket.pong(kind(b"b"))
        await websocket.send_frame(kind(b"c"), WSMsgType.TEXT)
        await websocket.send_json_bytes(None, dumps=lambda _: kind(b"d"))
        assert await peer.read(12) == b"\x89\x01a\x8a\x01b\x81\x01c\x81\x01d"
        for message in ("5", 5, None):
            with pytest.raises(TypeError):
                await websocket.send_frame(message, WSMsgType.BINARY)


async def test_with_autoping_off_the_handler_sees_pings_and_pongs():
    async with opened(autoping=False) as (websocket, peer):
        waiting = await peer.ping(b"a")
        assert await websocket.receive() == (WSMsgType.PING, b"a", "")
        await websocket.pong(b"a")
        await waiting
        await peer.pong(b"b")
        assert await websocket.receive() == (WSMsgType.PONG, b"b", "")


async def test_a_heartbeat_gives_a_silent_peer_up():
    async with raw_opened(heartbeat=0.02) as (websocket, peer):
        assert await peer.read(2) == b"\x89\x00"
        message = await websocket.receive()
        assert message.type is WSMsgType.ERROR
        assert message.data is websocket.exception()
        assert str(message.data) == "No PONG received after 0.01 seconds"
        assert websocket.close_code == 1006
        assert websocket.closed


# --- the end --------------------------------------------------------------------------------------


async def test_the_peers_close_frame_ends_the_loop():
    async with opened() as (websocket, peer):
        await peer.send("a")
        closing = asyncio.create_task(peer.close(4001, "bye"))
        assert [message.data async for message in websocket] == ["a"]
        await closing
        assert peer.close_code == 4001
        assert websocket.close_code == 4001
        assert websocket.closed
        assert websocket.exception() is None
        assert not await websocket.close()


async def test_the_peers_close_frame_is_a_message():
    async with opened() as (websocket, peer):
        closing = asyncio.create_task(peer.close(4001, "bye"))
        assert await websocket.receive() == (WSMsgType.CLOSE, 4001, "bye")
        await closing


async def test_a_close_frame_without_a_code_is_0_to_the_handler_and_1005_as_close_code():
    async with raw_opened() as (websocket, peer):
        peer.send(b"\x88\x80" + KEY)
        assert await websocket.receive() == (WSMsgType.CLOSE, 0, "")
        assert websocket.close_code == 1005
        assert await peer.reader.read() == b"\x88\x00"


async def test_a_message_is_answered_although_the_peer_has_closed_meanwhile():
    async with raw_opened() as (websocket, peer):
        peer.send(b"\x81\x81" + KEY + b"a" + b"\x88\x82" + KEY + b"\x03\xe8")
        assert await websocket.receive_str() == "a"
        assert not websocket.closed
        await websocket.send_str("b")
        assert (await websocket.receive()).type is WSMsgType.CLOSE
        assert await peer.reader.read() == b"\x81\x01b\x88\x02\x03\xe8"


async def test_with_autoclose_off_the_handler_answers_the_close_frame():
    async with raw_opened(autoclose=False) as (websocket, peer):
        peer.send(b"\x88\x82" + KEY + b"\x03\xe8")
        assert (await websocket.receive()).type is WSMsgType.CLOSE
        assert not websocket.closed
        assert await websocket.close(code=4002, message=b"mine")
        assert await peer.reader.read() == b"\x88\x06\x0f\xa2mine"
        assert websocket.close_code == 1000


async def test_the_handler_closes_with_a_code_and_a_reason():
    async with opened() as (websocket, peer):
        assert await websocket.close(code=4002, message=b"enough")
        with pytest.raises(ConnectionClosed) as closed:
            await peer.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4002, "enough")
        assert websocket.close_code == 4002
        assert not await websocket.close()


async def test_closing_drops_messages_and_sends_nothing_more():
    async with opened() as (websocket, peer):
        await peer.send("a")
        await websocket.close(message="text")
        assert websocket.closed
        for send in (websocket.send_str, websocket.ping):
            with pytest.raises(ConnectionResetError):
                await send("b")
        for _ in range(4):
            assert (await websocket.receive()).type is WSMsgType.CLOSED
        with pytest.raises(RuntimeError):
            await websocket.receive()


async def test_closing_in_one_task_wakes_the_receiver_in_another():
    async with opened() as (websocket, _):
        receiving = asyncio.create_task(websocket.receive())
        await asyncio.sleep(0)
        await websocket.close()
        assert (await receiving).type is WSMsgType.CLOSING
        assert (await websocket.receive()).type is WSMsgType.CLOSED


async def test_a_peer_that_does_not_close_with_us_is_dropped():
    async with raw_opened(timeout=0.02) as (websocket, peer):
        peer.send(b"\x81\x81" + KEY + b"a")
        assert await websocket.close()
        assert websocket.close_code == 1006
        assert isinstance(websocket.exception(), TimeoutError)


async def test_a_code_that_must_not_be_sent_leaves_the_websocket_open():
    async with opened() as (websocket, peer):
        with pytest.raises(ValueError, match="1006"):
            await websocket.close(code=1006)
        await websocket.send_str("still here")
        assert await peer.recv() == "still here"


async def test_a_handler_that_returns_closes_with_1000():
    async def handler(request: BaseRequest) -> WebSocketResponse:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        return websocket

    async with serving(handler) as (_, port), connect(f"ws://127.0.0.1:{port}") as peer:
        await peer.wait_closed()
        assert peer.close_code == 1000


async def test_a_handler_that_raises_closes_with_1011(caplog):
    async def handler(request: BaseRequest) -> WebSocketResponse:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        raise LookupError("a bug")

    async with serving(handler) as (_, port), connect(f"ws://127.0.0.1:{port}") as peer:
        await peer.wait_closed()
        assert peer.close_code == 1011
    assert "a bug" in caplog.text


async def test_a_server_that_shuts_down_closes_with_1001():
    ended = asyncio.Event()

    async def handler(request: BaseRequest) -> WebSocketResponse:
        websocket = await echo(request)
        ended.set()
        return websocket

    async with serving(handler) as (server, port), connect(f"ws://127.0.0.1:{port}") as peer:
        await peer.send("a")
        await peer.recv()
        shutting = asyncio.create_task(server.shutdown(60))
        await peer.wait_closed()
        await shutting
        assert peer.close_code == 1001
        assert ended.is_set()


async def test_a_handler_that_is_cancelled_closes_with_1001():
    async def handler(request: BaseRequest) -> WebSocketResponse:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        request.task.cancel()
        await asyncio.sleep(0)
        return websocket

    async with serving(handler) as (_, port), connect(f"ws://127.0.0.1:{port}") as peer:
        await peer.wait_closed()
        assert peer.close_code == 1001


async def test_after_a_close_frame_that_it_is_to_answer_the_handler_receives_nothing():
    async with raw_opened(autoclose=False) as (websocket, peer):
        peer.send(b"\x88\x82" + KEY + b"\x03\xe8")
        assert (await websocket.receive()).type is WSMsgType.CLOSE
        for _ in range(10):
            assert (await websocket.receive()).type is WSMsgType.CLOSING
        assert not websocket.closed
        await websocket.send_str("a")
        assert await peer.read(3) == b"\x81\x01a"


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_a_peer_that_vanishes_ends_the_loop(is_waiting):
    async with raw_opened() as (websocket, peer):
        receiving = asyncio.create_task(websocket.receive())
        if is_waiting:
            await asyncio.sleep(0)
        peer.writer.transport.abort()
        assert (await receiving).type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        assert websocket.close_code == 1006
        with pytest.raises(ConnectionResetError):
            await websocket.send_str("a")


async def test_handler_cancellation_ends_the_handler_of_a_peer_that_vanishes():
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handler(request: BaseRequest) -> Any:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set_result("cancelled")
            raise

    async with serving(handler, handler_cancellation=True) as (_, port), raw_client(port) as peer:
        await peer.shake_hands()
        peer.writer.transport.abort()
        assert await ended == "cancelled"


async def test_a_peer_that_vanishes_before_prepare_is_told_there_and_then():
    ended: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    async def handler(request: BaseRequest) -> Any:
        while not request.protocol.is_lost:  # noqa: ASYNC110
            await asyncio.sleep(0)
        websocket = WebSocketResponse(heartbeat=0.01)
        with pytest.raises(ConnectionResetError):
            await websocket.prepare(request)
        message = await websocket.receive()
        ended.set_result([message.type, websocket.close_code, await websocket.close()])
        return websocket

    async with serving(handler) as (_, port):
        async with raw_client(port) as peer:
            peer.send(HANDSHAKE)
            await peer.writer.drain()
        assert await ended == [WSMsgType.CLOSED, 1006, False]


async def test_headers_that_cannot_be_sent_leave_the_request_to_the_handler():
    async def handler(request: BaseRequest) -> Any:
        websocket = WebSocketResponse()
        websocket.headers["X-Split"] = "a\r\nb"
        with pytest.raises(ValueError, match="CR, LF"):
            await websocket.prepare(request)
        with pytest.raises(RuntimeError, match="prepare"):
            await websocket.receive()
        return Response(text="sorry")

    async with serving(handler) as (_, port), raw_client(port) as peer:
        peer.send(HANDSHAKE)
        assert (await peer.reader.read()).endswith(b"sorry")


# --- what peers may not do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x81\x01a", 1002),
        (b"\xc1\x80" + KEY, 1002),
        (b"\x83\x80" + KEY, 1002),
        (b"\x80\x80" + KEY, 1002),
        (b"\x09\x80" + KEY, 1002),
        (b"\x88\x81" + KEY + b"\x03", 1002),
        (b"\x88\x82" + KEY + b"\x03\xee", 1002),
        (b"\x81\x82" + KEY + b"\xc3\x28", 1007),
        (b"\x81\x90" + KEY + b"\xc3\x28", 1007),
        (b"\x82\xfe\x04\x01", 1009),
    ],
)
async def test_breaking_the_protocol_is_answered_with_its_code(wire, code):
    async with raw_opened(max_msg_size=1024) as (websocket, peer):
        peer.send(b"\x81\x81" + KEY + b"a" + wire + bytes(1000))
        assert (await websocket.receive()).data == "a"
        message = await websocket.receive()
        assert message.type is WSMsgType.ERROR
        assert isinstance(message.data, WebSocketError)
        assert websocket.exception() is message.data
        assert websocket.close_code == code
        assert await peer.read_close() == code
        assert await peer.reader.read() == b""
        assert (await websocket.receive()).type is WSMsgType.CLOSED


async def test_a_message_is_answered_although_the_peer_has_broken_the_protocol_meanwhile(caplog):
    async with serving(echo) as (_, port), raw_client(port) as peer:
        await peer.shake_hands(behind=b"\x81\x81" + KEY + b"a" + b"\x83\x80" + KEY)
        assert await peer.read(3) == b"\x81\x01a"
        assert await peer.read_close() == 1002
        assert await peer.reader.read() == b""
    assert caplog.text == ""


async def test_closing_tells_a_peer_that_broke_the_protocol_what_it_did():
    async with raw_opened() as (websocket, peer):
        peer.send(b"\x81\x81" + KEY + b"a" + b"\x83\x80" + KEY)
        while websocket.exception() is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert await websocket.close(code=4000)
        assert await peer.read_close() == 1002


async def test_a_peer_that_broke_the_protocol_is_told_also_if_nobody_receives():
    async with raw_opened() as (_, peer):
        peer.send(b"\x83\x80" + KEY)
        assert await peer.read_close() == 1002
    async with raw_opened(timeout=0.02) as (_, peer):
        peer.send(b"\x81\x81" + KEY + b"a" + b"\x83\x80" + KEY)
        assert await peer.read_close() == 1002


async def test_a_peer_that_broke_the_protocol_and_went_is_told_as_well():
    async with raw_opened() as (websocket, peer):
        peer.send(b"\x81\x81" + KEY + b"a" + b"\x83\x80" + KEY)
        peer.writer.write_eof()
        assert await peer.read_close() == 1002
        assert await websocket.receive_str() == "a"
        assert (await websocket.receive()).type is WSMsgType.ERROR
        assert websocket.close_code == 1002


async def test_a_peer_that_still_sends_can_read_why_it_was_refused():
    async with raw_opened(max_msg_size=1024) as (_, peer):
        peer.send(b"\x82\xff" + (4 * BIG).to_bytes(8, "big") + KEY + bytes(4 * BIG))
        await peer.writer.drain()
        assert await peer.read_close() == 1009


@pytest.mark.parametrize("size", [10, 1e1])
async def test_messages_may_be_as_large_as_max_msg_size(size):
    async with opened(max_msg_size=size) as (websocket, peer):
        await peer.send("x" * 10)
        assert await websocket.receive_str() == "x" * 10
        await peer.send("x" * 11)
        await peer.wait_closed()
        assert peer.close_code == WSCloseCode.MESSAGE_TOO_BIG


async def test_a_max_msg_size_of_0_is_no_bound():
    async with opened(max_msg_size=0) as (websocket, peer):
        sending = asyncio.create_task(peer.send(bytes(5 * BIG)))
        assert len(await websocket.receive_bytes()) == 5 * BIG
        await sending


# --- flow control ---------------------------------------------------------------------------------


async def test_sending_waits_for_a_peer_that_does_not_read():
    async with raw_opened() as (websocket, peer):
        peer.writer.transport.pause_reading()
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                await websocket.send_bytes(bytes(BIG))
                sent += 1

        sending = asyncio.create_task(send())
        transport = websocket._connection.asyncio_transport  # noqa: SLF001
        for _ in range(1000):
            await asyncio.sleep(0)
        assert not sending.done()
        assert transport.get_write_buffer_size() < 2 * BIG
        stuck_at = sent
        peer.writer.transport.resume_reading()
        for _ in range(100):
            await peer.read(10 + BIG)
        await sending
        assert stuck_at < sent == 100


async def test_sending_that_waits_fails_when_the_peer_vanishes():
    async with raw_opened() as (websocket, peer):
        peer.writer.transport.pause_reading()
        sending = asyncio.create_task(websocket.send_bytes(bytes(50 * BIG)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not sending.done()
        peer.writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await sending


async def test_small_messages_do_not_wait_before_the_writer_limit():
    async with raw_opened(writer_limit=10 * BIG) as (websocket, peer):
        peer.writer.transport.pause_reading()
        for _ in range(10):
            await websocket.send_bytes(bytes(BIG - 2))  # and as much of a head at least
        sending = asyncio.create_task(websocket.send_bytes(b"more than the limit"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not sending.done()
        peer.writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            await sending


async def test_a_peer_whose_messages_nobody_receives_has_to_wait():
    async with raw_opened() as (websocket, peer):
        frame = b"\x82\xfe\xff\xff" + KEY + bytes(65535)
        peer.send(frame * 500)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert peer.writer.transport.get_write_buffer_size() > 0
        for _ in range(500):
            assert len(await websocket.receive_bytes()) == 65535
        await peer.writer.drain()


async def test_a_peer_whose_messages_nobody_receives_can_be_closed():
    async with raw_opened() as (websocket, peer):
        peer.send(
            (b"\x82\xfe\xff\xff" + KEY + bytes(65535)) * 100 + b"\x88\x82" + KEY + b"\x03\xe8"
        )
        for _ in range(1000):
            await asyncio.sleep(0)
        assert await websocket.close()
        assert websocket.close_code == 1000


# --- receiving ------------------------------------------------------------------------------------


async def test_only_one_task_may_receive():
    async with opened() as (websocket, peer):
        receiving = asyncio.create_task(websocket.receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="Concurrent"):
            await websocket.receive()
        await peer.send("a")
        assert (await receiving).data == "a"


@pytest.mark.parametrize(
    ("options", "arguments"), [({}, {"timeout": 0.01}), ({"receive_timeout": 0.01}, {})]
)
async def test_a_timeout_leaves_the_websocket_open(options, arguments):
    async with opened(**options) as (websocket, peer):
        for receive in (websocket.receive, websocket.receive_str, websocket.receive_json):
            with pytest.raises(asyncio.TimeoutError):
                await receive(**arguments)
        await peer.send("a")
        assert await websocket.receive_str(timeout=60) == "a"


# --- the opening handshake ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "protocols", "agreed"),
    [(["b", "a"], ("a", "b"), "b"), (["x"], ("a",), None), (None, ("a",), None)],
)
async def test_the_first_subprotocol_of_the_client_that_is_known_is_agreed(
    offered, protocols, agreed
):
    async with opened(offered=offered, protocols=protocols) as (websocket, peer):
        assert websocket.ws_protocol == agreed
        assert peer.subprotocol == agreed


async def test_headers_and_cookies_of_the_handler_are_sent():
    async def handler(request: BaseRequest) -> WebSocketResponse:
        websocket = WebSocketResponse()
        websocket.headers["X-Node"] = "7"
        websocket.set_cookie("a", "b")
        await websocket.prepare(request)
        return websocket

    async with serving(handler) as (_, port), connect(f"ws://127.0.0.1:{port}") as peer:
        assert peer.response.headers["X-Node"] == "7"
        assert peer.response.headers["Set-Cookie"].startswith("a=b")
        assert "Content-Type" not in peer.response.headers


@pytest.mark.parametrize(
    ("old", "new", "status", "header"),
    [
        (b"Upgrade: websocket\r\n", b"", 400, b""),
        (b"Connection: Upgrade", b"Connection: notupgrade", 400, b""),
        (b"nonce", b"nonce", 101, b"Upgrade: websocket\r\n"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400, b""),
        (b"Version: 13", b"Version: 8", 426, b"Sec-WebSocket-Version: 13\r\n"),
        (b"GET", b"POST", 405, b"Allow: GET\r\n"),
        (b"HTTP/1.1", b"HTTP/1.0", 400, b""),
    ],
)
async def test_a_request_that_is_no_handshake_is_refused(old, new, status, header):
    async with serving(echo) as (_, port), raw_client(port) as peer:
        peer.send(HANDSHAKE.replace(old, new))
        head = await peer.reader.readuntil(b"\r\n\r\n")
        assert int(head.split()[1]) == status
        assert header in head


async def test_what_follows_a_refused_handshake_is_not_a_request():
    requests = 0

    async def handler(request: BaseRequest) -> Any:
        nonlocal requests
        requests += 1
        return await echo(request)

    async with serving(handler) as (_, port), raw_client(port) as peer:
        peer.send(HANDSHAKE.replace(b"Version: 13", b"Version: 8"))
        peer.send(b"GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await peer.reader.read()
        assert answer.count(b"HTTP/1.1") == 1
        assert requests == 1


async def test_a_handler_can_ask_first_and_answer_otherwise():
    async def handler(request: BaseRequest) -> Any:
        ready = WebSocketResponse(protocols=["chat"]).can_prepare(request)
        return Response(text=f"{bool(ready)} {ready.protocol}", status=403)

    async with serving(handler) as (_, port):
        for offered, text in ((["x", "chat"], b"True chat"), (None, b"True None")):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://127.0.0.1:{port}", subprotocols=offered)
            assert (refused.value.response.status_code, refused.value.response.body) == (403, text)
        async with raw_client(port) as peer:
            peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await peer.reader.read()).endswith(b"False None")


async def test_a_refusal_can_be_caught():
    caught: list[HTTPException] = []

    async def handler(request: BaseRequest) -> Any:
        try:
            return await echo(request)
        except HTTPException as refusal:
            caught.append(refusal)
            return Response(text="just a page")

    async with serving(handler) as (_, port), raw_client(port) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await peer.reader.read()).endswith(b"just a page")
    assert [refusal.status for refusal in caught] == [400]


async def test_a_websocket_is_prepared_once():
    async with opened() as (websocket, _):
        assert websocket.prepared
        assert websocket.status == 101
        with pytest.raises(RuntimeError):
            websocket.can_prepare(None)


async def test_nothing_works_before_prepare():
    websocket = WebSocketResponse()
    assert not websocket.prepared
    assert not websocket.closed
    assert websocket.close_code is None
    assert websocket.get_extra_info("peername", "nobody") == "nobody"
    for call in (websocket.receive, websocket.close, websocket.ping, websocket.write_eof):
        with pytest.raises(RuntimeError, match="prepare"):
            await call()
    with pytest.raises(RuntimeError, match="prepare"):
        await websocket.send_str("a")


async def test_what_the_socket_knows_can_be_asked():
    async with opened() as (websocket, peer):
        assert websocket.get_extra_info("peername") == peer.local_address
        assert websocket.get_extra_info("unknown", 7) == 7


async def test_a_handshake_whose_body_has_not_arrived_is_a_bad_request():
    async def handler(request: BaseRequest) -> WebSocketResponse:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        return websocket

    async with serving(handler) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE[:-2] + b"Content-Length: 9\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
