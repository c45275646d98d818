"""Heartbeats over a pair of sockets, with a clock that jumps to what is due."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

from gateway.web.server import Server
from gateway.web.sweep import Sweeps
from gateway.web.websocket.connection import Listener, WebSocketConnection
from gateway.web.websocket.heartbeat import Heartbeat
from protocol.frames import BINARY
from tests.gateway.web.jumping import JumpingLoop

KEY = bytes(4)
PING = b"\x89\x00"
PONG = b"\x8a\x80" + KEY
INTERVAL_S = 20


class Ending(Listener):
    """Keeps what ended the connection, and when."""

    def __init__(self) -> None:
        self.on_resumed: Callable[[], object] = bool  # which does nothing
        self.end: tuple[float, int, str] | None = None

    def on_message(self, opcode: int, data: str | bytes) -> None:
        """Nothing is asked of messages."""

    def on_pause_writing(self) -> None:
        """Nothing waits for it."""

    def on_resume_writing(self) -> None:
        self.on_resumed()

    def on_closed(self, code: int, reason: str, exc: Exception | None) -> None:
        self.end = asyncio.get_running_loop().time(), code, str(exc)


class Pinged:
    """A connection with a heartbeat, and the socket of its peer."""

    def __init__(
        self, peer: socket.socket, connection: WebSocketConnection, sweeps: Sweeps
    ) -> None:
        self.peer = peer
        self.connection = connection
        self.heartbeat = Heartbeat(connection, sweeps.find(INTERVAL_S / 2))

    async def wait_pinged(self) -> float:
        """Return when the peer has its next ping, to within a tenth of a second."""
        while (got := self.take()) != PING:
            assert got == b""
            await asyncio.sleep(0.1)
        return asyncio.get_running_loop().time()

    def take(self, size: int = 1024) -> bytes:
        """Return what the peer has got since the last time."""
        try:
            return self.peer.recv(size)
        except BlockingIOError:
            return b""


def run(scenario: Callable[[Pinged, Ending], Coroutine[Any, Any, None]]) -> None:
    """Run scenario with a fresh pair of sockets."""

    async def handler(request: object) -> Any:
        raise AssertionError("no request is sent")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        peer.setblocking(False)
        with peer:
            _, accepted = await loop.connect_accepted_socket(Server(handler), ours)
            ending = Ending()
            connection = WebSocketConnection(accepted, ending, max_message_bytes=1024)
            accepted.upgrade(connection)
            pinged = Pinged(peer, connection, accepted.sweeps)
            await scenario(pinged, ending)
            pinged.heartbeat.stop()
            connection.abort()
            await asyncio.sleep(1)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


def test_a_peer_that_only_answers_is_pinged_once_per_interval():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        times = [asyncio.get_running_loop().time()]
        for _ in range(5):
            times.append(await pinged.wait_pinged())
            pinged.peer.send(PONG)
        silences = [late - early for early, late in pairwise(times)]
        assert 0 < silences[0] <= INTERVAL_S
        assert {round(silence) for silence in silences[1:]} == {INTERVAL_S}
        assert ending.end is None

    run(scenario)


def test_a_peer_that_sends_by_itself_is_not_pinged():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        for _ in range(20):
            pinged.peer.send(b"\x81\x80" + KEY)
            await asyncio.sleep(INTERVAL_S / 2 - 1)
        assert pinged.take() == b""
        assert ending.end is None

    run(scenario)


def test_a_peer_that_is_silent_for_half_an_interval_after_a_ping_is_given_up():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        pinged_s = await pinged.wait_pinged()
        await asyncio.sleep(INTERVAL_S / 2 + 1)
        assert ending.end is not None
        at_s, code, text = ending.end
        assert round(at_s - pinged_s) == INTERVAL_S / 2
        assert (code, text) == (1006, "No PONG received after 10.0 seconds")

    run(scenario)


def test_a_part_of_a_message_is_a_sign_of_life():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        pinged.peer.send(b"\x82\xfe\x01\x00" + KEY)
        for _ in range(20):
            pinged.peer.send(b"x")
            await asyncio.sleep(INTERVAL_S / 2 - 1)
        assert ending.end is None

    run(scenario)


def test_reading_is_a_sign_of_life_while_a_ping_waits_behind_a_large_message():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        pinged.connection.send(BINARY, bytes(4 << 20))
        for _ in range(20):
            pinged.take(100_000)
            await asyncio.sleep(INTERVAL_S / 2 - 1)
        assert ending.end is None
        await asyncio.sleep(INTERVAL_S * 2 + 1)
        assert ending.end is not None

    run(scenario)


def test_a_peer_that_reads_is_not_given_up_because_as_much_is_sent_to_it_meanwhile():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        def send() -> None:
            pinged.connection.send(BINARY, bytes(300_000))

        ending.on_resumed = send
        send()
        for _ in range(40):
            pinged.take(100_000)
            await asyncio.sleep(INTERVAL_S / 2 - 1)
        assert ending.end is None

    run(scenario)


def test_a_peer_that_is_not_read_and_does_not_read_is_given_up():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        pinged.connection.pause_reading()
        await asyncio.sleep(10 * INTERVAL_S)
        assert ending.end is None
        pinged.connection.send(BINARY, bytes(4 << 20))
        await asyncio.sleep(INTERVAL_S * 2 + 1)
        assert ending.end is not None

    run(scenario)


def test_what_came_before_the_ping_is_no_answer_to_it():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        pinged.peer.send(PONG)
        await asyncio.sleep(INTERVAL_S * 1.5 + 1)
        assert ending.end is not None

    run(scenario)


def test_a_heartbeat_that_was_stopped_neither_pings_nor_gives_up():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        pinged.heartbeat.stop()
        await asyncio.sleep(10 * INTERVAL_S)
        assert pinged.take() == b""
        assert ending.end is None

    run(scenario)


def test_a_connection_that_closes_is_left_to_the_closing_handshake():
    async def scenario(pinged: Pinged, ending: Ending) -> None:
        await pinged.wait_pinged()
        await asyncio.sleep(5)
        pinged.connection.close()
        await asyncio.sleep(7)
        assert pinged.take() == b"\x88\x02\x03\xe8"
        assert ending.end is None

    run(scenario)
