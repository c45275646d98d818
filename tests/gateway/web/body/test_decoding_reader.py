"""A coded body is decoded when it is read, within its bounds, and not before."""

import asyncio
import gzip
import threading
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from gateway.web.body.decoders import PIECE_BYTES, ZlibDecoder
from gateway.web.body.decoding_reader import DecodingReader
from gateway.web.body.errors import RequestPayloadError
from gateway.web.body.reader import READ_BUFFER_BYTES

LINES = b"".join(b"%d\n" % n for n in range(2000))
BOMB_BYTES = 64 * 1024 * 1024
SEGMENT_BYTES = 16 * 1024
PATIENCE_S = 10


def bomb() -> Iterator[bytes]:
    """Yield 64 KB of gzip that stand for 64 MiB."""
    compressor = zlib.compressobj(9, wbits=31)
    for _ in range(BOMB_BYTES // 2**20):
        yield compressor.compress(bytes(2**20))
    yield compressor.flush()


class Peer:
    """Sends wire a segment at a time, as long as the reader is not full."""

    def __init__(self, wire: bytes, size: int = SEGMENT_BYTES, low_bytes: int = READ_BUFFER_BYTES):
        self.segments = [wire[i : i + size] for i in range(0, len(wire), size)]
        self.reader = DecodingReader(ZlibDecoder(is_gzip=True), low_bytes, self.send)

    def send(self) -> None:
        while self.segments and not self.reader.is_full:
            self.reader.feed_data(self.segments.pop(0))
        if not self.segments and not self.reader.is_eof():
            self.reader.feed_eof()


def whole(wire: bytes) -> DecodingReader:
    peer = Peer(wire)
    peer.send()
    return peer.reader


async def test_a_body_is_read_decoded_in_every_way() -> None:
    wire = gzip.compress(LINES)
    for size in (1, 7, 1000, len(wire)):
        assert await Peer(wire, size).reader.read() == LINES
        reader = Peer(wire, size).reader
        assert b"".join([line async for line in reader]) == LINES
        reader = Peer(wire, size).reader
        assert await reader.readexactly(5) == LINES[:5]
        assert await reader.readuntil(b"\n7\n") == LINES[5 : LINES.index(b"\n7\n") + 3]
        assert b"".join([piece async for piece in reader.iter_chunked(10)]) == LINES[16:]
        assert (await reader.readany(), await reader.readchunk()) == (b"", (b"", False))
        assert reader.total_raw_bytes == len(wire)


async def test_what_has_arrived_is_decoded_without_waiting() -> None:
    reader = whole(gzip.compress(LINES))

    assert reader.read_nowait(4) == LINES[:4]
    assert reader.read_nowait() == LINES[4:]
    assert reader.read_nowait() == b""
    assert reader.at_eof()


async def test_the_end_is_where_all_is_decoded_and_read() -> None:
    reader = whole(gzip.compress(b"one"))
    assert (reader.is_eof(), reader.at_eof()) == (True, False)
    assert await reader.read(1) == b"o"
    assert (reader.is_eof(), reader.at_eof()) == (True, False)
    assert await reader.read() == b"ne"
    assert reader.at_eof()


async def test_a_body_cut_short_has_no_end_to_be_at() -> None:
    reader = whole(gzip.compress(b"one")[:-1])
    assert await reader.readany() == b"one"
    assert not reader.at_eof()
    with pytest.raises(RequestPayloadError):
        await reader.readany()


async def test_an_empty_body_is_in_no_coding() -> None:
    assert await whole(b"").read() == b""


@pytest.mark.parametrize(
    "wire", [b"no gzip", gzip.compress(LINES)[:-1], gzip.compress(b"x") + b"y"]
)
async def test_a_broken_body_fails_every_reading_from_then_on(wire: bytes) -> None:
    reader = whole(wire)
    for read in (reader.read, reader.readany, reader.readline):
        with pytest.raises(RequestPayloadError) as info:
            await read()
        assert info.value.status == 400
    with pytest.raises(RequestPayloadError):
        reader.read_nowait()
    assert reader.exception() is info.value


async def test_a_line_that_does_not_end_is_given_up() -> None:
    reader = Peer(b"".join(bomb())).reader
    with pytest.raises(ValueError, match="too big"):
        await reader.readline()


async def test_a_bomb_is_held_within_the_bounds_however_it_is_read() -> None:
    wire = b"".join(bomb())
    readers = [Peer(wire).reader for _ in range(3)]
    tracemalloc.start()
    try:
        length = 0
        async for piece in readers[0].iter_any():
            length += len(piece)
            assert len(piece) <= PIECE_BYTES
        assert await readers[1].read(10) == bytes(10)
        with pytest.raises(ValueError, match="too big"):
            await readers[2].readuntil(b"x")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length == BOMB_BYTES
    # What waits and what is decoded, the latter twice while a piece is made.
    assert peak_bytes < 3 * (2 * READ_BUFFER_BYTES + 2 * PIECE_BYTES)


async def test_what_nobody_reads_is_neither_decoded_nor_taken_beyond_the_bounds() -> None:
    peer = Peer(b"no gzip" * 100_000)
    peer.send()
    assert peer.reader.is_full
    assert 0 <= peer.reader.total_raw_bytes - 2 * READ_BUFFER_BYTES <= SEGMENT_BYTES
    assert peer.reader.exception() is None
    peer.reader.set_exception(ValueError("answered"))
    assert not peer.reader.is_full
    peer.reader.feed_data(b"more")
    assert not peer.reader.is_full


async def test_a_body_can_be_skipped_without_decoding_it() -> None:
    reader = Peer(b"no gzip" * 100_000, low_bytes=1000).reader
    await reader.skip()
    assert reader.at_eof()
    assert await reader.read() == b""
    assert reader.total_raw_bytes == 700_000


async def test_others_have_their_turns_while_much_is_decoded() -> None:
    turns = 0
    reader = whole(gzip.compress(bytes(50 * PIECE_BYTES)))
    reading = asyncio.create_task(reader.read())
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert reading.result() == bytes(50 * PIECE_BYTES)
    assert turns >= 50


async def test_a_small_body_is_decoded_without_giving_up_the_turn() -> None:
    reading = asyncio.create_task(whole(gzip.compress(LINES)).read())
    await asyncio.sleep(0)
    assert reading.done()
    assert reading.result() == LINES


async def test_a_cancelled_reading_loses_nothing() -> None:
    reader = whole(gzip.compress(bytes(5 * PIECE_BYTES) + b"x"))
    reading = asyncio.create_task(reader.readany())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert await reader.read() == bytes(5 * PIECE_BYTES) + b"x"


async def test_two_tasks_cannot_read_at_once() -> None:
    reader = whole(gzip.compress(bytes(5 * PIECE_BYTES)))
    reading = asyncio.create_task(reader.readany())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one at a time"):
        reader.read_nowait()
    await reading


class GatedDecoder:
    """A slow coding that changes nothing, and takes until it is let go."""

    is_slow = True
    has_more = False
    is_whole = True

    def __init__(self) -> None:
        self.gate = threading.Event()

    def decode(self, data: bytes) -> bytes:
        assert self.gate.wait(PATIENCE_S)
        return data


async def test_a_slow_coding_is_undone_in_a_thread_and_its_reader_may_give_up() -> None:
    decoder = GatedDecoder()
    reader = DecodingReader(decoder)
    reader.feed_data(b"one")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await reader.readany()
    reader.feed_data(b" two")
    reader.feed_eof()
    assert not reader.at_eof()
    assert reader.read_nowait() == b""
    decoder.gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b"one two"
    assert reader.at_eof()


async def test_a_body_can_be_broken_off_while_a_thread_works_on_it() -> None:
    decoder = GatedDecoder()
    reader = DecodingReader(decoder)
    reader.feed_data(b"one")
    reading = asyncio.ensure_future(reader.readany())
    await asyncio.sleep(0)
    reader.set_exception(ConnectionResetError())
    decoder.gate.set()
    with pytest.raises(ConnectionResetError):
        await reading


async def test_a_body_can_be_thrown_away_while_a_thread_works_on_it() -> None:
    decoder = GatedDecoder()
    reader = DecodingReader(decoder)
    reader.feed_data(b"one")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await reader.readany()
    reader.feed_eof()
    await reader.skip()
    decoder.gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.read() == b""
