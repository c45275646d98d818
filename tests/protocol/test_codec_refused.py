"""Whatever is no command is refused, by name, with its id where one can be read; never more."""

import json
import sys

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.codec import JSON, MSGPACK
from protocol.errors import MessageError
from protocol.messages import COMMAND_TYPES, Command, error_push

# (JSON, MessagePack, code, id, part of the text)
REFUSALS = [
    pytest.param(
        '{"type":"dance","id":3}',
        b"\x82\xa4type\xa5dance\xa2id\x03",
        "unknown_type",
        3,
        "'dance'; one of auth, subscribe, unsubscribe, publish, history, presence, ping",
        id="an unknown type",
    ),
    pytest.param("{}", b"\x80", "unknown_type", None, "no type is given", id="no type"),
    pytest.param(
        '{"type":["ping"],"id":3}',
        b"\x82\xa4type\x91\xa4ping\xa2id\x03",
        "unknown_type",
        3,
        "['ping']",
        id="a type that is no string",
    ),
    pytest.param(
        '{"type":"subscribe","id":3,"channel":5}',
        b"\x83\xa4type\xa9subscribe\xa2id\x03\xa7channel\x05",
        "invalid_field",
        3,
        "subscribe: Expected `str`, got `int` - at `$.channel`",
        id="a field of the wrong type",
    ),
    pytest.param(
        '{"type":"subscribe","id":3,"channel":null}',
        b"\x83\xa4type\xa9subscribe\xa2id\x03\xa7channel\xc0",
        "invalid_field",
        3,
        "at `$.channel`",
        id="null where something is needed",
    ),
    pytest.param(
        '{"type":"subscribe","id":1}',
        b"\x82\xa4type\xa9subscribe\xa2id\x01",
        "invalid_field",
        1,
        "missing required field `channel`",
        id="a missing field",
    ),
    pytest.param(
        '{"type":"subscribe","id":3,"channel":"a","chanel":"b"}',
        b"\x84\xa4type\xa9subscribe\xa2id\x03\xa7channel\xa1a\xa6chanel\xa1b",
        "invalid_field",
        3,
        "unknown field `chanel`",
        id="an unknown field",
    ),
    pytest.param(
        '{"type":"ping","id":3,"channel":"a"}',
        b"\x83\xa4type\xa4ping\xa2id\x03\xa7channel\xa1a",
        "invalid_field",
        3,
        "unknown field `channel`",
        id="another command's field",
    ),
    pytest.param(
        '{"type":"subscribe","id":3,"channel":"a","offset":-1}',
        b"\x84\xa4type\xa9subscribe\xa2id\x03\xa7channel\xa1a\xa6offset\xff",
        "invalid_field",
        3,
        "Expected `int` >= 0",
        id="a negative offset",
    ),
    pytest.param(
        '{"type":"subscribe","id":3,"channel":"a","offset":1.0}',
        b"\x84\xa4type\xa9subscribe\xa2id\x03\xa7channel\xa1a\xa6offset\xcb\x3f\xf0" + bytes(6),
        "invalid_field",
        3,
        "got `float`",
        id="an offset that is no integer",
    ),
    pytest.param(
        '{"type":"subscribe","id":3,"channel":"a","history":0}',
        b"\x84\xa4type\xa9subscribe\xa2id\x03\xa7channel\xa1a\xa7history\x00",
        "invalid_field",
        3,
        "Expected `int` >= 1",
        id="no history asked for as history",
    ),
    pytest.param(
        '{"type":"history","id":3,"channel":"a","limit":1001}',
        b"\x84\xa4type\xa7history\xa2id\x03\xa7channel\xa1a\xa5limit\xcd\x03\xe9",
        "invalid_field",
        3,
        "Expected `int` <= 1000",
        id="a limit above the bound",
    ),
    pytest.param(
        '{"type":"history","id":3,"channel":"a","reverse":1}',
        b"\x84\xa4type\xa7history\xa2id\x03\xa7channel\xa1a\xa7reverse\x01",
        "invalid_field",
        3,
        "Expected `bool`",
        id="a number for a flag",
    ),
    pytest.param(
        '{"type":"publish","id":3,"channel":"a","data":1,"tags":{"a":1}}',
        b"\x85\xa4type\xa7publish\xa2id\x03\xa7channel\xa1a\xa4data\x01\xa4tags\x81\xa1a\x01",
        "invalid_field",
        3,
        "Expected `str`, got `int` - at `$.tags[...]`",
        id="a tag that is no string",
    ),
    pytest.param(
        '{"type":"publish","id":3,"channel":"a"}',
        b"\x83\xa4type\xa7publish\xa2id\x03\xa7channel\xa1a",
        "invalid_field",
        3,
        "missing required field `data`",
        id="nothing to publish",
    ),
    pytest.param(
        '{"type":"ping","id":0}',
        b"\x82\xa4type\xa4ping\xa2id\x00",
        "invalid_field",
        None,
        "Expected `int` >= 1",
        id="an id that is not positive is not echoed",
    ),
    pytest.param(
        '{"type":"ping","id":true}',
        b"\x82\xa4type\xa4ping\xa2id\xc3",
        "invalid_field",
        None,
        "at `$.id`",
        id="true is no id",
    ),
    pytest.param(
        '{"type":"ping","id":"3"}',
        b"\x82\xa4type\xa4ping\xa2id\xa13",
        "invalid_field",
        None,
        "at `$.id`",
        id="a string is no id",
    ),
    pytest.param("[]", b"\x90", "malformed", None, "got `array`", id="an array"),
    pytest.param('"ping"', b"\xa4ping", "malformed", None, "got `str`", id="a string"),
    pytest.param("null", b"\xc0", "malformed", None, "Expected `object`", id="null"),
    pytest.param("", b"", "malformed", None, "truncated", id="nothing"),
    pytest.param(
        '{"type":"ping","id":3', b"\x82\xa4type\xa4ping\xa2id", "malformed", None, "", id="cut off"
    ),
    pytest.param(
        '{"type":"ping"}{"type":"ping"}',
        b"\x81\xa4type\xa4ping\x81\xa4type\xa4ping",
        "malformed",
        None,
        "trailing",
        id="two commands in one message",
    ),
    pytest.param(
        '{"type":"publish","channel":"a","data":' + "[" * 20_000 + "]" * 20_000 + "}",
        b"\x83\xa4type\xa7publish\xa7channel\xa1a\xa4data" + b"\x91" * 60_000 + b"\xc0",
        "malformed",
        None,
        "",
        id="data nested too deeply for any parser",
    ),
    pytest.param(
        '{"type":' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}",
        b"\x81\xa4type" + b"\x81\xa1a" * 20_000 + b"\x01",
        "malformed",
        None,
        "",
        id="a type nested too deeply for any parser",
    ),
]

# (JSON, part of the text)
BROKEN_JSON = [
    ("{'type':'ping'}", "malformed"),
    ('{"type":"ping",}', "malformed"),
    ('{"type":"ping"} // hello', "trailing characters"),
    ('{"type":NaN}', "malformed"),
    ('{"type":1e999}', "out of range"),
    ('{"type":"ping","id":' + "9" * 5000 + "}", "out of range"),
    ('\ufeff{"type":"ping"}', "malformed"),
    ('{"type":"auth","token":"\\ud800"}', ""),
    ('{"type":"auth","token":"\ud800"}', "surrogates"),
    ('{"type":"auth","token":"\t"}', "malformed"),
]

# (MessagePack, code, id)
BROKEN_MESSAGEPACK = [
    (b"\xc1", "malformed", None),
    (b"\x81\xc4\x04type\xa4ping", "malformed", None),
    (b"\x81\x01\xa4ping", "malformed", None),
    (b"\x81\xa4type\xc4\x04ping", "unknown_type", None),
    (b"\x81\xa4type\xa1\xff", "malformed", None),
    (b"\x83\xa4type\xa4auth\xa2id\x03\xa5token\xa1\xff", "invalid_field", 3),
    (b"\x82\xa2id\x03\xa4type\xd4\x05a", "unknown_type", 3),
    (b"\x82\xa2id\x03\xa4type\xd6\xff\x00\x00\x00\x01", "unknown_type", 3),
    (b"\x82\xa2id\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa4type\xc0", "unknown_type", 2**64 - 1),
    (b"\x81\xa4type\x81\x80\x01", "malformed", None),
    # Lengths of 4 GiB: what is announced must not be reserved before it is there.
    (b"\x81\xa4type\xdd\xff\xff\xff\xff", "malformed", None),
    (b"\x82\xa4type\xa4ping\xa2id\xdf\xff\xff\xff\xff", "malformed", None),
    (b"\x81\xa4type\xdb\xff\xff\xff\xff", "malformed", None),
    (b"\x81\xdd\xff\xff\xff\xff\xa4ping", "malformed", None),
]


def refuse(codec, message) -> MessageError:
    """Return why message is no command; its answer can be sent in both codecs."""
    with pytest.raises(MessageError) as caught:
        codec.decode_command(message)
    for each in (JSON, MSGPACK):
        assert each.encode(error_push(caught.value))
    return caught.value


@pytest.mark.parametrize(("text", "packed", "code", "command_id", "part"), REFUSALS)
def test_a_wrong_command_is_refused_alike_in_both_codecs(text, packed, code, command_id, part):
    for error in (refuse(JSON, text), refuse(MSGPACK, packed)):
        assert (error.code, error.command_id) == (code, command_id)
        assert part in error.message


@pytest.mark.parametrize(("text", "part"), BROKEN_JSON)
def test_what_is_no_json_object_is_malformed(text, part):
    error = refuse(JSON, text)
    assert (error.code, error.command_id) == ("malformed", None)
    assert error.message.startswith("not a JSON object: ")
    assert part in error.message


@pytest.mark.parametrize(("packed", "code", "command_id"), BROKEN_MESSAGEPACK)
def test_what_only_messagepack_can_say_wrongly_is_refused(packed, code, command_id):
    error = refuse(MSGPACK, packed)
    assert (error.code, error.command_id) == (code, command_id)


@pytest.mark.parametrize(
    ("codec", "message", "text"),
    [
        (JSON, b'{"type":"ping"}', "this session's subprotocol is JSON in text messages"),
        (
            MSGPACK,
            '{"type":"ping"}',
            "this session's subprotocol is MessagePack in binary messages",
        ),
    ],
)
def test_a_message_of_the_other_kind_is_told_which_kind_is_right(codec, message, text):
    error = refuse(codec, message)
    assert (error.code, error.message) == ("malformed", text)


def test_nesting_at_the_interpreters_own_limit_is_survived():
    verdicts = {"unknown_type", "malformed"}
    for depth in range(sys.getrecursionlimit() - 50, sys.getrecursionlimit() + 10):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            text = '{"type":' + opening * depth + "1" + closing * depth + "}"
            assert refuse(JSON, text).code in verdicts
        for opening in (b"\x91", b"\x81\xa1a", b"\x81\x91"):
            packed = b"\x81\xa4type" + opening * depth + b"\x01"
            assert refuse(MSGPACK, packed).code in verdicts


def test_a_long_unknown_type_is_not_sent_back_whole():
    error = refuse(JSON, json.dumps({"type": "x" * 60_000}))
    assert len(error.message) < 250


# --- anything at all ----------------------------------------------------------------------------

NAMES = st.sampled_from(["type", "id", "channel", "data", "offset", "tags", "limit", "x"])
SCALARS = (
    st.sampled_from([*COMMAND_TYPES, "a"])
    | st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
)
NEARLY_COMMANDS = st.dictionaries(
    NAMES, SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(), SCALARS, max_size=2)
)
WIRES = st.sampled_from(
    [
        b"\x82\xa4type\xa4ping\xa2id\xcd\x01\x00",
        b"\x84\xa4type\xa9subscribe\xa7channel\xa1a\xa5epoch\xa1E\xa6offset\x00",
        b"\x84\xa4type\xa7publish\xa7channel\xa1a\xa4data\xc4\x02hi\xa4tags\x81\xa1b\xa1c",
        b"\x84\xa4type\xa7history\xa7channel\xa1a\xa5limit\xcd\x03\xe8\xa7reverse\xc3",
    ]
)


def accept_or_refuse(codec, message) -> None:
    """Decode message; only a MessageError, whose answer can be sent, may come of it."""
    try:
        command = codec.decode_command(message)
    except MessageError as error:
        answers = [each.encode(error_push(error)) for each in (JSON, MSGPACK)]
        assert all(answers)
    else:
        assert isinstance(command, Command)


@given(st.text())
def test_any_text_is_a_command_or_refused(text):
    accept_or_refuse(JSON, text)


@given(st.binary())
@example(b"\x81\xa4type\x81\xc4\x01a\x01")
def test_any_bytes_are_a_command_or_refused(packed):
    accept_or_refuse(MSGPACK, packed)


@given(NEARLY_COMMANDS)
def test_any_object_is_a_command_or_refused(value):
    accept_or_refuse(JSON, json.dumps(value))
    accept_or_refuse(MSGPACK, msgpack.packb(value))


@given(WIRES, st.integers(0, 40), st.integers(0, 3), st.binary(max_size=3))
def test_any_damaged_command_is_a_command_or_refused(packed, at, count, inserted):
    damaged = packed[:at] + inserted + packed[at + count :]
    accept_or_refuse(MSGPACK, damaged)


@given(WIRES, st.data())
def test_a_command_that_was_cut_is_refused(packed, data):
    size = data.draw(st.integers(0, len(packed) - 1))
    assert refuse(MSGPACK, packed[:size]).code == "malformed"
