"""What a gateway sends, decoded at every split; what none would send is refused."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loadtest.clients.wire import (
    End,
    EventDecoder,
    FrameWalker,
    Head,
    ResponseDecoder,
    ServerFrame,
    ServerFrameDecoder,
    StreamEvent,
    WireError,
    describe_close,
)


def splits(wire: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield wire in two pieces at every place, and byte by byte."""
    for at in range(len(wire) + 1):
        yield wire[:at], wire[at:]
    yield tuple(wire[at : at + 1] for at in range(len(wire)))


def feed_all(decoder: Any, pieces: tuple[bytes, ...]) -> list[Any]:
    return [event for piece in pieces for event in decoder.feed(piece)]


def join(events: list[Any]) -> list[Any]:
    """Return events with adjacent pieces of a body in one."""
    joined: list[Any] = []
    for event in events:
        if isinstance(event, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += event
        else:
            joined.append(event)
    return joined


def test_responses_with_lengths_follow_each_other_on_one_connection() -> None:
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" + (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\ncontent-length:0\r\n\r\n"
    )
    for pieces in splits(wire):
        assert join(feed_all(ResponseDecoder(), pieces)) == [
            Head(200, {"content-length": "5"}),
            b"hello",
            End(),
            Head(503, {"retry-after": "1", "content-length": "0"}),
            End(),
        ]


def test_a_body_without_length_goes_on_until_the_connection_ends() -> None:
    for pieces in splits(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nall\r\n\r\nof it"):
        events = join(feed_all(ResponseDecoder(), pieces))
        assert events == [Head(200, {"x": "y"}), b"all\r\n\r\nof it"]


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_response_of_a_gateway_is_refused(wire: bytes) -> None:
    with pytest.raises(WireError):
        ResponseDecoder().feed(wire)


def test_frames_of_every_length_come_out_whole() -> None:
    # RFC 6455 section 5.7: unmasked text, a ping, and lengths in 7, 16 and 64 bits.
    wire = b"\x81\x05Hello" + b"\x89\x00" + b"\x82\x7e\x01\x00" + b"a" * 256
    for pieces in splits(wire):
        assert feed_all(ServerFrameDecoder(), pieces) == [
            ServerFrame(1, b"Hello"),
            ServerFrame(9, b""),
            ServerFrame(2, b"a" * 256),
        ]
    long = b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + b"b" * 65536
    assert ServerFrameDecoder().feed(long) == [ServerFrame(2, b"b" * 65536)]


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"\x01\x05Hello", id="a fragment"),
        pytest.param(b"\xc1\x05Hello", id="compressed"),
        pytest.param(b"\x81\x85\0\0\0\0Hello", id="masked"),
        pytest.param(b"\x81\x7f\x00\x00\x00\x01\x00\x00\x00\x00", id="4 GiB"),
    ],
)
def test_a_frame_that_no_gateway_sends_is_refused(wire: bytes) -> None:
    with pytest.raises(WireError):
        ServerFrameDecoder().feed(wire)


def walk(pieces: tuple[bytes, ...]) -> tuple[int, list[ServerFrame], bool]:
    """Return what a walker finds in pieces that come one after the other in one buffer."""
    walker, buffer = FrameWalker(), bytearray(100_000)
    count, controls = 0, []
    for piece in pieces:
        buffer[: len(piece)] = piece
        found, others = walker.feed(buffer, len(piece))
        count += found
        controls += others
    return count, controls, walker.is_between


def test_a_walker_counts_data_frames_of_every_length_and_takes_out_the_others() -> None:
    wire = b"\x81\x05Hello" + b"\x89\x02hi" + b"\xc2\x7e\x01\x00" + b"a" * 256 + b"\x88\x00"
    for pieces in splits(wire):
        assert walk(pieces) == (2, [ServerFrame(9, b"hi"), ServerFrame(8, b"")], True)
    long = b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + b"b" * 65536
    assert walk((long,)) == (1, [], True)
    for end in range(1, len(wire)):
        ends_between = end in (7, 11, 271)
        assert walk((wire[:end],))[2] == ends_between


def test_a_walker_refuses_fragments_and_masked_frames() -> None:
    for wire in (b"\x01\x05Hello", b"\xa1\x00", b"\x81\x85\0\0\0\0Hello"):
        with pytest.raises(WireError):
            FrameWalker().feed(wire, len(wire))


@pytest.mark.parametrize(
    ("payload", "text"),
    [(b"", "without a code"), (b"\x03\xe8", "1000"), (b"\x03\xf0enough", "1008 enough")],
)
def test_a_close_is_described_by_its_code_and_reason(payload: bytes, text: str) -> None:
    assert describe_close(payload) == text


def test_events_carry_type_data_and_the_cursor_of_their_id() -> None:
    wire = (
        b"retry: 2000\n\nevent: gap\ndata: {}\n\n:\n\nid: AQ\n\n"
        b"id: BQ\ndata: a\ndata: b\xc3\xa4\n\nid: CQ\ndata: cut"
    )
    for pieces in splits(wire):
        assert feed_all(EventDecoder(), pieces) == [
            StreamEvent("gap", "{}", None),
            StreamEvent("message", None, "AQ"),
            StreamEvent("message", "a\nbä", "BQ"),
        ]


def test_a_stray_line_in_an_event_stream_is_refused() -> None:
    with pytest.raises(WireError, match="stray"):
        EventDecoder().feed(b"stray\n\n")


DECODERS: list[Callable[[], Any]] = [ResponseDecoder, ServerFrameDecoder, EventDecoder]


@pytest.mark.parametrize("make", DECODERS)
def test_nothing_comes_of_nothing(make: Callable[[], Any]) -> None:
    assert make().feed(b"") == []
