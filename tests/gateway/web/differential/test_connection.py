"""Connections go on, end and fail as with aiohttp, but for what is listed here."""

import asyncio
import re
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import pytest

from tests.gateway.web.differential.peers import (
    GET,
    LAST,
    MODULES,
    Difference,
    Peers,
    check,
    get,
    post,
    request,
    statuses,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROWSER = b"Accept: text/html,application/xhtml+xml;q=0.9"


async def answer(module: ModuleType, request: Any) -> Any:
    return module.Response(text=f"{request.keep_alive}")


CONNECTIONS = (
    *(b"", b"close", b"keep-alive", b"Keep-Alive", b"CLOSE", b"close, x", b"x, close"),
    *(b"keep-alive, close", b"close, keep-alive", b"x", b"upgrade", b"keep-alive, upgrade"),
    *(b"closed", b"close\r\nConnection: keep-alive", b"keep-alive\r\nConnection: close"),
)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("value", CONNECTIONS)
async def test_what_a_peer_says_of_its_connection_means_the_same(
    value: bytes, version: str, peers: Peers
) -> None:
    headers = [b"Connection: " + value] if value else []
    wire = request(f"GET / HTTP/{version}".encode(), *headers)
    ours, theirs = await peers.ask(answer, wire, is_last=True)

    if version == "1.0" and b"close" in re.split(b", |\r\nConnection: ", value):
        # There keep-alive wins; RFC 9112 section 9.3 has close come first.
        assert (b"keep-alive" in theirs) == (b"keep-alive" in value)
        assert ours.endswith(b"False")
    else:
        assert ours == theirs


async def test_requests_behind_the_last_one_are_not_answered(peers: Peers) -> None:
    ours, theirs = await peers.ask(answer, get(b"Connection: close") + GET + LAST)

    assert statuses(ours) == [200]
    # There: "Data after `Connection: close`", as an answer to it. RFC 9112 section 9.6 wants such
    # requests ignored.
    assert statuses(theirs) in ([200, 400], [400])


@pytest.mark.parametrize("count", [1, 2, 30])
async def test_pipelined_requests_are_answered_in_order(count: int, peers: Peers) -> None:
    async def wait_less_each_time(module: ModuleType, request: Any) -> Any:
        for _ in range(count - int(request.query["n"])):
            await asyncio.sleep(0)
        return module.Response(text=f"<{request.query['n']}>")

    wires = [request(b"GET /?n=%d HTTP/1.1" % n) for n in range(count)]
    ours, theirs = await peers.ask(wait_less_each_time, b"".join(wires) + LAST)

    assert ours == theirs
    assert re.findall(rb"<(\d+)>", ours) == [str(n).encode() for n in range(count)]


async def test_a_request_in_pieces_is_one(peers: Peers) -> None:
    ours, theirs = await peers.ask(answer, post(b"abc") + LAST, piece_bytes=7)

    assert ours == theirs
    assert statuses(ours) == [200, 200]


async def test_a_body_is_out_of_reach_once_it_is_answered(peers: Peers) -> None:
    bodies: list[Any] = []

    async def leave_it(module: ModuleType, request: Any) -> Any:
        bodies.append(request.content)
        return module.Response()

    await peers.ask(leave_it, post(b"abc") + LAST)

    for body in bodies:
        with pytest.raises(tuple(module.PayloadAccessError for module in MODULES)):
            await body.read()


async def test_each_request_has_its_own_context_and_a_task(peers: Peers) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="fresh")

    async def set_it(module: ModuleType, request: Any) -> Any:
        was = variable.get()
        variable.set("used")
        is_task = isinstance(request.task, asyncio.Task)
        return module.Response(text=f"{was} {is_task}")

    ours, theirs = await peers.ask(set_it, GET * 3 + LAST)

    assert ours == theirs
    assert ours.count(b"fresh True") == 3


async def fail(module: ModuleType, request: Any) -> Any:
    raise ValueError("<why>")


PAGES: dict[str, tuple[bytes, dict[str, Any]]] = {
    "text": (GET, {}),
    "HTML": (get(BROWSER), {}),
    "HTML to HEAD": (request(b"HEAD / HTTP/1.1", BROWSER), {}),
    "text with traceback": (GET, {"debug": True}),
    "HTML with traceback": (get(BROWSER), {"debug": True}),
}


@pytest.mark.parametrize("name", PAGES)
async def test_a_failure_is_shown_the_same(name: str) -> None:
    wire, options = PAGES[name]
    ours, theirs = [await show(module, wire, options) for module in MODULES]

    assert ours == theirs
    assert statuses(ours) == [500]
    assert (b"why" in ours) == bool(options)


async def show(module: ModuleType, wire: bytes, options: dict[str, Any]) -> bytes:
    """Return the answer without the way through the server, which is its own."""
    async with Peers([module]).listening(**options) as peer:
        (answer,) = await peer.ask(fail, wire)
    answer = re.sub(rb"(?s)Traceback \(most.+ValueError", b"Traceback ValueError", answer)
    answer = re.sub(rb"\n( *)\n", b"\n", answer) if options else answer
    return re.sub(rb"Content-Length: \d+", b"Content-Length: *", answer) if options else answer


async def test_a_timeout_says_what_it_is(peers: Peers) -> None:
    async def time_out(module: ModuleType, request: Any) -> Any:
        raise TimeoutError

    ours, theirs = await peers.ask(time_out, GET)

    difference = Difference(
        b"504: Gateway Timeout", b"Content-Length: 0", "a status that explains itself"
    )
    check(ours, theirs, difference)


async def test_the_server_counts_the_same() -> None:
    counts = []
    for module in MODULES:
        peers = Peers([module])
        async with peers.listening():
            await peers.ask(answer, GET * 3 + LAST)
            (server,) = peers.servers
            counts.append((server.requests_count, server.connections))
    assert counts[0] == counts[1] == (4, [])
