"""The lean subscriber finds its way through what arrives, however it is cut."""

import json

import pytest

from loadtest.errors import LoadError
from loadtest.subscriber import LONG_BYTES, Subscriber
from protocol.frames import PING, TEXT, encode_frame

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" + b"X: y\r\n" * 50 + b"\r\n"


class Wire:
    """An asyncio transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def make() -> tuple[Subscriber, Wire]:
    subscriber, wire = Subscriber(bytearray(4096), "/ws", "host"), Wire()
    subscriber.connection_made(wire)  # type: ignore[arg-type]
    return subscriber, wire


def feed(subscriber: Subscriber, data: bytes, *, piece_bytes: int) -> None:
    for at in range(0, len(data), piece_bytes):
        piece = data[at : at + piece_bytes]
        subscriber.get_buffer(-1)[: len(piece)] = piece
        subscriber.buffer_updated(len(piece))


def push(**fields: object) -> bytes:
    return encode_frame(TEXT, json.dumps(fields, separators=(",", ":")).encode())


def message(offset: int, size: int = 2 * LONG_BYTES) -> bytes:
    return push(type="message", channel="news", offset=offset, data="x" * size)


def gap(first: int, last: int) -> bytes:
    return push(type="gap", channel="news", epoch="e", reason="slow", **{"from": first, "to": last})


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 199, 200, 201, 1000, 4096])
async def test_it_knows_of_all_however_the_bytes_are_cut(piece_bytes: int) -> None:
    subscriber, wire = make()
    reply = push(type="subscribed", id=1, channel="news", epoch="e" * 400, offset=0)
    wire.written = b""
    arrived = subscriber.expect(7)
    pushes = [push(type="welcome"), reply, message(1), encode_frame(PING, b"?"), message(2, 70_000)]
    feed(subscriber, HEAD + b"".join([*pushes, gap(3, 5), message(6)]), piece_bytes=piece_bytes)
    assert (subscriber.offset, subscriber.gap_count, subscriber.missed_count) == (6, 1, 3)
    assert not subscriber.is_out_of_order
    assert (await subscriber.wait_reply("subscribed"))["epoch"] == "e" * 400
    assert wire.written == b"\x8a\x81\0\0\0\0?"  # a pong, RFC 6455 section 5.5.3
    assert not arrived.done()
    feed(subscriber, message(7), piece_bytes=piece_bytes)
    assert arrived.done()


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([message(2)], id="a hole"),
        pytest.param([message(1), message(1)], id="a repetition"),
        pytest.param([message(1), gap(3, 4)], id="a gap behind a hole"),
        pytest.param([message(1), gap(1, 2)], id="a gap over what was given"),
        pytest.param([gap(1, 2), message(4)], id="a hole behind a gap"),
    ],
)
async def test_it_notices_what_is_out_of_order(frames: list[bytes]) -> None:
    subscriber, _ = make()
    feed(subscriber, HEAD + b"".join(frames), piece_bytes=4096)
    assert subscriber.is_out_of_order


async def test_a_refused_command_may_be_repeated_only_where_the_target_is_overloaded() -> None:
    subscriber, _ = make()
    refused = [push(type="error", id=1, code=code) for code in ("overloaded", "internal")]
    feed(subscriber, HEAD + b"".join(refused), piece_bytes=4096)
    assert (await subscriber.wait_reply("published", "error"))["code"] == "overloaded"
    with pytest.raises(LoadError, match="internal"):
        await subscriber.wait_reply("published", "error")


async def test_a_closed_connection_is_no_reply() -> None:
    subscriber, _ = make()
    subscriber.connection_lost(None)
    with pytest.raises(LoadError, match="closed"):
        await subscriber.wait_reply("published")
