"""The response scenario, against the server that it starts by itself and against wrong ones."""

import asyncio
from itertools import cycle

import pytest

from gateway.web import Server
from loadtest.errors import LoadError
from loadtest.result import Result
from loadtest.run import Plan, run
from loadtest.servers.plain import answer
from tests.loadtest.conftest import Listen, Talk


async def get_briefly(authority: str, path: str = "/") -> Result:
    return await run(Plan("response", f"http://{authority}{path}", {"connections": 3}, seconds=0.3))


def talk_responses(*responses: bytes) -> Talk:
    """Answer requests with these, in turn, again and again."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for response in cycle(responses):
            await reader.readuntil(b"\r\n\r\n")
            for piece in (response[:5], response[5:]):
                writer.write(piece)
                await writer.drain()

    return talk


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


async def test_every_request_is_answered() -> None:
    server = Server(answer, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    result = await get_briefly(f"{host}:{port}")
    listener.close()
    await server.shutdown(1)
    assert result.figure("requests")
    assert result.histogram().count == result.figure("requests")
    assert result.faults == {"missing": 0, "wrong": 0}


async def test_path_and_query_of_the_target_are_asked_for(listen: Listen) -> None:
    lines = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            lines.add((await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0])
            writer.write(OK)

    await get_briefly(await listen(talk), "/path?x=1")
    assert lines == {b"GET /path?x=1 HTTP/1.1"}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(OK.replace(b"2\r\n\r\nOK", b"1\r\n\r\nO"), id="a shorter body"),
        pytest.param(b"HTTP/1.1 503 NO\r\nContent-Length: 2\r\n\r\nNO", id="a failure"),
    ],
)
async def test_another_answer_than_the_first_is_wrong(listen: Listen, other: bytes) -> None:
    result = await get_briefly(await listen(talk_responses(OK, other)))
    requests = int(result.figure("requests") or 0)
    assert abs(result.faults["wrong"] - requests / 2) <= 3
    assert result.faults["missing"] == 0


async def test_a_page_that_does_not_exist_is_told(listen: Listen) -> None:
    not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(LoadError, match="status 404 and Content-Length 0; --target must name"):
        await get_briefly(await listen(talk_responses(not_found)))


async def test_what_is_no_response_is_told(listen: Listen) -> None:
    with pytest.raises(LoadError, match="something else than replies: no status line"):
        await get_briefly(await listen(talk_responses(b"SSH-2.0-OpenSSH_9\r\n\r\n")))
