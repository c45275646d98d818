"""The scenario of event streams, against a node and against a server that loses and repeats."""

import asyncio
from typing import Any

import pytest

from loadtest import deliveries
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.recorder import Recorder
from loadtest.run import Plan, run
from loadtest.scenarios.sse import Share
from tests.loadtest.conftest import Listen, Talk


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"in_flight": 5}, id="closed loop"),
        pytest.param({"rate": 50.0}, id="open loop"),
        pytest.param({"channels": 4, "in_flight": 3}, id="channels"),
        pytest.param({"bytes": 20_000, "in_flight": 20}, id="large"),
    ],
)
async def test_all_event_streams_get_everything(
    target: str, workers: int, options: dict[str, Any]
) -> None:
    options = {"subscribers": 4, **options}
    result = await run(Plan("sse", target, options, seconds=0.3, workers=workers))
    publications = result.figure("publications")
    assert publications
    assert result.figure("deliveries") == publications * 4
    assert result.histogram().count == publications * 4
    assert result.faults == {"missing": 0, "surplus": 0}


async def test_those_who_stall_are_not_counted(target: str) -> None:
    options = {"subscribers": 10, "stalled": 20, "in_flight": 64, "bytes": 1000}
    result = await run(Plan("sse", target, options, seconds=0.3))
    publications = result.figure("publications")
    assert publications
    assert result.figure("deliveries") == publications * 8
    assert result.faults == {"missing": 0, "surplus": 0}


async def test_a_target_without_event_streams_is_named(target: str) -> None:
    with pytest.raises(LoadError, match="event streams of a target spoken to as plain"):
        await run(Plan("sse", target, {}, dialect="plain"))


def make_server(times: int) -> Talk:
    """Publish as nchan does, each so many times, except that the first is lost."""
    streams: list[asyncio.StreamWriter] = []
    published: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if request.startswith(b"POST "):
                length = int(request.partition(b"Content-Length: ")[2].split()[0])
                published.append(await reader.readexactly(length))
                if len(published) > 1:
                    for stream in streams:
                        stream.write(b"id: 1\ndata: %b\n\n" % published[-1] * times)
            elif request.startswith(b"GET / "):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\nready")
            else:
                streams.append(writer)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n: hi\n\n")

    return talk


@pytest.mark.parametrize(("times", "missing", "surplus"), [(1, 2, 0), (2, 0, 16)])
async def test_a_server_that_loses_or_repeats_is_found_out(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, times: int, missing: int, surplus: int
) -> None:
    monkeypatch.setattr(deliveries, "_PATIENCE_S", 0.1)
    recorder = Recorder()
    options = {"subscribers": 2, "rate": 50.0, "bytes": 20}
    authority = await listen(make_server(times))
    share = Share(Job("sse", f"ws://{authority}/", "nchan", "k", 0.2, options), recorder)
    await share.open()
    await share.run()
    await share.close()
    assert recorder.counts.get("missing", 0) == missing
    assert recorder.counts.get("surplus", 0) == surplus
