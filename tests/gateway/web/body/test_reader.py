"""A body is read as it arrives, within its bounds."""

import asyncio

import pytest

from gateway.web.body.reader import MAX_CHUNK_ENDS, StreamReader
from gateway.web.response import Response


class Wanted:
    """Feeds a reader one piece each time that it wants more, and its end after the last."""

    def __init__(self, *pieces: bytes, low_bytes: int = 4) -> None:
        self.pieces = list(pieces)
        self.calls_count = 0
        self.reader = StreamReader(low_bytes, self.feed)

    def feed(self) -> None:
        self.calls_count += 1
        if self.pieces:
            self.reader.feed_data(self.pieces.pop(0))
        elif not self.reader.is_eof():
            self.reader.feed_eof()


def whole(*pieces: bytes) -> StreamReader:
    reader = StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return reader


async def test_a_body_is_read_whole():
    assert await Wanted(b"one", b"two").reader.read() == b"onetwo"
    assert await whole(b"one", b"two").read() == b"onetwo"
    assert await whole().read() == b""


async def test_a_body_is_read_by_count():
    reader = Wanted(b"onetwo", b"three", low_bytes=1).reader
    assert await reader.read(0) == b""
    assert [await reader.read(4) for _ in range(5)] == [b"onet", b"wo", b"thre", b"e", b""]


async def test_a_body_is_read_as_it_comes():
    reader = Wanted(b"one", b"two").reader
    assert [await reader.readany() for _ in range(3)] == [b"one", b"two", b""]
    reader = Wanted(b"one").reader
    assert [await reader.readchunk() for _ in range(2)] == [(b"one", False), (b"", False)]


async def test_an_exact_count_is_waited_for_and_missed_at_the_end():
    reader = Wanted(b"one", b"two", b"end").reader
    assert await reader.readexactly(5) == b"onetw"
    assert await reader.readexactly(0) == b""
    with pytest.raises(asyncio.IncompleteReadError) as info:
        await reader.readexactly(5)
    assert (info.value.partial, info.value.expected) == (b"oend", 5)


@pytest.mark.parametrize(
    "pieces", [[b"a\nbc\r\nd"], [b"a", b"\nbc\r", b"\nd"], [b"a\nbc\r\nd", b""]]
)
async def test_lines_end_where_they_end(pieces):
    assert [line async for line in Wanted(*pieces).reader] == [b"a\n", b"bc\r\n", b"d"]
    reader = Wanted(*pieces).reader
    assert await reader.readuntil(b"\r\n") == b"a\nbc\r\n"


async def test_a_line_that_does_not_end_is_given_up():
    reader = Wanted(b"1234", b"5678", b"9").reader
    with pytest.raises(ValueError, match="too big"):
        await reader.readline()
    with pytest.raises(ValueError, match="Separator"):
        await reader.readuntil(b"")


async def test_a_line_may_be_as_long_as_it_is_allowed_to_be():
    assert await whole(b"123\n567").readline(max_line_length=4) == b"123\n"
    for line in (b"1234\n", b"12345"):
        with pytest.raises(ValueError, match="too big"):
            await whole(line).readline(max_line_length=4)
        with pytest.raises(ValueError, match="too big"):
            await whole(line).readuntil(b"\n", max_size=4)


async def test_a_line_may_be_longer_than_what_is_buffered_otherwise(talk):
    async def handler(request):
        line = await request.content.readline(max_line_length=400_000)
        return Response(text=f"{len(line)} {len(await request.read())}")

    body = bytes(300_000) + b"\n" + bytes(300_000)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    assert (await talk(handler, head + body)).endswith(b"\r\n300001 300000")


def chunked(*chunks: bytes, low_bytes: int = 4) -> StreamReader:
    reader = StreamReader(low_bytes)
    for chunk in chunks:
        reader.feed_data(chunk)
        reader.feed_chunk_ends((reader.total_bytes,))
    return reader


async def test_chunks_can_be_told_apart():
    reader = chunked(b"one", b"two")
    reader.feed_data(b"th")
    assert await reader.readchunk() == (b"one", True)
    assert await reader.read(2) == b"tw"
    assert await reader.readchunk() == (b"o", True)
    assert await reader.readchunk() == (b"th", False)
    waiting = asyncio.create_task(reader.readchunk())
    await asyncio.sleep(0)
    reader.feed_chunk_ends((8,))
    assert await waiting == (b"", True)
    reader.feed_eof()
    assert await reader.readchunk() == (b"", False)


async def test_a_reader_may_read_across_the_ends_of_chunks():
    reader = chunked(b"one", b"two", b"three")
    assert await reader.readexactly(3) == b"one"
    assert await reader.readchunk() == (b"", True)
    assert await reader.readexactly(4) == b"twot"
    reader.feed_eof()
    assert [chunk async for chunk in reader.iter_chunks()] == [(b"hree", True)]


async def test_of_very_many_chunks_some_look_like_one():
    reader = chunked(*[b"x"] * (MAX_CHUNK_ENDS + 2), low_bytes=2**16)
    assert await reader.readexactly(MAX_CHUNK_ENDS - 1) == b"x" * (MAX_CHUNK_ENDS - 1)
    reader.feed_eof()
    assert [await reader.readchunk() for _ in range(4)] == [
        *[(b"", True), (b"x", True)],
        *[(b"xx", False), (b"", False)],
    ]


async def test_the_end_can_be_waited_for_beside_a_reader():
    reader = StreamReader()
    reading = asyncio.create_task(reader.readany())
    waiting = [asyncio.create_task(reader.wait_eof()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    reader.feed_data(b"one")
    assert await reading == b"one"
    reader.feed_eof()
    await waiting[1]
    assert waiting[0].cancelled()


async def test_waiting_for_the_end_fails_where_reading_would():
    reader = StreamReader()
    waiting = asyncio.create_task(reader.wait_eof())
    await asyncio.sleep(0)
    reader.set_exception(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await waiting
    with pytest.raises(ValueError, match="broken"):
        await reader.wait_eof()


async def test_a_callback_that_fails_harms_neither_the_body_nor_another_callback():
    told, calls = [], []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    reader = StreamReader()
    for callback in (lambda: 1 / 0, lambda: calls.append("end")):
        reader.on_eof(callback)
    reader.feed_eof()
    reader.on_eof(lambda: 1 / 0)
    assert calls == ["end"]
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError] * 2


async def test_pieces_can_be_iterated_over():
    reader = Wanted(b"one", b"two", low_bytes=0).reader
    assert [piece async for piece in reader.iter_chunked(2)] == [b"on", b"e", b"tw", b"o"]
    assert [piece async for piece in Wanted(b"one", b"two").reader.iter_any()] == [b"one", b"two"]
    assert [piece async for piece in Wanted(b"one").reader.iter_chunks()] == [(b"one", False)]


async def test_what_is_there_is_read_without_waiting():
    reader = whole(b"onetwo")
    assert (reader.read_nowait(2), reader.read_nowait()) == (b"on", b"etwo")
    assert reader.read_nowait() == b""


async def test_data_can_be_put_back():
    reader = whole(b"two")
    with pytest.warns(DeprecationWarning, match="unread_data"):
        reader.unread_data(b"one")
    assert await reader.read() == b"onetwo"


async def test_the_end_is_told_as_arrived_and_as_reached():
    reader, calls = StreamReader(), []
    reader.on_eof(lambda: calls.append("first"))
    reader.feed_data(b"one")
    assert (reader.is_eof(), reader.at_eof(), calls) == (False, False, [])
    waiting = asyncio.create_task(reader.wait_eof())
    await asyncio.sleep(0)
    reader.feed_eof()
    await waiting
    reader.on_eof(lambda: calls.append("second"))
    assert (reader.is_eof(), reader.at_eof(), calls) == (True, False, ["first", "second"])
    assert await reader.readany() == b"one"
    assert reader.at_eof()
    assert reader.total_raw_bytes == 3


async def test_more_is_wanted_when_the_low_water_mark_is_reached():
    body = Wanted(low_bytes=4)
    body.reader.feed_data(b"123456789")
    assert body.reader.is_full
    assert body.reader.get_read_buffer_limits() == (4, 8)
    assert await body.reader.read(1) == b"1"
    assert (body.reader.is_full, body.calls_count) == (False, 0)
    assert await body.reader.read(4) == b"2345"
    assert body.calls_count == 1


async def test_two_tasks_cannot_wait_for_the_same_body():
    reader = StreamReader()
    waiting = asyncio.create_task(reader.readany())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one at a time"):
        await reader.readany()
    with pytest.raises(RuntimeError, match="one at a time"):
        reader.read_nowait()
    reader.feed_data(b"one")
    assert await waiting == b"one"


async def test_a_cancelled_reader_leaves_the_body_to_the_next_one():
    reader = StreamReader()
    waiting = asyncio.create_task(reader.readany())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    reader.feed_data(b"one")
    assert await reader.readany() == b"one"


async def test_every_way_of_reading_raises_a_failure_and_what_came_is_gone():
    reader, calls = StreamReader(), []
    reader.on_eof(lambda: calls.append("end"))
    waiting = asyncio.create_task(reader.readexactly(5))
    reader.feed_data(b"one")
    await asyncio.sleep(0)
    failure = ConnectionResetError("The peer left")
    reader.set_exception(failure)
    with pytest.raises(ConnectionResetError):
        await waiting
    for read in (reader.read, reader.readany, reader.readline, reader.readchunk):
        with pytest.raises(ConnectionResetError):
            await read()
    with pytest.raises(ConnectionResetError):
        reader.read_nowait()
    reader.feed_data(b"two")
    reader.feed_eof()
    assert (reader.exception(), reader.total_raw_bytes, calls) == (failure, 3, [])
