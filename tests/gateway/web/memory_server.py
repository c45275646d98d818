"""A server for test_memory.py, run as a process: python memory_server.py LOOP CERTIFICATE

It prints its two ports, the second one with TLS, and tells at /report what it holds.
"""

import asyncio
import gc
import os
import socket
import ssl
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from gateway import web

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PACKAGES = ("gateway.", "protocol.", "httptools.")
# So that an answer of 80 kB is more than the kernel takes, for a peer that does not read.
KERNEL_BYTES = 4096


def count_objects() -> Counter[str]:
    """Return how many objects of our types there are, and how many tasks and transports."""
    gc.collect()
    kinds = (type(thing) for thing in gc.get_objects())
    names = Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    ours = {name: count for name, count in names.items() if name.startswith(PACKAGES)}
    others = {"_asyncio.Task", "asyncio.sslproto.SSLProtocol", "uvloop.loop.SSLProtocol"}
    return Counter(ours | {name: names[name] for name in others if name in names})


def measure_resident() -> int:
    """Return how many bytes of memory this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * PAGE_BYTES


class Handlers:
    """Handlers by path."""

    def __init__(self) -> None:
        self.server: web.Server | None = None

    async def __call__(self, request: web.BaseRequest) -> Any:
        return await getattr(self, request.path[1:])(request)

    async def report(self, request: web.BaseRequest) -> Any:
        assert self.server is not None
        held = self.server._connections  # noqa: SLF001 - connections leaves out the closed ones
        report: dict[str, Any] = {"connections": len(held)}
        report["files"] = len(os.listdir("/proc/self/fd"))
        if request.query_string == "memory":
            report["objects"] = count_objects()
            report["resident_bytes"] = measure_resident()
        return web.json_response(report)

    async def read(self, request: web.BaseRequest) -> Any:
        return web.Response(body=await request.read())

    async def wait(self, request: web.BaseRequest) -> Any:
        await asyncio.Event().wait()

    async def large(self, request: web.BaseRequest) -> Any:
        return web.Response(body=bytes(80_000))

    async def chat(self, request: web.BaseRequest) -> Any:
        websocket = web.WebSocketResponse(autoclose=False)
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(str(message.data))
        await asyncio.Event().wait()


async def main(certificate: str) -> None:
    handlers = Handlers()
    server = web.Server(handlers, handler_cancellation=True, access_log=None)
    handlers.server = server
    runner = web.ServerRunner(server)
    await runner.setup()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    ports = []
    for ssl_context in (None, context):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        listener.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listener, ssl_context=ssl_context, backlog=4096).start()
        ports.append(listener.getsockname()[1])
    print(*ports, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    if sys.argv[1] == "uvloop":
        import uvloop

        uvloop.run(main(sys.argv[2]))
    else:
        asyncio.run(main(sys.argv[2]))
