"""A server on several sites, with TLS, until it is told to stop."""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from gateway import web


async def handler(request: web.BaseRequest) -> web.Response:
    certificate = request.get_extra_info("peercert")
    lines = [request.scheme, request.remote or "-", "trusted" if certificate else "unknown"]
    transport = request.transport
    if transport is not None:
        name: object = transport.get_extra_info("sockname")
        lines.append("named" if name is not None else "nameless")
    return web.Response(text=" ".join(lines))


def make_server() -> web.Server:
    return web.Server(handler, access_log=None, tcp_keepalive=True, read_bufsize=2**15)


async def start(
    folder: Path, certificate: Path | None = None, key: Path | None = None
) -> web.ServerRunner:
    server = make_server()
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=3.0)
    await runner.setup()
    ssl_context: ssl.SSLContext | None = None
    if certificate is not None:
        ssl_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ssl_context.load_cert_chain(certificate, key)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sites: list[web.BaseSite] = [
        web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context, backlog=16, reuse_port=False),
        web.UnixSite(runner, folder / "socket"),
        web.SockSite(runner, sock),
    ]
    for site in sites:
        await site.start()
        print(site.name)
    assert runner.server is server
    assert len(runner.sites) == len(runner.addresses) == 3
    return runner


async def stop(runner: web.BaseRunner) -> None:
    for site in runner.sites:
        await site.stop()
    server = runner.server
    if server is not None:
        print(len(server.connections), "connections,", server.requests_count, "requests")
    await runner.cleanup()


async def serve_without_runner() -> None:
    server = web.Server(handler)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(server, "127.0.0.1", 8080)
    try:
        await asyncio.sleep(3600)
    finally:
        listener.close()
        await server.shutdown(10)


if __name__ == "__main__":
    with suppress(web.GracefulExit):
        asyncio.run(serve_without_runner())
