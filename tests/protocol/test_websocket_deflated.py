"""RFC 7692 section 6: compressed messages on one connection, at every cut."""

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.deflate import Agreement, deflate_message
from protocol.errors import StateError, WebSocketError
from protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    encode_masked_frame,
    max_deflated_bytes,
)
from protocol.websocket import GROWN_MESSAGE_BYTES, MAX_GROWN_BYTES, WebSocket

KEY = bytes(4)  # masks nothing
HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # the example of RFC 7692 section 7.2.3.1


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    return encode_masked_frame(opcode, payload, KEY, fin=fin, rsv1=rsv1)


def opened(max_message_bytes: int = 256) -> WebSocket:
    return WebSocket(max_message_bytes=max_message_bytes, agreement=Agreement())


def receive(websocket: WebSocket, *pieces: bytes) -> list[object]:
    """Return what pieces make come out, with the close code for an error."""
    events = []
    for piece in pieces:
        events += websocket.feed(piece)
        while websocket.is_behind:
            events += websocket.feed(b"")
    return [
        int(event.close_code) if isinstance(event, WebSocketError) else event for event in events
    ]


# (wire, events); an int stands for a WebSocketError with that close code
CASES = [
    pytest.param(frame(TEXT, HELLO, rsv1=True), [(TEXT, "Hello")], id="7.2.3.1: a text"),
    pytest.param(frame(BINARY, HELLO, rsv1=True), [(BINARY, b"Hello")], id="6.1: a binary"),
    pytest.param(frame(TEXT, b"\x00", rsv1=True), [(TEXT, "")], id="7.2.3.6: an empty text"),
    pytest.param(
        frame(TEXT, HELLO[:3], fin=False, rsv1=True) + frame(CONTINUATION, HELLO[3:]),
        [(TEXT, "Hello")],
        id="7.2.3.1: two fragments",
    ),
    pytest.param(
        frame(TEXT, b"", fin=False, rsv1=True)
        + frame(CONTINUATION, HELLO, fin=False)
        + frame(CONTINUATION, b""),
        [(TEXT, "Hello")],
        id="6.1: empty fragments",
    ),
    pytest.param(
        frame(TEXT, HELLO, rsv1=True) + frame(TEXT, b"plain") + frame(TEXT, HELLO, rsv1=True),
        [(TEXT, "Hello"), (TEXT, "plain"), (TEXT, "Hello")],
        id="6: some messages are not compressed",
    ),
    pytest.param(
        frame(TEXT, HELLO, rsv1=True)
        + frame(TEXT, b"pl", fin=False)
        + frame(CONTINUATION, b"ain")
        + frame(TEXT, b"\xf2\x00\x11\x00\x00", rsv1=True),
        [(TEXT, "Hello"), (TEXT, "plain"), (TEXT, "Hello")],
        id="7.2.3.2: they do not move the window",
    ),
    pytest.param(
        frame(TEXT, HELLO[:1], fin=False, rsv1=True)
        + frame(PING, b"p")
        + frame(CONTINUATION, HELLO[1:2], fin=False)
        + frame(PING, b"q")
        + frame(CONTINUATION, HELLO[2:]),
        [(PING, b"p"), (PING, b"q"), (TEXT, "Hello")],
        id="6.1: control frames between fragments",
    ),
    pytest.param(
        frame(TEXT, HELLO[:3], fin=False, rsv1=True) + b"\xc0\x80" + KEY,
        [1002],
        id="6.1: RSV1 on a continuation",
    ),
    pytest.param(b"\xc9\x80" + KEY, [1002], id="6.1: RSV1 on a ping"),
    pytest.param(
        frame(TEXT, HELLO[:3], fin=False, rsv1=True) + frame(TEXT, HELLO, rsv1=True),
        [1002],
        id="RFC 6455 5.4: a message inside another",
    ),
    pytest.param(
        frame(TEXT, HELLO, rsv1=True) + frame(TEXT, b"\x07", rsv1=True),
        [(TEXT, "Hello"), 1007],
        id="7.2.2: corrupt",
    ),
    pytest.param(
        frame(TEXT, deflate_message(b"ok \xff no"), rsv1=True),
        [1007],
        id="a text that is not UTF-8",
    ),
    pytest.param(
        frame(TEXT, deflate_message("\u00e9".encode()[:1]), rsv1=True),
        [1007],
        id="a character that is cut",
    ),
    pytest.param(
        frame(BINARY, deflate_message(bytes(256)), rsv1=True),
        [(BINARY, bytes(256))],
        id="as large as the bound",
    ),
    pytest.param(
        frame(BINARY, deflate_message(bytes(257)), rsv1=True), [1009], id="above the bound"
    ),
    pytest.param(frame(BINARY, bytes(257)), [1009], id="above the bound, not compressed"),
    pytest.param(
        frame(BINARY, bytes(200), fin=False) + frame(CONTINUATION, bytes(57)),
        [1009],
        id="above the bound in fragments, not compressed",
    ),
    pytest.param(
        frame(TEXT, HELLO, rsv1=True) + frame(CLOSE, b"\x03\xe8") + frame(TEXT, HELLO, rsv1=True),
        [(TEXT, "Hello"), (CLOSE, (1000, ""))],
        id="RFC 6455 5.5.1: nothing is received after a close",
    ),
]


@pytest.mark.parametrize(("wire", "events"), CASES)
def test_compressed_messages_come_out_whole_however_the_bytes_are_cut(wire, events):
    for index in range(len(wire) + 1):
        assert receive(opened(), wire[:index], wire[index:]) == events
    assert receive(opened(), *[wire[index : index + 1] for index in range(len(wire))]) == events


def test_bad_utf_8_is_noticed_in_what_has_arrived_of_a_compressed_text():
    compressor = zlib.compressobj(1, zlib.DEFLATED, -15)
    beginning = compressor.compress(b"ok \xff") + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert receive(opened(), frame(TEXT, beginning, fin=False, rsv1=True)) == [1007]
    inside_a_frame = b"\xc1\xfe\x01\x00" + KEY + beginning
    assert receive(opened(), inside_a_frame) == [1007]


def test_a_compressed_message_may_not_be_padded_without_end():
    websocket, padding = opened(), b"\x00\x00\x00\xff\xff" * 100
    events = receive(websocket, frame(BINARY, padding, fin=False, rsv1=True))
    fed_bytes = len(padding)
    while not events:
        events = receive(websocket, frame(CONTINUATION, padding, fin=False))
        fed_bytes += len(padding)
    assert events == [1009]
    assert fed_bytes <= max_deflated_bytes(256) + len(padding)


def test_one_feed_gives_a_few_compressed_messages_and_the_next_the_rest():
    websocket = opened(1 << 20)
    bomb = frame(BINARY, deflate_message(bytes(1 << 20)), rsv1=True)
    assert websocket.feed(bomb * 3 + frame(PING, b"p")) == [(BINARY, bytes(1 << 20))]
    assert websocket.is_behind
    assert websocket.feed(bomb) == [(BINARY, bytes(1 << 20))]
    assert websocket.feed(b"") == [(BINARY, bytes(1 << 20))]
    assert websocket.feed(b"") == [(PING, b"p"), (BINARY, bytes(1 << 20))]
    assert not websocket.is_behind
    assert websocket.feed(b"") == []


def test_empty_compressed_messages_count_as_well():
    websocket = opened()
    few = MAX_GROWN_BYTES // GROWN_MESSAGE_BYTES
    assert len(websocket.feed(frame(BINARY, b"\x00", rsv1=True) * 1000)) == few
    assert len(receive(websocket, b"")) == 1000 - few


def test_what_waits_is_forgotten_when_the_end_comes():
    websocket = opened()
    websocket.feed(frame(BINARY, b"\x00", rsv1=True) * 1000)
    assert websocket.is_behind
    websocket.lose()
    assert not websocket.is_behind
    assert websocket.feed(b"") == []


def test_no_window_is_kept_once_the_peer_is_gone():
    websocket = opened(1 << 20)
    tracemalloc.start()
    try:
        websocket.feed(frame(TEXT, deflate_message(b"a" * 100_000), rsv1=True, fin=False))
        websocket.send_deflated(TEXT, b"a" * 100_000)
        websocket.lose()
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 8192  # a decompressor with its window has 40 KiB


def test_what_is_sent_compressed_is_one_frame():
    websocket = opened()
    assert websocket.send_deflated(TEXT, b"Hello") == b"\xc1\x07" + HELLO
    assert websocket.send_deflated(BINARY, b"") == b"\xc2\x01\x00"
    assert websocket.send_frame(TEXT, "Hello") == b"\x81\x05Hello"


def test_nothing_is_sent_compressed_without_agreement_or_after_the_close_frame():
    with pytest.raises(StateError):
        WebSocket(max_message_bytes=256).send_deflated(TEXT, b"a")
    websocket = opened()
    websocket.send_close(1000)
    with pytest.raises(StateError):
        websocket.send_deflated(TEXT, b"a")


def test_a_message_compressed_elsewhere_may_be_sent_in_between():
    websocket, peer = opened(), zlib.decompressobj(-15)
    sent = []
    for number in range(5):
        sent += [websocket.send_deflated(BINARY, b"to one %d " % number * 9)]
        sent += [b"\xc2\x00" + deflate_message(b"to all %d " % number * 9)]
        websocket.forget_sent()
    got = b"".join(peer.decompress(wire[2:] + b"\x00\x00\xff\xff") for wire in sent)
    assert got == b"".join(
        b"%b %d " % (to, number) * 9 for number in range(5) for to in (b"to one", b"to all")
    )


MESSAGES = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just(TEXT), st.text(max_size=60)),
            st.tuples(st.just(BINARY), st.binary(max_size=250)),
        ),
        st.booleans(),
    ),
    max_size=6,
)


@given(st.data(), MESSAGES)
def test_whatever_is_sent_arrives_however_it_is_compressed_fragmented_and_cut(data, messages):
    compressor, wire = zlib.compressobj(6, zlib.DEFLATED, -15), b""
    for (opcode, content), is_deflated in messages:
        payload = content.encode() if isinstance(content, str) else content
        if is_deflated:
            payload = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
            payload = payload[:-4]
        ends = [
            *sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=3))),
            len(payload),
        ]
        start, rsv1 = 0, is_deflated
        for index, end in enumerate(ends):
            fin = index == len(ends) - 1
            wire += frame(opcode, payload[start:end], fin=fin, rsv1=rsv1) + frame(PING, b"between")
            opcode, start, rsv1 = CONTINUATION, end, False
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    pieces = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    events = receive(opened(), *pieces)
    assert [event for event in events if event != (PING, b"between")] == [
        message for message, _ in messages
    ]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_make_a_feed_raise(pieces):
    websocket = opened()
    for piece in pieces:
        websocket.feed(b"\xc1" + bytes((0x80 | len(piece),)) + KEY + piece)
