"""WebSocket frames of publications, plain and compressed; zlib is the other side."""

import base64
import json
import random
import zlib

import msgpack
import pytest

from gateway.config import ChannelsConfig
from gateway.stream import Stream
from gateway.transports import encoders
from gateway.transports.encoders import ENCODERS, MAX_DEFLATED_BYTES, DeflatingEncoder
from protocol.codec import JSON, MSGPACK, Codec
from protocol.cursor import Position
from protocol.publication import Data, Publication
from tests.gateway.world import ScriptedTransport, World

TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.2
# RFC 6455 section 5.2: FIN and the opcode; RSV1 says that a message is compressed.
TEXT, BINARY, RSV1 = 0x81, 0x82, 0x40
CODECS = pytest.mark.parametrize("codec", [JSON, MSGPACK])
NOISE = base64.b85encode(random.Random(1).randbytes(4000)).decode()

STREAM = Stream("news", "e", ChannelsConfig(), lambda: 0.0)


def publication(value: object, offset: int = 1) -> Publication:
    return Publication(offset, Data(json.dumps(value).encode()), 0.0)


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the first byte and the payload of each frame, decompressed where it says so."""
    found = []
    while data:
        size, start = data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        payload = data[start : start + size]
        if data[0] & RSV1:
            # A new one each time: no message may need an earlier one, nor more than 4 KiB.
            payload = zlib.decompressobj(-12).decompress(payload + TAIL)
        found.append((data[0], payload))
        data = data[start + size :]
    return found


def encode(codec: Codec, *values: object, min_bytes: int = 100) -> list[tuple[int, bytes]]:
    encoder = DeflatingEncoder(codec, min_bytes=min_bytes)
    publications = [publication(value, offset) for offset, value in enumerate(values, start=1)]
    return frames(encoder(STREAM, publications, lambda _: Position("", 0)))


@CODECS
def test_each_message_is_what_it_would_be_without_compression(codec):
    values = ["short", "long " * 99, {"a": [1, 2.5, None]}, "longer " * 9999, "short"]
    plain, _ = ENCODERS[codec]
    publications = [publication(value, offset) for offset, value in enumerate(values, start=1)]
    expected = frames(plain(STREAM, publications, lambda _: Position("", 0)))
    kind = TEXT if codec is JSON else BINARY
    assert {first for first, _ in expected} == {kind}
    got = encode(codec, *values)
    assert [payload for _, payload in got] == [payload for _, payload in expected]
    assert [first for first, _ in got] == [kind, kind | RSV1, kind, kind | RSV1, kind]


def test_data_is_verbatim_and_of_both_codecs_the_same():
    value = {"text": "z\u017elu\u0165 " * 50}
    ((_, text),) = encode(JSON, value)
    ((_, packed),) = encode(MSGPACK, value)
    assert json.dumps(value).encode() in text
    assert json.loads(text)["data"] == msgpack.unpackb(packed)["data"] == value


@CODECS
def test_what_is_shorter_than_min_bytes_is_not_compressed(codec):
    size = len(codec.encode_message("news", publication("x" * 200)))
    ((first, _),) = encode(codec, "x" * 200, min_bytes=size)
    assert first & RSV1
    ((first, _),) = encode(codec, "x" * 200, min_bytes=size + 1)
    assert not first & RSV1


@CODECS
def test_what_would_hold_the_loop_is_not_compressed(codec):
    room = (
        MAX_DEFLATED_BYTES - len(codec.encode_message("news", publication("x" * 99_999))) + 99_999
    )
    ((first, _),) = encode(codec, "x" * room)
    assert first & RSV1
    ((first, payload),) = encode(codec, "x" * (room + 1))
    assert not first & RSV1
    assert len(payload) == MAX_DEFLATED_BYTES + 1


def test_what_does_not_become_shorter_is_sent_as_it_is(monkeypatch):
    monkeypatch.setattr(encoders, "deflate_message", lambda payload: payload)
    ((first, payload),) = encode(JSON, NOISE)
    assert first == TEXT
    assert json.loads(payload)["data"] == NOISE


def test_time_is_told_where_the_channel_asks_for_it():
    stream = Stream("news", "e", ChannelsConfig(message_time=True), lambda: 0.0)
    encoder = DeflatingEncoder(JSON, min_bytes=0)
    data = encoder(stream, [publication("x" * 200)], lambda _: Position("", 0))
    ((_, payload),) = frames(data)
    assert json.loads(payload)["time"] == 0


def test_who_shares_the_encoder_shares_one_compression(monkeypatch):
    compressed = []

    def deflate_message(payload: bytes) -> bytes:
        compressed.append(payload)
        return whole(payload)

    whole = encoders.deflate_message
    monkeypatch.setattr(encoders, "deflate_message", deflate_message)
    world = World()
    encoder = DeflatingEncoder(JSON, min_bytes=100)
    readers = [Reader(world.hub, encoder) for _ in range(50)]
    for reader in readers:
        world.subscribe(reader, "news")
    place = world.publish("news", "x" * 500)
    world.publish("news", "y" * 500)
    world.settle()
    assert len(compressed) == 2
    (batch,) = {id(reader.batches[-1]): reader.batches[-1] for reader in readers}.values()
    assert [json.loads(payload)["offset"] for _, payload in frames(batch)] == [1, 2]
    for reader in (late := [Reader(world.hub, encoder) for _ in range(50)]):
        world.subscribe(reader, "news", Position(place.epoch, 0))
    world.settle()
    assert len(compressed) == 4
    assert {reader.batches[-1] for reader in late} == {batch}


class Reader(ScriptedTransport):
    """A session that keeps what it is written as it was written."""

    def __init__(self, *arguments: object) -> None:
        self.batches: list[bytes] = []
        super().__init__(*arguments)

    def write(self, data: bytes) -> None:
        self.batches.append(data)
