"""A running gateway and clients of it, over real sockets and with none of the gateway's own codecs.

Whatever waits here waits for an event, and no longer than PATIENCE_S: a failing test ends.
"""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote, urlencode

import msgpack
from multidict import CIMultiDict
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode

from gateway.config import Config, ServerConfig
from gateway.node import Node

# Longer than anything here takes; only a failing test waits for all of it.
PATIENCE_S = 30
# What asyncio's streams hold of one line or head.
STREAM_BYTES = 64 * 1024
# What a client that does not read holds, about; the rest waits at the gateway.
LITTLE_BYTES = 4096
# Data of which a few thousand fill every buffer between the gateway and such a client.
PADDING = "x" * 1000
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

Push = dict[str, Any]


def bounded() -> asyncio.Timeout:
    """Return what ends a wait that would otherwise never end."""
    return asyncio.timeout(PATIENCE_S)


def untimed(page: Push) -> list[Push]:
    """Return the publications of a history page without their times, each of which it has."""
    records = page["publications"]
    assert all(record["time"] > 0 for record in records)
    return [{name: each for name, each in record.items() if name != "time"} for record in records]


class Account:
    """What one subscriber is told of one channel: each offset once, in order, or as missing."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.seen: list[int] = []
        self.missing: list[int] = []

    def add(self, push: Push) -> None:
        """Take note of a push; fail unless it says what comes next."""
        first = push["from"] if push["type"] == "gap" else push["offset"]
        assert first == self.offset + 1, f"{push} after offset {self.offset}"
        if push["type"] == "gap":
            self.offset = push["to"]
            self.missing += range(first, push["to"] + 1)
        else:
            assert push["type"] == "message"
            self.offset = first
            self.seen.append(first)


class Reply(NamedTuple):
    """One HTTP response, read to the end of its connection."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Socket:
    """A client's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: str | bytes) -> None:
        self.writer.write(data.encode() if isinstance(data, str) else data)

    async def read_head(self) -> tuple[int, CIMultiDict[str]]:
        async with bounded():
            head = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
        return int(status_line.split(" ")[1]), CIMultiDict(line.split(": ", 1) for line in lines)

    async def read_reply(self) -> Reply:
        """Return the response to a request that asked for the connection to be closed."""
        status, headers = await self.read_head()
        async with bounded():
            return Reply(status, headers, await self.reader.read())

    async def read_end(self) -> None:
        """Return when the gateway has closed the connection; what comes before is dropped."""
        async with bounded():
            with suppress(ConnectionError):
                await self.reader.read()

    def vanish(self) -> None:
        """Drop the connection without a word."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.vanish()
        with suppress(OSError):  # it was lost before, which is what some tests are about
            await self.writer.wait_closed()


class EventStream(Socket):
    """A reader of text/event-stream that keeps what an EventSource would keep."""

    status = 0
    headers: CIMultiDict[str]
    last_event_id: str | None = None
    retry_ms: int | None = None
    comment_count = 0

    async def read_block(self) -> list[str]:
        """Return the lines up to an empty one; none at the end of the stream."""
        lines: list[str] = []
        async with bounded():
            while line := (await self.reader.readline()).decode().rstrip("\n"):
                lines.append(line)
                self.comment_count += line.startswith(":")
        return lines

    async def read_event(self) -> tuple[str, str]:
        """Return type and data of the next event; both are empty at the end of the stream."""
        while block := await self.read_block():
            fields = [line.split(": ", 1) for line in block if not line.startswith(":")]
            values = dict(fields)
            self.last_event_id = values.get("id", self.last_event_id)
            self.retry_ms = int(values.get("retry", self.retry_ms or 0)) or None
            data = [value for name, value in fields if name == "data"]
            if data:
                return values.get("event", "message"), "\n".join(data)
        return "", ""

    async def read(self) -> Push:
        """Return the push in the next event, whose type is the event's."""
        event, data = await self.read_event()
        push: Push = json.loads(data)
        assert push["type"] == event
        return push

    async def read_many(self, count: int) -> list[Push]:
        return [await self.read() for _ in range(count)]


class RawWebSocket(Socket):
    """A WebSocket whose client sends what it is told to and answers nothing by itself."""

    async def shake_hands(self, behind: bytes = b"") -> None:
        """Upgrade, with what is behind the request in the same segment."""
        self.send(UPGRADE.encode() + behind)
        status, _ = await self.read_head()
        assert status == 101

    def send_frame(self, payload: str | bytes, opcode: Opcode = Opcode.TEXT) -> None:
        self.send(encode_frame(payload, opcode))

    async def read_frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame: a server masks and splits nothing."""
        async with bounded():
            first, size = await self.reader.readexactly(2)
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            assert first & 0xF0 == 0x80
            return first & 0x0F, await self.reader.readexactly(size)

    async def read(self) -> Push:
        """Return the next push; anything but text is a mistake."""
        opcode, payload = await self.read_frame()
        assert opcode == Opcode.TEXT, (opcode, payload)
        return cast(Push, json.loads(payload))

    async def read_close_code(self) -> int:
        """Return the code of the next close frame; what comes before it is dropped."""
        while (frame := await self.read_frame())[0] != Opcode.CLOSE:
            pass
        return int.from_bytes(frame[1][:2], "big")


S = TypeVar("S", bound=Socket)


def encode_frame(payload: str | bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """Return one whole frame as a client has to send it."""
    return Frame(opcode, payload.encode() if type(payload) is str else payload).serialize(mask=True)


class WebSocketClient:
    """A client of the protocol in one codec, on a connection of the websockets library."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.is_json = connection.subprotocol != "gateway.v1.msgpack"
        self.welcome: Push = {}
        self._unread: deque[Push] = deque()
        self._last_id = 0

    async def send(self, **command: Any) -> None:
        is_json = self.is_json
        await self.connection.send(json.dumps(command) if is_json else msgpack.packb(command))

    async def read(self) -> Push:
        """Return the next push, oldest first."""
        return self._unread.popleft() if self._unread else await self._receive()

    async def read_many(self, count: int) -> list[Push]:
        return [await self.read() for _ in range(count)]

    async def ask(self, **command: Any) -> Push:
        """Return the reply to command; pushes that come before it stay to be read."""
        self._last_id += 1
        await self.send(id=self._last_id, **command)
        while (push := await self._receive()).get("id") != self._last_id:
            self._unread.append(push)
        return push

    async def _receive(self) -> Push:
        async with bounded():
            message = await self.connection.recv()
        assert isinstance(message, str) is self.is_json
        return cast(Push, json.loads(message) if self.is_json else msgpack.unpackb(message))


class Gateway:
    """A node on a port of its own, and the clients that a test connects to it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._clients = AsyncExitStack()
        self._is_stopped = False

    # --- HTTP ---

    async def open(self, *, receive_bytes: int | None = None) -> Socket:
        """Connect; with receive_bytes a client that holds little of what it has not read."""
        return await self._open(Socket, receive_bytes)

    async def fetch(
        self, method: str, target: str, headers: Iterable[str] = (), body: bytes = b""
    ) -> Reply:
        """Return the response to one request on a connection of its own."""
        client = await self._connect(Socket, None)
        try:
            client.send(encode_request(method, target, ("Connection: close", *headers), body))
            return await client.read_reply()
        finally:
            await client.close()

    async def get(self, path: str, **parameters: Any) -> Reply:
        return await self.fetch("GET", f"{path}?{urlencode(parameters, doseq=True)}")

    async def publish(self, channel: str, *data: Any) -> list[Push]:
        """Publish each of data in one request; return their places."""
        batch = json.dumps([{"channel": channel, "data": each} for each in data])
        reply = await self.fetch("POST", "/publish", body=batch.encode())
        assert reply.status == 200, reply.body
        return cast("list[Push]", reply.json)

    async def poll(self, **parameters: Any) -> Push:
        reply = await self.get("/poll", **parameters)
        assert reply.status == 200, reply.body
        return cast(Push, reply.json)

    async def wait_presence(self, channel: str, count: int) -> None:
        """Return when channel has so many members; polls are none."""
        path = f"/channels/{quote(channel, safe='')}/presence"
        async with bounded():
            while (await self.get(path, limit=0)).json["count"] != count:
                pass

    async def count_subscriptions(self) -> int:
        """Return how many there are in all channels, those of polls included."""
        metrics = (await self.get("/metrics")).body
        return int(metrics.partition(b"\ngateway_subscriptions ")[2].split()[0])

    async def wait_subscriptions(self, count: int) -> None:
        """Return when there are so many subscriptions in all channels."""
        async with bounded():
            while await self.count_subscriptions() != count:
                pass

    # --- transports ---

    async def event_stream(
        self,
        *,
        last_event_id: str | None = None,
        receive_bytes: int | None = None,
        **parameters: Any,
    ) -> EventStream:
        """Open GET /sse."""
        stream = await self._open(EventStream, receive_bytes)
        headers = () if last_event_id is None else (f"Last-Event-ID: {last_event_id}",)
        stream.send(encode_request("GET", f"/sse?{urlencode(parameters, doseq=True)}", headers))
        stream.status, stream.headers = await stream.read_head()
        return stream

    async def raw_websocket(self, *, receive_bytes: int | None = None) -> RawWebSocket:
        """Return a connection that has not asked for its upgrade yet."""
        return await self._open(RawWebSocket, receive_bytes)

    async def websocket(self, *subprotocols: str, **options: Any) -> WebSocketClient:
        """Return a session that has been welcomed."""
        connecting = connect(
            f"ws://127.0.0.1:{self.node.port}/ws?{options.pop('query', '')}",
            subprotocols=subprotocols or None,  # type: ignore[arg-type]
            ping_interval=None,  # whoever pings is heard, and this side is to be silent
            proxy=None,
            **options,
        )
        client = WebSocketClient(await self._clients.enter_async_context(connecting))
        client.welcome = await client.read()
        return client

    # --- the end ---

    async def stop(self) -> None:
        self._is_stopped = True
        async with bounded():
            await self.node.stop()

    async def close(self) -> None:
        await self._clients.aclose()
        if not self._is_stopped:
            await self.stop()

    async def _open(self, kind: type[S], receive_bytes: int | None) -> S:
        client = await self._connect(kind, receive_bytes)
        self._clients.push_async_callback(client.close)
        return client

    async def _connect(self, kind: type[S], receive_bytes: int | None) -> S:
        endpoint = socket.socket()
        endpoint.setblocking(False)
        if receive_bytes is not None:
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        address = ("127.0.0.1", self.node.port)
        try:
            await asyncio.get_running_loop().sock_connect(endpoint, address)
        except BaseException:
            endpoint.close()
            raise
        reader, writer = await asyncio.open_connection(
            sock=endpoint, limit=receive_bytes or STREAM_BYTES
        )
        return kind(reader, writer)


def encode_request(
    method: str, target: str, headers: Iterable[str] = (), body: bytes = b""
) -> bytes:
    """Return one HTTP request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "\r\n"]).encode() + body


@asynccontextmanager
async def serving(port: int = 0, identify: Any = None, **sections: Any) -> AsyncIterator[Gateway]:
    """Serve on the loopback, with these sections of the configuration."""
    node = Node(Config(**({"server": ServerConfig(port=port)} | sections)), identify=identify)
    await node.start()
    gateway = Gateway(node)
    try:
        yield gateway
    finally:
        await gateway.close()


async def publish_read_by(gateway: Gateway, healthy: WebSocketClient, count: int = 20) -> int:
    """Publish to channel a what healthy gets and others may leave; return the newest offset."""
    places = await gateway.publish("a", *[PADDING] * count)
    offsets: list[int] = [push["offset"] for push in await healthy.read_many(count)]
    assert offsets == [place["offset"] for place in places]
    return offsets[-1]


async def stall(gateway: Gateway, healthy: WebSocketClient) -> int:
    """Publish to channel a until somebody's socket takes no more; return the newest offset."""
    async with bounded():
        last = await publish_read_by(gateway, healthy)
        while not any(session.is_paused for session in gateway.node.hub.sessions):
            last = await publish_read_by(gateway, healthy)
    return last
