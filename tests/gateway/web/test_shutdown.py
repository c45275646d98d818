"""The end of a server: who is answered, who is waited for and who is dropped; nothing is left."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import pytest

from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.runner import ServerRunner, TCPSite
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from gateway.web.websocket.response import WebSocketResponse, WSMsgType
from tests.gateway.web.ledger import Watched, complaining, eventually, turns, watched

GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234"
HANDSHAKE = (
    b"GET /%s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
SOON_S = 0.05  # a shutdown timeout for those who will not finish within it


class Handlers:
    """Handlers by path, and what became of them."""

    def __init__(self) -> None:
        self.begun_count = 0
        self.ended: list[str] = []
        self.may_go_on = asyncio.Event()

    async def __call__(self, request: BaseRequest) -> Any:
        self.begun_count += 1
        try:
            return await getattr(self, request.path[1:])(request)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise

    async def quick(self, request: BaseRequest) -> Any:
        return Response(text="quick")

    async def waiting(self, request: BaseRequest) -> Any:
        await self.may_go_on.wait()
        return Response(text="waited")

    async def reading(self, request: BaseRequest) -> Any:
        return Response(body=await request.read())

    async def streaming(self, request: BaseRequest) -> Any:
        response = StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await self.may_go_on.wait()
        await response.write(b"last")
        return response

    async def flooding(self, request: BaseRequest) -> Any:
        response = StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 20))

    async def large(self, request: BaseRequest) -> Any:
        return Response(body=bytes(32 << 20))

    async def chatting(self, request: BaseRequest) -> Any:
        websocket = WebSocketResponse(timeout=60)
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
        self.ended.append(f"closed with {websocket.close_code}")
        return websocket

    async def closing(self, request: BaseRequest) -> Any:
        websocket = WebSocketResponse(timeout=60)
        await websocket.prepare(request)
        await websocket.close()
        return websocket

    async def shouting(self, request: BaseRequest) -> Any:
        websocket = WebSocketResponse(timeout=60)
        await websocket.prepare(request)
        while True:
            await websocket.send_bytes(bytes(1 << 20))

    async def stubborn(self, request: BaseRequest) -> Any:
        while not self.may_go_on.is_set():
            with suppress(asyncio.CancelledError):
                await self.may_go_on.wait()
        return Response(text="stubborn")


@asynccontextmanager
async def attacked(**options: Any) -> AsyncIterator[tuple[Watched, Handlers]]:
    handlers = Handlers()
    async with watched(handlers, **options) as attack:
        yield attack, handlers
        handlers.may_go_on.set()


def read_all(client: socket.socket) -> bytes:
    """Return what was sent to client until its peer closed, or reset."""
    answer = b""
    with suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            answer += data
    return answer


# What a peer has sent, and whether a handler runs for it.
STATES = {
    "nothing": (b"", 0),
    "half a head": (GET[:9], 0),
    "a request that was answered": (GET % b"quick", 1),
    "half a body": (POST % b"reading", 1),
    "half a body nobody reads": (POST % b"quick", 1),
    "a request": (GET % b"waiting", 1),
    "a pipelined request": (GET % b"waiting" + GET % b"quick", 1),
    "a stream": (GET % b"streaming", 1),
    "a stream that is not read": (GET % b"flooding", 1),
    "an answer that is not read": (GET % b"large", 1),
    "no request": (b"\0\0\0\0\r\n\r\n", 0),
    "a websocket": (HANDSHAKE % b"chatting", 1),
    "a websocket with half a frame": (HANDSHAKE % b"chatting" + b"\x81\x85\0", 1),
    "a websocket that was closed": (HANDSHAKE % b"chatting" + CLOSE, 1),
    "a websocket that is being closed": (HANDSHAKE % b"closing", 1),
    "a websocket that is not read": (HANDSHAKE % b"shouting", 1),
    "a broken websocket": (HANDSHAKE % b"chatting" + b"\x83\x80\0\0\0\0", 1),
}


@pytest.mark.parametrize("state", STATES)
async def test_a_shutdown_ends_a_connection_in_every_state(state: str) -> None:
    wire, handlers_count = STATES[state]
    async with attacked() as (attack, handlers):
        client = attack.connect(wire)
        if wire:
            await attack.heard()
        await eventually(lambda: handlers.begun_count == handlers_count)
        await turns(10)
        await attack.server.shutdown(SOON_S)
        assert attack.server.connections == []
        await attack.gone()
        read_all(client)
        client.close()


async def test_one_shutdown_ends_connections_in_all_states() -> None:
    async with attacked() as (attack, handlers):
        clients = [attack.connect(wire) for wire, _ in STATES.values()]
        await eventually(lambda: attack.made_count == len(clients))
        await eventually(lambda: handlers.begun_count == sum(n for _, n in STATES.values()))
        await turns(10)
        await attack.server.shutdown(SOON_S)
        await attack.gone()
        for client in clients:
            client.close()
        del client
        clients.clear()


@pytest.mark.parametrize("path", [b"waiting", b"streaming"])
async def test_handlers_that_finish_in_time_are_not_cancelled(path: bytes) -> None:
    async with attacked() as (attack, handlers):
        asking = asyncio.create_task(attack.ask(GET % path + GET % b"quick"))
        await eventually(lambda: handlers.begun_count == 1)
        ending = asyncio.create_task(attack.server.shutdown(60))
        await turns()
        handlers.may_go_on.set()
        await ending
        answer = await asking
        del ending, asking
        assert handlers.ended == []
    assert answer.endswith(b"waited" if path == b"waiting" else b"4\r\nlast\r\n0\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_body_that_arrives_during_the_shutdown_is_read_and_answered() -> None:
    async with attacked() as (attack, handlers):
        client = attack.connect(POST % b"reading")
        await eventually(lambda: handlers.begun_count == 1)
        ending = asyncio.create_task(attack.server.shutdown(60))
        await turns()
        client.sendall(b"56789")
        await ending
        del ending
        answer = read_all(client)
        client.close()
    assert answer.endswith(b"\r\n\r\n123456789")
    assert b"\r\nConnection: close\r\n" in answer


async def test_an_answer_that_is_read_slowly_is_waited_for() -> None:
    async with attacked() as (attack, handlers):
        reader, writer = await asyncio.open_connection(*attack.address)
        writer.write(GET % b"large")
        await eventually(lambda: handlers.begun_count == 1)
        await turns()
        ending = asyncio.create_task(attack.server.shutdown(60))
        answer = await reader.read()
        await ending
        writer.close()
        del reader, writer, ending
    assert len(answer) > 32 << 20


async def test_a_websocket_is_closed_with_1001_and_its_handler_finishes() -> None:
    async with attacked() as (attack, handlers):
        client = attack.connect(HANDSHAKE % b"chatting")
        await eventually(lambda: handlers.begun_count == 1)
        await turns()
        ending = asyncio.create_task(attack.server.shutdown(60))
        await turns()
        client.sendall(b"\x88\x82\0\0\0\0\x03\xe9")
        await ending
        del ending
        answer = read_all(client)
        client.close()
        assert handlers.ended == ["closed with 1001"]
    assert answer.endswith(b"\r\n\r\n\x88\x02\x03\xe9")


async def test_a_handler_that_ignores_cancelling_keeps_nobody_from_ending() -> None:
    async with attacked() as (attack, handlers):
        client = attack.connect(GET % b"stubborn")
        await eventually(lambda: handlers.begun_count == 1)
        await attack.server.shutdown(SOON_S)
        assert read_all(client) == b""
        client.close()
        handlers.may_go_on.set()
        await attack.gone()


async def test_two_shutdowns_at_once_both_end() -> None:
    async with attacked() as (attack, handlers):
        client = attack.connect(GET % b"waiting")
        await eventually(lambda: handlers.begun_count == 1)
        endings = [asyncio.create_task(attack.server.shutdown()) for _ in range(2)]
        await turns()
        handlers.may_go_on.set()
        await asyncio.wait_for(asyncio.gather(*endings), 30)
        endings.clear()
        client.close()


async def test_a_shutdown_that_is_cancelled_drops_every_connection() -> None:
    async with attacked() as (attack, handlers):
        client = attack.connect(GET % b"waiting")
        await eventually(lambda: handlers.begun_count == 1)
        ending = asyncio.create_task(attack.server.shutdown())
        await turns()
        ending.cancel()
        await asyncio.wait([ending])
        del ending
        await eventually(lambda: attack.server.connections == [])
        assert read_all(client) == b""
        client.close()
        handlers.may_go_on.set()


# --- runners --------------------------------------------------------------------------------------


@asynccontextmanager
async def running(handlers: Handlers) -> AsyncIterator[ServerRunner]:
    async with complaining() as complaints:
        runner = ServerRunner(Server(handlers, access_log=None), shutdown_timeout=SOON_S)
        await runner.setup()
        try:
            yield runner
        finally:
            handlers.may_go_on.set()
            await runner.cleanup()
        assert complaints.messages == []


async def ask(address: Any, wire: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address[:2])
    with closing(writer):
        writer.write(wire)
        return await reader.readuntil(b"\r\n\r\n")


async def test_a_runner_can_be_set_up_again() -> None:
    async with running(Handlers()) as runner:
        for _ in range(2):
            await TCPSite(runner, "127.0.0.1", 0).start()
            assert (await ask(runner.addresses[0], GET % b"quick")).startswith(b"HTTP/1.1 200 ")
            await runner.cleanup()
            await runner.cleanup()
            await runner.setup()


async def test_cleanups_at_once_both_end() -> None:
    handlers = Handlers()
    async with running(handlers) as runner:
        runner.shutdown_timeout = 60
        await TCPSite(runner, "127.0.0.1", 0).start()
        with socket.create_connection(runner.addresses[0]) as client:  # type: ignore[arg-type]
            client.sendall(GET % b"waiting")
            await eventually(lambda: handlers.begun_count == 1)
            cleanups = [asyncio.create_task(runner.cleanup()) for _ in range(2)]
            await turns()
            handlers.may_go_on.set()
            await asyncio.wait_for(asyncio.gather(*cleanups), 30)
            assert read_all(client).endswith(b"waited")


async def test_a_site_that_starts_while_its_runner_cleans_up_does_not_listen() -> None:
    async with running(Handlers()) as runner:
        site = TCPSite(runner, "localhost", 0)
        starting = asyncio.create_task(site.start())
        await asyncio.sleep(0)
        await runner.cleanup()
        with pytest.raises(RuntimeError, match="stopped while it started"):
            await starting
        assert (runner.sites, site.addresses) == (set(), [])


async def test_a_site_that_fails_to_stop_keeps_nothing_else_open() -> None:
    class Stuck(TCPSite):
        async def stop(self) -> None:
            await super().stop()
            raise OSError("stuck")

    handlers = Handlers()
    async with running(handlers) as runner:
        sites = [kind(runner, "127.0.0.1", 0) for kind in (TCPSite, Stuck, TCPSite)]
        for site in sites:
            await site.start()
        with socket.create_connection(runner.addresses[0]) as client:  # type: ignore[arg-type]
            client.sendall(GET % b"waiting")
            await eventually(lambda: handlers.begun_count == 1)
            with pytest.raises(OSError, match="stuck"):
                await runner.cleanup()
            assert read_all(client) == b""
        assert [site.addresses for site in sites] == [[], [], []]


async def test_a_hook_that_fails_keeps_no_connection() -> None:
    class Hooked(ServerRunner):
        async def shutdown(self) -> None:
            raise OSError("hook")

    handlers = Handlers()
    runner = Hooked(Server(handlers, access_log=None), shutdown_timeout=SOON_S)
    await runner.setup()
    await TCPSite(runner, "127.0.0.1", 0).start()
    with socket.create_connection(runner.addresses[0]) as client:  # type: ignore[arg-type]
        client.sendall(GET % b"waiting")
        await eventually(lambda: handlers.begun_count == 1)
        with pytest.raises(OSError, match="hook"):
            await runner.cleanup()
        assert read_all(client) == b""
    assert runner.server is None
