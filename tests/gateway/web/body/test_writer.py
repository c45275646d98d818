"""A body is written in the framing announced."""

import asyncio
import gzip
import random
import zlib

import pytest

from gateway.web.body.coding import STEP_BYTES, ContentCoding, Encoder
from gateway.web.body.writer import BodyWriter, Framing
from gateway.web.flow import WriteFlow
from protocol.errors import StateError

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class ScriptedTransport(asyncio.Transport):
    """A socket whose peer keeps what each write brought, until it leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_gone = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.is_gone


@pytest.fixture
def transport():
    return ScriptedTransport()


@pytest.fixture
def flow(transport):
    return WriteFlow(transport)


@pytest.fixture
def writer(flow):
    return BodyWriter(flow)


FRAMED = {
    Framing.EMPTY: b"",
    Framing.LENGTH: b"onetw",
    Framing.CHUNKED: b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n",
    Framing.CLOSE: b"onetwothree",
}


@pytest.mark.parametrize("framing", FRAMED)
async def test_a_body_is_written_in_its_framing(framing, writer, transport):
    writer.send_head(HEAD, framing, 5)
    await writer.write(b"one")
    await writer.write(b"")
    await writer.write(bytearray(b"two"))
    assert not writer.is_complete
    await writer.write_eof(memoryview(b"three"))
    assert b"".join(transport.writes) == HEAD + FRAMED[framing]
    assert writer.bytes_sent == len(HEAD + FRAMED[framing])
    assert writer.is_complete
    await writer.write(b"too late")
    assert b"".join(transport.writes) == HEAD + FRAMED[framing]


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (Framing.LENGTH, b"one"),
        (Framing.CHUNKED, b"3\r\none\r\n0\r\n\r\n"),
        (Framing.CLOSE, b"one"),
    ],
)
async def test_head_and_body_leave_in_one_write(framing, body, writer, transport):
    writer.send_head(HEAD, framing, 3)
    assert (transport.writes, writer.has_sent_head) == ([], False)
    await writer.write_eof(b"one")
    assert (transport.writes, writer.has_sent_head) == ([HEAD + body], True)


async def test_a_head_without_body_leaves_at_the_end(writer, transport):
    writer.send_head(HEAD, Framing.EMPTY)
    await writer.write_eof()
    assert transport.writes == [HEAD]
    assert writer.is_complete


async def test_a_head_can_be_flushed_before_the_body(writer, transport):
    writer.send_head(HEAD, Framing.LENGTH, 3)
    writer.flush_head()
    writer.flush_head()
    assert transport.writes == [HEAD]
    await writer.write_eof(b"one")
    assert transport.writes == [HEAD, b"one"]


async def test_fewer_bytes_than_announced_are_not_complete(writer):
    writer.send_head(HEAD, Framing.LENGTH, 3)
    await writer.write_eof(b"on")
    assert not writer.is_complete


async def test_a_head_can_be_replaced_until_it_has_left(writer, transport):
    writer.send_head(b"another", Framing.CHUNKED)
    writer.send_head(HEAD, Framing.LENGTH, 3)
    writer.flush_head()
    with pytest.raises(StateError):
        writer.send_head(HEAD, Framing.EMPTY)
    await writer.write_eof(b"one")
    assert b"".join(transport.writes) == HEAD + b"one"


async def test_a_whole_response_replaces_a_head_and_leaves_in_one_write(writer, transport):
    writer.send_head(b"another", Framing.LENGTH, 3, Encoder(ContentCoding.gzip))
    writer.send_whole(HEAD + b"one")
    await writer.write(b"more")
    await writer.write_eof(b"and more")
    assert transport.writes == [HEAD + b"one"]
    assert (writer.bytes_sent, writer.is_complete) == (len(HEAD) + 3, True)
    with pytest.raises(StateError):
        writer.send_whole(HEAD)
    assert transport.writes == [HEAD + b"one"]


async def test_a_whole_response_to_a_peer_that_left_is_not_sent(writer, transport):
    transport.is_gone = True
    with pytest.raises(ConnectionResetError):
        writer.send_whole(HEAD)
    assert not transport.writes
    assert not writer.has_sent_head


async def test_an_interim_response_goes_out_before_the_head(writer, transport):
    await writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert not writer.has_sent_head
    with pytest.raises(StateError):
        await writer.write_eof(b"one")
    writer.send_head(HEAD, Framing.LENGTH, 3)
    await writer.write_eof(b"one")
    assert transport.writes == [b"HTTP/1.1 102 Processing\r\n\r\n", HEAD + b"one"]


async def test_a_buffer_that_changes_later_is_sent_as_it_was(writer, transport):
    buffer = bytearray(b"one")
    writer.send_head(HEAD, Framing.CLOSE)
    await writer.write(buffer)
    await writer.write(memoryview(buffer))
    buffer[:] = b"two"
    assert transport.writes == [HEAD + b"one", b"one"]


@pytest.mark.parametrize("end", [False, True])
async def test_a_writer_waits_while_the_peer_reads_too_slowly(end, writer, flow, transport):
    writer.send_head(HEAD, Framing.CLOSE)
    flow.pause()
    writing = asyncio.create_task(writer.write_eof(b"one") if end else writer.write(b"one"))
    await asyncio.sleep(0)
    assert transport.writes == [HEAD + b"one"]
    assert not writing.done()
    draining = asyncio.create_task(writer.drain())
    await asyncio.sleep(0)
    flow.resume()
    await asyncio.gather(writing, draining)


async def test_a_peer_that_left_is_told_to_every_writer(writer, flow, transport):
    writer.send_head(HEAD, Framing.CHUNKED)
    flow.pause()
    writing = asyncio.create_task(writer.write(b"one"))
    await asyncio.sleep(0)
    transport.is_gone = True
    flow.lose()
    with pytest.raises(ConnectionResetError):
        await writing
    for write in (writer.write, writer.write_eof):
        with pytest.raises(ConnectionResetError, match="Cannot write to closing transport"):
            await write(b"two")
    with pytest.raises(ConnectionResetError):
        await writer.drain()


def unframe(wire: bytes, framing: Framing) -> bytes:
    """Return the body behind HEAD, out of its chunks."""
    body, rest = b"", wire[len(HEAD) :]
    if framing is not Framing.CHUNKED:
        return rest
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.CLOSE])
async def test_each_piece_of_an_encoded_body_can_be_read_when_it_was_written(
    framing, writer, transport
):
    writer.send_head(HEAD, framing, encoder=Encoder(ContentCoding.gzip))
    assert writer.is_encoding
    for text in (b"one", b"", bytearray(b"two"), memoryview(b"three")):
        await writer.write(text)
    assert len(transport.writes) == 3
    wire = b"".join(transport.writes)
    assert zlib.decompressobj(31).decompress(unframe(wire, framing)) == b"onetwothree"
    await writer.write_eof(b"end")
    assert len(transport.writes) == 4
    wire = b"".join(transport.writes)
    assert gzip.decompress(unframe(wire, framing)) == b"onetwothreeend"
    assert (writer.is_complete, writer.bytes_sent) == (True, len(wire))
    await writer.write(b"too late")
    assert b"".join(transport.writes) == wire


@pytest.mark.parametrize("end", [False, True])
async def test_others_have_turns_while_a_long_piece_is_encoded(end, writer, transport):
    noise = random.Random(1).randbytes(10 * STEP_BYTES + 1)
    writer.send_head(HEAD, Framing.CHUNKED, encoder=Encoder(ContentCoding.deflate))
    write = writer.write_eof if end else writer.write
    writing, turns = asyncio.create_task(write(noise)), 0
    while not writing.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 10
    if not end:
        await writer.write_eof()
    assert zlib.decompress(unframe(b"".join(transport.writes), Framing.CHUNKED)) == noise


async def test_a_cancelled_writing_leaves_a_body_that_can_go_on(writer, transport):
    zeros = bytes(10 * STEP_BYTES)
    writer.send_head(HEAD, Framing.CLOSE, encoder=Encoder(ContentCoding.gzip))
    writing = asyncio.create_task(writer.write(zeros))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await writer.write_eof(b"end")
    body = gzip.decompress(unframe(b"".join(transport.writes), Framing.CLOSE))
    assert body.lstrip(b"\0") == b"end"
    assert 0 < len(body) < len(zeros)


@pytest.mark.parametrize("end", [False, True])
async def test_what_is_written_when_another_task_has_ended_the_body_is_dropped(
    end, writer, transport
):
    writer.send_head(HEAD, Framing.CHUNKED, encoder=Encoder(ContentCoding.gzip))
    write = writer.write_eof if end else writer.write
    writing = asyncio.create_task(write(b"x" * 10 * STEP_BYTES))
    await asyncio.sleep(0)
    await writer.write_eof(b"end")
    await writing
    wire = b"".join(transport.writes)
    assert wire.endswith(b"0\r\n\r\n")
    body = gzip.decompress(unframe(wire, Framing.CHUNKED))
    assert body.lstrip(b"x") == b"end"
    assert len(body) < 10 * STEP_BYTES


async def test_a_writer_waits_between_the_steps_of_a_long_piece(writer, flow, transport):
    noise = random.Random(1).randbytes(10 * STEP_BYTES)
    writer.send_head(HEAD, Framing.CLOSE, encoder=Encoder(ContentCoding.gzip))
    flow.pause()
    writing = asyncio.create_task(writer.write(noise))
    for _ in range(20):
        await asyncio.sleep(0)
    assert sum(map(len, transport.writes)) < 3 * STEP_BYTES
    flow.resume()
    await writing
    await writer.write_eof()
    assert gzip.decompress(unframe(b"".join(transport.writes), Framing.CLOSE)) == noise


async def test_what_has_no_body_is_not_encoded(writer, transport):
    writer.send_head(HEAD, Framing.EMPTY, encoder=Encoder(ContentCoding.gzip))
    assert not writer.is_encoding
    await writer.write_eof(b"one")
    assert transport.writes == [HEAD]


async def test_another_head_has_another_coding(writer, transport):
    writer.send_head(b"another", Framing.CHUNKED, encoder=Encoder(ContentCoding.gzip))
    writer.send_head(HEAD, Framing.LENGTH, 3)
    await writer.write_eof(b"one")
    assert transport.writes == [HEAD + b"one"]
