"""Thousands of connections dropped at every stage of a request leave a server's memory as it was.

The server is a process of its own, and is attacked in waves that end while everything is open. What
it held after a first round of everything is what it may hold after the others. That takes seconds,
because it is some tens of thousands of connections.
"""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.gateway.web.ledger import PATIENCE_S, reset

MASK = bytes(4)
POST = b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# What is sent before the drop.
STAGES = {
    "nothing": b"",
    "half a head": POST[:30],
    "a head without its body": POST,
    "half a body": POST + b"1234",
    "an answered request": POST + b"123456789",
    "a running handler": b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
    "an answer that is not read": b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
    "no request": b"\0\r\n\r\n",
    "half a WebSocket handshake": HANDSHAKE[:100],
    "an open WebSocket": HANDSHAKE,
    "half a frame": HANDSHAKE + b"\x81\xfe\x01\x00" + MASK + bytes(100),
    "a closed WebSocket": HANDSHAKE + b"\x88\x82" + MASK + b"\x03\xe8",
}
WAVE_COUNT = 850  # at once; with the sockets of this process within most limits on files
CONNECTIONS_COUNT = WAVE_COUNT * len(STAGES)  # in a round: 10,200
TLS_WAVE_COUNT = 100
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
# What leaks is added by every round. What does not is added at first, where the allocator finds no
# place among the pieces that were given back: so one round that adds next to nothing is enough. On
# a busy machine most rounds add some megabytes, and some give back as many: hence so many of them.
MAX_ROUNDS_COUNT = 12
# glibc gives large pieces back at once, and does not learn to keep larger and larger ones.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TRIM_THRESHOLD_": "131072"}
# A tenth of what a connection needs with its conversation, parser and asyncio transport.
BOUND_BYTES_PER_THOUSAND = 128 * 1024


class Server:
    """The server under attack."""

    def __init__(self, process: "subprocess.Popen[str]", loop: str) -> None:
        self.loop = loop
        assert process.stdout is not None
        self.port, self.tls_port = map(int, process.stdout.readline().split())
        self._control = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self._files_count = self.report()["files"]

    def report(self, query: str = "") -> dict[str, Any]:
        self._control.request("GET", f"/report?{query}")
        report: dict[str, Any] = json.loads(self._control.getresponse().read())
        return report

    def wait_for(self, sockets_count: int, *, has_tls_begun: bool = True) -> None:
        """Wait until it has as many sockets, and connections, besides those of the test itself."""
        give_up_at = time.monotonic() + PATIENCE_S
        wanted = (sockets_count, sockets_count if has_tls_begun else 0)
        found = None
        while found != wanted:
            assert time.monotonic() < give_up_at, f"{found} instead of {wanted}"
            report = self.report()
            found = (report["files"] - self._files_count, report["connections"] - 1)
            time.sleep(0.01)

    def close(self) -> None:
        self._control.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    certificate = tmp_path / "certificate.pem"
    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(certificate)
    program = str(Path(__file__).with_name("memory_server.py"))
    command = [sys.executable, program, request.param, str(certificate)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=os.environ | ALLOCATOR
    ) as process:
        with contextlib.closing(Server(process, request.param)) as server:
            yield server
        _, complaints = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, complaints) == (0, "")


def drop(clients: list[Any]) -> None:
    """Close every second connection, and reset the others."""
    for number, client in enumerate(clients):
        if number % 2:
            reset(client)
        else:
            client.close()
    clients.clear()


def attack(
    server: Server, wire: bytes, port: int, count: int, context: ssl.SSLContext | None = None
) -> None:
    """Open connections, send wire, after TLS handshakes with context, and drop them all at once."""
    clients: list[Any] = []
    try:
        for _ in range(count):
            clients.append(socket.create_connection(("127.0.0.1", port)))
            if context is not None:
                clients[-1] = context.wrap_socket(clients[-1])
            clients[-1].sendall(wire)
        # Those without TLS are connections at once, others only after their handshakes.
        server.wait_for(count, has_tls_begun=context is not None or port == server.port)
    finally:
        drop(clients)
    server.wait_for(0)


def attack_with_tls(server: Server, wire: bytes, count: int) -> None:
    """As attack(), after a whole TLS handshake."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    attack(server, wire, server.tls_port, count, context)


def attack_with_everything(server: Server) -> None:
    for wire in STAGES.values():
        attack(server, wire, server.port, WAVE_COUNT)
    if server.loop == "asyncio":  # uvloop holds a failed handshake until it would time out
        attack(server, CLIENT_HELLO, server.tls_port, TLS_WAVE_COUNT)
    for stage in ("half a head", "a running handler", "an open WebSocket"):
        attack_with_tls(server, STAGES[stage], TLS_WAVE_COUNT)


@pytest.mark.timeout(300)  # 15 s on two free cores, and eight times as much on two that are not
def test_connections_dropped_at_every_stage_leave_memory_where_it_was(server: Server) -> None:
    attack_with_everything(server)
    first = last = server.report("memory")
    grown_bytes = []
    for _ in range(MAX_ROUNDS_COUNT):
        attack_with_everything(server)
        report = server.report("memory")
        assert report["objects"] == first["objects"]
        grown_bytes.append(report["resident_bytes"] - last["resident_bytes"])
        if grown_bytes[-1] < BOUND_BYTES_PER_THOUSAND * CONNECTIONS_COUNT / 1000:
            break
        last = report
    else:
        pytest.fail(f"every round of {CONNECTIONS_COUNT} connections adds: {grown_bytes}")
