"""Files go from the page cache to the socket, in order with what the asyncio transport writes."""

import asyncio
import io
import os
import socket
from contextlib import closing

import pytest

from gateway.web.body.sendfile import PIECE_BYTES, FileSender
from gateway.web.flow import WriteFlow

# More than the buffers of two sockets on the loopback hold.
LARGE = 32 * 1024 * 1024


class Sending(asyncio.Protocol):
    """The sending end of a connection."""

    def __init__(self):
        self.is_made = asyncio.Event()
        self.is_full = asyncio.Event()

    def connection_made(self, transport):
        self.flow = WriteFlow(transport)
        self.is_made.set()

    def pause_writing(self):
        self.flow.pause()
        self.is_full.set()

    def resume_writing(self):
        self.flow.resume()

    def connection_lost(self, exc):
        self.flow.lose()


@pytest.fixture
async def ends():
    """Return the sending end of a connection, and the streams of the reading end."""
    sending = Sending()
    listener = await asyncio.get_running_loop().create_server(lambda: sending, "127.0.0.1", 0)
    with closing(listener):
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        with closing(writer):
            await sending.is_made.wait()
            yield sending, reader, writer
            if not sending.flow.asyncio_transport.is_closing():
                sending.flow.asyncio_transport.abort()


@pytest.fixture
def file(tmp_path):
    """Return an open file of LARGE bytes, of which the first few say where they are."""
    path = tmp_path / "file"
    with path.open("wb") as writing:
        writing.write(b"0123456789")
        writing.truncate(LARGE)
    with io.FileIO(path) as reading:
        yield reading


def count_descriptors():
    return len(os.listdir("/proc/self/fd"))


async def test_a_part_of_a_file_is_sent(ends, file):
    sending, reader, _ = ends
    sender = await FileSender.open(sending.flow)
    assert await sender.send(file, 2, 5) == 5
    sender.close()
    assert await reader.readexactly(5) == b"23456"


async def test_no_more_is_sent_at_once_than_can_be_waited_for(ends, file):
    sending, _, _ = ends
    sender = await FileSender.open(sending.flow)
    assert 0 < await sender.send(file, 0, LARGE) <= PIECE_BYTES
    sender.close()


async def test_nothing_is_sent_behind_the_end_of_the_file(ends, file):
    sending, _, _ = ends
    sender = await FileSender.open(sending.flow)
    assert await sender.send(file, LARGE, 5) == 0
    sender.close()


async def test_what_was_written_before_goes_before(ends, file):
    sending, reader, _ = ends
    transport = sending.flow.asyncio_transport
    limits = transport.get_write_buffer_limits()
    transport.write(bytes(LARGE))
    assert transport.get_write_buffer_size() > 0
    opening = asyncio.create_task(FileSender.open(sending.flow))
    assert await reader.readexactly(LARGE) == bytes(LARGE)
    sender = await opening
    assert transport.get_write_buffer_limits() == limits
    assert await sender.send(file, 0, 5) == 5
    sender.close()
    transport.write(b"end")
    assert await reader.readexactly(8) == b"01234end"


async def fill(sender, file):
    """Send until the file has gone; return how much that was."""
    offset = 0
    while sent := await sender.send(file, offset, LARGE - offset):
        offset += sent
    return offset


async def test_sending_waits_for_the_reader_and_says_so_to_the_protocol(ends, file):
    sending, reader, _ = ends
    sender = await FileSender.open(sending.flow)
    filling = asyncio.create_task(fill(sender, file))
    await sending.is_full.wait()
    assert sending.flow.is_paused
    assert len(await reader.readexactly(LARGE)) == LARGE
    assert await filling == LARGE
    assert not sending.flow.is_paused
    sender.close()


async def test_the_reader_may_leave_while_it_is_waited_for(ends, file):
    sending, _, writer = ends
    descriptors_count = count_descriptors()
    sender = await FileSender.open(sending.flow)
    filling = asyncio.create_task(fill(sender, file))
    await sending.is_full.wait()
    writer.transport.abort()
    with pytest.raises(ConnectionResetError):
        await filling
    sender.close()
    while count_descriptors() != descriptors_count - 2:  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0)


async def test_a_connection_that_is_lost_sends_nothing(ends, file):
    sending, _, _ = ends
    sender = await FileSender.open(sending.flow)
    sending.flow.asyncio_transport.abort()
    with pytest.raises(ConnectionResetError):
        await sender.send(file, 0, 5)
    sender.close()
    with pytest.raises(ConnectionResetError):
        await FileSender.open(sending.flow)


async def test_a_socket_that_fails_ends_its_transport(ends, file):
    sending, _, _ = ends
    sender = await FileSender.open(sending.flow)
    number = sending.flow.asyncio_transport.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(number)) as same:
        same.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        await sender.send(file, 0, 5)
    assert sending.flow.asyncio_transport.is_closing()
    sender.close()


async def test_being_cancelled_leaves_the_connection_usable(ends, file):
    sending, reader, _ = ends
    sender = await FileSender.open(sending.flow)
    filling = asyncio.create_task(fill(sender, file))
    await sending.is_full.wait()
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    sender.close()
    assert not sending.flow.is_paused
    sending.flow.asyncio_transport.write(b"end")
    sending.flow.asyncio_transport.close()
    assert (await reader.read()).endswith(b"\0end")


async def test_a_file_that_the_kernel_cannot_send_is_an_error_of_its_own(ends):
    sending, _, _ = ends
    sender = await FileSender.open(sending.flow)
    reading, writing = os.pipe()
    os.close(writing)
    with io.FileIO(reading) as pipe, pytest.raises(OSError, match=r"(?i)invalid|seek") as info:
        await sender.send(pipe, 0, 5)
    assert not isinstance(info.value, ConnectionError)
    sender.close()
