"""Publications as both codecs write them, byte for byte."""

import json

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import JSON, MSGPACK
from protocol.messages import HistoryPage
from protocol.publication import Data, Publication

# (publication, JSON, MessagePack)
MESSAGES = [
    pytest.param(
        Publication(5, Data(b'{"b" : 1.0}'), 0.0),
        b'{"type":"message","channel":"a","offset":5,"data":{"b" : 1.0}}',
        b"\x84\xa4type\xa7message\xa7channel\xa1a\xa6offset\x05"
        b"\xa4data\x81\xa1b\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00",
        id="JSON data",
    ),
    pytest.param(
        Publication(2**32, Data(b"null"), 1.5, key="k", tags={"b": "c"}),
        b'{"type":"message","channel":"a","offset":4294967296,"data":null,'
        b'"key":"k","tags":{"b":"c"}}',
        b"\x86\xa4type\xa7message\xa7channel\xa1a\xa6offset\xcf\x00\x00\x00\x01\x00\x00\x00\x00"
        b"\xa4data\xc0\xa3key\xa1k\xa4tags\x81\xa1b\xa1c",
        id="key and tags",
    ),
    pytest.param(
        Publication(1, Data(b'"AP8="', is_binary=True), 0.0),
        b'{"type":"message","channel":"a","offset":1,"data":"AP8=","encoding":"base64"}',
        b"\x84\xa4type\xa7message\xa7channel\xa1a\xa6offset\x01\xa4data\xc4\x02\x00\xff",
        id="binary data",
    ),
]


@pytest.mark.parametrize(("publication", "text", "packed"), MESSAGES)
def test_a_publication_is_pushed_as_these_bytes(publication, text, packed):
    assert JSON.encode_message("a", publication) == text
    assert MSGPACK.encode_message("a", publication) == packed


def test_a_publication_that_is_pushed_with_its_time_says_when_it_was_to_the_millisecond():
    publication = Publication(1, Data(b"[]"), 1_700_000_000.0004321)
    timed = b'{"type":"message","channel":"a","offset":1,"data":[],"time":1700000000.0}'
    assert JSON.encode_message("a", publication, is_timed=True) == timed
    packed = MSGPACK.encode_message("a", publication, is_timed=True)
    assert msgpack.unpackb(packed)["time"] == 1_700_000_000.0


@pytest.mark.parametrize(("publication", "text", "packed"), MESSAGES)
def test_history_holds_the_same_as_the_push_and_when_it_was(publication, text, packed):
    for codec, load, push in ((JSON, json.loads, text), (MSGPACK, msgpack.unpackb, packed)):
        page = HistoryPage(
            channel="a", epoch="E", publications=[codec.record(publication)], cursor="AQ"
        )
        (record,) = load(codec.encode(page))["publications"]
        assert record.pop("time") == publication.time
        assert {"type": "message", "channel": "a"} | record == load(push)


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()))
def test_any_names_and_texts_can_be_pushed(channel, key, tags):
    publication = Publication(1, Data(b"1"), 0.0, key, tags)
    expected = {
        "type": "message",
        "channel": channel,
        "offset": 1,
        "data": 1,
        "key": key,
        "tags": tags,
    }
    assert json.loads(JSON.encode_message(channel, publication)) == expected
    assert msgpack.unpackb(MSGPACK.encode_message(channel, publication)) == expected
