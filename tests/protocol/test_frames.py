"""RFC 6455 section 5.2: frames, as literal bytes, at every cut."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WebSocketError
from protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    INTEGER_XOR_BYTES,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameDecoder,
    encode_frame,
    encode_masked_frame,
    mask,
    max_deflated_bytes,
)

ZERO_KEY = bytes(4)
# The key and the masked word of the example in RFC 6455 section 5.7.
KEY = b"\x37\xfa\x21\x3d"
HELLO = b"\x7f\x9f\x4d\x51\x58"

# (wire, frames as (first byte, payload))
GOOD = [
    pytest.param(b"\x81\x85" + KEY + HELLO, [(0x81, b"Hello")], id="5.7: one masked text"),
    pytest.param(
        b"\x01\x83" + KEY + HELLO[:3] + b"\x80\x82" + ZERO_KEY + b"lo",
        [(0x01, b"Hel"), (0x80, b"lo")],
        id="5.7: a text in two fragments",
    ),
    pytest.param(
        b"\x89\x85" + KEY + HELLO + b"\x8a\x85" + KEY + HELLO,
        [(0x89, b"Hello"), (0x8A, b"Hello")],
        id="5.7: ping and pong",
    ),
    pytest.param(b"\x82\x80" + KEY, [(0x82, b"")], id="5.2: an empty payload"),
    pytest.param(
        b"\x02\x80" + KEY + b"\x00\x80" + KEY + b"\x80\x80" + KEY,
        [(0x02, b""), (0x00, b""), (0x80, b"")],
        id="5.4: empty fragments",
    ),
    pytest.param(
        b"\x01\x81"
        + ZERO_KEY
        + b"a"
        + b"\x89\x81"
        + ZERO_KEY
        + b"p"
        + b"\x80\x81"
        + ZERO_KEY
        + b"b",
        [(0x01, b"a"), (0x89, b"p"), (0x80, b"b")],
        id="5.4: a ping between fragments",
    ),
    pytest.param(
        b"\x88\x82" + ZERO_KEY + b"\x03\xe8", [(0x88, b"\x03\xe8")], id="5.5.1: a close frame"
    ),
    pytest.param(
        b"\x82\xfd" + ZERO_KEY + b"x" * 125,
        [(0x82, b"x" * 125)],
        id="5.2: the longest short length",
    ),
    pytest.param(
        b"\x89\xfd" + ZERO_KEY + b"x" * 125,
        [(0x89, b"x" * 125)],
        id="5.5: the longest control frame",
    ),
    pytest.param(
        b"\x82\xfe\x00\x7e" + ZERO_KEY + b"x" * 126,
        [(0x82, b"x" * 126)],
        id="5.2: the shortest 16-bit length",
    ),
    pytest.param(
        b"\x82\xfe\x03\x00" + b"\x01\x02\x04\x08" + b"\x00" * 768,
        [(0x82, b"\x01\x02\x04\x08" * 192)],
        id="5.3: a payload that is unmasked by table",
    ),
]

# (wire, frames before the error, close code)
BAD = [
    pytest.param(b"\xc1\x80" + KEY, [], 1002, id="5.2: RSV1 without an extension"),
    pytest.param(b"\xa1\x80" + KEY, [], 1002, id="5.2: RSV2"),
    pytest.param(b"\x91\x80" + KEY, [], 1002, id="5.2: RSV3"),
    pytest.param(b"\x83\x80" + KEY, [], 1002, id="5.2: reserved data opcode 3"),
    pytest.param(b"\x87\x80" + KEY, [], 1002, id="5.2: reserved data opcode 7"),
    pytest.param(b"\x8b\x80" + KEY, [], 1002, id="5.2: reserved control opcode 11"),
    pytest.param(b"\x8f\x80" + KEY, [], 1002, id="5.2: reserved control opcode 15"),
    pytest.param(b"\x81\x05Hello", [], 1002, id="5.1: not masked"),
    pytest.param(b"\x81\x00", [], 1002, id="5.1: not masked and empty"),
    pytest.param(b"\x82\x7e\x01\x00" + b"x" * 256, [], 1002, id="5.1: not masked and long"),
    pytest.param(b"\x08\x80" + KEY, [], 1002, id="5.5: a fragmented close"),
    pytest.param(b"\x09\x80" + KEY, [], 1002, id="5.5: a fragmented ping"),
    pytest.param(b"\x89\xfe\x00\x7e", [], 1002, id="5.5: a ping of 126 bytes"),
    pytest.param(b"\x88\xff", [], 1002, id="5.5: a close with a 64-bit length"),
    pytest.param(b"\x82\xfe\x00\x7d", [], 1002, id="5.2: 125 in 16 bits"),
    pytest.param(b"\x82\xff" + (65535).to_bytes(8, "big"), [], 1002, id="5.2: 65535 in 64 bits"),
    pytest.param(b"\x82\xff\x80" + bytes(7), [], 1002, id="5.2: the upper bit of 64"),
    pytest.param(b"\x82\xfe\x04\x01", [], 1009, id="7.4.1: above the bound, told by the head"),
    pytest.param(
        b"\x82\xff\x7f" + b"\xff" * 7, [], 1009, id="7.4.1: the longest length there can be"
    ),
    pytest.param(
        b"\x81\x81" + ZERO_KEY + b"a" + b"\x83\x80" + KEY + b"\x81\x80" + KEY,
        [(0x81, b"a")],
        1002,
        id="a good frame, a bad one, a good one",
    ),
    pytest.param(
        b"\x82\xfe\x00\x7e" + ZERO_KEY + b"x" * 126 + b"\x81\x05",
        [(0x82, b"x" * 126)],
        1002,
        id="a good long frame, then a bad one",
    ),
]


def cuts(wire: bytes) -> Iterator[list[bytes]]:
    """Yield wire in two pieces for every place to cut it, then byte by byte."""
    for index in range(len(wire) + 1):
        yield [wire[:index], wire[index:]]
    yield [wire[index : index + 1] for index in range(len(wire))]


def join(parts: list[Frame]) -> list[tuple[int, bytes]]:
    """Return whole frames for parts; all of them must be complete."""
    frames: list[tuple[int, bytes]] = []
    is_open = False
    for first, payload, missing_bytes in parts:
        if is_open:
            assert first & 0x7F == CONTINUATION
            frames[-1] = (frames[-1][0] | first, frames[-1][1] + payload)
        else:
            frames.append((first, payload))
        is_open = missing_bytes > 0
        assert not (is_open and first & FIN)
    assert not is_open
    return frames


def decode(pieces: list[bytes], max_frame_bytes: int = 1024) -> tuple[list[tuple[int, bytes]], int]:
    """Return the frames that come out of pieces, and the close code of the error, or 0."""
    decoder = FrameDecoder(max_frame_bytes)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    code = 0
    if events and isinstance(events[-1], WebSocketError):
        code = events.pop().close_code
    assert not any(isinstance(event, WebSocketError) for event in events)
    return join(events), code


@pytest.mark.parametrize(("wire", "frames"), GOOD)
def test_frames_come_out_whole_however_the_bytes_are_cut(wire, frames):
    for pieces in cuts(wire):
        assert decode(pieces) == (frames, 0)


@pytest.mark.parametrize(("wire", "frames", "code"), BAD)
def test_a_malformed_frame_is_the_last_event_however_the_bytes_are_cut(wire, frames, code):
    for pieces in cuts(wire):
        assert decode(pieces) == (frames, code)


def test_nothing_comes_out_after_an_error():
    decoder = FrameDecoder(1024)
    assert len(decoder.feed(b"\x83\x80" + KEY)) == 1
    assert decoder.feed(b"\x81\x85" + KEY + HELLO) == []
    assert decoder.feed(b"\x83\x80" + KEY) == []


def test_an_unfinished_data_frame_comes_out_in_parts_that_look_like_fragments():
    decoder = FrameDecoder(1024)
    assert decoder.feed(b"\x81\x85" + KEY) == [(0x01, b"", 5)]
    assert decoder.feed(HELLO[:2]) == [(0x00, b"He", 3)]
    assert decoder.feed(HELLO[2:] + b"\x82\x80" + KEY) == [(0x80, b"llo", 0), (0x82, b"", 0)]
    assert decoder.feed(b"\x00\x85" + KEY + HELLO[:1]) == [(0x00, b"H", 4)]
    assert decoder.feed(HELLO[1:]) == [(0x00, b"ello", 0)]


def test_a_frame_may_be_as_large_as_the_bound_and_no_larger():
    assert decode([b"\x82\x83" + ZERO_KEY + b"abc"], max_frame_bytes=3) == ([(0x82, b"abc")], 0)
    assert decode([b"\x82\x84" + ZERO_KEY + b"abcd"], max_frame_bytes=3) == ([], 1009)


def test_the_bound_is_not_one_for_control_frames():
    assert decode([b"\x89\x84" + ZERO_KEY + b"ping"], max_frame_bytes=3) == ([(0x89, b"ping")], 0)


@pytest.mark.parametrize(
    ("opcode", "payload", "wire"),
    [
        (TEXT, b"Hello", b"\x81\x05Hello"),
        (BINARY, b"", b"\x82\x00"),
        (PING, b"Hello", b"\x89\x05Hello"),
        (PONG, b"", b"\x8a\x00"),
        (CLOSE, b"\x03\xe8", b"\x88\x02\x03\xe8"),
        (BINARY, b"x" * 125, b"\x82\x7d" + b"x" * 125),
        (BINARY, b"x" * 126, b"\x82\x7e\x00\x7e" + b"x" * 126),
        (BINARY, b"x" * 256, b"\x82\x7e\x01\x00" + b"x" * 256),
        (BINARY, b"x" * 65535, b"\x82\x7e\xff\xff" + b"x" * 65535),
        (BINARY, b"x" * 65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + b"x" * 65536),
    ],
)
def test_frames_are_encoded_with_the_shortest_length(opcode, payload, wire):
    assert encode_frame(opcode, payload) == wire


def test_fragments_and_reserved_bits_can_be_encoded():
    assert encode_frame(TEXT, b"a", fin=False) == b"\x01\x01a"
    assert encode_frame(CONTINUATION, b"a") == b"\x80\x01a"
    assert encode_frame(TEXT, b"a", rsv1=True) == b"\xc1\x01a"


@pytest.mark.parametrize(
    ("payload", "flags"), [(b"x" * 126, {}), (b"", {"fin": False}), (b"", {"rsv1": True})]
)
def test_a_control_frame_that_no_peer_may_accept_is_not_encoded(payload, flags):
    with pytest.raises(ValueError, match="control frame"):
        encode_frame(PING, payload, **flags)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(
    ("size", "length"),
    [
        (5, b"\x85"),
        (126, b"\xfe\x00\x7e"),
        (65536, b"\xff\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_client_frame_is_masked(opcode, size, length):
    wire = encode_masked_frame(opcode, b"\x00" * size, KEY)
    assert wire == bytes((0x80 | opcode,)) + length + KEY + (KEY * (size // 4 + 1))[:size]


@given(st.binary(max_size=2 * INTEGER_XOR_BYTES), st.binary(min_size=4, max_size=4))
def test_masking_is_the_xor_of_rfc_6455_section_5_3(payload, key):
    assert mask(payload, key) == bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


FRAMES = st.one_of(
    st.tuples(
        st.sampled_from([TEXT, BINARY, CONTINUATION]), st.booleans(), st.binary(max_size=700)
    ),
    st.tuples(st.sampled_from([CLOSE, PING, PONG]), st.just(True), st.binary(max_size=125)),
)


@given(
    st.lists(st.tuples(FRAMES, st.binary(min_size=4, max_size=4)), max_size=8),
    st.lists(st.integers(min_value=1, max_value=300), min_size=1),
)
def test_whatever_was_encoded_is_decoded_however_it_is_cut(frames, sizes):
    wire = b"".join(
        encode_masked_frame(opcode, payload, key, fin=fin) for (opcode, fin, payload), key in frames
    )
    pieces = []
    while wire:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(wire[:size])
        wire = wire[size:]
    expected = [(opcode | (FIN if fin else 0), payload) for (opcode, fin, payload), _ in frames]
    assert decode(pieces) == (expected, 0)


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=200))
def test_any_bytes_give_the_same_frames_and_the_same_verdict_in_two_pieces(wire, cut):
    def outcome(pieces: list[bytes]) -> tuple[bytes, int]:
        decoder = FrameDecoder(100)
        events = [event for piece in pieces for event in decoder.feed(piece)]
        payload = b"".join(event[1] for event in events if isinstance(event, tuple))
        errors = [event.close_code for event in events if isinstance(event, WebSocketError)]
        return payload, sum(errors)

    assert outcome([wire]) == outcome([wire[:cut], wire[cut:]])


def deflated(wire: bytes) -> list[object]:
    """Return what comes out where compression was agreed; an int is an error's close code."""
    frames = FrameDecoder(1024, is_deflating=True).feed(wire)
    return [
        int(frame.close_code) if isinstance(frame, WebSocketError) else frame for frame in frames
    ]


@pytest.mark.parametrize(
    ("wire", "frames"),
    [
        pytest.param(b"\xc1\x81" + ZERO_KEY + b"a", [(0xC1, b"a", 0)], id="a text"),
        pytest.param(
            b"\x42\x80" + KEY + b"\x80\x81" + ZERO_KEY + b"a",
            [(0x42, b"", 0), (0x80, b"a", 0)],
            id="the first of two fragments",
        ),
        pytest.param(b"\x81\x81" + ZERO_KEY + b"a", [(0x81, b"a", 0)], id="a text that is not"),
        pytest.param(b"\xc0\x80" + KEY, [1002], id="a continuation"),
        pytest.param(b"\x40\x80" + KEY, [1002], id="a continuation that is not the last"),
        pytest.param(b"\xc8\x80" + KEY, [1002], id="a close frame"),
        pytest.param(b"\xc9\x80" + KEY, [1002], id="a ping"),
        pytest.param(b"\xca\x80" + KEY, [1002], id="a pong"),
        pytest.param(b"\xe1\x80" + KEY, [1002], id="RSV2"),
        pytest.param(b"\xd1\x80" + KEY, [1002], id="RSV3"),
        pytest.param(b"\xc3\x80" + KEY, [1002], id="a reserved opcode"),
        pytest.param(b"\x82\xfe\x04\x01", [1009], id="above the bound and not compressed"),
        pytest.param(b"\x02\xfe\x04\x01", [1009], id="as well in a first fragment"),
        pytest.param(
            b"\xc2\xfe" + (max_deflated_bytes(1024) + 1).to_bytes(2, "big"),
            [1009],
            id="far above the bound and compressed",
        ),
    ],
)
def test_rsv1_is_for_the_first_frames_of_messages_where_compression_was_agreed(wire, frames):
    assert deflated(wire) == frames


def test_a_compressed_message_may_be_longer_than_what_it_becomes():
    size = max_deflated_bytes(1024)
    assert deflated(b"\xc2\xfe" + size.to_bytes(2, "big") + ZERO_KEY + bytes(size)) == [
        (0xC2, bytes(size), 0)
    ]
