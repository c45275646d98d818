"""IPv6, Unix sockets, shared ports and ready-made sockets: what handlers and programs see."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect, unix_connect

from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.runner import BaseSite, ServerRunner, SockSite, TCPSite, UnixSite
from gateway.web.server import Server
from gateway.web.websocket.response import WebSocketResponse
from tests.gateway.web.ledger import complaining, eventually

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HOSTLESS = b"GET / HTTP/1.0\r\n\r\n"


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


# A machine for continuous integration has IPv6, or the tests of it would never run.
needs_ipv6 = pytest.mark.skipif(
    not has_ipv6() and "CI" not in os.environ, reason="this machine has no IPv6"
)


async def about(request: BaseRequest) -> Any:
    """Answer what the request knows of addresses, or echo a WebSocket."""
    if "Upgrade" in request.headers:
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(f"{request.remote} {message.data}")
        return websocket
    return Response(text=f"{request.remote} {request.host} {request.url}")


@pytest.fixture
async def runner() -> AsyncIterator[ServerRunner]:
    async with complaining() as complaints:
        runner = ServerRunner(Server(about, access_log=None), shutdown_timeout=1)
        await runner.setup()
        yield runner
        await runner.cleanup()
        assert complaints.messages == []


async def talk(streams: Any, wire: bytes) -> str:
    """Return the body of the answer to wire."""
    reader, writer = await streams
    with contextlib.closing(writer):
        writer.write(wire)
        answer: bytes = await reader.read()
    return answer.rpartition(b"\r\n\r\n")[2].decode()


@needs_ipv6
async def test_an_ipv6_site_has_its_address_in_brackets_and_its_peers_without(
    runner: ServerRunner,
) -> None:
    site = TCPSite(runner, "::1", 0)
    await site.start()
    assert site.name == f"http://[::1]:{site.port}"
    assert runner.addresses == [("::1", site.port, 0, 0)]
    wire = GET.replace(b"Host: a", b"Host: [::1]:%d" % site.port)
    answer = await talk(asyncio.open_connection("::1", site.port), wire)
    assert answer == f"::1 [::1]:{site.port} http://[::1]:{site.port}/"
    async with connect(f"ws://[::1]:{site.port}/") as peer:
        await peer.send("hello")
        assert await peer.recv() == "::1 hello"


@needs_ipv6
async def test_an_ipv6_peer_that_names_no_host_gets_a_url_that_can_be_read(
    runner: ServerRunner,
) -> None:
    site = TCPSite(runner, "::1", 0)
    await site.start()
    answer = await talk(asyncio.open_connection("::1", site.port), HOSTLESS)
    assert answer == "::1 [::1] http://[::1]/"


@needs_ipv6
@pytest.mark.parametrize("host", [None, "localhost", ""])
async def test_a_site_on_all_addresses_of_a_host_serves_on_each(
    runner: ServerRunner, host: str | None
) -> None:
    site = TCPSite(runner, host, 0)
    await site.start()
    for address in runner.addresses:
        assert isinstance(address, tuple)
        family = "::1" if len(address) == 4 else "127.0.0.1"
        answer = await talk(asyncio.open_connection(family, address[1]), GET)
        assert answer == f"{family} a http://a/"


async def test_two_sites_share_a_port_where_they_may(runner: ServerRunner) -> None:
    first = TCPSite(runner, "127.0.0.1", 0, reuse_port=True)
    await first.start()
    second = TCPSite(runner, "127.0.0.1", first.port, reuse_port=True, backlog=1)
    await second.start()
    assert runner.addresses == [("127.0.0.1", first.port)] * 2
    port = first.port
    for _ in range(20):
        answer = await talk(asyncio.open_connection("127.0.0.1", port), GET)
        assert answer.startswith("127.0.0.1 ")
    await first.stop()
    answer = await talk(asyncio.open_connection("127.0.0.1", port), GET)
    assert answer.startswith("127.0.0.1 ")


async def test_two_sites_do_not_share_a_port_otherwise(runner: ServerRunner) -> None:
    first = TCPSite(runner, "127.0.0.1", 0)
    await first.start()
    with pytest.raises(OSError, match=r"(?i)address"):
        await TCPSite(runner, "127.0.0.1", first.port, reuse_port=True).start()


async def test_a_unix_socket_has_no_remote_address(runner: ServerRunner, tmp_path: Path) -> None:
    await UnixSite(runner, tmp_path / "s").start()
    answer = await talk(asyncio.open_unix_connection(tmp_path / "s"), GET)
    assert answer == " a http://a/"
    answer = await talk(asyncio.open_unix_connection(tmp_path / "s"), HOSTLESS)
    assert answer == " localhost http://localhost/"
    async with unix_connect(str(tmp_path / "s")) as peer:
        await peer.send("hello")
        assert await peer.recv() == " hello"


@pytest.mark.parametrize("is_stale", [True, False])
async def test_a_unix_socket_replaces_what_an_earlier_process_left(
    runner: ServerRunner, tmp_path: Path, is_stale: bool
) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / "s"))
        if not is_stale:
            old.listen()
        await UnixSite(runner, str(tmp_path / "s")).start()
        answer = await talk(asyncio.open_unix_connection(tmp_path / "s"), GET)
    assert answer == " a http://a/"


async def test_a_unix_socket_does_not_replace_a_file(runner: ServerRunner, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match=r"(?i)in use"):
        await UnixSite(runner, tmp_path / "s").start()
    assert (tmp_path / "s").read_text() == "precious"
    assert runner.sites == set()


@pytest.mark.parametrize("kind", ["unix", "socket"])
async def test_tls_works_on_every_kind_of_site(
    runner: ServerRunner, tmp_path: Path, kind: str
) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    options: dict[str, Any] = {"ssl": client_context, "server_hostname": "localhost"}
    site: BaseSite
    if kind == "unix":
        site = UnixSite(runner, tmp_path / "s", ssl_context=server_context)
        await site.start()
        streams = asyncio.open_unix_connection(tmp_path / "s", **options)
        assert site.name == f"https://unix:{tmp_path / 's'}:"
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        site = SockSite(runner, listener, ssl_context=server_context)
        await site.start()
        streams = asyncio.open_connection(*listener.getsockname(), **options)
        assert site.name == f"https://127.0.0.1:{listener.getsockname()[1]}"
    assert (await talk(streams, GET)).endswith(" a https://a/")


async def test_more_peers_than_the_backlog_are_all_served_in_the_end(
    runner: ServerRunner,
) -> None:
    site = TCPSite(runner, "127.0.0.1", 0, backlog=2)
    await site.start()
    asking = [talk(asyncio.open_connection("127.0.0.1", site.port), GET) for _ in range(20)]
    assert await asyncio.gather(*asking) == ["127.0.0.1 a http://a/"] * 20


async def test_a_connection_outlives_its_site_and_ends_with_the_runner(
    runner: ServerRunner, tmp_path: Path
) -> None:
    site = UnixSite(runner, tmp_path / "s")
    await site.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    assert runner.server is not None
    server = runner.server
    await eventually(lambda: len(server.connections) == 1)
    await site.stop()
    assert len(server.connections) == 1
    await runner.cleanup()
    assert await reader.read() == b""
    writer.close()
