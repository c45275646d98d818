"""Files larger than any buffer, on every kind of socket, to peers that read, wait or leave."""

import asyncio
import io
import logging
import os
import ssl
import threading
import tracemalloc
from contextlib import closing

import pytest
import trustme

from gateway.web.files.response import SMALL_BYTES, FileResponse
from gateway.web.response import Response
from gateway.web.runner import ServerRunner, TCPSite, UnixSite
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse
from tests.gateway.web.files.sending import GET, LAST, sending
from tests.gateway.web.ledger import reset, watched

# More than the buffers of two sockets on the loopback hold.
LARGE = 50 * 1024 * 1024


def count_descriptors():
    return len(os.listdir("/proc/self/fd"))


async def until(condition):
    """Wait for what other turns and threads bring about; the test's timeout ends it."""
    while not condition():  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(0)


@pytest.fixture
async def descriptors_count(talk, large):
    """Return how many descriptors are open now; wait for as many when the test has ended."""
    await talk(sending(large), LAST)  # event loops keep some from their first connection on
    count = count_descriptors()
    yield count
    await until(lambda: count_descriptors() == count)


@pytest.fixture
def large(tmp_path):
    """Return the path of a file of which every mebibyte begins with its number."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(LARGE // 2**20):
            file.seek(number * 2**20)
            file.write(b"%d." % number)
        file.truncate(LARGE)
    return path


async def test_a_large_file_is_sent_between_other_answers(connected, large):
    async with connected(sending(large)) as (reader, writer):
        writer.write(GET + GET + LAST)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"\r\nContent-Length: %d\r\n" % LARGE in head
            assert await reader.readexactly(LARGE) == large.read_bytes()
        assert (await reader.read()).endswith(b"\r\n\r\nlast")


async def test_a_large_part_is_sent(connected, large):
    async with connected(sending(large)) as (reader, writer):
        writer.write(GET[:-2] + b"Range: bytes=1048570-9999999\r\n\r\n" + LAST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nContent-Range: bytes 1048570-9999999/52428800\r\n" in head
        assert await reader.readexactly(8951430) == large.read_bytes()[1048570:10000000]
        assert (await reader.read()).endswith(b"\r\n\r\nlast")


async def test_a_file_beyond_four_gibibytes_has_its_parts(connected, tmp_path):
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.seek(5 * 2**30)
        file.write(b"end")
    async with connected(sending(path)) as (reader, writer):
        writer.write(GET.replace(b"GET", b"HEAD"))
        assert b"\r\nContent-Length: 5368709123\r\n" in await reader.readuntil(b"\r\n\r\n")
        writer.write(GET[:-2] + b"Range: bytes=5368709120-\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nContent-Range: bytes 5368709120-5368709122/5368709123\r\n" in head
        assert await reader.readexactly(3) == b"end"
        start = 5 * 2**30 - 2 * SMALL_BYTES
        writer.write(GET[:-2] + b"Range: bytes=%d-\r\n\r\n" % start)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(2 * SMALL_BYTES + 3) == bytes(2 * SMALL_BYTES) + b"end"


async def test_a_large_file_in_chunks_where_the_handler_wants_them(talk, large):
    with large.open("r+b") as file:
        file.truncate(2 * SMALL_BYTES)

    async def handler(request):
        response = FileResponse(large, chunk_size=SMALL_BYTES)
        response.enable_chunked_encoding()
        return response

    head, _, body = (await talk(handler, LAST)).partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    first, second = large.read_bytes()[:SMALL_BYTES], bytes(SMALL_BYTES)
    assert body == b"10000\r\n" + first + b"\r\n10000\r\n" + second + b"\r\n0\r\n\r\n"


async def test_no_more_of_a_file_is_written_than_was_announced(talk, large):
    async def handler(request):
        response = StreamResponse()
        response.content_length = 5
        writer = await response.prepare(request)
        with io.FileIO(large) as file:
            await writer.send_file(file, 0, LARGE)
        await response.write_eof()
        return response

    answers = await talk(handler, GET + LAST)
    assert answers.count(b"\r\n\r\n0.\0\0\0") == 2
    assert answers.endswith(b"\r\n\r\n0.\0\0\0")


async def test_an_answer_without_body_has_none(talk, large):
    answer = await talk(sending(large, status=204), GET + LAST)
    assert answer.partition(b"\r\n\r\n")[2].startswith(b"HTTP/1.1 200 OK")


class Changing(FileResponse):
    """A file that changes when its head has left."""

    def __init__(self, path, size):
        super().__init__(path)
        self._size = size

    def _send_head(self, request, framing, length):
        super()._send_head(request, framing, length)
        with self._path.open("r+b") as file:
            file.truncate(self._size)


async def test_of_a_file_that_grows_no_more_is_sent_than_was_announced(connected, large):
    async def handler(request):
        return Changing(large, 2 * LARGE) if request.path == "/" else Response(text="last")

    before = large.read_bytes()
    async with connected(handler) as (reader, writer):
        writer.write(GET + LAST)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(LARGE) == before
        assert (await reader.read()).endswith(b"\r\n\r\nlast")


async def test_a_file_that_shrinks_ends_its_connection(connected, large, caplog):
    async def handler(request):
        return Changing(large, LARGE // 2)

    async with connected(handler) as (reader, writer):
        writer.write(GET + LAST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nContent-Length: %d\r\n" % LARGE in head
        assert len(await reader.read()) == LARGE // 2
    assert caplog.text == ""


# Peers that do not read, or leave.


@pytest.mark.parametrize("has_sendfile", [True, False], ids=["kernel", "thread"])
async def test_a_slow_reader_costs_no_memory_and_gets_everything(
    connected, large, has_sendfile, monkeypatch
):
    monkeypatch.setattr("gateway.web.body.sendfile._CAN_SEND_FILES", has_sendfile)
    async with connected(sending(large)) as (reader, writer):
        tracemalloc.start()
        writer.write(GET + LAST)
        await reader.readuntil(b"\r\n\r\n")
        missing = LARGE
        while missing:
            missing -= len(await reader.read(min(missing, 2**18)))
            await asyncio.sleep(0)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (await reader.read()).endswith(b"\r\n\r\nlast")
    assert peak_bytes < 4 * 2**20


@pytest.mark.parametrize("has_sendfile", [True, False], ids=["kernel", "thread"])
async def test_a_peer_that_stops_reading_is_dropped(
    descriptors_count, connected, large, has_sendfile, monkeypatch, caplog
):
    monkeypatch.setattr("gateway.web.body.sendfile._CAN_SEND_FILES", has_sendfile)
    ended = asyncio.Event()

    async def handler(request):
        try:
            await FileResponse(large).prepare(request)
        finally:
            ended.set()

    async with connected(handler, write_timeout_s=0.01) as (_, writer):
        writer.transport.pause_reading()
        writer.write(GET)
        await ended.wait()
    assert caplog.text == ""


@pytest.mark.parametrize("has_sendfile", [True, False], ids=["kernel", "thread"])
async def test_a_peer_that_leaves_takes_the_open_file_with_it(
    descriptors_count, connected, large, has_sendfile, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("gateway.web.body.sendfile._CAN_SEND_FILES", has_sendfile)
    for is_polite in (True, False):
        async with connected(sending(large)) as (reader, writer):
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            if is_polite:
                writer.close()
            else:
                writer.transport.abort()
        assert caplog.text == ""


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_peer_that_left_before_is_no_error(
    descriptors_count, connected, large, size, caplog
):
    with large.open("r+b") as file:
        file.truncate(size)
    left = threading.Event()
    begun, ended = asyncio.Event(), asyncio.Event()

    class Waiting(FileResponse):
        def _decide(self, request, stack):
            left.wait(10)
            return super()._decide(request, stack)

    async def handler(request):
        begun.set()
        try:
            await Waiting(large).prepare(request)
        finally:
            ended.set()

    async with connected(handler) as (_, writer):
        writer.write(GET)
        await begun.wait()
        connected_count = count_descriptors()
        writer.transport.abort()
        await until(lambda: count_descriptors() == connected_count - 2)
        left.set()
    await ended.wait()
    assert caplog.text == ""


async def test_a_handler_may_be_cancelled_while_it_sends(
    descriptors_count, connected, large, caplog
):
    tasks = []

    async def handler(request):
        tasks.append(asyncio.current_task())
        return FileResponse(large)

    async with connected(handler) as (reader, writer):
        writer.write(GET + LAST)
        await reader.readuntil(b"\r\n\r\n")
        tasks[0].cancel()
        assert len(await reader.read()) < LARGE
    assert caplog.text == ""


async def test_many_files_are_sent_at_once(descriptors_count, tmp_path):
    paths = []
    for number in range(20):
        path = tmp_path / str(number)
        path.write_bytes(b"%d" % number * (number + 1) * 20_000)
        paths.append(path)

    async def handler(request):
        return FileResponse(tmp_path / request.path[1:])

    async def fetch(address, path):
        reader, writer = await asyncio.open_connection(*address)
        with closing(writer):
            writer.write(LAST.replace(b"/last", f"/{path.name}".encode()))
            return (await reader.read()).partition(b"\r\n\r\n")[2]

    server = Server(handler, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    with closing(listener):
        address = listener.sockets[0].getsockname()
        bodies = await asyncio.gather(*(fetch(address, path) for path in paths * 10))
    assert bodies == [path.read_bytes() for path in paths] * 10
    await server.shutdown(1)


# Other sockets.


@pytest.fixture
async def runner(large):
    runner = ServerRunner(Server(sending(large), access_log=None))
    await runner.setup()
    yield runner
    await runner.cleanup()


async def read_both(reader, writer, large):
    """Return whether a large file and another answer come over a connection."""
    with closing(writer):
        writer.write(GET + LAST)
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(LARGE)
        return body == large.read_bytes() and (await reader.read()).endswith(b"\r\n\r\nlast")


async def test_files_are_sent_encrypted(runner, large):
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    site = TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context)
    await site.start()
    streams = await asyncio.open_connection("127.0.0.1", site.port, ssl=client_context)
    assert await read_both(*streams, large)


async def test_files_are_sent_over_a_unix_socket(runner, large, tmp_path):
    await UnixSite(runner, tmp_path / "s").start()
    assert await read_both(*await asyncio.open_unix_connection(tmp_path / "s"), large)


@pytest.mark.parametrize("name", ["sendfile", "dup"])
async def test_a_file_that_the_kernel_cannot_send_is_read(connected, large, name, monkeypatch):
    def refuse(*args):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, name, refuse)
    async with connected(sending(large)) as streams:
        assert await read_both(*streams, large)


@pytest.mark.parametrize("size", [SMALL_BYTES, LARGE])
async def test_peers_that_leave_at_any_moment_leave_nothing_behind(large, size):
    with large.open("r+b") as file:
        file.truncate(size)
    async with watched(sending(large)) as watch:
        for count in (0, 1, 1000, SMALL_BYTES, 10 * 2**20):
            client = watch.connect(GET)
            missing = min(count, size)
            while missing:
                missing -= len(await asyncio.to_thread(client.recv, missing))
            reset(client)
            await watch.gone()
