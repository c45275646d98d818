"""Events come out of a stream as WHATWG HTML section 9.2.6 says, however its bytes are cut."""

import pytest

from gateway.client import event_stream
from gateway.client.event_stream import EventStreamDecoder, EventTooLarge

CASES = [
    pytest.param(b"", [], id="nothing"),
    pytest.param(b"data: a\n\n", [("message", "a", "")], id="one event"),
    pytest.param(b"data:a\n\n", [("message", "a", "")], id="no space after the colon"),
    pytest.param(b"data:  a\n\n", [("message", " a", "")], id="one space belongs to the colon"),
    pytest.param(b"data: a\r\rdata: b\r\r", [("message", "a", ""), ("message", "b", "")], id="CR"),
    pytest.param(
        b"data: a\r\n\r\ndata: b\r\n\r\n", [("message", "a", ""), ("message", "b", "")], id="CRLF"
    ),
    pytest.param(b"data: a\r\ndata: b\r\n\r\n", [("message", "a\nb", "")], id="lines in CRLF"),
    pytest.param(b"data: a\r\n\n", [("message", "a", "")], id="line ends mixed"),
    pytest.param(b"data: a\n\r\n", [("message", "a", "")], id="LF then CRLF"),
    pytest.param(
        b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")], id="three lines"
    ),
    pytest.param(
        b"data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")], id="bare"
    ),
    pytest.param(
        b"event: gap\ndata: 1\n\ndata: 2\n\n", [("gap", "1", ""), ("message", "2", "")], id="event"
    ),
    pytest.param(b"event: gap\n\ndata: 2\n\n", [("message", "2", "")], id="event without data"),
    pytest.param(
        b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        [("message", "a", "1"), ("message", "b", "1"), ("message", "c", "")],
        id="the id stays until it is set again",
    ),
    pytest.param(b"id: 1\n\ndata: a\n\n", [("message", "a", "1")], id="id of an empty event"),
    pytest.param(b"id: 1\0\ndata: a\n\n", [("message", "a", "")], id="an id with NUL is ignored"),
    pytest.param(b": hello\ndata: a\n:\n\n:\n\n", [("message", "a", "")], id="comments"),
    pytest.param(b"other: x\nDATA: y\n data: z\ndata: a\n\n", [("message", "a", "")], id="unknown"),
    pytest.param(b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")], id="byte order mark"),
    pytest.param(
        "data: é🎉\u2028x\n\n".encode(), [("message", "é🎉\u2028x", "")], id="other alphabets"
    ),
    pytest.param(b"data: a\xff\n\n", [("message", "a\ufffd", "")], id="not UTF-8"),
    pytest.param(b"data: a\n", [], id="an event that breaks off is none"),
]


def decode(decoder: EventStreamDecoder, data: bytes) -> list[tuple[str, str, str]]:
    return [(event.type, event.data, event.last_event_id) for event in decoder.feed(data)]


@pytest.mark.parametrize(("wire", "events"), CASES)
def test_events_come_out_whole_however_the_bytes_are_cut(wire, events):
    for cut in range(len(wire) + 1):
        decoder = EventStreamDecoder()
        assert decode(decoder, wire[:cut]) + decode(decoder, wire[cut:]) == events
    decoder = EventStreamDecoder()
    assert [event for byte in wire for event in decode(decoder, bytes([byte]))] == events


def test_an_event_comes_out_with_the_byte_that_completes_it():
    for end in (b"\n\n", b"\r\r", b"\r\n\r\n", b"\r\n\n"):
        decoder = EventStreamDecoder()
        wire = b"data: a" + end
        early = [decode(decoder, bytes([byte])) for byte in wire[:-1]]
        late = decode(decoder, wire[-1:])
        assert [event for events in early for event in events] + late == [("message", "a", "")]
    assert decode(EventStreamDecoder(), b"data: a\r\r") == [("message", "a", "")]


def test_the_id_of_an_event_that_breaks_off_is_not_where_to_resume():
    decoder = EventStreamDecoder()
    decoder.feed(b"id: 1\ndata: a\n\n")
    for byte in b"id: 2\ndata: b\n":
        assert decoder.feed(bytes([byte])) == []
        assert decoder.last_event_id == "1"
    decoder.feed(b"\n")
    assert decoder.last_event_id == "2"
    decoder.feed(b"id\n\n")
    assert decoder.last_event_id == ""


@pytest.mark.parametrize(
    ("line", "retry_ms"),
    [
        ("retry: 2000", 2000),
        ("retry:0", 0),
        ("retry: 1s", None),
        ("retry: -1", None),
        ("retry", None),
    ],
)
def test_retry_is_taken_where_it_is_a_number(line, retry_ms):
    decoder = EventStreamDecoder()
    assert decoder.feed(f"{line}\n".encode()) == []
    assert decoder.retry_ms == retry_ms


@pytest.mark.parametrize("piece", [b"data: 89abcdef\n", b"x"])
def test_an_event_without_end_is_refused_before_it_fills_the_memory(monkeypatch, piece):
    monkeypatch.setattr(event_stream, "MAX_EVENT_CHARACTERS", 100)
    decoder = EventStreamDecoder()
    pieces = [piece] * (100 // len(piece))
    assert [event for piece in pieces for event in decoder.feed(piece)] == []
    with pytest.raises(EventTooLarge, match="longer than 100 characters"):
        decoder.feed(piece * 20)
