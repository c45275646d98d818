"""What can be published: what both codecs can carry, verbatim where it came as JSON."""

import json
import math
import tracemalloc

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.publication import (
    MAX_DATA_DEPTH,
    Data,
    Publication,
    check_channel,
    data_from_json,
    data_from_msgpack,
)

# (JSON, the same as MessagePack)
JSON_DATA = [
    (b"null", b"\xc0"),
    (b"true", b"\xc3"),
    (b"0", b"\x00"),
    (b"-0", b"\x00"),
    (b"-0.0", b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00"),
    (b"1.0", b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    (b"1E+2", b"\xcb\x40\x59\x00\x00\x00\x00\x00\x00"),
    (b"1e-999", b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00"),
    (b"18446744073709551615", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
    (b"-9223372036854775808", b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
    (b"[]", b"\x90"),
    (b"{}", b"\x80"),
    (b" [ 1 ,\r\n\t2 ] ", b"\x92\x01\x02"),
    (b'{"b":1,"a":2}', b"\x82\xa1b\x01\xa1a\x02"),
    (b'{"a":1,"a":2}', b"\x81\xa1a\x02"),
    (b'"\\u00e4"', b"\xa2\xc3\xa4"),
    (b'"\xc3\xa4"', b"\xa2\xc3\xa4"),
    (b'"\\ud83d\\udca5"', b"\xa4\xf0\x9f\x92\xa5"),
    (b'"\\u0000\\/"', b"\xa2\x00/"),
    (b'"\xe2\x80\xa8\x7f"', b"\xa4\xe2\x80\xa8\x7f"),
    (b'"2020-01-01T00:00:00Z"', b"\xb42020-01-01T00:00:00Z"),
]

# (JSON, part of the reason)
BAD_JSON = [
    (b"", "not valid JSON"),
    (b" ", "not valid JSON"),
    (b"nul", "not valid JSON"),
    (b"1 2", "trailing characters"),
    (b"[1] // one", "trailing characters"),
    (b"[1,]", "trailing comma"),
    (b"01", "invalid number"),
    (b"+1", "not valid JSON"),
    (b".5", "not valid JSON"),
    (b"5.", "not valid JSON"),
    (b"'a'", "not valid JSON"),
    (b'"\x01"', "not valid JSON"),
    (b'"\n"', "not valid JSON"),
    (b'"\\x41"', "not valid JSON"),
    (b'"a', "not valid JSON"),
    (b"NaN", "not valid JSON"),
    (b"-Infinity", "not valid JSON"),
    (b"\xef\xbb\xbf1", "not valid JSON"),
    (b'"\xff"', "not valid JSON"),
    (b'"\xed\xa0\x80"', "not valid JSON"),
    (b'"\\ud800"', "not valid JSON"),
    (b'["\\ud800"]', "not valid JSON"),
    (b'"\\udca5\\ud83d"', "not valid JSON"),
    (b'{"\xff":1}', "not valid JSON"),
    (b"1e309", "out of range"),
    (b"-1e309", "out of range"),
    (b"18446744073709551616", "an integer beyond 64 bits"),
    (b"-9223372036854775809", "an integer beyond 64 bits"),
    (b'[{"a":100000000000000000000}]', "an integer beyond 64 bits"),
    (b"9" * 5000, "out of range"),
]

# (MessagePack, JSON)
MESSAGEPACK_DATA = [
    (b"\xc0", b"null"),
    (b"\xc2", b"false"),
    (b"\x7f", b"127"),
    (b"\xe0", b"-32"),
    (b"\xd2\x00\x00\x00\x05", b"5"),
    (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"18446744073709551615"),
    (b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", b"-9223372036854775808"),
    (b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", b"1.0"),
    (b"\xca\x3d\xcc\xcc\xcd", b"0.10000000149011612"),
    (b"\x92\x01\x90", b"[1,[]]"),
    (b"\x82\xa1a\x01\xa0\x80", b'{"a":1,"":{}}'),
    (b"\x82\xa1a\x01\xa1a\x02", b'{"a":2}'),
    (b"\xd9\x02\xc3\xa4", b'"\xc3\xa4"'),
    (b'\xa3\x00\n"', b'"\\u0000\\n\\""'),
    (b"\xa3\xe2\x80\xa8", b'"\xe2\x80\xa8"'),
]

# (MessagePack, base64)
BINARY_DATA = [
    (b"\xc4\x00", b'""'),
    (b"\xc4\x01\x00", b'"AA=="'),
    (b"\xc4\x03\xff\xfe\xfd", b'"//79"'),
    (b"\xc5\x00\x02hi", b'"aGk="'),
    (b"\xc6\x00\x00\x00\x02hi", b'"aGk="'),
]

# (MessagePack, part of the reason)
BAD_MESSAGEPACK = [
    pytest.param(b"", "incomplete input", id="nothing"),
    pytest.param(b"\xc1", "", id="the byte that is never used"),
    pytest.param(b"\xc0\xc0", "extra data", id="two objects"),
    pytest.param(b"\x92\x01", "incomplete input", id="an array that ends early"),
    pytest.param(b"\xa2a", "incomplete input", id="a string that ends early"),
    pytest.param(b"\xdd\xff\xff\xff\xff", "exceeds", id="an array of 4 Gi that is not there"),
    pytest.param(b"\xdf\xff\xff\xff\xff", "exceeds", id="a map of 4 Gi that is not there"),
    pytest.param(b"\xc6\xff\xff\xff\xff", "incomplete input", id="4 GiB that are not there"),
    pytest.param(b"\xa1\xff", "utf-8", id="a string that is not UTF-8"),
    pytest.param(b"\xa3\xed\xa0\x80", "utf-8", id="a surrogate in a string"),
    pytest.param(b"\x81\xa1\xff\x01", "utf-8", id="a key that is not UTF-8"),
    pytest.param(b"\x91\xc4\x01a", "bytes", id="binary in an array"),
    pytest.param(b"\x81\xa1a\xc4\x01a", "bytes", id="binary in a map"),
    pytest.param(b"\x91" * 900 + b"\xc4\x00", "", id="binary far down"),
    pytest.param(b"\x81\xc4\x01a\x01", "keys must be str", id="a binary key"),
    pytest.param(b"\x81\x01\x01", "int is not allowed", id="an integer as key"),
    pytest.param(b"\x81\xc0\x01", "NoneType is not allowed", id="nil as key"),
    pytest.param(b"\x81\xc3\x01", "bool is not allowed", id="true as key"),
    pytest.param(b"\x81\xcb" + bytes(8) + b"\x01", "float is not allowed", id="a float as key"),
    pytest.param(b"\x81\x90\x01", "list is not allowed", id="an array as key"),
    pytest.param(b"\x81\x80\x01", "dict is not allowed", id="a map as key"),
    pytest.param(b"\xd4\x05a", "bytes", id="an extension type"),
    pytest.param(b"\xc7\x00\x05", "bytes", id="an empty extension type"),
    pytest.param(b"\x91\xd4\x05a", "bytes", id="an extension type in an array"),
    pytest.param(b"\xd6\xff\x00\x00\x00\x01", "Timestamp", id="a timestamp"),
    pytest.param(b"\xd7\xff" + bytes(8), "Timestamp", id="a timestamp of 64 bits"),
    pytest.param(b"\xd4\xff\x00", "timestamp", id="a timestamp of no valid length"),
    pytest.param(b"\xcb\x7f\xf8" + bytes(6), "not JSON compliant", id="NaN"),
    pytest.param(b"\x91\xcb\x7f\xf0" + bytes(6), "not JSON compliant", id="infinity"),
    pytest.param(b"\xca\xff\x80\x00\x00", "not JSON compliant", id="minus infinity, 32 bits"),
    pytest.param(b"\x91" * 60_000 + b"\xc0", "", id="nesting that no parser survives"),
]


def refuse(read, data) -> str:
    """Return why read takes no data; the reason is always the data."""
    with pytest.raises(MessageError) as caught:
        read(data)
    assert caught.value.code == ErrorCode.INVALID_DATA
    assert caught.value.command_id is None
    return caught.value.message


@pytest.mark.parametrize(("text", "packed"), JSON_DATA)
def test_json_is_kept_byte_for_byte_and_becomes_messagepack(text, packed):
    data = data_from_json(text)
    assert data == Data(text, is_binary=False)
    assert data.encoding is None
    assert data.as_msgpack() == packed


@pytest.mark.parametrize(("text", "part"), BAD_JSON)
def test_json_that_not_everybody_could_read_is_refused(text, part):
    assert part in refuse(data_from_json, text)


@pytest.mark.parametrize(("packed", "text"), MESSAGEPACK_DATA)
def test_messagepack_becomes_json_without_white_space(packed, text):
    data = data_from_msgpack(packed)
    assert data == Data(text, is_binary=False)
    assert data.encoding is None
    assert msgpack.unpackb(data.as_msgpack()) == msgpack.unpackb(packed)


@pytest.mark.parametrize(("packed", "text"), BINARY_DATA)
def test_a_binary_object_becomes_base64_and_comes_back(packed, text):
    data = data_from_msgpack(packed)
    assert data == Data(text, is_binary=True)
    assert data.encoding == "base64"
    assert msgpack.unpackb(data.as_msgpack()) == msgpack.unpackb(packed)


@pytest.mark.parametrize(("packed", "part"), BAD_MESSAGEPACK)
def test_messagepack_that_json_could_not_carry_is_refused(packed, part):
    assert part in refuse(data_from_msgpack, packed)


@pytest.mark.parametrize("read", [data_from_json, data_from_msgpack])
def test_data_may_be_a_view_of_a_larger_message_and_does_not_keep_it(read):
    message = bytearray(b"[1]")
    data = read(memoryview(message)[1:2])
    message[1:2] = b"2"
    assert data.json in (b"1", b"49")


# --- depth --------------------------------------------------------------------------------------

DEPTH = MAX_DATA_DEPTH


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * DEPTH + "]" * DEPTH, id="arrays"),
        pytest.param('{"a":' * DEPTH + "1" + "}" * DEPTH, id="objects"),
        pytest.param('[{"a":' * (DEPTH // 2) + "1" + "}]" * (DEPTH // 2), id="both in turn"),
        pytest.param("[" + ",".join(["[]"] * 5000) + "]", id="many side by side"),
        pytest.param("[" + ",".join(["{}", "[[]]"] * 5000) + "]", id="many kinds side by side"),
        pytest.param('"' + "[" * 5000 + '"', id="brackets in a string"),
        pytest.param('{"' + "{[" * 5000 + '":1}', id="brackets in a key"),
        pytest.param('["\\"' + "[" * 5000 + '"]', id="brackets behind an escaped quote"),
        pytest.param('["\\\\","' + "[" * 5000 + '"]', id="brackets behind a backslash"),
        pytest.param('["' + "\\\\" * 500 + '","' + "[" * 500 + '"]', id="many backslashes"),
        pytest.param('["ä\U0001f4a5","' + "[" * 500 + '"]', id="beside other scripts"),
    ],
)
def test_data_may_nest_up_to_the_bound_and_brackets_in_strings_do_not_count(text):
    data = data_from_json(text.encode())
    assert data.json.decode() == text
    assert data_from_msgpack(data.as_msgpack()).as_msgpack() == data.as_msgpack()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * (DEPTH + 1) + "]" * (DEPTH + 1), id="arrays"),
        pytest.param('{"a":' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1), id="objects"),
        pytest.param('["]]]]",' * (DEPTH + 1) + "1" + "]" * (DEPTH + 1), id="strings that close"),
        pytest.param('["\\"]",' * (DEPTH + 1) + "1" + "]" * (DEPTH + 1), id="escaped quotes"),
        pytest.param(
            "[" + "[]," * DEPTH + "[" * DEPTH + "]" * DEPTH + "]", id="shallow first, deep last"
        ),
        pytest.param("[" * 100_000 + "]" * 100_000, id="deeper than any parser goes"),
    ],
)
def test_data_nested_deeper_is_refused(text):
    assert refuse(data_from_json, text.encode()) == "data is nested deeper than 128 levels"


@pytest.mark.parametrize("text", ["a" * 1_000_000, "\\n" * 500_000, "\\\\" * 500_000])
def test_looking_at_the_depth_needs_no_memory_beyond_that_of_the_data(text):
    whole = b'["' + text.encode() + b'"' + b",[]" * DEPTH + b"]"
    tracemalloc.start()
    try:
        data_from_json(whole)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * len(whole)


def test_the_depth_of_messagepack_has_the_same_bound():
    assert data_from_msgpack(b"\x91" * DEPTH + b"\xc0").json == b"[" * 128 + b"null" + b"]" * 128
    assert data_from_msgpack(b"\x81\xa1[" * DEPTH + b"\xc0").json.startswith(b'{"[":{"[":')
    too_deep = "data is nested deeper than 128 levels"
    assert refuse(data_from_msgpack, b"\x91" * (DEPTH + 1) + b"\xc0") == too_deep
    assert refuse(data_from_msgpack, b"\x81\xa1a" * (DEPTH + 1) + b"\xc0") == too_deep


# --- anything at all ----------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_any_json_value_reaches_both_codecs(value, is_ascii, indent):
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    data = data_from_json(text)
    assert data.json == text
    assert msgpack.unpackb(data.as_msgpack()) == value


@given(VALUES)
def test_any_messagepack_value_with_a_json_form_reaches_both_codecs(value):
    data = data_from_msgpack(msgpack.packb(value))
    assert json.loads(data.json) == value
    assert data_from_json(data.json) == data
    assert data_from_msgpack(data.as_msgpack()) == data


@given(st.binary())
def test_any_bytes_are_binary_data(payload):
    data = data_from_msgpack(msgpack.packb(payload))
    assert data.is_binary
    assert json.loads(data.json).isascii()
    assert msgpack.unpackb(data.as_msgpack()) == payload


def accept_or_refuse(read, data) -> None:
    """Read data; it is refused, or can be sent in both codecs."""
    try:
        outcome = read(data)
    except MessageError as error:
        outcome = error.code
    if outcome != ErrorCode.INVALID_DATA:
        json.loads(outcome.json)
        msgpack.unpackb(outcome.as_msgpack(), strict_map_key=True)


@given(
    st.binary() | st.text().map(str.encode) | st.text('[]{}":,\\0e-.', max_size=40).map(str.encode)
)
def test_any_bytes_are_json_data_or_refused(text):
    accept_or_refuse(data_from_json, text)


@given(st.binary())
@example(b"\xc9\xff\xff\xff\xff\x01")
@example(b"\x81" * 200)
def test_any_bytes_are_messagepack_data_or_refused(packed):
    accept_or_refuse(data_from_msgpack, packed)


@given(VALUES | st.floats() | st.binary(), st.data())
def test_any_damaged_messagepack_is_data_or_refused(value, data):
    packed = bytearray(msgpack.packb([value, value]))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    accept_or_refuse(data_from_msgpack, bytes(packed))


# --- publications and channels ------------------------------------------------------------------


def test_the_size_of_a_publication_counts_whatever_its_publisher_chose():
    assert Publication(1, Data(b"[1,2]"), 0.0).size_bytes == 5
    assert Publication(1, Data(b"[1,2]"), 0.0, "key", {"tag": "value"}).size_bytes == 5 + 3 + 8
    assert Publication(1, Data(b'"AAAA"', is_binary=True), math.inf).size_bytes == 6


@pytest.mark.parametrize(
    "name",
    ["a", " ", "a b", "a/b?c#d", "*", "..", "\u00a0", "\u2028", "ä" * 127, "a" * 255, "\U0001f4a5"],
)
def test_a_channel_may_be_called_almost_anything(name):
    check_channel(name)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="nothing"),
        pytest.param("a" * 256, id="256 bytes"),
        pytest.param("ä" * 128, id="128 characters of 2 bytes"),
        pytest.param("a" * 100_000, id="very long"),
        pytest.param("\x00", id="NUL"),
        pytest.param("a\n", id="a line break at the end"),
        pytest.param("a\rb", id="a carriage return"),
        pytest.param("\x1f", id="the last of C0"),
        pytest.param("\x7f", id="DEL"),
        pytest.param("\x80", id="the first of C1"),
        pytest.param("\x9f", id="the last of C1"),
        pytest.param("\ud800", id="half a surrogate pair"),
    ],
)
def test_a_name_that_could_break_a_protocol_or_a_log_is_refused(name):
    with pytest.raises(MessageError) as caught:
        check_channel(name)
    assert caught.value.code == ErrorCode.INVALID_CHANNEL
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


@given(st.text(st.characters()))
def test_any_name_is_refused_or_can_be_written_and_logged(name):
    try:
        check_channel(name)
    except MessageError as error:
        outcome = error.code
    else:
        outcome = None
        assert 0 < len(name.encode()) <= 255
    assert outcome in (None, ErrorCode.INVALID_CHANNEL)
