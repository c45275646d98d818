"""The echo scenario, against the server that it starts by itself and against a wrong one."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.web import Server
from loadtest.result import Result
from loadtest.run import Plan, run
from loadtest.servers.echo import echo
from tests.loadtest.conftest import Listen


@pytest.fixture
async def authority() -> AsyncIterator[str]:
    """Where messages are echoed."""
    server = Server(echo, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    yield f"{host}:{port}"
    listener.close()
    await server.shutdown(1)


async def echo_briefly(authority: str, **options: int) -> Result:
    return await run(Plan("echo", f"ws://{authority}/", dict(options), seconds=0.3))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="a message each"),
        pytest.param({"in_flight": 7}, id="several under way"),
        pytest.param({"bytes": 1}, id="of one byte"),
        pytest.param({"bytes": 70_000}, id="in several reads"),
    ],
)
async def test_every_message_comes_back_as_it_was(authority: str, options: dict[str, int]) -> None:
    result = await echo_briefly(authority, clients=3, **options)
    assert result.figure("messages")
    assert result.histogram().count == result.figure("messages")
    assert result.faults == {"missing": 0, "wrong": 0}


async def test_a_server_that_says_something_else_is_found_out(listen: Listen) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        while True:
            await reader.readexactly(8)
            writer.write(b"\x81\x02no")

    result = await echo_briefly(await listen(talk), clients=2, bytes=2)
    assert result.faults["wrong"] == result.figure("messages")
    assert result.fault_count
