"""A body is written in the framing announced."""

import asyncio

import pytest

from gateway.web.flow import WriteFlow
from gateway.web.writer import BodyWriter, Framing
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
