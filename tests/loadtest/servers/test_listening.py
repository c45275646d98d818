"""The servers of a few lines, as processes that the load tool starts and ends."""

import asyncio

import pytest
from websockets.asyncio.client import connect

from loadtest.clients.fetch import fetch
from loadtest.serving import Serving, serve_program


async def say_hello(serving: Serving) -> str | bytes:
    async with connect(f"ws://{serving.host}:{serving.port}/") as websocket:
        await websocket.send("hello")
        return await websocket.recv()


async def test_an_echo_echoes() -> None:
    async with serve_program("loadtest.servers.echo") as serving:
        assert await say_hello(serving) == "hello"


async def test_a_plain_response_is_two_letters() -> None:
    async with serve_program("loadtest.servers.plain") as serving:
        assert await fetch((serving.host, serving.port), "/") == b"OK"


@pytest.mark.parametrize("program", ["echo", "plain"])
async def test_a_server_ends_with_its_context(program: str) -> None:
    async with serve_program(f"loadtest.servers.{program}") as serving:
        pass
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(serving.host, serving.port)
