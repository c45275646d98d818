"""Bodies that are read while they are sent."""

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.web.body.payload import READ_BYTES, payload_of
from gateway.web.body.writer import BodyWriter, Framing
from gateway.web.flow import WriteFlow
from gateway.web.response import Response


class Script:
    """An asyncio transport that only remembers what it was given."""

    def __init__(self) -> None:
        self.sent = b""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.sent += data


async def written(body: object) -> bytes:
    script = Script()
    writer = BodyWriter(WriteFlow(script))  # type: ignore[arg-type]
    writer.send_head(b"", Framing.CLOSE)
    payload = payload_of(body)
    try:
        await payload.write(writer)
    finally:
        await payload.close()
    return script.sent


async def test_a_file_is_sent_from_where_it_stands_and_closed(tmp_path: Path) -> None:
    content = os.urandom(READ_BYTES * 2 + 1)
    (tmp_path / "data.bin").write_bytes(content)
    file = (tmp_path / "data.bin").open("rb")
    file.seek(3)

    assert payload_of(file).size == len(content) - 3
    assert await written(file) == content[3:]
    assert file.closed


async def test_a_file_is_closed_only_when_its_last_read_has_ended() -> None:
    begun, go_on = threading.Event(), threading.Event()
    order = []

    class Slow(io.RawIOBase):
        def readinto(self, buffer: object) -> int:
            begun.set()
            go_on.wait()
            order.append("read")
            return 0

        def readable(self) -> bool:
            return True

        def close(self) -> None:
            if not self.closed:
                order.append("closed")
            super().close()

    writing = asyncio.create_task(written(Slow()))
    await asyncio.to_thread(begun.wait)
    writing.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert order == ["read", "closed"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_a_text_file_is_sent_in_its_own_encoding(tmp_path: Path, encoding: str) -> None:
    text = "žluťoučký kůň\n" * READ_BYTES
    (tmp_path / "text").write_text(text, encoding, newline="\n")
    file = (tmp_path / "text").open(encoding=encoding)

    payload = payload_of(file)

    assert payload.size is None
    assert payload.headers["Content-Type"] == f"text/plain; charset={encoding}"
    assert (await written(file)).decode(encoding) == text


async def test_a_pipe_has_no_length() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through the pipe")
    os.close(writing)
    file = os.fdopen(reading, "rb")

    assert payload_of(file).size is None
    assert payload_of(file).headers == {"Content-Type": "application/octet-stream"}
    assert await written(file) == b"through the pipe"


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("page.html", "text/html"),
        ("data", "application/octet-stream"),
        ('a "b".png', "image/png"),
        ("a.tar.gz", "application/gzip"),  # as a FileResponse says
    ],
)
def test_a_file_with_a_name_brings_its_type_and_its_name(
    tmp_path: Path, name: str, content_type: str
) -> None:
    (tmp_path / name).touch()
    with (tmp_path / name).open("rb") as file:
        headers = payload_of(file).headers

    quoted = name.replace(" ", "%20").replace('"', "%22")
    assert headers == {
        "Content-Type": content_type,
        "Content-Disposition": f'attachment; filename="{quoted}"',
    }


async def test_the_pieces_of_an_async_generator_are_sent_in_order() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b""
        yield b"two"

    assert payload_of(pieces()).size is None
    assert await written(pieces()) == b"one two"


async def test_an_async_generator_of_something_else_is_refused() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 5

    with pytest.raises(TypeError, match="made of bytes"):
        await written(numbers())


async def test_a_generator_that_is_not_sent_is_finished() -> None:
    finished = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            finished.append(True)

    generator = pieces()
    await anext(generator)
    await payload_of(generator).close()

    assert finished


@pytest.mark.parametrize("body", [5, 5.0, [b"a"], {"a": 1}, object()])
def test_what_cannot_be_sent_is_refused(body: object) -> None:
    with pytest.raises(ValueError, match="Unsupported body type"):
        Response(body=body)


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [
        ("žluť", "žluť".encode(), "text/plain; charset=utf-8"),
        (io.StringIO("žluť"), "žluť".encode(), "text/plain; charset=utf-8"),
        (io.BytesIO(b"abc"), b"abc", "application/octet-stream"),
        (memoryview(b"abcdef")[::2], b"ace", "application/octet-stream"),
        (b"abc", b"abc", None),
        (bytearray(b"abc"), bytearray(b"abc"), None),
    ],
)
def test_what_is_in_memory_already_becomes_bytes(
    body: object, content: bytes, content_type: str | None
) -> None:
    response = Response(body=body)

    assert response.body == content
    assert response.headers.get("Content-Type") == content_type
