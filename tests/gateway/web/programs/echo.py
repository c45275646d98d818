"""A WebSocket that echoes, with a heartbeat and two subprotocols."""

import logging

from gateway import web

logger = logging.getLogger(__name__)


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    ws = web.WebSocketResponse(
        heartbeat=30.0, receive_timeout=60, protocols=("v2", "v1"), max_msg_size=2**20
    )
    ready = ws.can_prepare(request)
    if not ready:
        return web.Response(text="a WebSocket is wanted", status=426)
    await ws.prepare(request)
    await ws.send_json({"protocol": ws.ws_protocol, "ready": ready.protocol})
    async for msg in ws:
        if msg.type == web.WSMsgType.TEXT:
            if msg.data == "close":
                await ws.close(code=4000, message=b"as you wish")
            else:
                await ws.send_str(msg.data + "/answer")
        elif msg.type == web.WSMsgType.BINARY:
            await ws.send_bytes(msg.data[::-1])
        elif msg.type == web.WSMsgType.ERROR:
            logger.warning("closed with %s", ws.exception())
    logger.info("closed: %s %s", ws.close_code, ws.closed)
    return ws


async def ask(request: web.BaseRequest) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, timeout=5.0)
    await ws.prepare(request)
    await ws.ping(b"there?")
    msg = await ws.receive(timeout=10)
    if msg.type is web.WSMsgType.PONG:
        name: str = await ws.receive_str()
        numbers: list[int] = await ws.receive_json()
        data: bytes = await ws.receive_bytes(timeout=5)
        await ws.send_json({"name": name, "sum": sum(numbers), "length": len(data)})
    peer: object = ws.get_extra_info("peername", "nobody")
    logger.info("asked %s", peer)
    await ws.close(code=1000, message=b"bye")
    return ws


async def handler(request: web.BaseRequest) -> web.StreamResponse:
    return await (ask(request) if request.path == "/ask" else echo(request))


def make_server() -> web.Server:
    return web.Server(handler, access_log=None, max_line_size=4096, keepalive_timeout=75.0)
