"""A follower sees what a subscriber sees, whatever comes between what it expects."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.connection import LoadConnection, Target
from loadtest.follower import Follower, Transcript
from protocol.cursor import Position
from protocol.frames import PING, TEXT, encode_frame

TRANSCRIPT = Transcript("news", '"flood"', 12)
DELIVERIES = [TRANSCRIPT.bytes[start:end] for start, end in pairwise(TRANSCRIPT.ends)]
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
    """A follower that counts what arrives."""

    count = 0

    def arrive(self, count: int) -> None:
        self.count += count


def follow(stream: bytes, cuts: set[int]) -> tuple[Counting, Wire]:
    """Return a follower that has received stream in pieces, and its wire."""
    follower, wire = Counting(Target("host", 80, "/ws", "ws://host/ws")), Wire()
    follower.connection_made(wire)  # type: ignore[arg-type]
    ends = sorted({0, *cuts, len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(ends)]
    for number, piece in enumerate([SWITCHING, *pieces]):
        if number == 1:
            follower.follow(TRANSCRIPT, "e")
        LoadConnection.buffer[: len(piece)] = piece
        follower.buffer_updated(len(piece))
    return follower, wire


@given(
    cuts=st.sets(st.integers(1, 1500), max_size=12),
    pinged=st.sets(st.integers(0, 12), max_size=4),
)
async def test_it_counts_every_delivery_however_the_bytes_are_cut(
    cuts: set[int], pinged: set[int]
) -> None:
    ping = encode_frame(PING, b"")
    parts = [SUBSCRIBED, *DELIVERIES]
    stream = b"".join(part + ping * (number in pinged) for number, part in enumerate(parts))
    follower, wire = follow(stream, {cut for cut in cuts if cut < len(stream)})
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
    for cut in range(1, len(stream)):
        follower, _ = follow(stream, {cut})
        assert (follower.missing_count, follower.repeated_count, follower.gap_count) == found
        assert follower.position == Position("e", 12)
