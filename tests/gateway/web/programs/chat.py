"""A chat: everybody in a room hears what is said there; the room closes with the server."""

import asyncio
from collections import defaultdict
from contextlib import suppress

from gateway import web
from gateway.web import WSCloseCode, WSMessage


class Chat:
    """The rooms and who is in them."""

    def __init__(self) -> None:
        self.rooms: defaultdict[str, set[web.WebSocketResponse]] = defaultdict(set)

    async def handler(self, request: web.BaseRequest) -> web.WebSocketResponse:
        room = self.rooms[request.query.get("room", "lobby")]
        ws = web.WebSocketResponse(heartbeat=25, compress=True, writer_limit=2**16)
        ws["name"] = request.query.get("name") or request.remote or "somebody"
        await ws.prepare(request)
        room.add(ws)
        try:
            await self.broadcast(room, {"joined": ws["name"]})
            while not ws.closed:
                msg: WSMessage = await ws.receive()
                if msg.type in (web.WSMsgType.CLOSE, web.WSMsgType.CLOSING, web.WSMsgType.CLOSED):
                    break
                if msg.type == web.WSMsgType.TEXT:
                    said = msg.json()
                    await self.broadcast(room, {"name": ws["name"], "said": said["text"]})
        finally:
            room.discard(ws)
        return ws

    async def broadcast(self, room: set[web.WebSocketResponse], event: object) -> None:
        await asyncio.gather(*(self.tell(ws, event) for ws in room))

    async def tell(self, ws: web.WebSocketResponse, event: object) -> None:
        with suppress(ConnectionResetError):
            await ws.send_json(event)

    async def close(self) -> None:
        for room in self.rooms.values():
            for ws in set(room):
                await ws.close(code=WSCloseCode.GOING_AWAY, message=b"Server shutdown")


class ChatRunner(web.ServerRunner):
    """Closes the chat before the server is shut down."""

    def __init__(self, chat: Chat) -> None:
        super().__init__(web.Server(chat.handler), handle_signals=True, shutdown_timeout=5.0)
        self.chat = chat

    async def shutdown(self) -> None:
        await self.chat.close()


CHAT = Chat()


def make_server() -> web.Server:
    return web.Server(CHAT.handler, access_log=None)


async def main() -> None:
    runner = ChatRunner(CHAT)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 8080, reuse_address=True)
    await site.start()
    print(f"Serving on {site.name}")
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
