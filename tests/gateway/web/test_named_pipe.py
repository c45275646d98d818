"""A site for Windows, as far as it can be tested without: a Unix socket stands for the pipe."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.runner import NamedPipeSite, ServerRunner
from gateway.web.server import Server


async def handler(request: BaseRequest) -> Response:
    return Response(text="http")


@pytest.fixture
async def runner() -> AsyncIterator[ServerRunner]:
    runner = ServerRunner(Server(handler, access_log=None))
    await runner.setup()
    yield runner
    await runner.cleanup()


async def test_a_named_pipe_needs_windows(runner: ServerRunner) -> None:
    with pytest.raises(RuntimeError, match="Proactor"):
        NamedPipeSite(runner, r"\\.\pipe\a")


async def test_a_loop_with_pipes_is_asked_to_serve_one(
    runner: ServerRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()

    async def serve(factory: Server, path: str) -> list[asyncio.Server]:
        return [await loop.create_unix_server(factory, path)]

    class Loop:
        start_serving_pipe = staticmethod(serve)

    path = str(tmp_path / "pipe")
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "get_running_loop", Loop)
        site = NamedPipeSite(runner, path)
        await site.start()
    assert (site.name, runner.sites) == (path, {site})
    reader, writer = await asyncio.open_unix_connection(path)
    with closing(writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nhttp")
    await site.stop()
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):  # Python 3.13 removes it
        await asyncio.open_unix_connection(path)
