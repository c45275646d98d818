"""A body read in any way gives the same bytes, or the same exceptions, as with aiohttp."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

from tests.gateway.web.differential.peers import LAST, Peers, get, name_of, post, post_chunks

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

streams = pytest.importorskip("aiohttp.streams")


@pytest.fixture(autouse=True)
def without_traces() -> None:
    """Take from aiohttp's one empty body what a request with a content coding left in it."""
    with suppress(AttributeError):
        del streams.EMPTY_PAYLOAD.total_compressed_bytes


BODIES: dict[str, bytes] = {
    "none": get(),
    "empty": post(b""),
    "lines": post(b"one\ntwo\n\nthree", b"Content-Type: text/plain"),
    "form": post(b"a=b&c=d%20e&a=", b"Content-Type: application/x-www-form-urlencoded"),
    "json": post(b'{"a": [1]}', b"Content-Type: application/json"),
    "Latin-1": post(b"\xe9", b"Content-Type: text/plain; charset=latin-1"),
    "not UTF-8": post(b"\xff"),
    "chunks": post_chunks([b"one\n", b"tw", b"o\nthree"], trailers=b"X: y\r\n"),
    "no chunks": post_chunks([]),
    "large": post(b"x" * 100_000),
}

Reader = Callable[[Any], Awaitable[object]]
READERS: dict[str, Reader] = {}


def reader(read: Reader) -> Reader:
    READERS[read.__name__] = read
    return read


def reading(name: str, *arguments: object, **options: object) -> Reader:
    async def read(request: Any) -> object:
        return await getattr(request.content, name)(*arguments, **options)

    return read


def iterating(name: str, *arguments: object) -> Reader:
    async def read(request: Any) -> object:
        # Where pieces are cut is a matter of timing, but not where lines are.
        return b"".join([piece async for piece in getattr(request.content, name)(*arguments)])

    return read


READERS |= {
    "read": lambda request: request.read(),
    "text": lambda request: request.text(),
    "json": lambda request: request.json(),
    "json with loads": lambda request: request.json(loads=len),
    "release": lambda request: request.release(),
    "content.read": reading("read"),
    "content.read(0)": reading("read", 0),
    "content.read(3)": reading("read", 3),
    "readexactly(0)": reading("readexactly", 0),
    "readexactly(5)": reading("readexactly", 5),
    "readexactly of too much": reading("readexactly", 200_000),
    "readline": reading("readline"),
    "readline of a length": reading("readline", max_line_length=4),
    "readline of a smaller length": reading("readline", max_line_length=3),
    "wait_eof": reading("wait_eof"),
    "iter_chunked": iterating("iter_chunked", 4),
    "iter_any": iterating("iter_any"),
}
# aiohttp has no readuntil() for a request without a body, and fails with an AttributeError.
WITH_BODY: dict[str, Reader] = {
    "readuntil": reading("readuntil", b"wo"),
    "readuntil what is not there": reading("readuntil", b"?"),
    "readuntil nothing": reading("readuntil", b""),
    "readuntil within a size": reading("readuntil", b"wo", max_size=6),
    "readuntil within a smaller size": reading("readuntil", b"wo", max_size=5),
}


@reader
async def read_twice(request: Any) -> object:
    first = await request.read()
    return first, await request.read() is first, await request.content.read(), request.can_read_body


@reader
async def lines(request: Any) -> object:
    return [line async for line in request.content]


@reader
async def in_turn(request: Any) -> object:
    content = request.content
    return [
        *(await content.read(2), await content.readline(), await content.readexactly(1)),
        *(content.at_eof(), await content.read(), content.at_eof(), content.is_eof()),
        *(await content.read(1), await content.readany(), await content.readline()),
    ]


@reader
async def state_before(request: Any) -> object:
    content = request.content
    return content.exception(), content.get_read_buffer_limits()


@reader
async def state_after(request: Any) -> object:
    calls: list[str] = []
    content = request.content
    content.on_eof(lambda: calls.append("end"))
    await content.read()
    content.on_eof(lambda: calls.append("late"))
    await content.wait_eof()
    return [
        *(calls, content.total_bytes, content.total_raw_bytes, content.exception()),
        *(content.is_eof(), content.at_eof(), content.read_nowait(), request.can_read_body),
        request.body_exists,
    ]


@reader
async def read_and_put_back(request: Any) -> object:
    data = await request.content.read()
    if not request.body_exists:
        return data
    request.content.unread_data(data[-2:])
    return await request.content.readexactly(1), await request.content.read()


@reader
async def clone_before_and_after(request: Any) -> object:
    clone = request.clone(method="PUT")
    body = await clone.read()
    try:
        clone.clone()
    except RuntimeError:
        return clone.method, body, "read"
    return clone.method, body, "not read"


@reader
async def chunks(request: Any) -> object:
    if not request.headers.get("Transfer-Encoding"):
        return None
    return [chunk async for chunk in request.content.iter_chunks()]


@reader
async def chunks_after_a_part(request: Any) -> object:
    if not request.headers.get("Transfer-Encoding"):
        return None
    content = request.content
    return await content.readline(), [await content.readchunk() for _ in range(4)]


NOTHING = ("none", "empty")
DIFFERENCES: dict[tuple[str, str], tuple[str, str]] = {
    **{
        (body, name): (ours, reason)
        for body in NOTHING
        for name, ours, reason in (
            ("readexactly(0)", "b''", "nothing was asked for and is there; there: an EOFError"),
            ("state_before", "(None, (65536, 131072))", "there: an AttributeError"),
            (
                "state_after",
                "[['end', 'late'], 0, 0, None, True, True, b'', False, False]",
                "there: an AttributeError, for the lack of total_raw_bytes",
            ),
        )
    },
    ("chunks", "readuntil"): (
        r"b'one\ntwo'",
        "a separator is found where it was cut in two, too; there only within a piece",
    ),
    ("chunks", "readuntil within a size"): ("ValueError", "as for a size below"),
    **{
        (body, "clone_before_and_after"): ("('PUT', b'', 'read')", "an empty body is read, too")
        for body in (*NOTHING, "no chunks")
    },
}
# A line that is too long is a ValueError, as it was before 3.13; there an exception of its own.
TOO_LONG = ("readline of", "readuntil within")


@pytest.mark.parametrize("name", [*READERS, *WITH_BODY])
@pytest.mark.parametrize("body", BODIES)
async def test_reading_gives_the_same(body: str, name: str, peers: Peers) -> None:
    read = READERS.get(name) or WITH_BODY[name]

    async def handle(module: ModuleType, request: Any) -> Any:
        try:
            took = repr(await read(request))
        except Exception as error:
            took = name_of(error)
        return module.Response(text=took)

    answers = await peers.ask(handle, BODIES[body] + LAST)

    ours, theirs = [answer.split(b"\r\n\r\n")[1].partition(b"HTTP")[0] for answer in answers]
    assert answers[0].endswith(b"\r\n\r\nlast")
    if name in WITH_BODY and body in NOTHING and theirs != ours:
        assert theirs == b"AttributeError"
    elif name.startswith(TOO_LONG) and ours == b"ValueError":
        assert theirs == b"Exception"
    elif (body, name) in DIFFERENCES:
        assert DIFFERENCES[body, name][0].encode() == ours != theirs
    else:
        assert ours == theirs
