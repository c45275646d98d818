"""HTML Living Standard section 9.2: what is written is what an event-stream parser reads."""

import codecs
import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.sse import CONTENT_TYPE, HEARTBEAT, encode_event, encode_id, encode_retry


class Event(NamedTuple):
    """What an EventSource dispatches."""

    type: str
    data: str
    last_event_id: str


class EventStreamParser:
    """Section 9.2.6 word by word: bytes in, events out; remembers id and reconnection time."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self.comments: list[str] = []
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._line = ""
        self._is_after_cr = False
        self._data: list[str] = []
        self._type = ""
        self._id = ""

    def feed(self, data: bytes) -> list[Event]:
        events = []
        for character in self._decode(data):
            is_lf_of_crlf = self._is_after_cr and character == "\n"
            self._is_after_cr = character == "\r"
            if is_lf_of_crlf:
                continue
            if character in "\r\n":
                line, self._line = self._line, ""
                events += self._take(line)
            else:
                self._line += character
        return events

    def _take(self, line: str) -> list[Event]:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments.append(value)
        elif name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdecimal():
            self.retry_ms = int(value)
        return []

    def _dispatch(self) -> list[Event]:
        self.last_event_id = self._id
        data, self._data = self._data, []
        kind, self._type = self._type, ""
        return [Event(kind or "message", "\n".join(data), self._id)] if data else []


def cuts(wire: bytes) -> Iterator[list[bytes]]:
    """Yield wire in two pieces for every place to cut it, then byte by byte."""
    for index in range(len(wire) + 1):
        yield [wire[:index], wire[index:]]
    yield [wire[index : index + 1] for index in range(len(wire))]


def parse(wire: bytes) -> list[Event]:
    """Return the events of wire, which must end where an event does."""
    parser = EventStreamParser()
    events = parser.feed(wire)
    assert parser.feed(b"data: next\n\n")[0].data == "next"
    return events


# (arguments, wire, event)
EVENTS = [
    pytest.param((b"{}", None, None), b"data: {}\n\n", ("message", "{}", ""), id="only data"),
    pytest.param((b"", None, None), b"data: \n\n", ("message", "", ""), id="empty data"),
    pytest.param(
        (b"1", None, "AQ-_"), b"id: AQ-_\ndata: 1\n\n", ("message", "1", "AQ-_"), id="a cursor"
    ),
    pytest.param(
        (b"1", "gap", None), b"event: gap\ndata: 1\n\n", ("gap", "1", ""), id="an event type"
    ),
    pytest.param(
        (b"1", "gap", "AQ"),
        b"id: AQ\nevent: gap\ndata: 1\n\n",
        ("gap", "1", "AQ"),
        id="cursor and type",
    ),
    pytest.param(
        (b"[1,\n2]", None, None),
        b"data: [1,\ndata: 2]\n\n",
        ("message", "[1,\n2]", ""),
        id="a line feed",
    ),
    pytest.param(
        (b"[1,\r\n2,\r3]", None, None),
        b"data: [1,\ndata: 2,\ndata: 3]\n\n",
        ("message", "[1,\n2,\n3]", ""),
        id="other line breaks",
    ),
    pytest.param(
        (b"[1,\r2]", None, None),
        b"data: [1,\ndata: 2]\n\n",
        ("message", "[1,\n2]", ""),
        id="a carriage return",
    ),
    pytest.param(
        (b"\n\n", None, None),
        b"data: \ndata: \ndata: \n\n",
        ("message", "\n\n", ""),
        id="nothing but line breaks",
    ),
    pytest.param(
        (b" a", None, None), b"data:  a\n\n", ("message", " a", ""), id="a space at the front"
    ),
    pytest.param(
        (b": a", None, None), b"data: : a\n\n", ("message", ": a", ""), id="a colon at the front"
    ),
    pytest.param(
        ('"\u2028ä\U0001f4a5"'.encode(), None, None),
        b'data: "\xe2\x80\xa8\xc3\xa4\xf0\x9f\x92\xa5"\n\n',
        ("message", '"\u2028ä\U0001f4a5"', ""),
        id="U+2028 is no line break here",
    ),
    pytest.param(
        (b"\xef\xbb\xbf1", None, None),
        b"data: \xef\xbb\xbf1\n\n",
        ("message", "\ufeff1", ""),
        id="a byte order mark that is not at the beginning",
    ),
]


@pytest.mark.parametrize(("arguments", "wire", "event"), EVENTS)
def test_an_event_is_these_bytes_and_read_as_it_was_meant(arguments, wire, event):
    data, kind, cursor = arguments
    assert encode_event(data, event=kind, cursor=cursor) == wire
    assert parse(wire) == [event]


@pytest.mark.parametrize(("arguments", "wire", "event"), EVENTS)
def test_an_event_is_read_the_same_however_the_bytes_are_cut(arguments, wire, event):
    for pieces in cuts(HEARTBEAT + wire):
        parser = EventStreamParser()
        assert [each for piece in pieces for each in parser.feed(piece)] == [event]


def test_a_heartbeat_is_a_comment_that_nobody_hears():
    parser = EventStreamParser()
    parser.feed(encode_event(b"1", cursor="AQ"))
    assert parser.feed(HEARTBEAT * 3) == []
    assert parser.comments == ["", "", ""]
    assert parser.last_event_id == "AQ"


def test_an_id_alone_dispatches_nothing_and_is_kept_for_the_reconnect():
    assert encode_id("AQ") == b"id: AQ\n\n"
    parser = EventStreamParser()
    assert parser.feed(encode_id("AQ")) == []
    assert parser.last_event_id == "AQ"
    assert parser.feed(encode_event(b"1")) == [("message", "1", "AQ")]


def test_an_event_without_a_cursor_leaves_the_one_before_in_force():
    parser = EventStreamParser()
    wire = encode_event(b"1", cursor="AQ") + encode_event(b"2", event="gap") + encode_event(b"3")
    assert [event.last_event_id for event in parser.feed(wire)] == ["AQ", "AQ", "AQ"]
    assert [event.type for event in parse(wire)] == ["message", "gap", "message"]


@pytest.mark.parametrize("retry_ms", [1, 2000, 3_600_000])
def test_retry_sets_the_time_to_wait_and_dispatches_nothing(retry_ms):
    parser = EventStreamParser()
    assert encode_retry(retry_ms) == b"retry: %d\n\n" % retry_ms
    assert parser.feed(encode_retry(retry_ms)) == []
    assert parser.retry_ms == retry_ms


def test_the_content_type_is_the_one_that_event_source_demands():
    assert CONTENT_TYPE == "text/event-stream; charset=utf-8"


TOKENS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.text(), st.none() | TOKENS, st.none() | TOKENS), max_size=6))
def test_any_events_in_a_row_come_out_with_their_line_breaks_as_line_feeds(events):
    wire = b""
    expected = []
    last_event_id = ""
    for data, kind, cursor in events:
        wire += encode_event(data.encode(), event=kind, cursor=cursor) + HEARTBEAT
        last_event_id = last_event_id if cursor is None else cursor
        joined = data.replace("\r\n", "\n").replace("\r", "\n")
        expected.append((kind or "message", joined, last_event_id))
    assert parse(wire) == expected


@given(JSON_VALUES, st.sampled_from([None, 2]))
def test_any_json_arrives_as_the_value_that_it_was(value, indent):
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    (event,) = parse(encode_event(text.encode()))
    assert json.loads(event.data) == value
