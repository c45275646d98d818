"""uWebSockets, in C++, through socketify.

Fan-out is its own publish(), which frames once and batches what one turn of its loop publishes;
Python sees only the publisher's message. Its libuv loop runs by itself: socketify's run() polls it
in turns with an asyncio loop, which nothing here needs. A subscriber may be 64 MiB behind before
something is dropped.
"""

from typing import Any, Final

from socketify import App, AppListenOptions, CompressOptions, OpCode

from loadtest.peers.program import HOST, MAX_MESSAGE_BYTES, run

_MAX_BEHIND_BYTES: Final = 64 * 1024 * 1024
_BEHAVIOR: Final = {
    "compression": CompressOptions.DISABLED,
    "max_payload_length": MAX_MESSAGE_BYTES,
    "max_backpressure": _MAX_BEHIND_BYTES,
    "idle_timeout": 0,
}


def _hub(port: int) -> None:
    app = App()

    def subscribe(response: Any, request: Any, context: Any) -> None:
        key = request.get_header("sec-websocket-key")
        response.upgrade(key, "", "", context, request.get_url()[1:])

    def publish(websocket: Any, message: str, opcode: Any) -> None:
        channel, _, data = message.partition(" ")
        app.publish(channel, data, OpCode.TEXT)

    app.ws(
        "/*",
        {
            **_BEHAVIOR,
            "upgrade": subscribe,
            "open": lambda websocket: websocket.subscribe(websocket.get_user_data()),
            "message": publish,
        },
    )
    _listen(app, port)


def _echo(port: int) -> None:
    app = App()

    def echo(websocket: Any, message: str, opcode: Any) -> None:
        websocket.send(message, opcode)

    app.ws("/*", {**_BEHAVIOR, "message": echo})
    _listen(app, port)


def _plain(port: int) -> None:
    app = App()
    app.get("/*", lambda response, request: response.end("OK"))
    _listen(app, port)


def _listen(app: App, port: int) -> None:
    app.listen(AppListenOptions(port=port, host=HOST), lambda config: None)
    while True:
        app.loop.uv_loop.run()


if __name__ == "__main__":
    run({"hub": _hub, "echo": _echo, "plain": _plain})
