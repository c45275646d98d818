"""Commands, replies and pushes as literal bytes of both codecs."""

import json
from typing import get_args

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from protocol.codec import JSON, MSGPACK, SUBPROTOCOLS
from protocol.codes import RETRYABLE, CloseCode, Disconnect, ErrorCode
from protocol.errors import MessageError, OffsetConflict
from protocol.messages import (
    COMMAND_TYPES,
    AnyCommand,
    Auth,
    Closing,
    Error,
    Gap,
    History,
    HistoryPage,
    Joined,
    Left,
    Member,
    Ping,
    PingPush,
    Pong,
    Presence,
    PresencePage,
    Publish,
    Published,
    PublishRequest,
    Retention,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
    Welcome,
    closing_push,
    error_push,
)
from protocol.publication import Data

# (JSON, MessagePack, command)
COMMANDS = [
    pytest.param('{"type":"ping"}', b"\x81\xa4type\xa4ping", Ping(), id="ping"),
    pytest.param(
        ' {\n"id" : 1, "type" : "p\\u0069ng" } ',
        b"\x82\xa2id\x01\xa4type\xa4ping",
        Ping(id=1),
        id="type need not come first",
    ),
    pytest.param(
        '{"type":"ping","id":null}', b"\x82\xa4type\xa4ping\xa2id\xc0", Ping(), id="no id"
    ),
    pytest.param(
        '{"type":"ping","id":9007199254740993}',
        b"\x82\xa4type\xa4ping\xa2id\xcf\x00\x20\x00\x00\x00\x00\x00\x01",
        Ping(id=2**53 + 1),
        id="an id beyond what a double holds",
    ),
    pytest.param(
        '{"type":"auth","id":2,"token":"t"}',
        b"\x83\xa4type\xa4auth\xa2id\x02\xa5token\xa1t",
        Auth(token="t", id=2),
        id="auth",
    ),
    pytest.param(
        '{"type":"subscribe","channel":"a"}',
        b"\x82\xa4type\xa9subscribe\xa7channel\xa1a",
        Subscribe(channel="a"),
        id="subscribe from now",
    ),
    pytest.param(
        '{"type":"subscribe","channel":"a","cursor":"AQ"}',
        b"\x83\xa4type\xa9subscribe\xa7channel\xa1a\xa6cursor\xa2AQ",
        Subscribe(channel="a", cursor="AQ"),
        id="subscribe from a cursor",
    ),
    pytest.param(
        '{"type":"subscribe","channel":"a","epoch":"E","offset":0}',
        b"\x84\xa4type\xa9subscribe\xa7channel\xa1a\xa5epoch\xa1E\xa6offset\x00",
        Subscribe(channel="a", epoch="E", offset=0),
        id="subscribe from a position",
    ),
    pytest.param(
        '{"type":"subscribe","channel":"a","history":10}',
        b"\x83\xa4type\xa9subscribe\xa7channel\xa1a\xa7history\x0a",
        Subscribe(channel="a", history=10),
        id="subscribe with history",
    ),
    pytest.param(
        '{"type":"unsubscribe","channel":"\\u00e4\\ud83d\\udca5"}',
        b"\x82\xa4type\xabunsubscribe\xa7channel\xa6\xc3\xa4\xf0\x9f\x92\xa5",
        Unsubscribe(channel="ä\U0001f4a5"),
        id="unsubscribe",
    ),
    pytest.param(
        '{"type":"history","channel":"a"}',
        b"\x82\xa4type\xa7history\xa7channel\xa1a",
        History(channel="a", cursor=None, limit=100, reverse=False),
        id="history with its defaults",
    ),
    pytest.param(
        '{"type":"history","channel":"a","cursor":"AQ","limit":1000,"reverse":true}',
        b"\x85\xa4type\xa7history\xa7channel\xa1a\xa6cursor\xa2AQ"
        b"\xa5limit\xcd\x03\xe8\xa7reverse\xc3",
        History(channel="a", cursor="AQ", limit=1000, reverse=True),
        id="history",
    ),
    pytest.param(
        '{"type":"presence","channel":"a"}',
        b"\x82\xa4type\xa8presence\xa7channel\xa1a",
        Presence(channel="a"),
        id="presence",
    ),
]


@pytest.mark.parametrize(("text", "packed", "command"), COMMANDS)
def test_a_command_is_the_same_in_both_codecs(text, packed, command):
    assert JSON.decode_command(text) == command
    assert MSGPACK.decode_command(packed) == command


def test_publish_keeps_its_data_as_the_bytes_that_came():
    text = '{"type":"publish","id":4,"channel":"a","data": [1 , 1e2],"key":"k","tags":{"b":"c"}}'
    command = JSON.decode_command(text)
    assert command == Publish(channel="a", data=Raw(b"[1 , 1e2]"), key="k", tags={"b": "c"}, id=4)
    assert JSON.decode_data(command.data) == Data(b"[1 , 1e2]")
    packed = b"\x83\xa4type\xa7publish\xa7channel\xa1a\xa4data\xc4\x02hi"
    command = MSGPACK.decode_command(packed)
    assert command == Publish(channel="a", data=Raw(b"\xc4\x02hi"))
    assert MSGPACK.decode_data(command.data) == Data(b'"aGk="', is_binary=True)


def test_a_publication_over_http_is_a_publish_command_without_type_and_id():
    decode = msgspec.json.Decoder(PublishRequest).decode
    request = decode('{"channel":"a","data": [1 ],"key":"k","tags":{"b":"c"}}')
    assert request == PublishRequest("a", Raw(b"[1 ]"), "k", {"b": "c"})
    assert decode('{"data":1,"channel":"a"}') == PublishRequest("a", Raw(b"1"))
    for text in ('{"channel":"a"}', '{"channel":"a","data":1,"id":1}', '{"channel":1,"data":1}'):
        with pytest.raises(msgspec.ValidationError):
            decode(text)


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        (JSON, '{"type":"publish","channel":"a","data":18446744073709551616}'),
        (MSGPACK, b"\x83\xa4type\xa7publish\xa7channel\xa1a\xa4data\x91\xc4\x02hi"),
    ],
)
def test_data_that_the_other_codec_could_not_carry_is_found_when_it_is_read(codec, message):
    command = codec.decode_command(message)
    with pytest.raises(MessageError) as caught:
        codec.decode_data(command.data)
    assert caught.value.code == "invalid_data"


IDS = st.none() | st.integers(1, 2**64 - 1)
OFFSETS = st.none() | st.integers(0, 2**64 - 1)
MAYBE_TEXTS = st.none() | st.text()
ANY_COMMANDS = st.one_of(
    st.builds(Auth, id=IDS, token=st.text()),
    st.builds(
        Subscribe,
        id=IDS,
        channel=st.text(),
        cursor=MAYBE_TEXTS,
        epoch=MAYBE_TEXTS,
        offset=OFFSETS,
        history=IDS,
    ),
    st.builds(Unsubscribe, id=IDS, channel=st.text()),
    st.builds(
        History,
        id=IDS,
        channel=st.text(),
        cursor=MAYBE_TEXTS,
        limit=st.integers(1, 1000),
        reverse=st.booleans(),
    ),
    st.builds(Presence, id=IDS, channel=st.text()),
    st.builds(Ping, id=IDS),
)


@given(ANY_COMMANDS)
def test_any_command_comes_through_either_codec_unchanged(command):
    assert JSON.decode_command(JSON.encode(command).decode()) == command
    assert MSGPACK.decode_command(MSGPACK.encode(command)) == command


def test_the_types_that_an_error_lists_are_the_types_there_are():
    assert [command.__struct_config__.tag for command in get_args(AnyCommand)] == list(
        COMMAND_TYPES
    )


def test_each_subprotocol_has_its_codec_and_kind_of_message():
    assert SUBPROTOCOLS == {"gateway.v1.json": JSON, "gateway.v1.msgpack": MSGPACK}
    assert (JSON.is_text, MSGPACK.is_text) == (True, False)


# --- replies and pushes -------------------------------------------------------------------------

GAP = Gap(channel="a", epoch="E", from_=3, to=7, reason="slow")

# (push, JSON)
PUSHES = [
    (
        Welcome(session="s", ping_interval=25.0, user=None, protocol=1),
        '{"type":"welcome","session":"s","ping_interval":25.0,"user":null,"protocol":1}',
    ),
    (
        Welcome(id=2, session="s", ping_interval=0.5, user="u", protocol=1),
        '{"type":"welcome","session":"s","ping_interval":0.5,"user":"u","protocol":1,"id":2}',
    ),
    (
        Subscribed(
            id=1,
            channel="a",
            epoch="E",
            offset=0,
            recovered=False,
            cursor="AQ",
            overflow="gap",
            retention=Retention(10, 1024, 1.5),
        ),
        '{"type":"subscribed","channel":"a","epoch":"E","offset":0,"recovered":false,'
        '"cursor":"AQ","overflow":"gap","retention":{"count":10,"bytes":1024,"age_s":1.5},"id":1}',
    ),
    (Unsubscribed(id=1, channel="a"), '{"type":"unsubscribed","channel":"a","id":1}'),
    (
        Unsubscribed(channel="a", code=3001, reason="slow"),
        '{"type":"unsubscribed","channel":"a","code":3001,"reason":"slow"}',
    ),
    (
        Published(id=1, channel="a", epoch="E", offset=5),
        '{"type":"published","channel":"a","epoch":"E","offset":5,"id":1}',
    ),
    (GAP, '{"type":"gap","channel":"a","epoch":"E","from":3,"to":7,"reason":"slow"}'),
    (
        HistoryPage(id=1, channel="a", epoch="E", publications=[], cursor="AQ"),
        '{"type":"history","channel":"a","epoch":"E","publications":[],"cursor":"AQ","id":1}',
    ),
    (
        HistoryPage(channel="a", epoch="E", publications=[], cursor="AQ", gap=GAP),
        '{"type":"history","channel":"a","epoch":"E","publications":[],"cursor":"AQ","gap":'
        '{"type":"gap","channel":"a","epoch":"E","from":3,"to":7,"reason":"slow"}}',
    ),
    (
        PresencePage(id=1, channel="a", count=2, members=[Member("s"), Member("t", "u")]),
        '{"type":"presence","channel":"a","count":2,'
        '"members":[{"session":"s"},{"session":"t","user":"u"}],"id":1}',
    ),
    (PresencePage(channel="a", count=0), '{"type":"presence","channel":"a","count":0}'),
    (
        PresencePage(channel="a", count=2, members=[Member("s")], cursor="AQ"),
        '{"type":"presence","channel":"a","count":2,"members":[{"session":"s"}],"cursor":"AQ"}',
    ),
    (
        Joined(channel="a", count=1, session="s"),
        '{"type":"joined","channel":"a","count":1,"session":"s"}',
    ),
    (
        Left(channel="a", count=0, session="s", user="u"),
        '{"type":"left","channel":"a","count":0,"session":"s","user":"u"}',
    ),
    (Pong(id=1), '{"type":"pong","id":1}'),
    (PingPush(), '{"type":"ping"}'),
    (
        Error(code=ErrorCode.MALFORMED, message="no", retry=False),
        '{"type":"error","code":"malformed","message":"no","retry":false}',
    ),
    (
        error_push(MessageError(ErrorCode.RATE_LIMITED, "slow", 3, retry_after_ms=20)),
        '{"type":"error","code":"rate_limited","message":"slow","retry":true,"retry_after_ms":20,'
        '"id":3}',
    ),
    (
        error_push(OffsetConflict("E", 7, "no")),
        '{"type":"error","code":"offset_conflict","message":"no","retry":false,"epoch":"E",'
        '"offset":7}',
    ),
    (
        Closing(code=1001, reason="", reconnect=True),
        '{"type":"closing","code":1001,"reason":"","reconnect":true}',
    ),
]


@pytest.mark.parametrize(("push", "text"), PUSHES)
def test_a_push_is_this_json_and_leaves_out_what_is_not_set(push, text):
    assert JSON.encode(push).decode() == text


@pytest.mark.parametrize(("push", "text"), PUSHES)
def test_a_push_says_the_same_in_messagepack(push, text):
    assert msgpack.unpackb(MSGPACK.encode(push)) == json.loads(text)


# --- announcing a close -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "is_coming_back"),
    [
        *((code, code in (1001, 1011, 1012, 1013)) for code in CloseCode),
        *((code, code < 3500) for code in Disconnect),
        (2999, False),
        (3000, True),
        (3499, True),
        (3500, False),
        (3999, False),
        (4000, False),
        (4999, False),
    ],
)
def test_a_close_says_whether_to_come_back(code, is_coming_back):
    assert closing_push(code, "why") == Closing(code=code, reason="why", reconnect=is_coming_back)


def test_a_close_may_say_when_to_come_back():
    push = closing_push(1012, "the node is restarting", 1500)
    assert JSON.encode(push) == (
        b'{"type":"closing","code":1012,"reason":"the node is restarting",'
        b'"reconnect":true,"retry_after_ms":1500}'
    )


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_says_whether_the_same_command_may_succeed_later(code):
    push = error_push(MessageError(code, "no", 7))
    assert push == Error(id=7, code=code, message="no", retry=code in RETRYABLE)
