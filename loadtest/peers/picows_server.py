"""picows, a protocol in Cython, on uvloop.

Everything happens in its callbacks, without tasks. Its send() writes the frame at once; it has no
way to send to many. Connections begin with a buffer of 2 KiB instead of 16, as their messages are
short.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Final

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from loadtest.peers.program import BACKLOG_COUNT, HOST, MAX_MESSAGE_BYTES, run

_READ_BUFFER_BYTES: Final = 2048
_SUBSCRIBERS: Final = defaultdict[bytes, set[WSTransport]](set)


class _Subscriber(WSListener):
    """Subscribed to a channel; publishes what it sends."""

    def __init__(self, request: WSUpgradeRequest) -> None:
        self._subscribers = _SUBSCRIBERS[request.path[1:]]

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._subscribers.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            channel, _, data = frame.get_payload_as_bytes().partition(b" ")
            for subscriber in _SUBSCRIBERS[channel]:
                subscriber.send(WSMsgType.TEXT, data)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._subscribers.discard(transport)


class _Echo(WSListener):
    """Sends every message back."""

    def __init__(self, request: WSUpgradeRequest) -> None:
        pass

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())


async def _serve(make_listener: Callable[[WSUpgradeRequest], WSListener], port: int) -> None:
    server = await ws_create_server(
        make_listener,
        HOST,
        port,
        max_frame_size=MAX_MESSAGE_BYTES,
        read_buffer_init_size=_READ_BUFFER_BYTES,
        backlog=BACKLOG_COUNT,
    )
    await server.serve_forever()


def _start(make_listener: Callable[[WSUpgradeRequest], WSListener], port: int) -> None:
    uvloop.run(_serve(make_listener, port))


if __name__ == "__main__":
    run({"hub": partial(_start, _Subscriber), "echo": partial(_start, _Echo)})
