"""Reading on: what laggards share, and what a turn may cost."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.config import ChannelsConfig, HubConfig
from gateway.reading import CHUNK_COUNT, MEMO_BYTES
from gateway.session import Positions
from gateway.stream import Stream
from protocol.cursor import Position
from protocol.messages import Push
from protocol.publication import Publication
from tests.gateway.laggards import KEPT, Reader, publish, subscribe, told
from tests.gateway.world import World, encode_lines


class Counting:
    """An encoding that counts what it encodes."""

    def __init__(self) -> None:
        self.count = 0
        self.size_bytes = 0

    def __call__(
        self, stream: Stream, publications: Sequence[Publication], positions: Positions
    ) -> bytes:
        data = encode_lines(stream, publications, positions)
        self.count += len(publications)
        self.size_bytes += len(data)
        return data


def test_who_resumes_the_same_backlog_shares_what_is_encoded() -> None:
    world, encode = World(), Counting()
    place = publish(world, *[None] * 300)
    readers = [Reader(world.hub, encode) for _ in range(20)]
    for reader in readers:
        subscribe(world, reader, Position(place.epoch, 0))
    world.settle()
    assert [told(reader) for reader in readers] == [[*range(1, 301)]] * 20
    assert encode.count == 300


def test_who_begins_elsewhere_soon_meets_the_others() -> None:
    world, encode = World(), Counting()
    place = publish(world, *[None] * 300)
    readers = [Reader(world.hub, encode) for _ in range(20)]
    for offset, reader in enumerate(readers):
        subscribe(world, reader, Position(place.epoch, offset))
    world.settle()
    for offset, reader in enumerate(readers):
        assert told(reader) == [*range(offset + 1, 301)]
    assert encode.count <= 300 + 19 * CHUNK_COUNT


def test_nothing_is_kept_for_sharing_once_nobody_reads_on() -> None:
    world, encode = World(), Counting()
    place = publish(world, *[None] * 10)
    for round_count in (1, 2):
        reader = Reader(world.hub, encode)
        subscribe(world, reader, Position(place.epoch, 0))
        world.settle()
        assert told(reader) == [*range(1, 11)]
        assert encode.count == round_count * 10


def test_what_is_kept_for_sharing_is_bounded() -> None:
    size_bytes = 10_000
    count = 3 * MEMO_BYTES // size_bytes
    world = World(ChannelsConfig(history_bytes=1 << 30))
    encode = Counting()
    place = publish(world, *[None] * count, text="x" * size_bytes)
    first = Reader(world.hub, encode, capacity_bytes=1 << 30)
    subscribe(world, first, Position(place.epoch, 0))
    while encode.count < count - 50:
        world.turn()
    second = Reader(world.hub, encode, capacity_bytes=1 << 30)
    subscribe(world, second, Position(place.epoch, 0))
    world.settle()
    assert told(first) == told(second) == [*range(1, count + 1)]
    assert encode.count > count + (count - MEMO_BYTES // size_bytes) / 2


def test_an_encoding_with_cursors_is_shared_where_they_are_the_same() -> None:
    world, encode = World(), Counting()
    places = [publish(world, *[None] * 30), publish(world, *[None] * 2, channel="b")]
    readers = [Reader(world.hub, encode) for _ in range(9)]
    for number, reader in enumerate(readers):
        reader.session.cursor_channels = ("a", "b")
        world.hub.pause(reader.session)
        subscribe(world, reader, Position(places[0].epoch, number % 3 * 10))
        subscribe(world, reader, Position(places[1].epoch, 0), channel="b")
    for reader in readers:
        world.hub.resume(reader.session)
    world.settle()
    assert [len(told(reader)) for reader in readers] == [32, 22, 12] * 3
    # Channel b comes first, while there are three positions in a; then all stand at its end.
    assert encode.count == 3 * 2 + 30 + 20 + 10


def test_one_turn_encodes_no_more_than_its_budget_and_a_chunk() -> None:
    world = World(
        ChannelsConfig(history_bytes=1 << 30),
        HubConfig(turn_encoded_bytes=4000, catch_up_bytes=2000),
    )
    encode = Counting()
    place = publish(world, *[None] * 400, text="x" * 500)
    readers = [Reader(world.hub, encode) for _ in range(100)]
    for offset, reader in enumerate(readers):
        subscribe(world, reader, Position(place.epoch, offset * 3))
    sizes = []
    while world.turn():
        sizes.append(encode.size_bytes)
        encode.size_bytes = 0
    assert max(sizes) <= 4000 + 2 * 2000
    assert [len(told(reader)) for reader in readers] == [400 - offset * 3 for offset in range(100)]


def test_what_becomes_little_counts_as_what_it_was_made_of() -> None:
    class Compressing(Counting):
        def __call__(self, *arguments: Any) -> bytes:
            return super().__call__(*arguments)[:1]

    world = World(
        ChannelsConfig(history_bytes=1 << 30),
        HubConfig(turn_encoded_bytes=4000, catch_up_bytes=2000),
    )
    encode = Compressing()
    place = publish(world, *[None] * 400, text="x" * 500)
    readers = [Reader(world.hub, encode) for _ in range(10)]
    for offset, reader in enumerate(readers):
        subscribe(world, reader, Position(place.epoch, offset * 3))
    sizes = []
    while world.turn():
        sizes.append(encode.size_bytes)
        encode.size_bytes = 0
    assert max(sizes) <= 4000 + 2 * 2000
    assert sum(sizes) > 400 * 500


def test_one_turn_gives_no_more_publications_than_its_budget_and_a_chunk() -> None:
    world = World(hub=HubConfig(turn_deliveries=100))
    place = publish(world, *[None] * 50)
    readers = [Reader(world.hub, encode_lines) for _ in range(30)]
    for reader in readers:
        subscribe(world, reader, Position(place.epoch, 0))
    counts = []
    while world.turn():
        counts.append(sum(len(told(reader)) for reader in readers))
    assert max(counts) <= 100 + CHUNK_COUNT
    assert sum(counts) == 30 * 50


def test_a_busy_channel_that_is_never_caught_up_with_keeps_no_other_waiting() -> None:
    world = World(hub=HubConfig(catch_up_bytes=256))
    reader = Reader(world.hub, encode_lines)
    for channel in ("busy", "quiet"):
        subscribe(world, reader, channel=channel)
    reader.read()
    world.hub.pause(reader.session)
    publish(world, *[None] * 100, channel="busy", text="x" * 200)
    publish(world, None, channel="quiet")
    world.settle()
    world.hub.resume(reader.session)
    heard = []
    for _ in range(5):
        publish(world, *[None] * 10, channel="busy")
        world.turn()
        heard += [push["channel"] for push in reader.read()]
    assert heard.count("quiet") == 1
    assert len(heard) < 100


def test_a_socket_that_has_failed_is_no_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Reader):
        def write(self, data: bytes) -> None:
            raise RuntimeError("unable to perform operation; the handler is closed")

        def push(self, push: Push, positions: Positions) -> None:
            if push.__struct_config__.tag == "gap":
                self.write(b"")

    world = World(KEPT)
    broken = Broken(world.hub, encode_lines)
    subscribe(world, broken)
    world.hub.pause(broken.session)
    publish(world, *"abcdef")
    world.settle()
    world.hub.resume(broken.session)
    world.settle()
    assert (broken.code, caplog.records) == (None, [])
