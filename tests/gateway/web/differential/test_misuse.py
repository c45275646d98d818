"""Handlers that do odd things get the exceptions, and their peers the bytes, that aiohttp gives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest

from tests.gateway.web.differential.peers import (
    LAST,
    Difference,
    Handler,
    Peers,
    attempt,
    check,
    get,
    name_of,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

CASES: dict[str, Handler] = {}


def case(handler: Handler) -> Handler:
    CASES[handler.__name__] = handler
    return handler


async def outcome(step: Awaitable[object]) -> str:
    """Return what step gives, as text, or the name of what it raises."""
    try:
        return repr(await step)
    except Exception as error:
        return name_of(error)


async def begin(module: ModuleType, request: Any, data: bytes = b"x") -> Any:
    response = module.StreamResponse()
    await response.prepare(request)
    await response.write(data)
    return response


def returning(make: Callable[[ModuleType], object]) -> Handler:
    async def handle(module: ModuleType, request: Any) -> object:
        return make(module)

    return handle


def raising(make: Callable[[ModuleType], BaseException]) -> Handler:
    async def handle(module: ModuleType, request: Any) -> object:
        raise make(module)

    return handle


# Out of order.


@case
async def changes_after_the_head(module: ModuleType, request: Any) -> Any:
    response = module.StreamResponse()
    first, second = await response.prepare(request), await response.prepare(request)
    seen = [
        *(first is second, response.prepared, response.keep_alive, response.chunked),
        *(response.task is request.task, repr(response)),
        attempt(lambda: response.set_status(404)),
        *[await outcome(response.write(data)) for data in ("a", 1, None)],
        await outcome(response.drain()),
    ]
    await response.write_eof(repr(seen).encode())
    return response


@case
async def goes_on_after_the_end(module: ModuleType, request: Any) -> Any:
    response = await begin(module, request)
    await response.write_eof()
    seen = [
        await outcome(response.write(b"y")),
        await outcome(response.write_eof(b"z")),
        await outcome(response.drain()),
        *(repr(response), response.prepared),
    ]
    assert seen == ["RuntimeError", "None", "AssertionError", "<StreamResponse OK eof>", True]
    return response


@case
async def ends_twice(module: ModuleType, request: Any) -> Any:
    response = module.Response(text="a")
    await response.prepare(request)
    await response.write_eof()
    await response.write_eof()
    return response


@case
async def gives_a_response_more_than_its_body(module: ModuleType, request: Any) -> Any:
    response = module.Response(text="AssertionError")
    await response.prepare(request)
    response.body = (await outcome(response.write_eof(b"x"))).encode()
    return response


@case
async def writes_into_a_response(module: ModuleType, request: Any) -> Any:
    response = module.Response(text="ab")
    await response.prepare(request)
    await response.write(b"c")
    return response


@case
async def answers_twice(module: ModuleType, request: Any) -> Any:
    await begin(module, request)
    return module.Response(text="second")


@case
async def raises_after_the_head(module: ModuleType, request: Any) -> Any:
    await begin(module, request)
    raise module.HTTPNotFound


@case
async def fails_after_the_head(module: ModuleType, request: Any) -> Any:
    await begin(module, request)
    raise ValueError


@case
async def fails_after_the_end(module: ModuleType, request: Any) -> Any:
    await (await begin(module, request)).write_eof()
    raise ValueError


@case
async def forgets_what_it_has_sent(module: ModuleType, request: Any) -> Any:
    await (await begin(module, request)).write_eof()


@case
async def sends_an_interim_response(module: ModuleType, request: Any) -> Any:
    await request.writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    return module.Response(text="x")


# Of another length than announced.


def of_length(length: int, *pieces: bytes) -> Handler:
    async def handle(module: ModuleType, request: Any) -> Any:
        response = module.StreamResponse()
        response.content_length = length
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    return handle


CASES |= {
    "too much": of_length(2, b"abc", b"def"),
    "exactly": of_length(3, b"abc"),
    "nothing of nothing": of_length(0),
    "something of nothing": of_length(0, b"a"),
}


# Bodies.


async def failing_pieces() -> AsyncIterator[bytes]:
    yield b"a"
    raise ValueError


async def pieces_of_text() -> AsyncIterator[Any]:
    yield "a"


async def no_pieces() -> AsyncIterator[bytes]:
    for piece in ():
        yield piece


@case
async def writes_views(module: ModuleType, request: Any) -> Any:
    response = await begin(module, request, memoryview(b"abc"))
    await response.write(bytearray(b"d"))
    await response.write_eof(memoryview(b"e"))
    return response


@case
async def writes_much(module: ModuleType, request: Any) -> Any:
    response = await begin(module, request)
    for _ in range(30):
        await response.write(bytes(10_000))
    return response


CASES |= {
    "large body": returning(lambda module: module.Response(body=bytes(300_000))),
    "failing pieces": returning(lambda module: module.Response(body=failing_pieces())),
    "pieces of text": returning(lambda module: module.Response(body=pieces_of_text())),
    "no pieces": returning(lambda module: module.Response(body=no_pieces())),
    "a file": returning(lambda module: module.Response(body=open(__file__, "rb"))),  # noqa: SIM115
}


# Heads.


@case
async def sets_everything_on_a_stream(module: ModuleType, request: Any) -> Any:
    response = module.StreamResponse(headers={"X": "y"})
    response.content_type = "text/html"
    response.charset = "utf-8"
    response.last_modified = 0
    response.set_cookie("a", "b")
    await response.prepare(request)
    return response


@case
async def adds_a_header_in_a_subclass(module: ModuleType, request: Any) -> Any:
    class Marked(module.Response):  # type: ignore[name-defined, misc]
        async def prepare(self, request: Any) -> Any:
            self.headers["Mark"] = "1"
            return await super().prepare(request)

    return Marked(text="x")


def with_headers(*headers: tuple[str, str], **arguments: Any) -> Handler:
    return returning(lambda module: module.Response(headers=headers, **arguments))


CASES |= {
    "own Date and Server": with_headers(("Date", "x"), ("Server", "y")),
    "two content types": with_headers(("Content-Type", "a/b"), ("Content-Type", "c/d"), body=b"x"),
    "own keep-alive": with_headers(("Connection", "keep-alive")),
    "own upgrade": with_headers(("Connection", "upgrade"), text="x"),
    "header beyond ASCII": with_headers(("A", "č")),
    "reason beyond ASCII": returning(lambda module: module.Response(reason="Čau")),
    "empty reason": returning(lambda module: module.Response(reason="")),
    "line break in a name": with_headers(("A\r\nB", "c")),
    "NUL in a value": with_headers(("A", "c\0")),
}


# Not a response.


CASES |= {
    "text": returning(lambda module: "text"),
    "class": returning(lambda module: module.Response),
    "returned exception": returning(lambda module: module.HTTPNotFound(text="x")),
    "cancelled": raising(lambda module: asyncio.CancelledError()),
    "assertion": raising(lambda module: AssertionError()),
    "missing key": raising(lambda module: KeyError("nope")),
    "system error": raising(lambda module: OSError(5, "x")),
    "200": raising(lambda module: module.HTTPOk(text="fine")),
    "204": raising(lambda module: module.HTTPNoContent()),
    "304": raising(lambda module: module.HTTPNotModified(headers={"ETag": '"a"'})),
    "413": raising(lambda module: module.HTTPRequestEntityTooLarge(1, 2)),
    "451": raising(lambda module: module.HTTPUnavailableForLegalReasons("http://x/y")),
    "raised with a reason": raising(lambda module: module.HTTPBadRequest(reason="Čau")),
}


@case
async def raises_what_closes(module: ModuleType, request: Any) -> Any:
    error = module.HTTPForbidden()
    error.force_close()
    raise error


@case
async def raises_from_a_failure(module: ModuleType, request: Any) -> Any:
    try:
        raise ValueError
    except ValueError as error:
        raise module.HTTPBadRequest from error


DIFFERENCES: dict[str, Difference] = {
    "answers_twice": Difference(
        *(b"1\r\nx\r\n", b"second"),
        "a second head inside of a body would be read as body",
    ),
    "raises_after_the_head": Difference(
        *(b"1\r\nx\r\n", b"404: Not Found"),
        "a second head inside of a body would be read as body",
    ),
    "writes_into_a_response": Difference(
        *(b"\r\n\r\ncaHTTP", b"\r\n\r\ncabHTTP"),
        "what is beyond the announced length would be read as the next answer's beginning",
    ),
    "forgets_what_it_has_sent": Difference(
        *(b"0\r\n\r\n", b"last"),
        "a handler that forgets its response has failed like any other: the connection closes",
    ),
    "text": Difference(b"trouble", b"last", "as above"),
    "class": Difference(b"trouble", b"", "as above; there the peer gets nothing"),
    "line break in a name": Difference(b"HTTP/1.1 500 ", b"", "as above"),
    "NUL in a value": Difference(b"HTTP/1.1 500 ", b"", "as above"),
    "pieces of text": Difference(b"HTTP/1.1 500 ", b"", "as above"),
}


@pytest.mark.parametrize("name", CASES)
async def test_odd_handlers_end_the_same_unless_the_table_says_why_not(
    name: str, peers: Peers
) -> None:
    ours, theirs = await peers.ask(CASES[name], get() + LAST)

    check(ours, theirs, DIFFERENCES.get(name))
