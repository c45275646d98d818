"""Sends every text message back: what an echo looks like on gateway.web."""

from gateway import web
from loadtest.servers.listening import serve


async def echo(request: web.BaseRequest) -> web.WebSocketResponse:
    """Send back what one client says, until it leaves."""
    websocket = web.WebSocketResponse(compress=False)
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is web.WSMsgType.TEXT:
            await websocket.send_str(message.data)
    return websocket


if __name__ == "__main__":
    serve(echo)
