"""Peers that break off, break rules or just stay: nothing of them is left, and no log of errors."""

import gc
import weakref

import pytest

from gateway.web.request import BaseRequest
from gateway.web.response import Response, StreamResponse
from gateway.web.websocket.response import WebSocketResponse
from tests.gateway.web.ledger import eventually, reset, turns, watched

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789"
CHUNKED = (
    b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;x=y\r\nabcd\r\n0\r\nT: v\r\n\r\n"
)
EXPECTING = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
IGNORED = POST.replace(b"/read", b"/")
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MASK = bytes(4)
FRAMES = b"".join(
    [
        b"\x81\x82" + MASK + b"hi",
        b"\x01\x81" + MASK + b"h" + b"\x89\x81" + MASK + b"p" + b"\x80\x81" + MASK + b"i",
        b"\x82\xfe\x00\x7e" + MASK + bytes(126),
        b"\x88\x82" + MASK + b"\x03\xe8",
    ]
)
CONVERSATIONS = {
    "get": GET,
    "post": POST,
    "chunked": CHUNKED,
    "expecting": EXPECTING,
    "ignored": IGNORED,
    "pipelined": GET + POST + IGNORED + GET,
    "websocket": HANDSHAKE + FRAMES,
}


async def handler(request: BaseRequest) -> StreamResponse:
    """Read, stream, or speak WebSocket, as the path says."""
    if request.path == "/read":
        return Response(body=await request.read())
    if request.path == "/stream":
        response = StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(64 * 1024))
    if request.path == "/ws":
        websocket = WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(str(message.data))
        return websocket
    return Response(text="ok")


ENDS = {"reset": reset, "closed": lambda client: client.close()}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", CONVERSATIONS)
@pytest.mark.parametrize("is_cancelling", [False, True])
async def test_a_peer_may_go_after_any_byte(kind: str, end: str, is_cancelling: bool) -> None:
    wire = CONVERSATIONS[kind]
    async with watched(handler, handler_cancellation=is_cancelling) as attack:
        clients = [attack.connect(wire[:count]) for count in range(1, len(wire) + 1)]
        await attack.heard(len(clients))
        await turns()
        for client in clients:
            ENDS[end](client)
        clients.clear()


@pytest.mark.parametrize("kind", CONVERSATIONS)
async def test_a_peer_may_say_everything_and_go_before_anybody_listens(kind: str) -> None:
    async with watched(handler) as attack:
        for end in ENDS.values():
            end(attack.connect(CONVERSATIONS[kind]))
            end(attack.connect(CONVERSATIONS[kind]))
        await attack.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await turns()


@pytest.mark.parametrize("headers", [{}, {"X-Not": "plain"}])
@pytest.mark.parametrize("is_cancelling", [False, True])
async def test_an_answer_is_forgotten_with_its_peer_not_when_the_collector_comes(
    headers: dict[str, str], is_cancelling: bool
) -> None:
    answers: list[weakref.ref[Response]] = []

    async def answer_much(_: BaseRequest) -> Response:
        response = Response(body=bytes(16 << 20), headers=headers)
        answers.append(weakref.ref(response))
        return response

    async with watched(answer_much, handler_cancellation=is_cancelling) as attack:
        client = attack.connect(GET)
        await eventually(lambda: len(answers) > 0)
        await turns()
        gc.disable()
        try:
            reset(client)
            await attack.gone()
            await eventually(lambda: answers[0]() is None)
        finally:
            gc.enable()
