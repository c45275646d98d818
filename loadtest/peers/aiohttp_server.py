"""aiohttp's low-level server on uvloop.

Its web.Server has neither routes nor middlewares in between. The hub encodes a publication once and
sends it by send_frame to one subscriber after the other: sends return without waiting as long as
the subscriber reads, and a task for each, as gather() would make, costs more than it saves.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import uvloop
from aiohttp import WSMsgType, web

from loadtest.peers.program import BACKLOG_COUNT, HOST, MAX_MESSAGE_BYTES, run

_SUBSCRIBERS: Final = defaultdict[str, set[web.WebSocketResponse]](set)


async def _hub(request: web.BaseRequest) -> web.StreamResponse:
    websocket = await _accept(request)
    channel = request.path[1:]
    _SUBSCRIBERS[channel].add(websocket)
    try:
        async for message in websocket:
            await _publish(message.data)
    finally:
        _SUBSCRIBERS[channel].discard(websocket)
    return websocket


async def _publish(message: str) -> None:
    channel, _, data = message.partition(" ")
    encoded = data.encode()
    for subscriber in tuple(_SUBSCRIBERS[channel]):
        if not subscriber.closed:
            await subscriber.send_frame(encoded, WSMsgType.TEXT)


async def _echo(request: web.BaseRequest) -> web.StreamResponse:
    websocket = await _accept(request)
    async for message in websocket:
        await websocket.send_str(message.data)
    return websocket


async def _plain(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="OK")


async def _accept(request: web.BaseRequest) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse(compress=False, max_msg_size=MAX_MESSAGE_BYTES)
    await websocket.prepare(request)
    return websocket


async def _serve(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], port: int
) -> None:
    runner = web.ServerRunner(web.Server(handler, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, HOST, port, backlog=BACKLOG_COUNT).start()
    await asyncio.Event().wait()


def _start(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], port: int) -> None:
    uvloop.run(_serve(handler, port))


if __name__ == "__main__":
    run(
        {
            "hub": partial(_start, _hub),
            "echo": partial(_start, _echo),
            "plain": partial(_start, _plain),
        }
    )
