"""Programs written for aiohttp's low-level server run with the import changed, and answer as there.

Compared are statuses, bodies and headers, but for Date and Server and the case of names.
"""

import asyncio
import gzip
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.gateway.clients import bounded
from tests.gateway.web.answers import Answers
from tests.gateway.web.programs_twice import VARIANTS, write_programs

END = b"Connection: close\r\n\r\n"
UNCOMPARED = ("date", "server")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    write_programs(folder)
    return folder


@pytest.fixture
def load(folder: Path) -> Iterator[Any]:
    """Return what imports a program: `load("ours", "chat")`."""
    names: list[str] = []

    def load_program(variant: str, program: str) -> ModuleType:
        name = f"{variant}_{program}"
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        names.append(name)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    yield load_program
    for name in names:
        del sys.modules[name]


async def talk(server: Any, wires: list[bytes]) -> list[object]:
    """Return what a server answers to each of wires, on a connection each."""
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    answers: list[object] = []
    with closing(listener):
        for wire in wires:
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            with closing(writer):
                writer.write(wire)
                async with bounded():
                    answers += [
                        (answer.status, body_of(answer), headers_of(answer))
                        for answer in Answers(await reader.read(), {0: wire.split()[0].decode()})
                    ]
    await server.shutdown(1)
    return answers


def body_of(answer: Any) -> bytes:
    """Return the body without its coding, of which there are many ways to do it."""
    is_zipped = answer.headers.get("Content-Encoding") == "gzip"
    body: bytes = gzip.decompress(answer.body) if is_zipped else answer.body
    return body


def headers_of(answer: Any) -> list[tuple[str, str]]:
    pairs = [(name.lower(), value) for name, value in answer.headers.items()]
    return sorted(pair for pair in pairs if pair[0] not in UNCOMPARED)


def ask(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: example.org", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, ""]).encode() + END + body


JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
MULTIPART = "Content-Type: multipart/form-data; boundary=b"
PARTS = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\ncontents\r\n--b--\r\n"
)

CONVERSATIONS: dict[str, list[bytes]] = {
    "echo": [ask("GET /")],
    "streaming": [
        ask("GET /events?count=2"),
        ask("POST /lines", body=b"one\ntwo\n\nthree"),
        ask("POST /", "Content-Type: text/plain", body=b"abc" * 1000),
        ask("POST /", "Transfer-Encoding: chunked")[:-4] + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ask("GET /"),
    ],
    "json_api": [
        ask("GET /items?limit=1"),
        ask("POST /items", JSON, body=b'{"name": "second"}'),
        ask("POST /items", JSON, body=b"{"),
        ask("POST /items", body=b"{}"),
        ask("DELETE /items"),
        ask("GET /nothing"),
        ask("POST /form", FORM, body=b"a=b+c&d=%C4%8D"),
        ask("POST /form", MULTIPART, body=PARTS),
        ask("POST /upload", MULTIPART, body=PARTS),
        ask("GET /about?a=b&a=c%20d", "Cookie: x=y; z=1", "Forwarded: for=192.0.2.1;proto=https"),
        ask("PUT /about", "Content-Type: text/plain; charset=iso-8859-2", body=b"\xe8"),
    ],
    "file_server": [
        ask("GET /"),
        ask("GET /a.txt"),
        ask("HEAD /a.txt?download=1"),
        ask("GET /a.txt", "Range: bytes=1-2"),
        ask("GET /..%2f..%2fetc/passwd"),
        ask("GET /page", "Cookie: visits=9"),
        ask("GET /page", "If-None-Match: *"),
        ask("GET /page", 'If-None-Match: W/"1dfa7ff9d7a7d1c6"'),
        ask("GET /page", "If-Modified-Since: Thu, 29 Feb 2024 12:00:00 GMT"),
        ask("GET /part", "Range: bytes=-3"),
        ask("GET /part", "Range: bytes=a"),
    ],
    "subclasses": [ask("GET /"), ask("GET /this", "X-User: me")],
    "errors": [
        ask(f"GET /{name}")
        for name in (
            *("move", "see", "forever", "method", "large", "legal", "text", "empty", "status"),
            *("200", "201", "400", "403", "404", "410", "412", "429", "500", "503", "504", "x"),
        )
    ],
}


@pytest.mark.parametrize("program", CONVERSATIONS)
async def test_a_program_answers_as_on_aiohttp(
    load: Any, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("0123456789")
    os.utime(tmp_path / "a.txt", (0, 784111777))  # what changed just now differs, on purpose
    modules = [load(variant, program) for variant in VARIANTS]
    for module in modules:
        monkeypatch.setattr(module, "ROOT", tmp_path, raising=False)
    ours, theirs = [await talk(module.make_server(), CONVERSATIONS[program]) for module in modules]
    assert len(ours) >= len(CONVERSATIONS[program])
    assert ours == theirs
    assert [getattr(modules[0], "LINES", [])] == [getattr(modules[1], "LINES", [])]


async def hear(socket: ClientConnection) -> list[str | bytes]:
    """Return every message until the socket closes."""
    messages: list[str | bytes] = []
    with suppress(ConnectionClosed):
        while True:
            messages.append(await socket.recv())
    return messages


async def echo(url: str) -> list[object]:
    async with connect(f"{url}/", subprotocols=["v1", "v2"]) as socket:  # type: ignore[list-item]
        await socket.send("text")
        await socket.send(b"bytes")
        await socket.send("close")
        return [await hear(socket), socket.close_code, socket.close_reason]


async def answer(url: str) -> list[object]:
    async with connect(f"{url}/ask") as socket:
        for message in ("me", "[1, 2]", b"123"):
            await socket.send(message)
        return [await hear(socket), socket.close_code, socket.close_reason]


async def chat(url: str) -> list[object]:
    async with connect(f"{url}/?room=r&name=a") as first:
        heard: list[object] = [await first.recv()]
        async with connect(f"{url}/?room=r&name=b") as second:
            heard += [await first.recv(), await second.recv()]
            await second.send('{"text": "hi"}')
            heard += [await first.recv(), await second.recv()]
        await first.send('{"text": "alone"}')
        heard.append(await first.recv())
    return [*heard, first.close_code]


SOCKETS = {"echo": ("echo", echo), "ask": ("echo", answer), "chat": ("chat", chat)}


@pytest.mark.parametrize("name", SOCKETS)
async def test_a_program_with_websockets_says_what_it_says_on_aiohttp(load: Any, name: str) -> None:
    program, converse = SOCKETS[name]
    said: list[list[object]] = []
    for variant in VARIANTS:
        server = load(variant, program).make_server()
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        host, port = listener.sockets[0].getsockname()
        with closing(listener):
            async with bounded():
                said.append(await converse(f"ws://{host}:{port}"))
        await server.shutdown(1)
    assert said[0] == said[1]
    assert len(said[0]) > 1


async def test_a_program_serves_on_every_kind_of_site(
    load: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for variant in VARIANTS:
        module = load(variant, "sites")
        folder = tmp_path / variant
        folder.mkdir()
        runner = await module.start(folder)
        answers = []
        for address in runner.addresses:
            opening = (
                asyncio.open_connection(*address)
                if isinstance(address, tuple)
                else asyncio.open_unix_connection(address)
            )
            reader, writer = await opening
            with closing(writer):
                writer.write(ask("GET /"))
                answers.append(Answers(await reader.read())[0].body)
        await module.stop(runner)
        lines = capsys.readouterr().out.replace(str(folder), "")
        printed.append((answers, re.sub(r":\d+\n", ":0\n", lines)))
    assert printed[0] == printed[1]
