"""The scenario of long-polls, against a node and against servers that lose, repeat and refuse."""

import asyncio
import re
from typing import Any

import msgspec
import pytest

from loadtest import deliveries
from loadtest.errors import LoadError
from loadtest.job import Job
from loadtest.recorder import Recorder
from loadtest.run import Plan, run
from loadtest.scenarios.poll import Share
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
async def test_all_who_poll_get_everything(
    target: str, workers: int, options: dict[str, Any]
) -> None:
    options = {"subscribers": 4, **options}
    result = await run(Plan("poll", target, options, seconds=0.3, workers=workers))
    publications = result.figure("publications")
    assert publications
    assert result.figure("deliveries") == publications * 4
    assert result.histogram().count == publications * 4
    assert result.figure("polls")
    assert result.faults == {"missing": 0, "surplus": 0}


async def test_polls_are_for_gateways(target: str) -> None:
    with pytest.raises(LoadError, match="not what is spoken to as plain"):
        await run(Plan("poll", target, {}, dialect="plain"))


async def test_a_target_that_cannot_be_polled_is_quoted(target: str) -> None:
    with pytest.raises(
        LoadError, match=r"the target is polled, and /nothing/poll\?channel=.*status=404"
    ):
        await run(Plan("poll", target.replace("/ws", "/nothing/ws"), {}))


def answer(cursor: int, *offsets: int, gap: int | None = None) -> bytes:
    """Return the answer to a poll: where it ends, what it brings, and what is lost up to there."""
    gaps = [] if gap is None else [{"from": 1, "to": gap}]
    messages = [{"offset": offset} for offset in offsets]
    body = msgspec.json.encode({"cursor": str(cursor), "messages": messages, "gaps": gaps})
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def make_server(answers: dict[int, bytes]) -> Talk:
    """Answer the poll from each cursor on so, once all is published; from other cursors never."""
    has_published = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade: websocket" in request:
            writer.write(b'HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x0d"type":"pong"')
            for _ in range(4):  # a ping and three publications
                head = await reader.readexactly(6)
                await reader.readexactly(head[1] & 0x7F)
            has_published.set()
            await reader.read()
        while (cursor := re.search(rb"cursor=(\d+)", request)) is not None:
            await has_published.wait()
            if (found := answers.get(int(cursor[1]))) is None:
                await reader.read()
            else:
                writer.write(found)
            request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(0))

    return talk


@pytest.mark.parametrize(
    ("answers", "counts"),
    [
        pytest.param({0: answer(3, 1, 2, 3)}, {"deliveries": 3, "polls": 1}, id="all"),
        pytest.param(
            {0: answer(1), 1: answer(3, 1, 2, 3)}, {"deliveries": 3, "polls": 2}, id="empty"
        ),
        pytest.param({0: answer(3, 1, 3)}, {"deliveries": 2, "polls": 1, "missing": 1}, id="lost"),
        pytest.param(
            {0: answer(2, 1, 2), 2: answer(3, 2, 3)},
            {"deliveries": 3, "polls": 2, "surplus": 1},
            id="repeated",
        ),
        pytest.param(
            {0: answer(3, 1, 3, 2)},
            {"deliveries": 2, "polls": 1, "surplus": 1, "missing": 1},
            id="out of order",
        ),
        pytest.param(
            {0: answer(3, 3, gap=2)},
            {"deliveries": 1, "polls": 1, "gaps": 1, "missing": 2},
            id="told",
        ),
    ],
)
async def test_what_answers_bring_is_counted(
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
    answers: dict[int, bytes],
    counts: dict[str, int],
) -> None:
    monkeypatch.setattr(deliveries, "_PATIENCE_S", 0.1)
    recorder = Recorder()
    options = {"subscribers": 1, "rate": 3000.0, "bytes": 12}
    target = f"ws://{await listen(make_server(answers))}/ws"
    share = Share(Job("poll", target, "gateway", "k", 0.001, options), recorder)
    await share.open()
    await share.run()
    await share.close()
    assert recorder.counts == {"publications": 3, "missing": 0, **counts}


@pytest.mark.parametrize(
    "wrong", [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", answer(1).replace(b"{", b"[")]
)
async def test_an_answer_that_is_none_ends_the_run(listen: Listen, wrong: bytes) -> None:
    options = {"subscribers": 1, "rate": 3000.0, "bytes": 12}
    target = f"ws://{await listen(make_server({0: wrong}))}/ws"
    share = Share(Job("poll", target, "gateway", "k", 0.001, options), Recorder())
    await share.open()
    with pytest.raises(LoadError, match="answered a poll with something else"):
        await share.run()
    await share.close()
