"""Forms over real sockets: values, files, bounds, and what is left behind: nothing.

Over 400 lines, so that all of it shares one way of writing forms and one look at open files.
"""

import asyncio
import io
import os
import resource
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.web.forms import form
from gateway.web.forms.form import MAX_FILES, SPOOL_BYTES, FileField
from gateway.web.forms.urlencoded import MAX_FIELDS
from gateway.web.request import BaseRequest
from gateway.web.response import Response

PART = b'--b\r\nContent-Disposition: form-data; name="%s"'
MULTIPART = b"multipart/form-data; boundary=b"
URLENCODED = b"application/x-www-form-urlencoded"
BIG = os.urandom(SPOOL_BYTES) * 3


def field(name, data, content_type=None):
    kind = b"" if content_type is None else b"\r\nContent-Type: " + content_type
    return PART % name + kind + b"\r\n\r\n" + data + b"\r\n"


def file(name, data, filename=b"f", *fields):
    fields = b"".join(b"\r\n" + each for each in fields)
    return PART % name + b'; filename="' + filename + b'"' + fields + b"\r\n\r\n" + data + b"\r\n"


def head(length, content_type=MULTIPART, method=b"POST", *fields):
    lines = [method + b" / HTTP/1.1", b"Host: a", b"Content-Length: %d" % length, *fields]
    if content_type is not None:
        lines.append(b"Content-Type: " + content_type)
    return b"\r\n".join([*lines, b"", b""])


def post(*parts, content_type=MULTIPART, method=b"POST"):
    body = b"".join(parts) + (b"--b--\r\n" if content_type == MULTIPART else b"")
    return head(len(body), content_type, method) + body


def tell(value):
    if not isinstance(value, FileField):
        return value
    return (value.name, value.filename, value.content_type, value.file.read())


async def items_of(ask, wire):
    """Return what a handler finds in the form of wire, by a server that goes on with others."""
    found = []

    async def handler(request):
        form = await request.post()
        assert await request.post() is form
        assert not request.can_read_body
        found.extend((name, tell(value)) for name, value in form.items())
        return Response()

    answer = await ask(wire, handler)
    assert answer.status_line == "HTTP/1.1 200 OK"
    assert answer.keeps_alive
    return found


async def refusal_of(ask, wire, limit=None):
    """Return the status line and the text that answer a form which a handler asks for."""

    async def handler(request):
        if limit is not None:
            request = request.clone(client_max_size=limit)
        await request.post()
        return Response()

    answer = await ask(wire, handler)
    assert answer.keeps_alive
    return answer.status_line.partition(" ")[2], answer.body.decode()


def open_files(folder):
    """Return how many files of folder this process has open, those without a name included."""
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if os.path.islink(link)]
    return sum(target.startswith(str(folder)) for target in targets)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of temporary files; none is left there, open or not."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert open_files(tmp_path) == 0


async def closed(fields):
    """Wait until threads have closed the files."""
    await asyncio.get_running_loop().shutdown_default_executor()
    return all(each.file.closed for each in fields)


async def test_an_urlencoded_form_is_read(ask):
    wire = post(b"a=1+2&b=%C4%8D&a=&c", content_type=URLENCODED + b"; charset=UTF-8")
    assert await items_of(ask, wire) == [("a", "1 2"), ("b", "č"), ("a", ""), ("c", "")]
    wire = post(b"a=%E8\xe8", content_type=URLENCODED + b";charset=iso-8859-2")
    assert await items_of(ask, wire) == [("a", "čč")]


async def test_a_multipart_form_is_read(ask, folder):
    wire = post(
        field("č".encode(), "ž\r\n".encode()),
        field(b"latin", b"\xe8", b"text/plain; charset=iso-8859-2"),
        field(b"json", b"{}", b"application/json"),
        file(b"f", b"small", b"s.txt", b"Content-Type: text/plain; charset=utf-8"),
        file(b"f", BIG, "ž.bin".encode()),
        file(b"none", b"", b"", b"Content-Type: application/octet-stream"),
    )
    assert await items_of(ask, wire) == [
        ("č", "ž\r\n"),
        ("latin", "č"),
        ("json", b"{}"),
        ("f", ("f", "s.txt", "text/plain; charset=utf-8", b"small")),
        ("f", ("f", "ž.bin", "application/octet-stream", BIG)),
        ("none", b""),
    ]


@pytest.mark.parametrize("data", [b"", b"x" * SPOOL_BYTES, b"x" * (SPOOL_BYTES + 1), BIG])
async def test_a_file_can_be_used_like_any_other(ask, folder, data):
    fields = []

    async def handler(request):
        upload = (await request.post())["f"]
        fields.append(upload)
        used = upload.file
        assert upload.headers["Content-Disposition"].endswith('filename="f"')
        assert used.readable()
        assert (used.seek(0, os.SEEK_END), used.seek(0)) == (len(data), 0)
        copy = io.BytesIO()
        shutil.copyfileobj(used, copy)
        assert copy.getvalue() == data
        assert os.fstat(used.fileno()).st_size == len(data)
        used.seek(0)
        return Response(body=used)

    answer = await ask(post(file(b"f", data)), handler)
    assert answer.body == data
    assert answer.keeps_alive
    assert await closed(fields)


async def test_a_coded_file_is_decoded(ask, folder):
    wire = post(file(b"f", b"aGVs\r\nbG8=", b"f", b"Content-Transfer-Encoding: base64"))
    [(_, upload)] = await items_of(ask, wire)
    assert upload[3] == b"hello"


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE", b"TRACE"])
async def test_some_methods_have_forms(ask, method):
    wire = post(b"a=b", content_type=URLENCODED, method=method)
    assert await items_of(ask, wire) == [("a", "b")]


@pytest.mark.parametrize(
    ("method", "content_type"),
    [
        *((b"GET", URLENCODED), (b"OPTIONS", MULTIPART), (b"POST", None), (b"POST", b"")),
        *((b"POST", b"text/plain"), (b"POST", b"application/json"), (b"POST", b"nonsense")),
    ],
)
async def test_what_is_no_form_is_an_empty_one_and_can_still_be_read(ask, method, content_type):
    async def handler(request):
        assert len(await request.post()) == 0
        return Response(text=await request.text())

    answer = await ask(post(b"a=b", content_type=content_type, method=method), handler)
    assert answer.body.startswith(b"a=b")


async def test_a_body_that_was_read_can_still_be_a_form(ask, folder):
    async def handler(request):
        body = await request.read()
        form = await request.post()
        first = await (await request.multipart()).next()
        return Response(body=body[:3] + form["a"].encode() + await first.read())

    assert (await ask(post(field(b"a", b"x")), handler)).body == b"--bxx"


async def test_a_form_cannot_be_cloned_once_it_was_read_as_a_whole(ask):
    async def handler(request):
        await request.post()
        with pytest.raises(RuntimeError):
            request.clone()
        return Response()

    wire = post(b"a=b", content_type=URLENCODED)
    assert (await ask(wire, handler)).status_line == "HTTP/1.1 200 OK"


async def test_a_body_can_be_read_part_by_part(ask):
    async def handler(request):
        reader = await request.multipart()
        return Response(text="".join([await part.text() async for part in reader]))

    wire = post(field(b"a", b"x"), file(b"b", b"y"))
    assert (await ask(wire, handler)).body == b"xy"


@pytest.mark.parametrize(
    ("wire", "status", "text"),
    [
        (post(PART % b"a"), "400 Bad Request", "400: Malformed multipart body: "),
        (post(b"--b\r\n\r\nx\r\n"), "400 Bad Request", "400: A part of a form must have a name"),
        (post(field(b"a", b"\xff")), "400 Bad Request", "400: The text is not in its charset: "),
        (
            post(field(b"a", b"x", b"multipart/mixed; boundary=c")),
            *("400 Bad Request", "400: A form cannot have a multipart body as its value"),
        ),
        (
            post(field(b"a", b"x", b"text/plain; charset=klingon")),
            *("415 Unsupported Media Type", "415: Unknown charset 'klingon'"),
        ),
        (
            post(b"a=\xff", content_type=URLENCODED),
            *("400 Bad Request", "400: The text is not in its charset: "),
        ),
        (
            post(b"a=b", content_type=b"multipart/form-data"),
            *("400 Bad Request", "400: The type of a multipart body must have a boundary"),
        ),
        (
            post(*[field(b"a", b"")] * (MAX_FIELDS + 1)),
            *("413 Request Entity Too Large", f"413: A form has at most {MAX_FIELDS} fields"),
        ),
        (
            post(*[file(b"a", b"")] * (MAX_FILES + 1)),
            *("413 Request Entity Too Large", f"413: A form has at most {MAX_FILES} files"),
        ),
    ],
)
async def test_a_form_that_breaks_the_rules_is_refused_with_the_reason(
    ask, caplog, folder, wire, status, text
):
    refusal = await refusal_of(ask, wire)
    assert refusal[0].replace("Content Too Large", "Request Entity Too Large") == status
    assert refusal[1].startswith(text)
    assert caplog.records == []


async def test_a_form_within_its_bounds_is_taken(ask, folder):
    assert len(await items_of(ask, post(*[field(b"a", b"")] * MAX_FIELDS))) == MAX_FIELDS
    assert len(await items_of(ask, post(*[file(b"a", b"")] * MAX_FILES))) == MAX_FILES


async def test_a_form_too_large_is_refused_by_its_length_before_it_arrives(connected, folder):
    async def handler(request):
        await request.post()

    async with connected(handler) as (reader, writer):
        writer.write(head(2**20, MULTIPART, b"POST", b"Expect: 100-continue"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "endless", [file(b"f", BIG[:1000])[:-2], field(b"a", b"x" * 1000)[:-2], b"\r\n", b"--b--\r\n"]
)
async def test_a_form_too_large_is_refused_while_it_arrives(connected, folder, endless):
    """Whatever grows: a file, a value, what stands before the parts, or behind them."""

    async def handler(request):
        await request.clone(client_max_size=50_000).post()

    async with connected(handler) as (reader, writer):
        chunk = b"%x\r\n%s\r\n" % (len(endless), endless)
        filler = b"x" * 1000 if endless[:1] == b"-" else endless * 500
        more = b"%x\r\n%s\r\n" % (len(filler), filler)
        writer.write(head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        writer.write(chunk + more * 60)
        status = (await reader.readline()).split()[1]
        # What stands before the parts has a bound of its own; either may be noticed first.
        assert status == b"413" or (status == b"400" and endless == b"\r\n")


async def test_the_limit_of_a_form_can_be_lifted(ask, folder):
    wire = post(file(b"f", bytes(2**20)))
    assert (await refusal_of(ask, wire))[0].startswith("413")
    assert await refusal_of(ask, wire, limit=0) == ("200 OK", "")


async def test_the_files_of_a_handler_that_fails_are_closed(ask, folder):
    fields = []

    async def handler(request):
        fields.extend((await request.post()).values())
        raise ConnectionAbortedError

    await ask(post(file(b"f", BIG), file(b"g", b"x")), handler)
    assert len(fields) == 2
    assert await closed(fields)


async def test_the_files_of_a_handler_that_is_cancelled_are_closed(connected, folder):
    fields = []
    has_read = asyncio.Event()

    async def handler(request):
        fields.extend((await request.post()).values())
        has_read.set()
        await asyncio.Event().wait()

    async with connected(handler, handler_cancellation=True) as (_, writer):
        writer.write(post(file(b"f", BIG), file(b"g", b"x")))
        await has_read.wait()
        assert not any(each.file.closed for each in fields)
        writer.transport.abort()
    assert await closed(fields)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_peer_that_vanishes_leaves_no_files(connected, folder, is_cancelled, caplog):
    seen = asyncio.get_running_loop().create_future()

    async def handler(request):
        try:
            await request.clone(client_max_size=0).post()
        except (ConnectionResetError, asyncio.CancelledError) as error:
            seen.set_result(type(error))
            raise

    async with connected(handler, handler_cancellation=is_cancelled) as (_, writer):
        wire = post(file(b"f", BIG * 10), file(b"g", BIG * 10))
        writer.write(wire[: len(wire) - 100])
        await writer.drain()
        while not open_files(folder):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0)
        writer.transport.abort()
        expected = asyncio.CancelledError if is_cancelled else ConnectionResetError
        assert issubclass(await seen, expected)
    assert await closed([])
    assert caplog.records == []


async def test_a_file_that_is_being_written_is_closed_only_afterwards(monkeypatch, folder):
    """Otherwise a file that just moves to the disk would stay open."""
    has_begun, may_end = threading.Event(), threading.Event()
    done = []

    class SlowFile(tempfile.SpooledTemporaryFile):
        def write(self, data):
            has_begun.set()
            may_end.wait()
            done.append("written")
            return super().write(data)

        def close(self):
            done.append("closed")
            super().close()

    monkeypatch.setattr(form, "SpooledTemporaryFile", SlowFile)
    files = form.TemporaryFiles()
    writing = asyncio.create_task(files.write(files.open(), BIG))
    await asyncio.to_thread(has_begun.wait)
    writing.cancel()
    await asyncio.wait([writing])
    files.close()
    await asyncio.to_thread(lambda: None)  # behind the closing, if that has been begun
    may_end.set()
    while not done:  # noqa: ASYNC110 - a thread tells of it
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await closed([])
    assert done == ["written", "closed"]


@contextmanager
def full_disk():
    """Let no file grow beyond 100 KiB: writing more fails as on a full disk, with an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_the_servers_failure_and_is_logged(talk, folder, caplog):
    async def handler(request):
        await request.post()

    with full_disk():
        answer = await talk(handler, post(file(b"f", BIG)))
    assert answer.startswith(b"HTTP/1.1 500 ")
    [record] = caplog.records
    assert record.getMessage() == "Error handling request from 127.0.0.1"
    assert isinstance(record.exc_info[1], OSError)
    assert await closed([])


async def test_an_upload_of_any_size_takes_little_memory(connected, folder):
    """100 MB; over the 3 s of a test on a slow disk, which is what it is about."""
    piece = os.urandom(2**20)

    async def handler(request: BaseRequest):
        upload = (await request.clone(client_max_size=0).post())["f"]
        return Response(text=f"{os.fstat(upload.file.fileno()).st_size} {resident_bytes()}")

    begin = file(b"f", b"")[:-2]
    end = b"\r\n--b--"
    async with connected(handler) as (reader, writer):
        writer.write(head(len(begin) + 100 * len(piece) + len(end)) + begin)
        before = resident_bytes()
        for _ in range(100):
            writer.write(piece)
            await writer.drain()
        writer.write(end)
        await reader.readuntil(b"\r\n\r\n")
        size, after = (await reader.read(100)).split()
    assert int(size) == 100 * len(piece)
    assert int(after) - before < 20 * 2**20
    assert await closed([])


def resident_bytes():
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()
