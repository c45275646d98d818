"""Runners and sites, with real listeners on port 0 of the loopback."""

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from gateway.web.exceptions import GracefulExit
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.runner import ServerRunner, SockSite, TCPSite, UnixSite
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def handler(request: BaseRequest) -> StreamResponse:
    return Response(text=request.scheme)


@pytest.fixture
async def runner() -> AsyncIterator[ServerRunner]:
    runner = ServerRunner(Server(handler, access_log=None))
    await runner.setup()
    yield runner
    await runner.cleanup()


async def fetch(host: str, port: int, ssl_context: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=ssl_context)
    with closing(writer):
        writer.write(GET)
        answer = await reader.read()
    return answer.rpartition(b"\r\n\r\n")[2]


async def test_a_site_serves_between_start_and_stop(runner: ServerRunner) -> None:
    site = TCPSite(runner, "127.0.0.1", 0)
    assert (runner.sites, runner.addresses) == (set(), [])

    await site.start()
    assert runner.sites == {site}
    assert runner.addresses == [("127.0.0.1", site.port)]
    assert await fetch("127.0.0.1", site.port) == b"http"
    port = site.port

    await site.stop()
    assert (runner.sites, runner.addresses) == (set(), [])
    with pytest.raises(OSError, match=r"(?i)connect"):
        await fetch("127.0.0.1", port)


async def test_a_stopped_site_can_be_started_again(runner: ServerRunner) -> None:
    site = TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await site.stop()
    await site.start()

    assert await fetch("127.0.0.1", site.port) == b"http"


async def test_stopping_a_site_leaves_its_open_connections(runner: ServerRunner) -> None:
    site = TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    with closing(writer):
        writer.write(GET.replace(b"Connection: close\r\n", b""))
        await reader.readuntil(b"\r\n\r\nhttp")

        await site.stop()
        writer.write(GET)

        assert (await reader.read()).endswith(b"\r\n\r\nhttp")


async def test_the_addresses_are_in_the_order_in_which_sites_started(
    runner: ServerRunner,
) -> None:
    sites = [TCPSite(runner, "127.0.0.1", 0) for _ in range(3)]
    for site in reversed(sites):
        await site.start()

    assert runner.addresses == [("127.0.0.1", site.port) for site in reversed(sites)]


async def test_a_set_of_sites_taken_from_a_runner_is_a_copy(runner: ServerRunner) -> None:
    await TCPSite(runner, "127.0.0.1", 0).start()

    runner.sites.clear()

    assert len(runner.sites) == 1


async def test_a_unix_site_serves_at_its_path(runner: ServerRunner, tmp_path: Path) -> None:
    path = tmp_path / "s"
    site = UnixSite(runner, path)
    await site.start()

    reader, writer = await asyncio.open_unix_connection(path)
    with closing(writer):
        writer.write(GET)
        assert (await reader.read()).endswith(b"\r\n\r\nhttp")
    assert site.name == f"http://unix:{path}:"
    assert runner.addresses == [str(path)]


@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_a_socket_site_serves_on_a_socket_that_is_bound_already(
    runner: ServerRunner, tmp_path: Path, family: str
) -> None:
    if family == "tcp":
        sock = socket.create_server(("127.0.0.1", 0))
        name = f"http://127.0.0.1:{sock.getsockname()[1]}"
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(tmp_path / "s"))
        name = f"http://unix:{tmp_path / 's'}:"
    site = SockSite(runner, sock)
    await site.start()

    with socket.socket(sock.family) as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, sock.getsockname())
        reader, writer = await asyncio.open_connection(sock=client)
        with closing(writer):
            writer.write(GET)
            assert (await reader.read()).endswith(b"\r\n\r\nhttp")
    assert site.name == name


async def test_tls_is_https_to_handler_and_name(runner: ServerRunner) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    site = TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context)
    await site.start()

    assert await fetch("127.0.0.1", site.port, client_context) == b"https"
    assert site.name == f"https://127.0.0.1:{site.port}"


@pytest.mark.parametrize(
    ("host", "port", "has_tls", "name"),
    [
        (None, None, False, "http://0.0.0.0:8080"),
        (None, None, True, "https://0.0.0.0:8443"),
        ("localhost", 80, False, "http://localhost"),
        ("localhost", 443, True, "https://localhost"),
        ("::1", 8000, False, "http://[::1]:8000"),
        ("127.0.0.1", 0, False, "http://127.0.0.1:0"),
    ],
)
async def test_a_site_is_named_by_its_url_before_it_starts(
    runner: ServerRunner, host: str | None, port: int | None, has_tls: bool, name: str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if has_tls else None

    assert TCPSite(runner, host, port, ssl_context=context).name == name


async def test_the_name_tells_the_port_that_was_found(runner: ServerRunner) -> None:
    site = TCPSite(runner, "127.0.0.1", 0)
    await site.start()

    ((_, port),) = runner.addresses

    assert port > 0
    assert (site.port, site.name) == (port, f"http://127.0.0.1:{port}")


async def test_runners_are_made_of_servers_and_sites_after_setup() -> None:
    with pytest.raises(TypeError, match=r"Server\(handler\)"):
        ServerRunner(handler)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="setup"):
        TCPSite(ServerRunner(Server(handler)))


async def test_a_site_starts_once_and_stops_once(runner: ServerRunner) -> None:
    site = TCPSite(runner, "127.0.0.1", 0)

    with pytest.raises(RuntimeError, match="not started"):
        await site.stop()
    await site.start()
    with pytest.raises(RuntimeError, match="already started"):
        await site.start()
    await site.stop()
    with pytest.raises(RuntimeError, match="not started"):
        await site.stop()


async def test_a_site_that_finds_its_place_taken_is_not_started(runner: ServerRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site = TCPSite(runner, "127.0.0.1", taken.getsockname()[1])

        with pytest.raises(OSError, match=r"(?i)address"):
            await site.start()

    assert runner.sites == set()
    await site.start()
    assert await fetch("127.0.0.1", site.port) == b"http"


async def test_a_site_does_not_outlive_its_runner() -> None:
    runner = ServerRunner(Server(handler))
    await runner.setup()
    site = TCPSite(runner, "127.0.0.1", 0)
    await runner.cleanup()

    with pytest.raises(RuntimeError, match="cleaned up"):
        await site.start()
    assert runner.sites == set()


async def test_a_timeout_given_to_a_site_warns_and_goes_to_the_runner(
    runner: ServerRunner,
) -> None:
    with pytest.warns(DeprecationWarning, match="runner") as warned:
        TCPSite(runner, shutdown_timeout=5)

    assert runner.shutdown_timeout == 5
    assert warned[0].filename == __file__


async def test_the_server_is_there_from_setup_to_cleanup() -> None:
    server = Server(handler)
    runner = ServerRunner(server)
    assert runner.server is None

    await runner.setup()
    assert runner.server is server

    await runner.cleanup()
    assert runner.server is None


async def test_a_runner_that_was_not_set_up_can_be_cleaned_up() -> None:
    await ServerRunner(Server(handler)).cleanup()


async def test_cleanup_stops_listening_then_idles_then_calls_the_hook_then_waits() -> None:
    order: list[str] = []
    is_handling, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: BaseRequest) -> StreamResponse:
        is_handling.set()
        await go_on.wait()
        order.append("handler done")
        return Response(text="late")

    class Hooked(ServerRunner):
        async def shutdown(self) -> None:
            assert runner.sites == set()
            assert await idle_reader.read() == b""
            order.append("hook")
            go_on.set()

    runner = Hooked(Server(slow, access_log=None))
    await runner.setup()
    site = TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", site.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    with closing(writer), closing(idle_writer):
        writer.write(GET)
        await is_handling.wait()

        await runner.cleanup()

        assert (await reader.read()).endswith(b"\r\n\r\nlate")
    assert order == ["hook", "handler done"]


async def test_a_request_that_came_before_cleanup_is_answered() -> None:
    runner = ServerRunner(Server(handler, access_log=None))
    await runner.setup()
    site = TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    with closing(writer):
        writer.write(GET)  # written at once, so it waits in the server's socket

        await runner.cleanup()

        assert (await reader.read()).endswith(b"\r\n\r\nhttp")


async def test_a_handler_that_takes_longer_than_the_timeout_is_cancelled() -> None:
    is_handling = asyncio.Event()
    ended: list[str] = []

    async def endless(request: BaseRequest) -> StreamResponse:
        is_handling.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return Response()

    runner = ServerRunner(Server(endless, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    site = TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    with closing(writer):
        writer.write(GET)
        await is_handling.wait()

        await runner.cleanup()

        assert await reader.read() == b""
    assert ended == ["cancelled"]


async def test_a_site_that_fails_to_stop_does_not_keep_the_signals() -> None:
    class Stuck(TCPSite):
        async def stop(self) -> None:
            await super().stop()
            raise OSError("stuck")

    runner = ServerRunner(Server(handler), handle_signals=True)
    await runner.setup()
    await Stuck(runner, "127.0.0.1", 0).start()

    with pytest.raises(OSError, match="stuck"):
        await runner.cleanup()

    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert runner.server is None


def test_a_graceful_exit_ends_the_process_with_1() -> None:
    assert issubclass(GracefulExit, SystemExit)
    assert GracefulExit().code == 1


# The shape of the program that the low-level server is for, with what the test needs to stop it.
PROGRAM = """
    import asyncio
    from gateway import web

    async def handler(request):
        return web.Response(text="OK")

    async def main():
        runner = web.ServerRunner(web.Server(handler), handle_signals=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(site.name, flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()
            print("clean", flush=True)

    asyncio.run(main())
"""


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_serves_until_a_signal_and_cleans_up(signal_number: signal.Signals) -> None:
    program = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        port = int(name.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(GET)
            with client.makefile("rb") as answer:
                assert answer.read().endswith(b"\r\n\r\nOK")
        process.send_signal(signal_number)
        rest = process.stdout.read()

    assert rest == "clean\n"
    assert process.returncode == 1


async def test_a_server_is_a_protocol_factory_of_its_own() -> None:
    server = Server(handler, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    with closing(listener):
        host, port = listener.sockets[0].getsockname()

        assert await fetch(host, port) == b"http"
    await server.shutdown()
