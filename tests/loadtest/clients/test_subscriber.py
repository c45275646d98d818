"""The lean subscriber finds its way through what arrives, however it is cut."""

import json

import pytest

from loadtest.clients.connection import LoadConnection, Target
from loadtest.clients.subscriber import Subscriber
from loadtest.errors import LoadError
from protocol.cursor import Position
from protocol.frames import CLOSE, PING, TEXT, encode_frame

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" + b"X: y\r\n" * 50 + b"\r\n"
WELCOME = b'{"type":"welcome"}'


class Wire:
    """An asyncio transport that keeps what is written, and whether it is closed."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_closed

    def get_extra_info(self, name: str) -> "Wire":
        return self  # its own socket

    def setsockopt(self, *option: object) -> None:
        pass


class Noting(Subscriber):
    """A subscriber that notes which offsets have arrived."""

    def __init__(self, position: Position | None = None) -> None:
        super().__init__(Target("host", 80, "/ws", "ws://host/ws"), position)
        self.offsets: list[int] = []

    def arrive(self, count: int) -> None:
        assert count == 1
        assert self.position is not None
        self.offsets.append(self.position.offset)


def make(position: Position | None = None) -> tuple[Noting, Wire]:
    subscriber, wire = Noting(position), Wire()
    subscriber.connection_made(wire)  # type: ignore[arg-type]  # all that it calls of one
    wire.written = b""
    return subscriber, wire


def feed(subscriber: Subscriber, *pieces: bytes, piece_bytes: int = 4096) -> None:
    data = b"".join(pieces)
    for at in range(0, len(data), piece_bytes):
        piece = data[at : at + piece_bytes]
        LoadConnection.buffer[: len(piece)] = piece
        subscriber.buffer_updated(len(piece))


def push(**fields: object) -> bytes:
    return encode_frame(TEXT, json.dumps(fields, separators=(",", ":")).encode())


def message(offset: int, size: int = 5) -> bytes:
    return push(type="message", channel="news", offset=offset, data="x" * size)


def gap(first: int, last: int, epoch: str = "e", reason: str = "slow") -> bytes:
    where = {"from": first, "to": last}
    return push(type="gap", channel="news", epoch=epoch, reason=reason, **where)


def subscribed(offset: int, epoch: str = "e", *, recovered: bool = False) -> bytes:
    return push(
        type="subscribed", id=1, channel="news", epoch=epoch, offset=offset, recovered=recovered
    )


def faults(subscriber: Subscriber) -> tuple[int, int]:
    return subscriber.missing_count, subscriber.repeated_count


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 199, 200, 201, 1000, 4096])
async def test_it_knows_of_all_however_the_bytes_are_cut(piece_bytes: int) -> None:
    subscriber, wire = make()
    pushes = [
        encode_frame(TEXT, WELCOME),
        subscribed(0, "e" * 400),
        message(1),
        encode_frame(PING, b"?"),
        message(2, 70_000),
        gap(3, 5, "e" * 400),
        message(6, 180),
    ]
    feed(subscriber, HEAD, *pushes, piece_bytes=piece_bytes)
    arrived = subscriber.expect(7)
    assert subscriber.position == Position("e" * 400, 6)
    assert (subscriber.gap_count, subscriber.missed_count) == (1, 3)
    assert faults(subscriber) == (0, 0)
    assert (await subscriber.wait_reply("subscribed"))["epoch"] == "e" * 400
    assert wire.written == b"\x8a\x81\0\0\0\0?"  # a pong, RFC 6455 section 5.5.3
    assert not arrived.done()
    feed(subscriber, message(7, 3000), piece_bytes=piece_bytes)
    assert arrived.done()
    assert subscriber.expect(7).done()
    assert subscriber.offsets == [1, 2, 6, 7]
    assert subscriber.size_bytes == len(b"".join([*pushes, message(7, 3000)]))


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param([message(3)], (2, 0), id="a hole"),
        pytest.param([message(1), message(1)], (0, 1), id="a repetition"),
        pytest.param([message(1), gap(3, 4)], (1, 0), id="a gap behind a hole"),
        pytest.param([message(1), gap(1, 2)], (0, 1), id="a gap over what was given"),
        pytest.param([gap(1, 2), message(4)], (1, 0), id="a hole behind a gap"),
        pytest.param([gap(2, 2, "f", "epoch")], (1, 0), id="a hole in another epoch"),
    ],
)
async def test_it_counts_what_no_gap_announced(
    frames: list[bytes], expected: tuple[int, int]
) -> None:
    subscriber, _ = make()
    feed(subscriber, HEAD, subscribed(0), *frames)
    assert faults(subscriber) == expected


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param([subscribed(4, recovered=True), message(5)], 0, id="recovered"),
        pytest.param([subscribed(4), gap(5, 7), message(8)], 0, id="told of what has expired"),
        pytest.param([subscribed(0, "f"), gap(1, 2, "f", "epoch")], 0, id="told of another epoch"),
        pytest.param([subscribed(4), message(5)], 1, id="not recovered, and no gap"),
        pytest.param([subscribed(6, recovered=True), message(7)], 1, id="recovered elsewhere"),
        pytest.param([subscribed(4, recovered=True), message(7)], 2, id="recovered with a hole"),
    ],
)
async def test_who_comes_back_is_given_what_it_missed_or_told(
    frames: list[bytes], expected: int
) -> None:
    subscriber, wire = make(Position("e", 4))
    subscriber.subscribe("news")
    assert b'"epoch": "e", "offset": 4' in wire.written
    feed(subscriber, HEAD, *frames)
    assert faults(subscriber) == (expected, 0)


async def test_a_reply_of_another_type_is_told() -> None:
    subscriber, _ = make()
    feed(subscriber, HEAD, push(type="error", id=1, code="overloaded"))
    with pytest.raises(LoadError, match="overloaded"):
        await subscriber.wait_reply("published")


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        pytest.param(message(1), "before its subscription", id="a message too early"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", "fragmented", id="no frame"),
        pytest.param(encode_frame(TEXT, b"hello"), "JSONDecodeError", id="no JSON"),
    ],
)
async def test_what_no_gateway_sends_is_told_to_who_waits(frames: bytes, why: str) -> None:
    subscriber, wire = make()
    feed(subscriber, HEAD, frames)
    assert wire.is_closed
    with pytest.raises(LoadError, match=why):
        await subscriber.wait_reply("published")


async def test_a_close_is_followed_by_the_end_which_is_no_reply() -> None:
    subscriber, wire = make()
    feed(subscriber, HEAD, encode_frame(CLOSE, b"\x03\xf1too much"))
    assert wire.is_closed
    subscriber.connection_lost(None)
    with pytest.raises(LoadError, match="'closed', 'why': '1009 too much'"):
        await subscriber.wait_reply("published")
