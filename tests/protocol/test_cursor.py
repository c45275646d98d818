"""Cursors: what was encoded is decoded, and whatever was not is refused."""

import base64
import string
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import ErrorCode
from protocol.cursor import (
    MAX_CURSOR_CHARS,
    MAX_OFFSET,
    Position,
    decode_cursor,
    decode_member_cursor,
    encode_cursor,
    encode_member_cursor,
)
from protocol.errors import MessageError

# (positions, bytes before the check, cursor)
CURSORS = [
    pytest.param({}, b"\x04", "BNVvK5Q", id="no channel"),
    pytest.param({"a": Position("E", 5)}, b"\x04\x01a\x03E\x05", "BAFhA0UFa4ur9Q", id="one"),
    pytest.param(
        {"b": Position("E", 0), "a": Position("", 300)},
        b"\x04\x01b\x03E\x00\x01a\x01\xac\x02",
        "BAFiA0UAAWEBrAKNMRxn",
        id="two, in the order in which they were given",
    ),
    pytest.param(
        {"ä\U0001f4a5": Position("é", MAX_OFFSET)},
        b"\x04\x06\xc3\xa4\xf0\x9f\x92\xa5\x05\xc3\xa9" + b"\xff" * 8 + b"\x7f",
        "BAbDpPCfkqUFw6n__________38H9UWr",
        id="other scripts and the greatest offset",
    ),
    pytest.param(
        {"x" * 128: Position("E", 127)},
        b"\x04\x80\x01" + b"x" * 128 + b"\x03E\x7f",
        "BIAB" + "eHh4" * 42 + "eHgDRX_ZEYn8",
        id="a length of two bytes",
    ),
    pytest.param(
        {"a": Position("AAEC_f7_", 1), "b": Position("AAEC_f7_", 2), "c": Position("E", 3)},
        b"\x04\x01a\x0c\x00\x01\x02\xfd\xfe\xff\x01\x01b\x00\x02\x01c\x03E\x03",
        "BAFhDAABAv3-_wEBYgACAWMDRQOc9jIq",
        id="an epoch as ours are, which two channels share",
    ),
    pytest.param(
        {"a": Position("AA==", 1), "b": Position("AB==", 2), "c": Position("AA+/", 3)},
        b"\x04\x01a\x02\x00\x01\x01b\x09AB==\x02\x01c\x09AA+/\x03",
        "BAFhAgABAWIJQUI9PQIBYwlBQSsvA3wu8jk",
        id="epochs that are base64url, and that only look so",
    ),
    pytest.param(
        {"a": Position("E" * 64, 1)},
        b"\x04\x01a\x60" + b"\x10\x41\x04" * 16 + b"\x01",
        "BAFhYBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBAFCENmk",
        id="a long epoch",
    ),
]
EXAMPLE = {
    "a": Position("0Xy-_zAB", 5),
    "b": Position("0Xy-_zAB", 6),
    "ä/b": Position("E", 2**40),
}
ALPHABET = string.ascii_letters + string.digits + "-_"


def seal(body: bytes) -> str:
    """Return body with a check that matches, as somebody would who knows the layout."""
    whole = body + crc32(body).to_bytes(4, "big")
    return base64.urlsafe_b64encode(whole).rstrip(b"=").decode()


def refuse(cursor: str) -> str:
    """Return why cursor is refused."""
    with pytest.raises(MessageError) as caught:
        decode_cursor(cursor)
    assert caught.value.code == ErrorCode.INVALID_CURSOR
    assert caught.value.message.startswith("invalid cursor: ")
    return caught.value.message.removeprefix("invalid cursor: ")


@pytest.mark.parametrize(("positions", "body", "cursor"), CURSORS)
def test_a_cursor_is_this_string_and_comes_back_in_its_order(positions, body, cursor):
    assert seal(body) == cursor
    assert encode_cursor(positions) == cursor
    assert list(decode_cursor(cursor).items()) == list(positions.items())


@pytest.mark.parametrize(("positions", "body", "cursor"), CURSORS)
def test_a_cursor_passes_through_a_url_and_a_header_as_it_is(positions, body, cursor):
    assert set(cursor) <= set(ALPHABET)


def test_any_one_character_altered_is_noticed():
    cursor = encode_cursor(EXAMPLE)
    for at, right in enumerate(cursor):
        for wrong in (set(string.printable) | {"\0", "ä", "\u0661", "\ud800"}) - {right}:
            refuse(cursor[:at] + wrong + cursor[at + 1 :])


def test_any_one_character_lost_added_or_swapped_is_noticed():
    cursor = encode_cursor(EXAMPLE)
    for at in range(len(cursor)):
        refuse(cursor[:at] + cursor[at + 1 :])
        refuse(cursor[:at] + cursor[at : at + 1] * 2 + cursor[at + 1 :])
        refuse(cursor[:at] + " " + cursor[at:])
        swapped = cursor[:at] + cursor[at : at + 2][::-1] + cursor[at + 2 :]
        if swapped != cursor:
            refuse(swapped)


def test_any_truncation_is_noticed_at_either_end():
    cursor = encode_cursor(EXAMPLE)
    for size in range(len(cursor)):
        refuse(cursor[:size])
        refuse(cursor[len(cursor) - size :])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda cursor: cursor + "=", id="padding"),
        pytest.param(lambda cursor: cursor + "==", id="more padding"),
        pytest.param(lambda cursor: cursor + "\n", id="a line break at the end"),
        pytest.param(lambda cursor: " " + cursor, id="a space at the front"),
        pytest.param(lambda cursor: cursor.replace("-", "+").replace("_", "/"), id="plain base64"),
        pytest.param(lambda cursor: cursor.upper(), id="upper case"),
        pytest.param(lambda cursor: cursor + cursor, id="twice"),
        pytest.param(lambda cursor: cursor + "A", id="one more character"),
        pytest.param(lambda cursor: "", id="nothing"),
        pytest.param(lambda cursor: "%41" + cursor[1:], id="percent-encoding"),
    ],
)
def test_a_cursor_has_one_form_only(change):
    cursor = encode_cursor({"???": Position(">>>", 5), "\xff" * 3: Position("\xfe", 63)})
    assert "_" in cursor
    assert "-" in cursor
    refuse(change(cursor))


def test_unused_bits_of_the_last_character_are_zero():
    cursor = encode_cursor({"a": Position("E", 5)})
    assert len(cursor) % 4 == 2
    last = ALPHABET.index(cursor[-1])
    refuse(cursor[:-1] + ALPHABET[last + 1])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "its checksum does not match", id="no version"),
        pytest.param(b"\x00", "its version is 0, not 4", id="version 0"),
        pytest.param(b"\x05\x01a\x03E\x05", "its version is 5, not 4", id="the next version"),
        pytest.param(b"\x01\x01a\x01E\x05", "its version is 1, not 4", id="the first version"),
        pytest.param(b"\x04\x01a\x03E", "malformed", id="no offset"),
        pytest.param(b"\x04\x01a", "malformed", id="no epoch"),
        pytest.param(b"\x04\x02a", "malformed", id="a channel beyond the end"),
        pytest.param(b"\x04\x01a\x7fE\x05", "malformed", id="an epoch beyond the end"),
        pytest.param(b"\x04\x01a\x7eE\x05", "malformed", id="a packed epoch beyond the end"),
        pytest.param(b"\x04\x01a\x03E\x85", "malformed", id="an offset that does not end"),
        pytest.param(b"\x04\x01a\x00\x05", "none before", id="the epoch of no channel before"),
        pytest.param(b"\x04\x01\xff\x03E\x05", "malformed", id="a channel that is not UTF-8"),
        pytest.param(b"\x04\x03\xed\xa0\x80\x03E\x05", "malformed", id="a surrogate"),
        pytest.param(b"\x04\x01a\x03\xff\x05", "malformed", id="an epoch that is not UTF-8"),
        pytest.param(b"\x04\x01a\x03E" + b"\x80" * 9 + b"\x01", "malformed", id="the offset 2^63"),
        pytest.param(b"\x04\x01a\x03E" + b"\xff" * 9 + b"\x01", "malformed", id="2^64 - 1"),
        pytest.param(
            b"\x04\x01a\x03E" + b"\xff" * 20 + b"\x7f", "malformed", id="an offset of 147 bits"
        ),
        pytest.param(b"\x04" + b"\xff" * 8 + b"\x7f", "malformed", id="a length of 2^63 - 1"),
        pytest.param(b"\x04\x01a\x03E\x85\x00", "canonical", id="an offset with an idle byte"),
        pytest.param(b"\x04\x81\x00a\x03E\x05", "canonical", id="a length with an idle byte"),
        pytest.param(b"\x04\x01a\x83\x00E\x05", "canonical", id="a kind with an idle byte"),
        pytest.param(b"\x04\x01a\x80\x00\x05", "none before", id="no kind with an idle byte"),
        pytest.param(
            b"\x04\x01a\x03E" + b"\x80" * 9 + b"\x00", "malformed", id="an offset of idle bytes"
        ),
        pytest.param(b"\x04\x01a\x03E\x05\x01a\x03E\x05", "canonical", id="a channel twice"),
        pytest.param(b"\x04\x01a\x09AAAA\x05", "canonical", id="an epoch that could be packed"),
        pytest.param(
            b"\x04\x01a\x03E\x05\x01b\x03E\x05", "canonical", id="the epoch before once more"
        ),
    ],
)
def test_content_that_nobody_encodes_is_refused_although_its_check_matches(body, reason):
    assert reason in refuse(seal(body))


def test_a_cursor_has_a_greatest_length():
    positions = {f"{index:03}": Position("E" * 8, MAX_OFFSET) for index in range(400)}
    cursor = encode_cursor(positions)
    assert MAX_CURSOR_CHARS * 0.9 < len(cursor) < MAX_CURSOR_CHARS
    assert decode_cursor(cursor) == positions
    assert refuse("A" * (MAX_CURSOR_CHARS + 1)) == "it is too long"
    assert refuse("A" * MAX_CURSOR_CHARS) != "it is too long"


@given(
    st.dictionaries(
        st.text(), st.builds(Position, st.text(), st.integers(0, MAX_OFFSET)), max_size=5
    )
)
def test_any_positions_come_back_in_their_order(positions):
    decoded = decode_cursor(encode_cursor(positions))
    assert list(decoded.items()) == list(positions.items())


def decode_or_refuse(cursor: str) -> None:
    """Decode cursor; it is what encode_cursor returns for what it holds, or is refused."""
    try:
        outcome = encode_cursor(decode_cursor(cursor))
    except MessageError as error:
        outcome = error.code
    assert outcome in (cursor, ErrorCode.INVALID_CURSOR)


@given(st.text(st.characters()) | st.text(ALPHABET))
def test_any_text_is_a_cursor_or_refused(text):
    decode_or_refuse(text)


@given(st.binary(max_size=40))
def test_any_content_with_a_matching_check_is_a_cursor_or_refused(body):
    decode_or_refuse(seal(body))
    decode_or_refuse(seal(b"\x04" + body))


# --- members ------------------------------------------------------------------------------------

MEMBER_CURSORS = [
    pytest.param(("", "s-_9"), b"\x02s-_9", id="after a session"),
    pytest.param(("ann", ""), b"\x03ann", id="after a user"),
    pytest.param(("ä\U0001f4a5", ""), b"\x03\xc3\xa4\xf0\x9f\x92\xa5", id="other scripts"),
]


@pytest.mark.parametrize(("after", "body"), MEMBER_CURSORS)
def test_a_cursor_of_members_comes_back(after, body):
    assert encode_member_cursor(after) == seal(body)
    assert decode_member_cursor(seal(body)) == after


def test_cursors_of_members_and_of_positions_are_not_taken_for_each_other():
    assert "version is 2" in refuse(encode_member_cursor(("", "s")))
    with pytest.raises(MessageError, match="invalid cursor: it is not one of presence"):
        decode_member_cursor(encode_cursor(EXAMPLE))


@pytest.mark.parametrize(
    "cursor",
    ["", "é", "A", "AQ", seal(b""), seal(b"\x02"), seal(b"\x03\xff"), seal(b"\x02s")[:-1] + "="],
)
def test_what_is_no_cursor_of_members_is_refused(cursor):
    with pytest.raises(MessageError) as caught:
        decode_member_cursor(cursor)
    assert caught.value.code == ErrorCode.INVALID_CURSOR


@given(st.data())
def test_a_cursor_of_members_that_was_altered_is_refused(data):
    cursor = encode_member_cursor(("ann", ""))
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from(ALPHABET).filter(lambda each: each != cursor[at]))
    with pytest.raises(MessageError):
        decode_member_cursor(cursor[:at] + other + cursor[at + 1 :])
