"""Multipart bodies become the same events however their bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.exceptions import MalformedBodyError
from gateway.web.forms.part_events import (
    MAX_PART_FIELD_BYTES,
    MAX_PART_FIELDS,
    MAX_PREAMBLE_BYTES,
    EndOfPart,
    PartDecoder,
    PartHead,
)

BOUNDARY = "b0und"
FIRST = b"--b0und\r\n"
NEXT = b"\r\n--b0und\r\n"
LAST = b"\r\n--b0und--"
A = b'Content-Disposition: form-data; name="a"\r\n'


def cuts(wire):
    """Yield wire whole, in two pieces at every place, and byte by byte."""
    yield [wire]
    yield from ([wire[:place], wire[place:]] for place in range(1, len(wire)))
    yield [wire[place : place + 1] for place in range(len(wire))]


def parts_of(pieces, boundary=BOUNDARY):
    """Return the parts as (head, data), and the message of what is wrong with the body."""
    decoder = PartDecoder(boundary)
    parts = []
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                if isinstance(event, PartHead):
                    parts.append([event, b"", False])
                elif isinstance(event, EndOfPart):
                    parts[-1][2] = True
                else:
                    parts[-1][1] += event
        decoder.feed_eof()
    except MalformedBodyError as error:
        return parts, error.text.removeprefix("400: Malformed multipart body: ")
    assert all(is_ended for _, _, is_ended in parts)
    return parts, None


def outline(parts):
    return [(head.name, head.filename, data) for head, data, _ in parts]


BODIES = {
    "one part": (FIRST + A + b"\r\nx" + LAST, [("a", None, b"x")]),
    "a line end behind the last": (FIRST + A + b"\r\nx" + LAST + b"\r\n", [("a", None, b"x")]),
    "an epilogue": (FIRST + A + b"\r\nx" + LAST + b"\r\n--b0und\r\nbye", [("a", None, b"x")]),
    "a preamble": (b"hi\r\n--b0un\r\n" + FIRST + A + b"\r\nx" + LAST, [("a", None, b"x")]),
    "an empty line before": (b"\r\n" + FIRST + A + b"\r\nx" + LAST, [("a", None, b"x")]),
    "a boundary inside a line before": (
        *(b"hi --b0und\r\n" + FIRST + A + b"\r\nx" + LAST, [("a", None, b"x")]),
    ),
    "no part": (b"--b0und--", []),
    "an empty part": (FIRST + A + b"\r\n" + LAST, [("a", None, b"")]),
    "a part without a head": (FIRST + b"\r\nx" + LAST, [(None, None, b"x")]),
    "two parts": (
        FIRST + A + b"\r\nx" + NEXT + b'Content-Disposition: form-data; name="b"\r\n\r\ny' + LAST,
        [("a", None, b"x"), ("b", None, b"y")],
    ),
    "what begins like a boundary": (
        FIRST + A + b"\r\n--b0un" + NEXT + A + b"\r\n--b0un\r\n" + NEXT + A + b"\r\n-" + LAST,
        [("a", None, b"--b0un"), ("a", None, b"--b0un\r\n"), ("a", None, b"-")],
    ),
    "near boundaries": (
        FIRST + A + b"\r\n\r\n--b0un\r\r\n\r\n--b0\n--b0und\r\n-" + LAST,
        [("a", None, b"\r\n--b0un\r\r\n\r\n--b0\n--b0und\r\n-")],
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_parts_come_out_whole_however_the_bytes_are_cut(name):
    wire, expected = BODIES[name]
    for pieces in cuts(wire):
        parts, message = parts_of(pieces)
        assert (outline(parts), message) == (expected, None)


MALFORMED = {
    "nothing": (b"", "The body ends before its first boundary"),
    "only a preamble": (b"hi\r\n--b0un", "The body ends before its first boundary"),
    "no final boundary": (FIRST + A + b"\r\nx", "The body ends before its final boundary"),
    "an end in the head": (FIRST + A, "The body ends before its final boundary"),
    "an end in the boundary": (
        *(FIRST + A + b"\r\nx" + LAST[:-1], "The body ends before its final boundary"),
    ),
    "line feeds only": (
        (FIRST + A + b"\r\nx" + LAST).replace(b"\r", b""),
        "Invalid line break after first boundary",
    ),
    "line feeds in the head": (
        FIRST + b"X: y\n\r\n\r\nx" + LAST,
        "Control character in segment header",
    ),
    "no colon": (FIRST + b"garbage\r\n\r\nx" + LAST, "Malformed segment header"),
    "no field name": (FIRST + b": x\r\n\r\nx" + LAST, "Invalid segment header name"),
    "a line feed in a value": (
        *(FIRST + b"X: y\nZ: z\r\n\r\n" + LAST, "Control character in segment header"),
    ),
    "a line feed before a name": (
        *(FIRST + b"\nX: y\r\n\r\nx" + LAST, "Control character in segment header"),
    ),
    "a carriage return before a colon": (
        *(FIRST + b"X\r: y\r\n\r\nx" + LAST, "Control character in segment header"),
    ),
    "a field in too many lines": (
        FIRST + b"X: y\r\n" + b" z\r\n" * 33 + b"\r\nx" + LAST,
        "Too many continued lines in segment header",
    ),
    "a zero byte": (FIRST + b"X: \0\r\n\r\n" + LAST, "Control character in segment header"),
    "another boundary": (FIRST + A + b"\r\nx\r\n--b0undXY", "Unexpected bytes after boundary"),
    "a wrong length": (
        FIRST + b"Content-Length: 1\r\n\r\nxy" + LAST,
        "Segment Content-Length exceeded",
    ),
    "a boundary right behind the head": (
        FIRST + A + b"\r\n" + FIRST + A + b"\r\nx" + LAST,
        "Boundary at the beginning of a part",
    ),
    "a final boundary right behind the head": (
        FIRST + A + LAST + b"\r\n" + FIRST + A + b"\r\nx" + LAST,
        "Boundary at the beginning of a part",
    ),
    "two dispositions": (FIRST + A + A + b"\r\n" + LAST, "Repeated segment header"),
    "two names": (
        FIRST + b'Content-Disposition: form-data; name="a"; NAME=b\r\n\r\n' + LAST,
        "Repeated parameter in segment header",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_body_is_refused_however_the_bytes_are_cut(name):
    wire, expected = MALFORMED[name]
    for pieces in cuts(wire):
        message = parts_of(pieces)[1]
        # A lone line feed is noticed in its line, or where that ends, by another name.
        assert message == expected or (
            "line feed" in name and message == "Invalid line break in segment header"
        )


def test_what_was_refused_stays_refused():
    decoder = PartDecoder(BOUNDARY)
    list(decoder.feed(FIRST))
    for data in (b"garbage\r\n", b"X: y\r\n\r\nx" + LAST):
        with pytest.raises(MalformedBodyError, match="Bad Request"):
            list(decoder.feed(data))
    with pytest.raises(MalformedBodyError):
        decoder.feed_eof()


def head_of(*lines):
    wire = FIRST + b"\r\n".join([*lines, b"", b""]) + LAST
    parts, message = parts_of([wire])
    assert message is None
    return parts[0][0]


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ('form-data; name="č"; filename="ž.txt"', "č", "ž.txt"),
        ("form-data; name=a; filename=b.txt", "a", "b.txt"),
        ('form-data; name="%22%0D%0A%25"; filename="%22.txt"', '"\r\n%25', '".txt'),
        (r'form-data; name="a\"b"; filename="c\"d"', 'a"b', 'c"d'),
        (r'form-data; name="a"; filename="C:\dir\f.txt"', "a", "f.txt"),
        ('form-data; name="/a"; filename="//etc/passwd"', "/a", "etc/passwd"),
        ('form-data; name="a;b"; filename="c;d"', "a;b", "c;d"),
        ('form-data; name=""; filename=""', "", ""),
        ('form-data; name="a"; filename="b"; filename*=UTF-8\'\'%C4%8D', "a", "č"),
        ("form-data; name*=iso-8859-2'cs'%E8", "č", None),
        ("form-data; name=a; filename*=utf-8''č", "a", "č"),
        (b"form-data; name=a; filename*=utf-8''\xff; filename=b", "a", "b"),
        (b"form-data; name=a; filename*=\xff''c; filename=b", "a", "b"),
        ('form-data; name="a"; filename="b"; filename*=klingon\'\'c', "a", "b"),
        ('form-data; name="a"; filename="b"; filename*=utf-8\'\'%FF', "a", "b"),
        ('form-data; name="a"; filename="b"; filename*=c', "a", "b"),
        ('attachment; filename="a*b"', None, "a*b"),
        ("form-data", None, None),
        ("", None, None),
    ],
)
def test_the_names_of_a_part_are_read_as_browsers_write_them(disposition, name, filename):
    encoded = disposition if isinstance(disposition, bytes) else disposition.encode()
    head = head_of(b"Content-Disposition: " + encoded)
    assert (head.name, head.filename) == (name, filename)


def test_the_fields_of_a_part_are_told():
    head = head_of(b"content-type:  text/plain ", b"X-A: \xc4\x8d", b"x-a: \xff", b"X-B: a,", b" b")
    assert head.headers["Content-Type"] == "text/plain"
    assert head.headers.getall("X-A") == ["č", "\udcff"]
    assert head.headers["X-B"] == "a, b"


@pytest.mark.parametrize(
    ("boundary", "message"),
    [
        ("", "400: The type of a multipart body must have a boundary"),
        ("b" * 71, "400: A boundary has at most 70 bytes"),
        ("č" * 36, "400: A boundary has at most 70 bytes"),
    ],
)
def test_a_boundary_must_be_there_and_short(boundary, message):
    with pytest.raises(MalformedBodyError) as caught:
        PartDecoder(boundary)
    assert caught.value.text == message
    assert parts_of([b"--" + b"b" * 70 + b"--"], "b" * 70) == ([], None)


def test_a_preamble_and_a_head_have_their_bounds_wherever_the_bytes_are_cut():
    def is_taken(wire):
        verdicts = {
            parts_of(pieces)[1] is None
            for pieces in ([wire], [wire[:9000], wire[9000:]], [bytes([byte]) for byte in wire])
        }
        assert len(verdicts) == 1
        return verdicts.pop()

    rest = FIRST + A + b"\r\nx" + LAST
    assert is_taken(b"-" * (MAX_PREAMBLE_BYTES - 4) + b"\r\n" + rest)
    assert not is_taken(b"-" * (MAX_PREAMBLE_BYTES + 1) + b"\r\n" + rest)
    assert not is_taken(b"\r\n--b0un" * 10_000)
    # At the bound itself it depends on whether the line's end comes with it.
    assert is_taken(FIRST + b"X:" + b"y" * (MAX_PART_FIELD_BYTES - 3) + b"\r\n\r\n" + LAST)
    assert not is_taken(FIRST + b"X:" + b"y" * (MAX_PART_FIELD_BYTES - 1) + b"\r\n\r\n" + LAST)
    assert is_taken(FIRST + b"X: y\r\n" * MAX_PART_FIELDS + b"\r\n" + LAST)
    assert not is_taken(FIRST + b"X: y\r\n" * (MAX_PART_FIELDS + 1) + b"\r\n" + LAST)


@given(st.lists(st.binary(), max_size=5), st.lists(st.integers(0, 1000), max_size=10))
def test_data_of_any_kind_come_back_from_any_pieces(data, places):
    wire = b"".join(b"--b0und\r\n\r\n" + each + b"\r\n" for each in data) + b"--b0und--"
    bounds = [0, *sorted(places), len(wire)]
    parts, message = parts_of([wire[a:b] for a, b in pairwise(bounds)])
    assert message is None
    assert [part[1] for part in parts] == data


@given(st.lists(st.sampled_from([FIRST, NEXT, LAST, A, b"\r\n", b"\r", b"x", b"--", b"b0und"])))
def test_fragments_in_any_order_give_the_same_whole_or_byte_by_byte(fragments):
    wire = b"".join(fragments)
    whole, message = parts_of([wire])
    bytewise, bytewise_message = parts_of([wire[place : place + 1] for place in range(len(wire))])
    assert (message is None) == (bytewise_message is None)
    if message is None:  # otherwise what came before it may be told in more or fewer pieces
        assert outline(whole) == outline(bytewise)
