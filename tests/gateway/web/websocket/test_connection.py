"""A WebSocketConnection on a scripted asyncio transport, with a clock that jumps to what is due.

Above 400 lines because a connection can end in many ways, and the transport is scripted here.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.web.server import Server
from gateway.web.websocket.connection import (
    CLOSE_TIMEOUT_S,
    MAX_BACKLOG_BYTES,
    MESSAGES_PER_TURN,
    Listener,
    WebSocketConnection,
)
from protocol.deflate import Agreement, deflate_message
from protocol.errors import WebSocketError
from protocol.frames import BINARY, TEXT, encode_masked_frame
from tests.gateway.web.jumping import JumpingLoop

KEY = bytes(4)  # masks nothing
HIGH_WATER_BYTES = 64 * 1024

Scenario = Callable[[], Coroutine[Any, Any, None]]


def run(scenario: Scenario) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(scenario())


class ScriptedTransport(asyncio.Transport):
    """A socket whose peer is the test: it reads everything at once unless it is stuck."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._is_lost = False
        self._buffer = b""
        self._is_full = False
        self.is_stuck = False
        self.received = b""  # what the peer has read
        self.is_open = True
        self.is_aborted = False
        self.has_eof = False
        self.reads = True

    def write(self, data: bytes) -> None:
        assert self.is_open
        assert not self.has_eof
        self._buffer += data
        if not self.is_stuck:
            self.read()
        elif len(self._buffer) > HIGH_WATER_BYTES and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def read(self) -> None:
        """Let the peer read what waits for it."""
        self.received += self._buffer
        self._buffer = b""
        if not self.is_open:
            self._lose(None)
        if self._is_full:
            self._is_full = False
            self._protocol.resume_writing()

    def take(self) -> bytes:
        """Return what the peer has read since the last time."""
        received, self.received = self.received, b""
        return received

    def feed(self, data: bytes) -> None:
        """Let the peer send data."""
        assert self.reads
        if self.is_open:
            self._protocol.data_received(data)

    def feed_eof(self) -> None:
        """Let the peer close its half."""
        if not self._protocol.eof_received():
            self.close()

    def lose(self, exc: Exception | None) -> None:
        """Let the network end it."""
        self.is_open = False
        self._lose(exc)

    def _lose(self, exc: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            asyncio.get_running_loop().call_soon(self._end, exc)

    def _end(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)
        del self._protocol  # as asyncio's own transports do

    def close(self) -> None:
        self.is_open = False
        if not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        self.is_open = False
        self.is_aborted = True
        self._buffer = b""
        self._lose(None)

    def is_closing(self) -> bool:
        return not self.is_open

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_eof = True

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)


class Recorder(Listener):
    """Writes down what it hears, and may do something at each message."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.act: Callable[[int, str | bytes], None] = lambda opcode, data: None

    def on_message(self, opcode: int, data: str | bytes) -> None:
        self.heard.append((opcode, data))
        self.act(opcode, data)

    def on_ping(self, payload: bytes) -> None:
        self.heard.append(("ping", payload))

    def on_pong(self, payload: bytes) -> None:
        self.heard.append(("pong", payload))

    def on_close(self, code: int, reason: str) -> None:
        self.heard.append(("close", code, reason))

    def on_error(self, error: WebSocketError) -> None:
        self.heard.append(("error", error.close_code))

    def on_pause_writing(self) -> None:
        self.heard.append(("pause",))

    def on_resume_writing(self) -> None:
        self.heard.append(("resume",))

    def on_closed(self, code: int, reason: str, exc: Exception | None) -> None:
        self.heard.append(("closed", code, reason, exc))


async def turn() -> None:
    """Let the event loop do what is ready."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def upgraded(**options: Any) -> tuple[ScriptedTransport, WebSocketConnection, Recorder]:
    """Return the peer's end and ours of a new WebSocket, and what hears it."""

    async def handler(request: object) -> Any:
        raise AssertionError("no request is sent")

    connection = Server(handler, access_log=None)()
    transport = ScriptedTransport(connection)
    connection.connection_made(transport)
    recorder = Recorder()
    websocket = WebSocketConnection(
        connection, recorder, **{"max_message_bytes": 1 << 20, **options}
    )
    connection.upgrade(websocket)
    return transport, websocket, recorder


async def test_messages_reach_the_listener_and_answers_the_peer():
    peer, websocket, recorder = upgraded()
    recorder.act = websocket.send
    peer.feed(b"\x81\x82" + KEY + b"hi" + b"\x82\x81" + KEY + b"\xff")
    assert recorder.heard == [(TEXT, "hi"), (BINARY, b"\xff")]
    assert peer.take() == b"\x81\x02hi\x82\x01\xff"


async def test_frames_are_written_as_they_are():
    peer, websocket, _ = upgraded()
    websocket.write(b"\x81\x02hi\x81\x02ho")
    assert peer.take() == b"\x81\x02hi\x81\x02ho"


async def test_pings_are_answered_and_pongs_are_not_news():
    peer, _, recorder = upgraded()
    peer.feed(b"\x89\x81" + KEY + b"1" + b"\x8a\x80" + KEY + b"\x89\x81" + KEY + b"2")
    assert peer.take() == b"\x8a\x011\x8a\x012"
    assert recorder.heard == []


async def test_a_socket_that_has_failed_is_closed_without_a_word():
    peer, websocket, recorder = upgraded()
    peer.abort()
    websocket.close()
    assert peer.take() == b""
    await turn()
    assert recorder.heard == [("closed", 1006, "", None)]


async def test_with_autoping_off_the_listener_answers():
    peer, _, recorder = upgraded(autoping=False)
    peer.feed(b"\x89\x81" + KEY + b"1" + b"\x8a\x81" + KEY + b"2")
    assert recorder.heard == [("ping", b"1"), ("pong", b"2")]
    assert peer.take() == b""


async def test_a_peer_that_pings_and_does_not_read_gets_its_newest_pong_at_last():
    peer, websocket, _ = upgraded()
    peer.is_stuck = True
    for number in range(10_000):
        peer.feed(b"\x89\xfd" + KEY + number.to_bytes(125, "big"))
    assert websocket.write_buffer_bytes < HIGH_WATER_BYTES + 1024
    peer.is_stuck = False
    peer.read()
    assert peer.take().endswith(b"\x8a\x7d" + (9_999).to_bytes(125, "big"))


async def test_a_peer_that_asks_and_does_not_read_is_not_read_either():
    peer, websocket, recorder = upgraded()
    recorder.act = websocket.send
    peer.is_stuck = True
    frame = b"\x82\xfe\xff\xff" + KEY + b"x" * 65535
    for _ in range(4):
        assert peer.reads
        peer.feed(frame)
    assert not peer.reads
    assert MAX_BACKLOG_BYTES < websocket.write_buffer_bytes < MAX_BACKLOG_BYTES + 2 * len(frame)
    peer.read()
    assert peer.reads
    assert [event for event in recorder.heard if len(event) == 1] == [("pause",), ("resume",)]


async def test_reading_goes_on_when_both_reasons_to_pause_are_gone():
    peer, websocket, recorder = upgraded()
    recorder.act = lambda opcode, data: websocket.write(b"x" * (MAX_BACKLOG_BYTES + 1))
    peer.is_stuck = True
    peer.feed(b"\x81\x80" + KEY)
    websocket.pause_reading()
    websocket.pause_reading()
    peer.read()
    assert not peer.reads
    websocket.resume_reading()
    assert peer.reads
    websocket.resume_reading()
    assert peer.reads


@pytest.mark.parametrize(
    ("frame", "answer", "code", "reason"),
    [
        (b"\x88\x82" + KEY + b"\x03\xe8", b"\x88\x02\x03\xe8", 1000, ""),
        (b"\x88\x84" + KEY + b"\x0f\xa0by", b"\x88\x02\x0f\xa0", 4000, "by"),
        (b"\x88\x80" + KEY, b"\x88\x00", 1005, ""),
    ],
)
async def test_the_peers_close_frame_is_echoed_and_the_socket_closed(frame, answer, code, reason):
    peer, websocket, recorder = upgraded()
    peer.feed(frame)
    assert recorder.heard == [("closed", code, reason, None)]
    assert peer.take() == answer
    assert not peer.is_open
    assert websocket.is_closing
    assert websocket.close_code == code
    await turn()
    assert len(recorder.heard) == 1


async def test_a_message_is_answered_although_a_close_frame_came_with_it():
    peer, websocket, recorder = upgraded()
    recorder.act = websocket.send
    peer.feed(b"\x81\x81" + KEY + b"a" + b"\x88\x80" + KEY)
    assert peer.take() == b"\x81\x01a\x88\x00"


async def test_closing_waits_for_the_peers_close_frame():
    peer, websocket, recorder = upgraded()
    websocket.close(1001, "bye")
    assert peer.take() == b"\x88\x05\x03\xe9bye"
    assert websocket.is_closing
    assert peer.is_open
    assert recorder.heard == []
    peer.feed(b"\x88\x82" + KEY + b"\x03\xe9")
    assert not peer.is_open
    assert recorder.heard == [("closed", 1001, "", None)]


async def test_nothing_is_sent_or_heard_after_close():
    peer, websocket, recorder = upgraded()
    websocket.close(1000)
    peer.take()
    peer.feed(b"\x81\x81" + KEY + b"a" + b"\x89\x80" + KEY)
    websocket.send(TEXT, "a")
    websocket.write(b"\x81\x01a")
    websocket.close(1001)
    assert peer.take() == b""
    assert recorder.heard == []


async def test_a_listener_that_closes_hears_nothing_more_of_the_same_bytes():
    peer, websocket, recorder = upgraded()
    recorder.act = lambda opcode, data: websocket.close(4000)
    peer.feed((b"\x81\x81" + KEY + b"a") * 2 + b"\x88\x82" + KEY + b"\x03\xe8")
    assert recorder.heard == [(TEXT, "a"), ("closed", 1000, "", None)]
    assert peer.take() == b"\x88\x02\x0f\xa0"
    assert not peer.is_open


async def test_a_listener_that_aborts_hears_only_that_it_is_over():
    peer, websocket, recorder = upgraded()
    recorder.act = lambda opcode, data: websocket.abort()
    peer.feed((b"\x81\x81" + KEY + b"a") * 2)
    assert recorder.heard == [(TEXT, "a")]
    await turn()
    assert recorder.heard == [(TEXT, "a"), ("closed", 1006, "", None)]


async def test_a_code_that_must_not_be_sent_is_refused_and_nothing_happens():
    peer, websocket, _ = upgraded()
    with pytest.raises(ValueError, match="1006"):
        websocket.close(1006)
    assert not websocket.is_closing
    assert peer.take() == b""


def test_a_peer_that_does_not_answer_our_close_frame_is_dropped():
    async def scenario() -> None:
        peer, websocket, recorder = upgraded()
        websocket.close(1000)
        await asyncio.sleep(CLOSE_TIMEOUT_S - 0.1)
        assert peer.is_open
        await asyncio.sleep(0.2)
        assert peer.is_aborted
        [(name, code, _, exc)] = recorder.heard
        assert (name, code, type(exc)) == ("closed", 1006, TimeoutError)

    run(scenario)


def test_a_peer_that_does_not_read_our_close_frame_is_dropped():
    async def scenario() -> None:
        peer, websocket, recorder = upgraded(close_timeout_s=3)
        peer.is_stuck = True
        websocket.write(b"x")
        peer.feed(b"\x88\x80" + KEY)
        assert recorder.heard == [("closed", 1005, "", None)]
        await asyncio.sleep(2.9)
        assert not peer.is_aborted
        await asyncio.sleep(0.2)
        assert peer.is_aborted

    run(scenario)


def test_no_timer_is_left_after_the_end():
    async def scenario() -> None:
        peer, websocket, recorder = upgraded()
        websocket.close(1000)
        peer.feed(b"\x88\x80" + KEY)
        await asyncio.sleep(2 * CLOSE_TIMEOUT_S)
        assert not peer.is_aborted
        assert len(recorder.heard) == 1

    run(scenario)


async def test_closing_reads_on_so_that_the_answer_can_come():
    peer, websocket, recorder = upgraded()
    websocket.pause_reading()
    websocket.close(1000)
    assert peer.reads
    websocket.pause_reading()
    assert peer.reads
    peer.feed(b"\x88\x80" + KEY)
    assert recorder.heard == [("closed", 1005, "", None)]


async def test_with_autoclose_off_the_listener_answers_when_it_is_ready():
    peer, websocket, recorder = upgraded(autoclose=False)
    peer.feed(b"\x88\x82" + KEY + b"\x03\xe9")
    assert recorder.heard == [("close", 1001, "")]
    assert not websocket.is_closing
    websocket.send(TEXT, "a")
    websocket.close(4000)
    assert peer.take() == b"\x81\x01a\x88\x02\x0f\xa0"
    assert not peer.is_open
    assert recorder.heard[1:] == [("closed", 1001, "", None)]


def test_with_autoclose_off_a_listener_that_is_never_ready_is_not_waited_for():
    async def scenario() -> None:
        peer, _, recorder = upgraded(autoclose=False)
        peer.feed(b"\x88\x82" + KEY + b"\x03\xe9")
        await asyncio.sleep(CLOSE_TIMEOUT_S + 0.1)
        assert peer.take() == b"\x88\x02\x03\xe9"
        assert not peer.is_open
        assert not peer.is_aborted
        assert recorder.heard[1:] == [("closed", 1001, "", None)]

    run(scenario)


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x83\x80" + KEY, 1002),
        (b"\x81\x81" + KEY + b"\xff", 1007),
        (b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01", 1009),
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_told_and_heard_out(wire, code):
    peer, websocket, recorder = upgraded()
    peer.feed(b"\x81\x81" + KEY + b"a" + wire)
    [message, (name, closed_code, reason, exc)] = recorder.heard
    assert message == (TEXT, "a")
    assert (name, closed_code) == ("closed", code)
    assert isinstance(exc, WebSocketError)
    assert (
        peer.take()
        == b"\x88" + bytes([len(reason) + 2]) + code.to_bytes(2, "big") + reason.encode()
    )
    assert peer.has_eof
    assert peer.is_open
    assert websocket.is_closing
    peer.feed(b"\x81\x81" + KEY + b"b")
    peer.feed_eof()
    await turn()
    assert not peer.is_open
    assert len(recorder.heard) == 2


def test_a_peer_that_breaks_the_protocol_and_stays_is_dropped():
    async def scenario() -> None:
        peer, _, _ = upgraded()
        peer.feed(b"\x83\x80" + KEY)
        await asyncio.sleep(CLOSE_TIMEOUT_S + 0.1)
        assert peer.is_aborted

    run(scenario)


async def test_a_peer_that_breaks_the_protocol_while_we_close_is_not_waited_for():
    peer, websocket, recorder = upgraded()
    websocket.close(1000)
    peer.take()
    peer.feed(b"\x83\x80" + KEY)
    assert peer.take() == b""
    assert not peer.is_open
    [(name, code, _, exc)] = recorder.heard
    assert (name, code, type(exc)) == ("closed", 1006, WebSocketError)


async def test_a_lost_connection_is_told_with_its_reason():
    peer, websocket, recorder = upgraded()
    error = ConnectionResetError("gone")
    peer.lose(error)
    await turn()
    assert recorder.heard == [("closed", 1006, "", error)]
    assert websocket.is_closing
    websocket.send(TEXT, "a")
    websocket.close(1000)
    assert websocket.close_code == 1006


async def test_the_end_of_the_peers_bytes_without_a_close_frame_is_the_end():
    peer, websocket, recorder = upgraded()
    peer.feed(b"\x81\x82" + KEY + b"a")
    peer.feed_eof()
    websocket.send(TEXT, "a")
    await turn()
    assert recorder.heard == [("closed", 1006, "", None)]


def test_a_peer_that_closed_its_half_and_does_not_read_is_dropped():
    async def scenario() -> None:
        peer, websocket, recorder = upgraded()
        peer.is_stuck = True
        websocket.send(TEXT, "a")
        peer.feed_eof()
        await asyncio.sleep(CLOSE_TIMEOUT_S + 0.1)
        assert peer.is_aborted
        assert len(recorder.heard) == 1

    run(scenario)


async def test_an_abort_is_told_in_the_next_turn_with_its_reason():
    peer, websocket, recorder = upgraded()
    error = TimeoutError("no pong")
    websocket.abort(error)
    assert peer.is_aborted
    assert recorder.heard == []
    await turn()
    assert recorder.heard == [("closed", 1006, "", error)]


async def test_nothing_is_told_after_the_end():
    peer, websocket, recorder = upgraded()
    peer.is_stuck = True
    websocket.write(b"x" * (HIGH_WATER_BYTES + 1))
    peer.feed(b"\x88\x80" + KEY)
    assert recorder.heard == [("pause",), ("closed", 1005, "", None)]
    peer.read()
    await turn()
    assert len(recorder.heard) == 2


async def test_any_byte_is_a_sign_of_life():
    peer, websocket, _ = upgraded()
    websocket.heard = False
    assert not websocket.heard
    peer.feed(b"\x81")
    assert websocket.heard


async def test_a_peer_is_not_taken_for_dead_while_the_listener_does_not_read():
    _, websocket, _ = upgraded()
    websocket.pause_reading()
    websocket.heard = False
    assert websocket.heard


async def test_a_lost_connection_needs_no_garbage_collector():
    def count() -> int:
        return sum(type(each) is WebSocketConnection for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = count()
        peer, websocket, recorder = upgraded()
        assert count() == before + 1
        peer.lose(None)
        await turn()
        del peer, websocket, recorder
        assert count() == before
    finally:
        gc.enable()


def numbered(first: int, end: int) -> bytes:
    return b"".join(b"\x82\x82" + KEY + number.to_bytes(2, "big") for number in range(first, end))


def numbers(recorder: Recorder) -> list[int]:
    return [int.from_bytes(event[1], "big") for event in recorder.heard if event[0] == BINARY]


async def test_of_many_messages_in_one_read_each_turn_takes_some_in_order():
    peer, _, recorder = upgraded()
    peer.feed(numbered(0, 1000))
    turns_count = 1
    while len(recorder.heard) < 1000:
        assert len(recorder.heard) == turns_count * MESSAGES_PER_TURN
        assert not peer.reads
        turns_count += 1
        await asyncio.sleep(0)
    assert turns_count == 16
    assert numbers(recorder) == list(range(1000))
    assert peer.reads


async def test_bytes_that_arrive_while_messages_wait_come_behind_them():
    peer, websocket, recorder = upgraded()
    peer.feed(numbered(0, 100) + numbered(100, 101)[:3])
    websocket.data_received(numbered(100, 101)[3:] + b"\x88\x82" + KEY + b"\x03\xe9")
    await turn()
    assert numbers(recorder) == list(range(101))
    assert recorder.heard[-1] == ("closed", 1001, "", None)


async def test_a_listener_that_pauses_gets_nothing_more_until_it_resumes_and_then_in_order():
    transport, websocket, recorder = upgraded()
    recorder.act = lambda opcode, data: websocket.pause_reading()
    transport.feed(numbered(0, 3 * MESSAGES_PER_TURN))
    for count in range(1, 6):
        await turn()
        assert numbers(recorder) == list(range(count))
        assert not transport.reads
        websocket.resume_reading()
        websocket.resume_reading()
        assert not transport.reads  # what is there comes first
    recorder.act = lambda opcode, data: None
    await turn()
    await turn()
    await turn()
    await turn()
    assert transport.reads
    transport.feed(numbered(3 * MESSAGES_PER_TURN, 200))
    assert numbers(recorder) == list(range(200))


async def test_replies_that_are_not_read_stay_bounded_however_many_commands_came_at_once():
    peer, websocket, recorder = upgraded()
    recorder.act = lambda opcode, data: websocket.send(BINARY, b"x" * 50_000)
    peer.is_stuck = True
    peer.feed(numbered(0, 100))
    for _ in range(3):
        await turn()
        assert websocket.write_buffer_bytes < MAX_BACKLOG_BYTES + 2 * 50_000
        assert not peer.reads
    while len(numbers(recorder)) < 100:
        heard_count = len(recorder.heard)
        peer.read()
        assert websocket.write_buffer_bytes < MAX_BACKLOG_BYTES + 2 * 50_000
        assert len(recorder.heard) > heard_count
    peer.read()
    assert numbers(recorder) == list(range(100))
    assert peer.reads


@pytest.mark.parametrize("tail", [b"", b"\x88\x82" + KEY + b"\x03\xe9", b"\x83\x80" + KEY])
async def test_an_abort_drops_the_messages_that_wait(tail):
    peer, websocket, recorder = upgraded()
    recorder.act = lambda opcode, data: websocket.abort() if len(recorder.heard) == 70 else None
    peer.feed(numbered(0, 1000) + tail)
    for _ in range(3):
        await turn()
    assert numbers(recorder) == list(range(70))
    assert recorder.heard[70:] == [("closed", 1006, "", None)]


async def test_a_loss_drops_the_messages_that_wait():
    peer, _, recorder = upgraded()
    recorder.act = lambda opcode, data: peer.lose(None)
    peer.feed(numbered(0, 1000))
    await turn()
    await turn()
    assert recorder.heard[-1] == ("closed", 1006, "", None)
    assert len(recorder.heard) < 1000


async def test_closing_drops_the_messages_that_wait_but_finds_the_peers_close_frame():
    peer, websocket, recorder = upgraded()
    peer.feed(numbered(0, 1000) + b"\x88\x82" + KEY + b"\x03\xe9")
    websocket.close(4000)
    await turn()
    assert numbers(recorder) == list(range(MESSAGES_PER_TURN))
    assert recorder.heard[MESSAGES_PER_TURN:] == [("closed", 1001, "", None)]
    assert not peer.is_open


async def test_an_error_behind_messages_that_wait_is_told_after_them():
    peer, _, recorder = upgraded()
    peer.feed(numbered(0, 100) + b"\x83\x80" + KEY)
    assert len(recorder.heard) == MESSAGES_PER_TURN
    await turn()
    assert numbers(recorder) == list(range(100))
    [(name, code, _, exc)] = recorder.heard[100:]
    assert (name, code, type(exc)) == ("closed", 1002, WebSocketError)


def test_a_listener_that_raises_in_a_later_turn_ends_the_connection():
    failures = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: failures.append(context["exception"]))
        peer, _, recorder = upgraded()

        def act(opcode: int, data: str | bytes) -> None:
            if len(recorder.heard) > MESSAGES_PER_TURN:
                raise LookupError("a bug")

        recorder.act = act
        peer.feed(numbered(0, 1000))
        await asyncio.sleep(1)
        assert peer.is_aborted
        assert recorder.heard[MESSAGES_PER_TURN + 1 :] == [("closed", 1006, "", failures[0])]

    run(scenario)
    assert [type(failure) for failure in failures] == [LookupError]


async def test_a_peer_that_closed_its_half_is_told_at_once_although_it_does_not_read():
    peer, websocket, recorder = upgraded()
    peer.is_stuck = True
    websocket.send(TEXT, "a")
    peer.feed_eof()
    assert recorder.heard == [("closed", 1006, "", None)]
    peer.read()
    await turn()
    assert len(recorder.heard) == 1


BAD = b"\x83\x80" + KEY  # opcode 3 is reserved


async def test_with_autoclose_off_the_listener_tells_the_peer_what_it_did_wrong():
    peer, websocket, recorder = upgraded(autoclose=False)
    peer.feed(b"\x81\x81" + KEY + b"a" + BAD)
    assert recorder.heard == [(TEXT, "a"), ("error", 1002)]
    websocket.send(TEXT, "b")
    assert peer.take() == b"\x81\x01b"
    websocket.close(4000, "something else")
    assert peer.take() == b"\x88\x16\x03\xeaopcode 3 is reserved"
    assert peer.has_eof
    assert recorder.heard[-1][:2] == ("closed", 1002)
    websocket.close()
    assert peer.take() == b""


def test_a_listener_that_does_not_tell_it_has_the_close_timeout():
    async def scenario() -> None:
        peer, _, recorder = upgraded(autoclose=False)
        peer.feed(BAD)
        await asyncio.sleep(CLOSE_TIMEOUT_S - 0.1)
        assert recorder.heard == [("error", 1002)]
        await asyncio.sleep(0.2)
        assert recorder.heard[-1][:2] == ("closed", 1002)
        assert peer.take()[:4] == b"\x88\x16\x03\xea"

    run(scenario)


def compressed(payload: bytes) -> bytes:
    return encode_masked_frame(BINARY, deflate_message(payload), KEY, rsv1=True)


MANY = compressed(b"") * 1000 + b"\x81\x81" + KEY + b"z"


async def test_compressed_messages_are_acted_on_over_several_turns_and_reading_waits():
    peer, _, recorder = upgraded(agreement=Agreement())
    peer.feed(MANY)
    assert 0 < len(recorder.heard) < 100
    assert not peer.reads
    for _ in range(100):
        await turn()
    assert recorder.heard == [(BINARY, b"")] * 1000 + [(TEXT, "z")]
    assert peer.reads


async def test_compressed_messages_wait_for_a_listener_that_pauses():
    peer, websocket, recorder = upgraded(agreement=Agreement())
    recorder.act = lambda opcode, data: websocket.pause_reading()
    peer.feed(compressed(bytes(1 << 20)) * 3)
    for count in (1, 2, 3):
        for _ in range(10):
            await turn()
        assert len(recorder.heard) == count
        assert not peer.reads
        websocket.resume_reading()
    for _ in range(10):
        await turn()
    assert peer.reads


async def test_compressed_messages_wait_for_a_peer_that_does_not_read():
    peer, websocket, recorder = upgraded(agreement=Agreement())
    recorder.act = lambda opcode, data: websocket.write(b"x" * (MAX_BACKLOG_BYTES + 1))
    peer.is_stuck = True
    peer.feed(compressed(bytes(1 << 20)) * 3)
    for count in (1, 2, 3):
        for _ in range(10):
            await turn()
        assert len(recorder.heard) - recorder.heard.count(("pause",)) * 2 + 1 == count
        peer.read()
    assert [event for event in recorder.heard if len(event) == 2] == [(BINARY, bytes(1 << 20))] * 3


@pytest.mark.parametrize("is_paused", [False, True])
async def test_the_peers_close_frame_is_found_behind_compressed_messages(is_paused):
    peer, websocket, recorder = upgraded(agreement=Agreement())
    peer.feed(MANY + b"\x88\x82" + KEY + b"\x03\xe8")
    if is_paused:
        websocket.pause_reading()
    websocket.close(4000)
    for _ in range(100):
        await turn()
    assert recorder.heard[-1] == ("closed", 1000, "", None)
    assert not peer.is_open


async def test_a_lost_peer_leaves_no_compressed_messages_behind():
    peer, _, recorder = upgraded(agreement=Agreement())
    peer.feed(MANY)
    peer.lose(None)
    for _ in range(100):
        await turn()
    assert len(recorder.heard) < 200
    assert recorder.heard[-1] == ("closed", 1006, "", None)


async def test_messages_are_sent_compressed_until_the_close_frame():
    peer, websocket, _ = upgraded(agreement=Agreement())
    assert websocket.send_deflated(TEXT, b"Hello") == 9
    assert peer.take() == b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"
    websocket.close()
    assert websocket.send_deflated(TEXT, b"Hello") == 0
    assert peer.take() == b"\x88\x02\x03\xe8"
