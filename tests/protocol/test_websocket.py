"""RFC 6455 sections 5.4 to 8.1: messages and closing, as literal bytes, at every cut."""

import gc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import UNSENDABLE_CLOSE_CODES, CloseCode
from protocol.errors import StateError, WebSocketError
from protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    encode_masked_frame,
)
from protocol.websocket import MAX_FRAGMENT_COUNT, Act, State, WebSocket

KEY = bytes(4)  # masks nothing, so that the literals can be read

# (wire, events); an int stands for a WebSocketError with that close code
CASES = [
    pytest.param(b"\x81\x85" + KEY + b"Hello", [(TEXT, "Hello")], id="5.6: text"),
    pytest.param(b"\x82\x82" + KEY + b"\xff\x00", [(BINARY, b"\xff\x00")], id="5.6: binary"),
    pytest.param(b"\x81\x80" + KEY, [(TEXT, "")], id="5.6: empty text"),
    pytest.param(b"\x82\x80" + KEY, [(BINARY, b"")], id="5.6: empty binary"),
    pytest.param(
        b"\x01\x83" + KEY + b"Hel" + b"\x80\x82" + KEY + b"lo",
        [(TEXT, "Hello")],
        id="5.4: two fragments",
    ),
    pytest.param(
        b"\x02\x80" + KEY + b"\x00\x81" + KEY + b"a" + b"\x00\x80" + KEY + b"\x80\x80" + KEY,
        [(BINARY, b"a")],
        id="5.4: empty fragments",
    ),
    pytest.param(
        b"\x01\x81"
        + KEY
        + b"a"
        + b"\x89\x81"
        + KEY
        + b"p"
        + b"\x8a\x80"
        + KEY
        + b"\x80\x81"
        + KEY
        + b"b",
        [(PING, b"p"), (PONG, b""), (TEXT, "ab")],
        id="5.4: control frames between fragments",
    ),
    pytest.param(
        b"\x01\x81" + KEY + b"\xc3" + b"\x80\x81" + KEY + b"\xa9",
        [(TEXT, "\u00e9")],
        id="5.6: a character cut by a fragment",
    ),
    pytest.param(b"\x88\x80" + KEY, [(CLOSE, (1005, ""))], id="7.1.5: close without a code"),
    pytest.param(
        b"\x88\x82" + KEY + b"\x03\xe8", [(CLOSE, (1000, ""))], id="5.5.1: close with a code"
    ),
    pytest.param(
        b"\x88\x87" + KEY + b"\x0b\xb8\xe2\x82\xacuv",
        [(CLOSE, (3000, "\u20acuv"))],
        id="5.5.1: close with a reason",
    ),
    pytest.param(
        b"\x88\x82" + KEY + b"\x03\xe8" + b"\x81\x81" + KEY + b"a",
        [(CLOSE, (1000, ""))],
        id="5.5.1: nothing is received after a close",
    ),
    pytest.param(
        b"\x81\x81" + KEY + b"a" + b"\x88\x81" + KEY + b"\x03",
        [(TEXT, "a"), 1002],
        id="5.5.1: half a close code",
    ),
    pytest.param(b"\x88\x83" + KEY + b"\x03\xe8\xff", [1007], id="5.5.1: reason is not UTF-8"),
    pytest.param(b"\x80\x80" + KEY, [1002], id="5.4: a continuation of nothing"),
    pytest.param(
        b"\x01\x81" + KEY + b"a" + b"\x80\x80" + KEY + b"\x80\x80" + KEY,
        [(TEXT, "a"), 1002],
        id="5.4: a continuation after the end",
    ),
    pytest.param(
        b"\x01\x81" + KEY + b"a" + b"\x81\x81" + KEY + b"b", [1002], id="5.4: text inside a message"
    ),
    pytest.param(
        b"\x01\x80" + KEY + b"\x82\x80" + KEY, [1002], id="5.4: a message after an empty fragment"
    ),
    pytest.param(
        b"\x02\x81" + KEY + b"a" + b"\x02\x81" + KEY + b"b",
        [1002],
        id="5.4: binary inside a message",
    ),
    pytest.param(b"\xc1\x80" + KEY, [1002], id="5.2: RSV1 without an extension"),
    pytest.param(
        b"\x81\x81" + KEY + b"a" + b"\x81\x81" + KEY + b"\xff" + b"\x81\x81" + KEY + b"b",
        [(TEXT, "a"), 1007],
        id="8.1: text that is not UTF-8",
    ),
    pytest.param(b"\x81\x83" + KEY + b"\xed\xa0\x80", [1007], id="8.1: a surrogate is not UTF-8"),
    pytest.param(b"\x81\x82" + KEY + b"\xc0\xaf", [1007], id="8.1: an overlong form is not UTF-8"),
    pytest.param(b"\x81\x81" + KEY + b"\xc3", [1007], id="8.1: a character cut by the end"),
    pytest.param(
        b"\x01\x81" + KEY + b"\xc3" + b"\x80\x80" + KEY, [1007], id="8.1: cut by the last fragment"
    ),
    pytest.param(
        b"\x81\xfe\x01\x01", [1009], id="7.4.1: a frame above the bound, told by its head"
    ),
    pytest.param(
        b"\x01\xfe\x01\x00" + KEY + b"x" * 256 + b"\x80\x81" + KEY,
        [1009],
        id="7.4.1: a message above the bound, told by the head of its last frame",
    ),
    pytest.param(
        b"\x02\xfe\x00\xff" + KEY + b"x" * 255 + b"\x80\x81" + KEY + b"y",
        [(BINARY, b"x" * 255 + b"y")],
        id="a message as large as the bound",
    ),
]


def cuts(wire: bytes) -> Iterator[list[bytes]]:
    """Yield wire in two pieces for every place to cut it, then byte by byte."""
    for index in range(len(wire) + 1):
        yield [wire[:index], wire[index:]]
    yield [wire[index : index + 1] for index in range(len(wire))]


def receive(websocket: WebSocket, *pieces: bytes) -> list[object]:
    """Return what pieces make come out, with the close code for an error."""
    events = [event for piece in pieces for event in websocket.feed(piece)]
    return [
        int(event.close_code) if isinstance(event, WebSocketError) else event for event in events
    ]


def opened() -> WebSocket:
    return WebSocket(max_message_bytes=256)


@pytest.mark.parametrize(("wire", "events"), CASES)
def test_messages_come_out_whole_however_the_bytes_are_cut(wire, events):
    for pieces in cuts(wire):
        assert receive(opened(), *pieces) == events


# (what must be enough to notice, what would follow): the cases 6.4.* of the Autobahn suite
BAD_TEXTS = [
    pytest.param(b"\x81\x94" + KEY + b"\xce\xba\xf4\x90", id="above U+10FFFF, inside a frame"),
    pytest.param(b"\x81\x94" + KEY + b"\xf5", id="a byte that never begins a character"),
    pytest.param(b"\x81\x94" + KEY + b"\xed\xa0", id="a surrogate"),
    pytest.param(b"\x81\x94" + KEY + b"\xe2a", id="a character that is not continued"),
    pytest.param(
        b"\x01\x82" + KEY + b"\xce\xba" + b"\x00\x82" + KEY + b"\xf4\x90", id="in a fragment"
    ),
    pytest.param(
        b"\x01\x81" + KEY + b"\xf4" + b"\x00\x85" + KEY + b"\x90", id="split over two fragments"
    ),
]


@pytest.mark.parametrize("wire", BAD_TEXTS)
def test_bad_utf_8_is_noticed_as_soon_as_its_bytes_are_here(wire):
    for pieces in cuts(wire):
        assert receive(opened(), *pieces) == [1007]
    assert receive(opened(), wire[:-1]) == []


def test_text_is_refused_by_the_byte_after_which_no_byte_can_save_it():
    starts = {
        chr(code).encode("utf-8", "surrogatepass")[:2]
        for code in range(0x80, 0x110000, 64)
        if not 0xD800 <= code < 0xE000
    }
    second_bytes = [*range(0x80, 0xC0), 0x00, 0x7F, 0xC0, 0xFF]
    for first in range(0x80, 0x100):
        for second in second_bytes:
            is_good = bytes((first, second)) in starts or (
                0xC2 <= first < 0xE0 and 0x80 <= second < 0xC0
            )
            events = receive(opened(), b"\x81\x94" + KEY, bytes((first,)), bytes((second,)))
            assert events == ([] if is_good else [1007])


def test_nothing_comes_out_after_an_error():
    websocket = opened()
    assert receive(websocket, b"\x80\x80" + KEY) == [1002]
    assert receive(websocket, b"\x81\x81" + KEY + b"a", b"\x80\x80" + KEY) == []


def test_a_frame_in_many_pieces_is_one_fragment():
    websocket = WebSocket(max_message_bytes=2 * MAX_FRAGMENT_COUNT)
    size = MAX_FRAGMENT_COUNT + 1
    assert receive(websocket, b"\x82\xff" + size.to_bytes(8, "big") + KEY) == []
    assert receive(websocket, *[b"x"] * size) == [(BINARY, b"x" * size)]


def test_a_message_may_have_65536_fragments_but_not_endlessly_many():
    fragments = b"\x00\x80" + KEY
    websocket = opened()
    assert receive(websocket, b"\x02\x80" + KEY + fragments * 65534 + b"\x80\x80" + KEY) == [
        (BINARY, b"")
    ]
    assert receive(websocket, b"\x02\x80" + KEY + fragments * (MAX_FRAGMENT_COUNT - 1)) == []
    assert receive(websocket, fragments) == [1009]


def test_close_codes_are_those_that_may_travel():
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    for code in (*range(5100), 65535):
        event = receive(opened(), b"\x88\x82" + KEY + code.to_bytes(2, "big"))
        assert event == ([(CLOSE, (code, ""))] if code in allowed else [1002])


@pytest.mark.parametrize(
    ("send", "wire"),
    [
        (lambda websocket: websocket.send_frame(TEXT, "h\u00e9"), b"\x81\x03h\xc3\xa9"),
        (lambda websocket: websocket.send_frame(BINARY, b"\xff"), b"\x82\x01\xff"),
        (lambda websocket: websocket.send_frame(PING, b"p"), b"\x89\x01p"),
        (lambda websocket: websocket.send_frame(PONG, b""), b"\x8a\x00"),
        (lambda websocket: websocket.send_close(1000), b"\x88\x02\x03\xe8"),
        (lambda websocket: websocket.send_close(4999, "bye"), b"\x88\x05\x13\x87bye"),
        (lambda websocket: websocket.send_close(1005), b"\x88\x00"),
    ],
)
def test_what_is_sent_is_one_frame(send: Callable[[WebSocket], bytes], wire: bytes):
    assert send(opened()) == wire


def test_a_reason_that_is_too_long_is_cut_between_two_characters():
    wire = opened().send_close(1000, "a" + "\u20ac" * 50)
    assert wire == b"\x88\x7b\x03\xe8a" + b"\xe2\x82\xac" * 40


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65536])
def test_a_code_that_must_not_travel_is_not_sent_and_changes_nothing(code):
    websocket = opened()
    with pytest.raises(ValueError, match=str(code)):
        websocket.send_close(code)
    assert websocket.send_close(1000) == b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("code", sorted(set(CloseCode) - UNSENDABLE_CLOSE_CODES))
def test_every_registered_code_can_be_sent_and_received(code):
    wire = opened().send_close(code)
    assert receive(opened(), wire[:1] + b"\x82" + KEY + wire[2:]) == [(CLOSE, (code, ""))]


ACTS: dict[Act, Callable[[WebSocket], object]] = {
    Act.SEND_FRAME: lambda websocket: websocket.send_frame(TEXT, "a"),
    Act.SEND_CLOSE: lambda websocket: websocket.send_close(1000),
    Act.RECEIVE_FRAME: lambda websocket: websocket.feed(b"\x81\x81" + KEY + b"a"),
    Act.RECEIVE_CLOSE: lambda websocket: websocket.feed(b"\x88\x80" + KEY),
    Act.RECEIVE_ERROR: lambda websocket: websocket.feed(b"\x83\x80" + KEY),
    Act.LOSE: lambda websocket: websocket.lose(),
}
WAYS: dict[State, list[Act]] = {
    State.OPEN: [],
    State.CLOSE_RECEIVED: [Act.RECEIVE_CLOSE],
    State.FAILED: [Act.RECEIVE_ERROR],
    State.CLOSE_SENT: [Act.SEND_CLOSE],
    State.CLOSED: [Act.SEND_CLOSE, Act.RECEIVE_CLOSE],
}
OPEN, RECEIVED, FAILED, SENT, CLOSED = State
# RFC 6455 sections 5.5.1 and 7.1; None where a send is refused or received bytes are ignored.
STEPS = [
    # SEND_FRAME, SEND_CLOSE, RECEIVE_FRAME, RECEIVE_CLOSE, RECEIVE_ERROR, LOSE
    (OPEN, [OPEN, SENT, OPEN, RECEIVED, FAILED, CLOSED]),
    (RECEIVED, [RECEIVED, CLOSED, None, None, None, CLOSED]),
    (FAILED, [FAILED, CLOSED, None, None, None, CLOSED]),
    (SENT, [None, None, SENT, CLOSED, CLOSED, CLOSED]),
    (CLOSED, [None, None, None, None, None, CLOSED]),
]


@pytest.mark.parametrize(
    ("before", "act", "after"),
    [(before, act, after) for before, row in STEPS for act, after in zip(Act, row, strict=True)],
)
def test_every_act_leads_where_the_table_says_or_nowhere(before, act, after):
    websocket = opened()
    for step in WAYS[before]:
        ACTS[step](websocket)
    assert websocket.state is before
    if after is None and act in (Act.SEND_FRAME, Act.SEND_CLOSE):
        with pytest.raises(StateError, match=act.name):
            ACTS[act](websocket)
    else:
        events = ACTS[act](websocket)
        assert after is not None or events == []
    assert websocket.state is (before if after is None else after)


def test_messages_still_arrive_between_our_close_frame_and_the_peers():
    websocket = opened()
    assert receive(websocket, b"\x01\x81" + KEY + b"a") == []
    websocket.send_close(1000)
    assert receive(websocket, b"\x80\x81" + KEY + b"b" + b"\x88\x80" + KEY) == [
        (TEXT, "ab"),
        (CLOSE, (1005, "")),
    ]


def test_an_error_leaves_no_garbage():
    gc.collect()
    gc.disable()
    try:
        opened().feed(b"\x83\x80" + KEY)
        opened().feed(b"\x81\x81" + KEY + b"\xff")
        assert gc.collect() == 0
    finally:
        gc.enable()


MESSAGES = st.one_of(
    st.tuples(st.just(TEXT), st.text(max_size=60)),
    st.tuples(st.just(BINARY), st.binary(max_size=250)),
)
KEYS = st.binary(min_size=4, max_size=4)


@given(st.data(), st.lists(MESSAGES, max_size=5))
def test_whatever_is_sent_arrives_however_it_is_fragmented_and_cut(data, messages):
    wire = b""
    for opcode, content in messages:
        payload = content.encode() if isinstance(content, str) else content
        ends = [
            *sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=4))),
            len(payload),
        ]
        start = 0
        for index, end in enumerate(ends):
            piece, fin = payload[start:end], index == len(ends) - 1
            wire += encode_masked_frame(opcode, piece, data.draw(KEYS), fin=fin)
            wire += encode_masked_frame(PONG, b"between", data.draw(KEYS))
            opcode, start = CONTINUATION, end
    cut_places = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    pieces = [wire[a:b] for a, b in zip([0, *cut_places], [*cut_places, len(wire)], strict=True)]
    events = receive(opened(), *pieces)
    assert [event for event in events if event != (PONG, b"between")] == messages


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_text_is_refused_exactly_when_python_cannot_decode_it(first, second):
    wire = encode_masked_frame(TEXT, first, KEY, fin=False)
    wire += encode_masked_frame(CONTINUATION, second, KEY)
    try:
        expected: list[object] = [(TEXT, (first + second).decode())]
    except UnicodeDecodeError:
        expected = [1007]
    assert receive(opened(), wire) == expected
    assert receive(opened(), *[wire[i : i + 1] for i in range(len(wire))]) == expected


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_make_a_feed_raise(pieces):
    websocket = opened()
    for piece in pieces:
        websocket.feed(piece)
