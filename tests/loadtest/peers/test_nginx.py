"""nginx with nchan: what is posted to a channel reaches its subscribers, as the dialect expects."""

import asyncio

import pytest
from websockets.asyncio.client import connect

from loadtest.clients.dialects import NchanDialect
from loadtest.peers import nginx
from tests.loadtest.peers.conftest import Start


async def test_what_is_posted_without_waiting_reaches_the_subscribers_in_order(
    start: Start,
) -> None:
    dialect, port = NchanDialect(), await start("nchan")
    host = f"127.0.0.1:{port}"
    async with connect(f"ws://{host}/news", compression=None) as subscriber:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opening = dialect.publisher("/", host)
        writer.write(opening.request)
        await reader.readuntil(opening.marker)
        writer.write(b"".join(dialect.publish("news", str(number)) for number in range(3)))
        assert [await subscriber.recv() for _ in range(3)] == ["0", "1", "2"]
        writer.close()


def test_a_missing_program_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "apt install nginx libnginx-mod-nchan" in str(nginx.find_absence())
