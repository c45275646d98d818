"""Callers: replies counted at a glance and decoded, at every split; what is wrong with some."""

import asyncio

import pytest

from loadtest.clients import caller
from loadtest.clients.caller import Caller, Calls, FrameCaller, find_faults
from loadtest.clients.connection import connect_all, parse_target
from loadtest.clients.dialects import Opening, upgrade
from loadtest.errors import LoadError
from loadtest.recorder import Recorder
from tests.loadtest.conftest import Listen, Talk

REQUEST = b"\x81\x85\0\0\0\0hello"
REPLY = b"\x81\x05hello"


def talk_after_handshake(*answers: bytes) -> Talk:
    """Answer the requests with these, in turn; then with nothing any more."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        for answer in answers:
            await reader.readexactly(len(REQUEST))
            for byte in range(len(answer)):
                writer.write(answer[byte : byte + 1])
                await writer.drain()
        await reader.read()

    return talk


async def call(authority: str, seconds: float = 0.2, in_flight: int = 1) -> dict[str, int]:
    """Return the counts of one client."""
    recorder = Recorder()
    calls = Calls(recorder, "replies")
    client = FrameCaller(calls, Opening(upgrade("/", authority), b"\r\n\r\n"), REQUEST, REPLY)
    try:
        await connect_all(parse_target(f"ws://{authority}/"), [(0, client)])
        await calls.run([client], in_flight, seconds)
    finally:
        client.abort()
    assert recorder.latency.count == recorder.counts.get("replies", 0)
    return recorder.counts


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "_PATIENCE_S", 0.1)


@pytest.mark.usefixtures("_impatient")
async def test_a_request_without_reply_is_missing(listen: Listen) -> None:
    counts = await call(await listen(talk_after_handshake(REPLY, REPLY)))
    assert (counts["replies"], find_faults(counts)) == (2, {"missing": 1, "wrong": 0})


@pytest.mark.usefixtures("_impatient")
async def test_all_that_are_in_flight_at_once_are_counted(listen: Listen) -> None:
    answers = talk_after_handshake(REPLY, REPLY + REPLY, REPLY)
    counts = await call(await listen(answers), in_flight=3)
    assert counts["replies"] == 4
    assert find_faults(counts) == {"missing": 3, "wrong": 0}


@pytest.mark.usefixtures("_impatient")
async def test_another_reply_than_expected_is_wrong(listen: Listen) -> None:
    answers = talk_after_handshake(b"\x81\x05hallo", REPLY, b"\x81\x01h", REPLY)
    counts = await call(await listen(answers))
    assert (counts["replies"], find_faults(counts)) == (4, {"missing": 1, "wrong": 2})


@pytest.mark.usefixtures("_impatient")
async def test_a_reply_that_nobody_asked_for_is_wrong(listen: Listen) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        await reader.readexactly(len(REQUEST))
        writer.write(REPLY + REPLY)
        await reader.read()

    counts = await call(await listen(talk))
    assert (counts["replies"], find_faults(counts)) == (1, {"missing": 2, "wrong": 1})


async def test_pings_between_replies_are_answered_and_count_for_nothing(listen: Listen) -> None:
    pongs = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        await reader.readexactly(len(REQUEST))
        writer.write(b"\x89\x02hi" + REPLY + b"\x89\x00")
        pongs.append(await reader.readexactly(8 + len(REQUEST) + 6))
        while True:
            writer.write(REPLY)
            await reader.readexactly(len(REQUEST))

    counts = await call(await listen(talk))
    assert find_faults(counts) == {"missing": 0, "wrong": 0}
    assert counts["replies"] > 1
    assert pongs == [b"\x8a\x82\0\0\0\0hi" + b"\x8a\x80\0\0\0\0" + REQUEST]


async def test_a_close_frame_ends_the_run_with_its_code_and_reason(listen: Listen) -> None:
    with pytest.raises(LoadError, match=r"closed a connection: 1008 enough$"):
        await call(await listen(talk_after_handshake(b"\x88\x08\x03\xf0enough")), seconds=60)


async def test_what_is_no_frame_ends_the_run(listen: Listen) -> None:
    with pytest.raises(LoadError, match="something else than replies: a frame begins with 0xf1"):
        await call(await listen(talk_after_handshake(b"\xf1\x05hello")), seconds=60)


async def test_a_connection_that_is_closed_ends_the_run(listen: Listen) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    with pytest.raises(LoadError, match="closed a connection in the middle of the run"):
        await call(await listen(talk), seconds=60)


async def test_what_is_in_flight_when_a_run_is_cancelled_is_not_missing(listen: Listen) -> None:
    recorder = Recorder()
    has_asked_again = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readexactly(1)
            writer.write(b"good")
        await reader.readexactly(1)
        has_asked_again.set()
        await reader.read()

    await call_until(has_asked_again, Caller, await listen(talk), recorder)
    assert recorder.counts["replies"] == 2
    assert find_faults(recorder.counts) == {"missing": 0, "wrong": 0}


async def test_only_a_reply_that_is_not_as_it_should_be_is_decoded(listen: Listen) -> None:
    decoded: list[bytes] = []
    has_asked_again = asyncio.Event()

    class Watched(Caller):
        def decode(self, data: bytes) -> tuple[int, bool]:
            decoded.append(data)
            return len(data) // 4, True

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (b"good", b"bad!", b"good"):
            await reader.readexactly(1)
            writer.write(answer)
        await reader.readexactly(1)
        has_asked_again.set()
        await reader.read()

    recorder = Recorder()
    await call_until(has_asked_again, Watched, await listen(talk), recorder)
    assert recorder.counts["replies"] == 3
    assert decoded == [b"bad!"]


async def call_until(
    event: asyncio.Event, kind: type[Caller], authority: str, recorder: Recorder
) -> None:
    """Have one client of that kind ask "?" for "good" until event, then cancel the run."""
    calls = Calls(recorder, "replies")
    client = kind(calls, Opening(b"", b""), b"?", begin=b"good", length=4)
    await connect_all(parse_target(f"http://{authority}/"), [(0, client)])
    running = asyncio.create_task(calls.run([client], 1, 60))
    await event.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    client.abort()
