"""A follower sees what a subscriber sees, whatever comes between what it expects."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.clients.connection import LoadConnection, Target
from loadtest.clients.follower import Follower, Transcript
from protocol.cursor import Position
from protocol.frames import PING, TEXT, encode_frame

SHORT = Transcript("news", '"flood"', 12)
LONG = Transcript("news", f'"{"flood" * 60}"', 12)


def cut(transcript: Transcript) -> list[bytes]:
    """Return the deliveries of transcript."""
    return [transcript.bytes[start:end] for start, end in pairwise(transcript.ends)]


DELIVERIES = cut(SHORT)
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def push(**fields: object) -> bytes:
    return encode_frame(TEXT, json.dumps(fields, separators=(",", ":")).encode())


SUBSCRIBED = push(type="subscribed", id=1, channel="news", epoch="e", offset=0, recovered=True)
GAP = push(type="gap", channel="news", epoch="e", reason="expired", **{"from": 3, "to": 5})


class Wire:
    """An asyncio transport that counts the pongs written."""

    def __init__(self) -> None:
        self.pong_count = 0

    def write(self, data: bytes) -> None:
        self.pong_count += data[0] == 0x8A  # RFC 6455 section 5.5.3

    def is_closing(self) -> bool:
        return False


class Counting(Follower):
    """A follower that counts what arrives, and what it looks at more closely."""

    count = 0
    walked_bytes = 0

    def arrive(self, count: int) -> None:
        self.count += count

    def walk(self, data: memoryview) -> None:
        self.walked_bytes += len(data)
        super().walk(data)


def follow(stream: bytes, cuts: set[int], transcript: Transcript = SHORT) -> tuple[Counting, Wire]:
    """Return a follower of transcript that has received stream in pieces, and its wire."""
    follower, wire = Counting(Target("host", 80, "/ws", "ws://host/ws")), Wire()
    follower.connection_made(wire)  # type: ignore[arg-type]  # all that it calls of one
    ends = sorted({0, *cuts, len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(ends)]
    for number, piece in enumerate([SWITCHING, *pieces]):
        if number == 1:
            follower.follow(transcript, "e")
        LoadConnection.buffer[: len(piece)] = piece
        follower.buffer_updated(len(piece))
    return follower, wire


@given(
    transcript=st.sampled_from([SHORT, LONG]),
    cuts=st.sets(st.integers(1, 4500), max_size=24),
    pinged=st.sets(st.integers(0, 12), max_size=4),
)
async def test_it_counts_every_delivery_however_the_bytes_are_cut(
    transcript: Transcript, cuts: set[int], pinged: set[int]
) -> None:
    ping = encode_frame(PING, b"")
    parts = [SUBSCRIBED, *cut(transcript)]
    stream = b"".join(part + ping * (number in pinged) for number, part in enumerate(parts))
    follower, wire = follow(stream, {each for each in cuts if each < len(stream)}, transcript)
    assert (follower.count, follower.position) == (12, Position("e", 12))
    assert wire.pong_count == len(pinged)
    assert follower.size_bytes == len(stream)
    assert (follower.missing_count, follower.repeated_count, follower.gap_count) == (0, 0, 0)


@pytest.mark.parametrize(
    ("deliveries", "found"),
    [
        pytest.param([*DELIVERIES[:4], *DELIVERIES[5:]], (1, 0, 0), id="a hole"),
        pytest.param([*DELIVERIES[:4], *DELIVERIES[3:]], (0, 1, 0), id="a repetition"),
        pytest.param([*DELIVERIES[:2], GAP, *DELIVERIES[5:]], (0, 0, 1), id="a gap"),
        pytest.param([*DELIVERIES, DELIVERIES[-1]], (0, 1, 0), id="more than all"),
    ],
)
async def test_it_notices_what_is_not_as_it_should_be(
    deliveries: list[bytes], found: tuple[int, int, int]
) -> None:
    stream = SUBSCRIBED + b"".join(deliveries)
    for at in range(1, len(stream)):
        follower, _ = follow(stream, {at})
        assert (follower.missing_count, follower.repeated_count, follower.gap_count) == found
        assert follower.position == Position("e", 12)


@pytest.mark.parametrize("transcript", [SHORT, LONG], ids=["short", "long"])
async def test_only_what_comes_with_the_reply_is_looked_at_closely(transcript: Transcript) -> None:
    stream = SUBSCRIBED + transcript.bytes
    for first in range(len(SUBSCRIBED), len(SUBSCRIBED) + transcript.ends[2]):
        follower, _ = follow(stream, {first}, transcript)
        assert (follower.count, follower.walked_bytes) == (12, first)
