"""Peers that send or ask for too much: what they cost is bounded, and others are served meanwhile.

Memory is that of Python objects, at its peak, as tracemalloc counts it: beside what a flood may
take, a page of noise.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.web import server as server_module
from gateway.web.conversation import MAX_WAITING_BYTES
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.stream_response import StreamResponse
from gateway.web.websocket.connection import MAX_BACKLOG_BYTES
from gateway.web.websocket.inbox import MAX_INBOX_BYTES
from gateway.web.websocket.response import DEFAULT_WRITER_LIMIT_BYTES, WebSocketResponse
from protocol.websocket import MAX_FRAGMENT_COUNT
from tests.gateway.web.ledger import Watched, eventually, watched

MIB = 1 << 20
# What one read may bring (asyncio's and uvloop's 256 KiB), as it came and parsed, and what the test
# itself holds: its pieces to send, its other client, tracemalloc's own view of everything.
NOISE_BYTES = 2 * MIB
# The smallest frames that one read may bring, as objects.
FRAMES_OF_A_READ_BYTES = 256 * 1024 // 6 * 80
# asyncio's high-water mark for writing.
HIGH_WATER_BYTES = 64 * 1024
GET = b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /quick HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HANDSHAKE = (
    b"GET /%s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CHUNKED = b"POST /%s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n"
MASK = bytes(4)


class Handlers:
    """Handlers by path."""

    async def __call__(self, request: BaseRequest) -> Any:
        return await getattr(self, request.path[1:])(request)

    async def quick(self, request: BaseRequest) -> Any:
        return Response(text="quick")

    async def large(self, request: BaseRequest) -> Any:
        return Response(body=bytes(1 << 16))

    async def waiting(self, request: BaseRequest) -> Any:
        await asyncio.Event().wait()

    async def counting(self, request: BaseRequest) -> Any:
        count = 0
        async for piece in request.content.iter_any():
            count += len(piece)
        return Response(text=str(count))

    async def streaming(self, request: BaseRequest) -> Any:
        response = StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1000))

    async def deaf(self, request: BaseRequest) -> Any:
        await WebSocketResponse().prepare(request)
        await asyncio.Event().wait()

    async def echoing(self, request: BaseRequest) -> Any:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(str(message.data))
        return websocket

    async def shouting(self, request: BaseRequest) -> Any:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        while True:
            await websocket.send_bytes(bytes(1000))


@pytest.fixture
def peak() -> Iterator[Any]:
    """Return what tells by how many bytes the memory of Python objects grew at most."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    yield lambda: tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()


class Flood:
    """A peer that sends the same again and again, as fast as it can, and never reads."""

    def __init__(self, attack: Watched, first: bytes, again: bytes, size: int = 16 * MIB) -> None:
        self.sent_bytes = 0
        self.client = socket.socket()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.client.connect(attack.address)
        self.client.setblocking(False)
        self._piece = again * max(1, 65536 // len(again)) if again else b""
        self._size = size
        self.task = asyncio.create_task(self._send(first))

    async def _send(self, first: bytes) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(self.client, first)
            while self._piece and self.sent_bytes < self._size:
                await loop.sock_sendall(self.client, self._piece)
                self.sent_bytes += len(self._piece)

    async def stalled(self) -> None:
        """Wait until everything is sent, or until no more is taken for quite a few turns."""
        calm_count = last_bytes = 0
        while calm_count < 20 and not self.task.done():
            await asyncio.sleep(0.002)
            calm_count = calm_count + 1 if self.sent_bytes == last_bytes else 0
            last_bytes = self.sent_bytes


@contextlib.asynccontextmanager
async def flooded(
    path: bytes, again: bytes, *, behind: bytes = b"", **options: Any
) -> AsyncIterator[tuple[Watched, Flood]]:
    """Flood a server until it takes no more; another client is served then."""
    async with watched(Handlers(), handler_cancellation=True, **options) as attack:
        flood = Flood(attack, path + behind, again)
        await flood.stalled()
        assert (await attack.ask(LAST)).endswith(b"quick")
        yield attack, flood
        flood.task.cancel()
        await asyncio.wait([flood.task])
        flood.client.close()
        del flood
        # Who does not read does not hear that its peer left: the handler has to end.
        await attack.server.shutdown(0.02)


# --- HTTP -----------------------------------------------------------------------------------------


async def test_requests_that_wait_for_a_slow_handler_are_bounded(peak: Any) -> None:
    async with flooded(GET.replace(b"quick", b"waiting"), GET):
        assert peak() < MAX_WAITING_BYTES + NOISE_BYTES


async def test_answers_that_are_not_read_are_bounded(peak: Any) -> None:
    async with flooded(GET, GET.replace(b"quick", b"large")):
        assert peak() < MAX_WAITING_BYTES + 3 * HIGH_WATER_BYTES + NOISE_BYTES


@pytest.mark.parametrize("head", [POST, CHUNKED], ids=["length", "chunks"])
@pytest.mark.parametrize("again", [b"1\r\nx\r\n", b"2000\r\n" + bytes(0x2000) + b"\r\n"])
async def test_a_body_that_nobody_reads_is_bounded(peak: Any, head: bytes, again: bytes) -> None:
    async with flooded(head % b"waiting", again):
        assert peak() < 3 * 64 * 1024 + NOISE_BYTES


async def test_a_body_in_tiny_chunks_is_read_in_bounded_memory(peak: Any) -> None:
    async with watched(Handlers()) as attack:
        count = 30_000
        tracemalloc.reset_peak()
        wire = CHUNKED % b"counting" + b"1;x\r\ny\r\n" * count + b"0\r\n\r\n"
        answer = await attack.ask(wire + LAST)
        assert b"\r\n\r\n30000HTTP/1.1 " in answer
        assert peak() < 3 * len(wire) + NOISE_BYTES  # the wire itself is the client's


@pytest.mark.parametrize(
    "again", [b"x" * 100, b"X: y\r\n", b"\r\n"], ids=["line", "fields", "empty"]
)
async def test_a_head_without_an_end_is_refused_early(peak: Any, again: bytes) -> None:
    first = b"" if again == b"\r\n" else GET[:-2]
    async with flooded(first, again, lingering_time=0.1) as (_, flood):
        assert peak() < NOISE_BYTES
        del flood


async def test_half_heads_are_answered_when_their_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.01)
    # Enough for the whole head that is asked for meanwhile, also on a busy machine.
    async with watched(Handlers(), head_timeout_s=0.5, lingering_time=0.05) as attack:
        clients = [attack.connect(GET[: 1 + number % 20]) for number in range(200)]
        assert (await attack.ask(LAST)).endswith(b"quick")
        await eventually(lambda: attack.ended_count == 201)
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 408 ")
            client.close()
        del client
        clients.clear()


async def test_a_head_that_trickles_in_has_no_more_time_than_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.01)
    async with watched(Handlers(), head_timeout_s=0.05, lingering_time=0.05) as attack:
        client = attack.connect(GET[:-2])
        with contextlib.suppress(ConnectionError):
            for number in range(10_000):
                client.sendall(b"X%d: y\r\n" % number)
                await asyncio.sleep(0.001)
                if attack.ended_count:
                    break
        assert attack.ended_count == 1
        client.close()


async def test_a_body_that_trickles_out_of_time_is_408_to_its_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.01)
    async with watched(Handlers(), body_timeout_s=0.05, lingering_time=0.05) as attack:
        assert (await attack.ask(POST % b"counting" + b"x")).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "wire",
    [GET.replace(b"quick", b"streaming"), HANDSHAKE % b"shouting"],
    ids=["body", "websocket"],
)
async def test_a_stream_that_is_not_read_is_bounded_and_ends(
    wire: bytes, peak: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "SWEEP_S", 0.01)
    async with watched(Handlers(), write_timeout_s=0.05) as attack:
        flood = Flood(attack, wire, b"")
        await eventually(lambda: attack.ended_count == 1)
        assert peak() < 3 * HIGH_WATER_BYTES + NOISE_BYTES
        await flood.task
        flood.client.close()
        del flood


PEER = """
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(sys.argv[2].encode())
while client.recv(1 << 20):
    pass
"""


@contextlib.contextmanager
def reading_peer(port: int, wire: bytes) -> Iterator[None]:
    """Run a process that sends wire and reads as fast as it can."""
    with subprocess.Popen([sys.executable, "-c", PEER, str(port), wire.decode()]) as process:
        yield
        process.kill()


@pytest.mark.parametrize("is_websocket", [False, True])
async def test_a_peer_that_reads_as_fast_as_it_is_written_to_leaves_others_their_turns(
    is_websocket: bool,
) -> None:
    async def handler(request: BaseRequest) -> Any:
        if request.path == "/quick":
            return Response(text="quick")
        response = WebSocketResponse() if is_websocket else StreamResponse()
        await response.prepare(request)
        begun.set()
        while True:
            if isinstance(response, WebSocketResponse):
                await response.send_str("x")
            else:
                await response.write(b"x")

    begun = asyncio.Event()
    wire = HANDSHAKE % b"endless" if is_websocket else GET.replace(b"quick", b"endless")
    async with watched(handler) as attack:
        with reading_peer(attack.address[1], wire):
            await begun.wait()
            for _ in range(20):
                assert (await attack.ask(LAST)).endswith(b"quick")


@pytest.mark.parametrize("length", [None, 3])
async def test_a_stream_of_which_nothing_is_sent_leaves_others_their_turns(
    length: int | None,
) -> None:
    async def handler(request: BaseRequest) -> Any:
        response = StreamResponse()
        response.content_length = length
        await response.prepare(request)
        if request.path == "/quick":
            return response
        while True:  # with a GET it waits for its peer, again and again
            await response.write(bytes(1000))

    method = b"HEAD" if length is None else b"GET"
    async with watched(handler) as attack:
        client = attack.connect(method + b" /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: attack.server.requests_count == 1)
        assert (await attack.ask(LAST)).startswith(b"HTTP/1.1 200 ")
        client.close()
        del client


async def test_connections_beyond_the_bound_are_dropped_and_those_within_live_on() -> None:
    dropped = ("Dropping new connections: there are max_connections=2",)
    async with watched(Handlers(), max_connections=2, expected=dropped) as attack:
        clients = [attack.connect(GET[:5]) for _ in range(2)]
        await attack.heard(2)
        for _ in range(50):
            attack.connect().close()
        await eventually(lambda: attack.made_count == 52)
        for client in clients:
            client.sendall(LAST[5:])
        await eventually(lambda: attack.server.requests_count == 2)
        for client in clients:
            assert client.recv(65536).endswith(b"quick")
            client.close()
        del client
        clients.clear()


# --- WebSocket ------------------------------------------------------------------------------------

PING = b"\x89\xfd" + MASK + bytes(125)
TEXT = b"\x81\xfd" + MASK + b"x" * 125


async def test_pings_of_a_peer_that_never_reads_are_bounded(peak: Any) -> None:
    async with flooded(HANDSHAKE % b"deaf", PING.replace(b"\xfd", b"\xfd")):
        assert peak() < MAX_BACKLOG_BYTES + HIGH_WATER_BYTES + NOISE_BYTES


async def test_messages_that_nobody_receives_are_bounded(peak: Any) -> None:
    async with flooded(HANDSHAKE % b"deaf", TEXT):
        # A message is an object, and weighs about as much again as it is counted for.
        assert peak() < 8 * MAX_INBOX_BYTES + NOISE_BYTES


async def test_empty_messages_that_nobody_receives_are_bounded(peak: Any) -> None:
    async with flooded(HANDSHAKE % b"deaf", b"\x81\x80" + MASK):
        assert peak() < 8 * MAX_INBOX_BYTES + 8 * MIB + NOISE_BYTES


async def test_replies_that_are_not_read_are_bounded(peak: Any) -> None:
    async with flooded(HANDSHAKE % b"echoing", TEXT):
        most = MAX_BACKLOG_BYTES + 8 * MAX_INBOX_BYTES + DEFAULT_WRITER_LIMIT_BYTES
        assert peak() < most + HIGH_WATER_BYTES + NOISE_BYTES


async def test_what_a_handler_sends_to_a_peer_that_never_reads_is_bounded(peak: Any) -> None:
    async with flooded(HANDSHAKE % b"shouting", b""):
        assert peak() < DEFAULT_WRITER_LIMIT_BYTES + 2 * HIGH_WATER_BYTES + NOISE_BYTES


async def test_a_message_of_empty_fragments_ends_with_1009(peak: Any) -> None:
    fragment = b"\x00\x80" + MASK
    async with flooded(HANDSHAKE % b"echoing", fragment, behind=b"\x01\x80" + MASK) as (_, flood):
        assert peak() < FRAMES_OF_A_READ_BYTES + NOISE_BYTES
        assert flood.sent_bytes > MAX_FRAGMENT_COUNT * len(fragment)
        answer = flood.client.recv(65536)
        del flood
    assert answer.partition(b"\r\n\r\n")[2][2:4] == (1009).to_bytes(2, "big")


@pytest.mark.parametrize(
    "announced", [5 * MIB, (1 << 31) + 5, (1 << 63) - 1], ids=["5 MiB", "2 GiB", "most"]
)
async def test_a_huge_frame_is_refused_by_its_head(peak: Any, announced: int) -> None:
    frame = b"\x82\xff" + announced.to_bytes(8, "big") + MASK
    async with flooded(HANDSHAKE % b"echoing", bytes(65536), behind=frame) as (_, flood):
        assert peak() < NOISE_BYTES
        with contextlib.suppress(BlockingIOError):
            answer = flood.client.recv(65536)
        del flood
    assert answer.partition(b"\r\n\r\n")[2][2:4] == (1009).to_bytes(2, "big")
