"""A held connection answers what a server may send to one that is idle, however it is cut."""

import pytest

from loadtest.clients.dialects import Opening, upgrade
from loadtest.clients.held import HeldConnection
from protocol.frames import CLOSE, PING, TEXT, encode_frame

OPENING = Opening(upgrade("/", "host"), b"\r\n\r\n")
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Wire:
    """An asyncio transport that keeps what is written, and how it is ended."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.end = ""

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.end = "closed"

    def abort(self) -> None:
        self.end = "aborted"


def hold(*pieces: bytes) -> tuple[Wire, int]:
    """Return the wire and the number of pings of a connection that has received pieces."""
    wire, pings = Wire(), []
    connection = HeldConnection(OPENING, lambda: pings.append(1))
    connection.connection_made(wire)  # type: ignore[arg-type]
    for piece in (ANSWER, *pieces):
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
    assert wire.written.pop(0) == OPENING.request
    return wire, len(pings)


@pytest.mark.parametrize("payload", [b"", b"beat", b"x" * 125])
async def test_a_ping_is_answered_with_what_it_carries(payload: bytes) -> None:
    ping = encode_frame(PING, payload)
    pong = bytes((0x8A, 0x80 | len(payload))) + b"\0\0\0\0" + payload  # RFC 6455 section 5.5.3
    for cut in range(len(ping)):
        wire, ping_count = hold(ping[:cut], ping[cut:] + ping)
        assert (wire.written, ping_count, wire.end) == ([pong, pong], 2, "")


async def test_a_close_is_followed_by_the_end_of_the_connection() -> None:
    assert hold(encode_frame(CLOSE, b"\x03\xe8"))[0].end == "closed"


async def test_messages_are_of_no_interest() -> None:
    wire, ping_count = hold(encode_frame(TEXT, b"{}"))
    assert (wire.written, ping_count, wire.end) == ([], 0, "")


async def test_what_is_no_frame_ends_the_connection_at_once() -> None:
    assert hold(b"HTTP/1.1 400 Bad Request\r\n\r\n")[0].end == "aborted"
