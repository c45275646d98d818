"""TLS over real sockets: what a handler sees of it, and peers that do it wrong or not at all."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect

from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.runner import BaseSite, ServerRunner, SockSite, TCPSite, UnixSite
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from gateway.web.websocket.response import WebSocketResponse, WSMsgType
from tests.gateway.web.ledger import Watched, complaining, eventually, reset, turns, watched

GET = b"GET /%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BIG = 4 << 20
AUTHORITY = trustme.CA()


def server_context(*, wants_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    if wants_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        AUTHORITY.configure_trust(context)
    return context


def client_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    return context


class Handlers:
    """Handlers by path."""

    def __init__(self) -> None:
        self.begun_count = 0

    async def __call__(self, request: BaseRequest) -> Any:
        self.begun_count += 1
        return await getattr(self, request.path[1:])(request)

    async def about(self, request: BaseRequest) -> Any:
        certificate = request.get_extra_info("peercert") or {}
        names = [value for part in certificate.get("subject", ()) for _, value in part]
        cipher = request.get_extra_info("cipher")
        about = (request.scheme, request.secure, str(request.url), cipher[1], names)
        return Response(text=repr(about))

    async def echo(self, request: BaseRequest) -> Any:
        response = StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    async def flood(self, request: BaseRequest) -> Any:
        response = StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async def drip(self, request: BaseRequest) -> Any:
        response = StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.001)

    async def fail(self, request: BaseRequest) -> Any:
        response = StreamResponse()
        await response.prepare(request)
        await response.write(b"piece")
        raise ValueError

    async def chat(self, request: BaseRequest) -> Any:
        websocket = WebSocketResponse(max_msg_size=0)
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
        return websocket


@asynccontextmanager
async def encrypted(
    *, wants_certificate: bool = False, **options: Any
) -> AsyncIterator[tuple[Watched, Handlers]]:
    handlers = Handlers()
    context = server_context(wants_certificate=wants_certificate)
    async with watched(handlers, ssl_context=context, **options) as attack:
        yield attack, handlers


async def ask(attack: Watched, context: ssl.SSLContext, wire: bytes) -> bytes:
    """Return all that is answered until the server closes."""
    reader, writer = await asyncio.open_connection(
        *attack.address, ssl=context, server_hostname="localhost"
    )
    writer.write(wire)
    answer = await reader.read()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return answer.rpartition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_handler_sees_that_it_is_encrypted(version: ssl.TLSVersion) -> None:
    context = client_context(version)
    async with encrypted() as (attack, _):
        about = await ask(attack, context, GET % b"about")
    named = {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    assert about.decode() == repr(("https", True, "https://localhost/about", named, []))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_handler_sees_the_certificate_of_its_peer(version: ssl.TLSVersion) -> None:
    context = client_context(version)
    AUTHORITY.issue_cert("peer@example.org", common_name="the peer").configure_cert(context)
    async with encrypted(wants_certificate=True) as (attack, _):
        about = await ask(attack, context, GET % b"about")
    assert b"'the peer'" in about


async def test_a_peer_without_a_certificate_is_not_heard_where_one_is_wanted() -> None:
    context = client_context(ssl.TLSVersion.TLSv1_2)
    async with encrypted(wants_certificate=True) as (attack, handlers):
        with pytest.raises(OSError):  # noqa: PT011 - an alert, or a reset that overtakes it
            await ask(attack, context, GET % b"about")
        assert handlers.begun_count == 0


async def test_a_peer_that_does_not_trust_the_certificate_is_no_error() -> None:
    async with encrypted() as (attack, _):
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(attack, ssl.create_default_context(), GET % b"about")


async def test_large_bodies_and_streams_pass_through() -> None:
    head = b"POST /echo HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % BIG
    body = bytes(range(256)) * (BIG // 256)
    context = client_context()
    async with encrypted() as (attack, _):
        assert await ask(attack, context, head + body) == body


async def test_websockets_pass_through() -> None:
    async with encrypted() as (attack, _):
        url = f"wss://localhost:{attack.address[1]}/chat"
        async with connect(url, ssl=client_context(), max_size=None, compression=None) as peer:
            for message in (b"", b"x" * 126, bytes(BIG)):
                await peer.send(message)
                assert await peer.recv() == message
        del peer
        await turns()


@pytest.mark.parametrize("end", [reset, socket.socket.close])
async def test_a_handler_knows_its_peer_after_it_left(end: Any) -> None:
    known: list[object] = []

    async def handler(request: BaseRequest) -> Any:
        known.append(None)
        await eventually(lambda: request.transport is None)
        await turns(20)
        known.extend([request.remote, request.scheme, request.host])
        request.protocol.asyncio_transport.close()
        return Response()

    context = client_context()
    async with watched(handler, ssl_context=server_context()) as attack:
        peer = Peer(attack.connect(), context)
        await peer.shake_hands()
        await peer.write(b"GET / HTTP/1.0\r\n\r\n")
        await eventually(lambda: bool(known))
        end(peer.client)
        del peer
        await attack.gone()
    assert known[1:] == ["127.0.0.1", "https", "127.0.0.1"]


# --- peers that do it wrong -----------------------------------------------------------------------


async def test_a_peer_that_speaks_no_tls_is_no_error() -> None:
    async with encrypted() as (attack, handlers):
        for wire in (GET % b"about", bytes(300), b"\x16\x03\x01\x00\x05hello" * 9):
            client = attack.connect(wire)
            client.settimeout(0)
            with suppress(OSError):
                while await asyncio.get_running_loop().sock_recv(client, 65536):
                    pass
            client.close()
        assert handlers.begun_count == 0


@pytest.mark.parametrize("kind", ["tcp", "unix", "socket"])
async def test_a_handshake_that_does_not_end_ends_with_the_timeout_for_heads(
    kind: str, tmp_path: Path
) -> None:
    async with complaining() as complaints:
        runner = ServerRunner(Server(Handlers(), access_log=None, head_timeout_s=0.05))
        await runner.setup()
        context = server_context()
        site: BaseSite
        if kind == "tcp":
            site = TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        elif kind == "unix":
            site = UnixSite(runner, tmp_path / "s", ssl_context=context)
        else:
            bound = socket.create_server(("127.0.0.1", 0))
            site = SockSite(runner, bound, ssl_context=context)
        await site.start()
        client = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
        client.connect(runner.addresses[0])  # type: ignore[arg-type]
        reader, writer = await asyncio.open_connection(sock=client)
        writer.write(b"\x16\x03\x01\x02\x00")
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
        await runner.cleanup()
        assert complaints.messages == []


class Peer:
    """A peer that speaks TLS by hand, so that it can stop anywhere."""

    def __init__(self, client: socket.socket, context: ssl.SSLContext) -> None:
        self.client = client
        self.client.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    async def shake_hands(self, *, flights: int = 9) -> None:
        """Exchange so many flights of the handshake at most."""
        for _ in range(flights):
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send()
                await self._receive()
            else:
                break
        await self._send()

    async def write(self, data: bytes) -> None:
        self._tls.write(data)
        await self._send()

    async def read_some(self) -> None:
        with suppress(ssl.SSLWantReadError):
            await self._receive()
            self._tls.read(65536)

    async def say_goodbye(self) -> None:
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._send()

    async def _send(self) -> None:
        if data := self._outgoing.read():
            await asyncio.get_running_loop().sock_sendall(self.client, data)

    async def _receive(self) -> None:
        self._incoming.write(await asyncio.get_running_loop().sock_recv(self.client, 65536))


@pytest.mark.parametrize("end", [reset, socket.socket.close])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_peer_may_go_in_the_middle_of_the_handshake(
    end: Any, version: ssl.TLSVersion
) -> None:
    context = client_context(version)
    async with encrypted() as (attack, handlers):
        for flights in range(3):
            for size in (1, 5, 50, 1000):
                peer = Peer(attack.connect(), context)
                await peer.shake_hands(flights=flights)
                if not flights:
                    await asyncio.get_running_loop().sock_sendall(
                        peer.client, (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 99)[:size]
                    )
                await turns()
                end(peer.client)
                del peer
        assert handlers.begun_count == 0
        await turns(20)


@pytest.mark.parametrize("end", ["reset", "close", "goodbye"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("is_cancelling", [False, True])
async def test_a_peer_may_go_at_any_stage_of_a_request(
    end: str, version: ssl.TLSVersion, is_cancelling: bool
) -> None:
    context = client_context(version)
    post = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    wires = [
        *(b"", b"\0", b"GET", post[:-2], post, post + b"12345", post + b"123456789" + post),
        *(GET % b"flood", GET % b"drip", HANDSHAKE[:-2], HANDSHAKE, HANDSHAKE + b"\x82\x85"),
        *(HANDSHAKE + b"\x88\x80\0\0\0\0", HANDSHAKE + b"\x83\x80\0\0\0\0"),
    ]
    async with encrypted(handler_cancellation=is_cancelling) as (attack, _):
        for wire in wires:
            peer = Peer(attack.connect(), context)
            await peer.shake_hands()
            await eventually(lambda: len(attack.server.connections) == 1)
            if wire:
                await peer.write(wire)
                await attack.heard()
                await turns()
            if end == "goodbye":
                await peer.say_goodbye()
                peer.client.close()
            else:
                (reset if end == "reset" else socket.socket.close)(peer.client)
            del peer
            await attack.gone()


async def test_a_handler_that_fails_ends_its_connection_visibly() -> None:
    context = client_context()
    handlers = Handlers()
    logged = ("Error handling request from 127.0.0.1",)
    async with watched(handlers, ssl_context=server_context(), expected=logged) as attack:
        answer = await ask(attack, context, (GET % b"fail") + GET % b"about")
    assert answer == b"5\r\npiece\r\n"


@pytest.mark.parametrize("path", [b"flood", b"drip"])
async def test_a_shutdown_ends_encrypted_connections_whatever_their_peers_do(path: bytes) -> None:
    context = client_context()
    async with encrypted() as (attack, handlers):
        peers = [Peer(attack.connect(), context) for _ in range(4)]
        for peer, wire in zip(peers, (b"", b"GET", GET % path, HANDSHAKE), strict=True):
            await peer.shake_hands()
            if wire:
                await peer.write(wire)
        await eventually(lambda: handlers.begun_count == 2)
        await attack.server.shutdown(0.05)
        assert attack.server.connections == []
        await attack.gone()
        for peer in peers:
            peer.client.close()
        del peer
        peers.clear()
