"""nginx with nchan: what is posted to a channel reaches its subscribers, as the dialect expects."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from loadtest.dialects import NchanDialect
from loadtest.peers import nginx
from loadtest.serving import Serving, find_free_port, serve


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    """Return nginx; without it tests are skipped, but not in CI, which must have it."""
    absence = nginx.find_absence()
    if absence is not None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(absence)
    port = find_free_port()
    async with serve(nginx.prepare(port, tmp_path), port=port, environment={}) as serving:
        yield serving


async def test_what_is_posted_without_waiting_reaches_the_subscribers_in_order(
    serving: Serving,
) -> None:
    dialect = NchanDialect()
    host = f"{serving.host}:{serving.port}"
    async with connect(f"ws://{host}/news", compression=None) as subscriber:
        reader, writer = await asyncio.open_connection(serving.host, serving.port)
        opening = dialect.publisher("/", host)
        writer.write(opening.request)
        await reader.readuntil(opening.marker)
        writer.write(b"".join(dialect.publish("news", str(number)) for number in range(3)))
        assert [await subscriber.recv() for _ in range(3)] == ["0", "1", "2"]
        writer.close()


def test_a_missing_program_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "apt install nginx libnginx-mod-nchan" in str(nginx.find_absence())
