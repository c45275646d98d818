"""One visit of a client: a connection on one transport, from where the client stands.

A visit ends whenever its client likes, or with its connection; what was decoded until then counts.
"""

import asyncio
import json
import random
from abc import abstractmethod
from typing import Final
from urllib.parse import quote, urlencode

import msgpack
import msgspec

from loadtest.clients.connection import reset
from loadtest.clients.dialects import upgrade
from loadtest.clients.wire import (
    End,
    EventDecoder,
    Head,
    ResponseDecoder,
    ServerFrameDecoder,
    StreamEvent,
    WireError,
)
from loadtest.losses.verdict import Push, Reader
from protocol.frames import BINARY, CLOSE, PING, PONG, TEXT, encode_masked_frame

# Errors after which a client is to come again; any other is not what a good request gets.
POSTPONING_ERRORS: Final = frozenset({"overloaded", "shutting_down", "rate_limited"})
# RFC 6455 section 5.3 wants unpredictable keys because of proxies, which do not stand in between.
MASKING_KEY: Final = b"\x12\x34\x56\x78"
# What a poll asks for; short, so that clients at the end of a log come and go as well.
_POLL_TIMEOUT_S: Final = 2


class Visit(asyncio.Protocol):
    """What all visits share: one connection, judged by the client's reader as bytes arrive."""

    transport_name: str
    # The overflow policies that a client may ask for, None where it does not ask.
    _overflows: tuple[str | None, ...] = (None, "latest", "disconnect")

    def __init__(self, host: str, channels: list[str], reader: Reader, rng: random.Random) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asyncio_transport: asyncio.Transport
        self._host = host
        self._channels = channels
        self._reader = reader
        self._rng = rng
        self._responses = ResponseDecoder()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask for what the client misses."""
        self.asyncio_transport = transport
        self._reader.begin_visit(self.transport_name)
        self._open()

    def data_received(self, data: bytes) -> None:
        """Judge what arrived; whatever cannot be read is a fault and ends the visit."""
        try:
            self._feed(data)
        except (WireError, ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
            self._reader.fault("wrong", f"{type(error).__name__}: {error}")
            self.asyncio_transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The visit has ended."""
        if not self.ended.done():
            self.ended.set_result(None)

    def leave(self, *, by_reset: bool) -> None:
        """End the visit at once; by a reset it looks as if the client's host had vanished."""
        if by_reset:
            reset(self.asyncio_transport)
        else:
            self.asyncio_transport.abort()

    def disturb(self) -> None:
        """Do what this transport allows in the middle of a visit, and clients rarely do."""

    @abstractmethod
    def _open(self) -> None:
        """Send the first request."""

    @abstractmethod
    def _feed(self, data: bytes) -> None:
        """Take what arrived."""

    def _request(self, path: str, *headers: str) -> None:
        lines = [f"GET {path} HTTP/1.1", f"Host: {self._host}", *headers]
        self.asyncio_transport.write("\r\n".join([*lines, "", ""]).encode())

    def _which(self) -> list[tuple[str, str]]:
        """Return the parameters that say which channels, and maybe an overflow policy."""
        parameters = [("channel", channel) for channel in self._channels]
        overflow = self._rng.choice(self._overflows)
        return parameters if overflow is None else [*parameters, ("overflow", overflow)]

    def _where(self) -> list[tuple[str, str]]:
        """Return the parameters that say which channels, and from where."""
        reader = self._reader
        parameters = self._which()
        if reader.cursor is not None:
            return [*parameters, ("cursor", reader.cursor)]
        for channel in self._channels:
            if channel in reader.positions:
                epoch, offset = reader.positions[channel]
                parameters += [("epoch", epoch), ("offset", str(offset))]
        return parameters

    def _check_status(self, head: Head, expected: int) -> None:
        if head.status not in (expected, 503):
            raise WireError(f"status {head.status} where {expected} was expected")

    def _check_error(self, push: Push) -> None:
        if push["code"] not in POSTPONING_ERRORS:
            raise WireError(f"a good request was answered with {push}")


class WebSocketVisit(Visit):
    """A visit over WebSocket in JSON: subscribes each channel from its position."""

    transport_name = "websocket json"
    _subprotocol = "gateway.v1.json"
    _opcode = TEXT

    def _open(self) -> None:
        self._is_upgraded = False
        self._frames = ServerFrameDecoder()
        header = f"Sec-WebSocket-Protocol: {self._subprotocol}\r\n"
        self.asyncio_transport.write(upgrade("/ws", self._host, header))

    def disturb(self) -> None:
        """Unsubscribe from a channel; once that is confirmed, come back to it."""
        self._send({"type": "unsubscribe", "id": 2, "channel": self._rng.choice(self._channels)})

    def _feed(self, data: bytes) -> None:
        if self._is_upgraded:
            self._feed_frames(data)
            return
        for event in self._responses.feed(data):
            if isinstance(event, Head):
                self._check_status(event, 101)
                self._is_upgraded = event.status == 101
                for channel in self._channels if self._is_upgraded else ():
                    self._subscribe(channel)
            elif isinstance(event, bytes) and self._is_upgraded:
                self._feed_frames(event)

    def _feed_frames(self, data: bytes) -> None:
        for opcode, payload in self._frames.feed(data):
            if opcode == self._opcode:
                self._take(self._decode(payload))
            elif opcode == PING:
                self.asyncio_transport.write(encode_masked_frame(PONG, payload, MASKING_KEY))
            elif opcode == CLOSE:
                self.asyncio_transport.close()
            else:
                raise WireError(f"a frame with opcode {opcode}")

    def _take(self, push: Push) -> None:
        match push["type"]:
            case "message" | "gap" | "subscribed":
                self._reader.cursor = None
                self._reader.take(push)
            case "unsubscribed":
                self._subscribe(push["channel"])
            case "error":
                # What was subscribed to a moment ago may be none when it is unsubscribed from.
                if push["code"] != "not_subscribed":
                    self._check_error(push)
            case "welcome" | "closing":
                pass
            case _:
                raise WireError(f"an unexpected push: {push}")

    def _subscribe(self, channel: str) -> None:
        command: Push = {"type": "subscribe", "id": 1, "channel": channel}
        overflow = self._rng.choice(self._overflows)
        if overflow is not None:
            command["overflow"] = overflow
        reader = self._reader
        if channel not in reader.positions:
            command |= self._rng.choice([{}, {"history": self._rng.randint(1, 50)}])
        elif reader.cursor is not None:
            command["cursor"] = reader.cursor
        else:
            command["epoch"], command["offset"] = reader.positions[channel]
        self._send(command)

    def _send(self, command: Push) -> None:
        frame = encode_masked_frame(self._opcode, self._encode(command), MASKING_KEY)
        self.asyncio_transport.write(frame)

    def _encode(self, command: Push) -> bytes:
        return json.dumps(command).encode()

    def _decode(self, payload: bytes) -> Push:
        decoded: Push = msgspec.json.decode(payload)
        return decoded


class PackedWebSocketVisit(WebSocketVisit):
    """A visit over WebSocket in MessagePack."""

    transport_name = "websocket msgpack"
    _subprotocol = "gateway.v1.msgpack"
    _opcode = BINARY

    def _encode(self, command: Push) -> bytes:
        packed: bytes = msgpack.packb(command)
        return packed

    def _decode(self, payload: bytes) -> Push:
        decoded: Push = msgpack.unpackb(payload)
        return decoded


class EventStreamVisit(Visit):
    """A visit over server-sent events, which keeps what an EventSource would: the last id."""

    transport_name = "sse"

    def _open(self) -> None:
        self._events = EventDecoder()
        # Pushes that came without an id: whoever comes back from the id before gets them again.
        self._pending: list[Push] = []
        cursor = self._reader.cursor
        if cursor is not None and self._rng.random() < 0.5:
            self._request(f"/sse?{urlencode(self._which())}", f"Last-Event-ID: {cursor}")
        else:
            self._request(f"/sse?{urlencode(self._where(), quote_via=quote)}")

    def _feed(self, data: bytes) -> None:
        for event in self._responses.feed(data):
            if isinstance(event, Head):
                self._check_status(event, 200)
            elif isinstance(event, bytes):
                for stream_event in self._events.feed(event):
                    self._take(stream_event)

    def _take(self, event: StreamEvent) -> None:
        if event.type == "error":
            self._check_error(msgspec.json.decode(event.data or ""))
            return
        if event.data is not None and event.type != "closing":
            push: Push = msgspec.json.decode(event.data)
            if push["type"] == "message" and event.cursor is None:
                raise WireError(f"an event without id: {push}")
            self._pending.append(push)
        if event.cursor is not None:
            for push in self._pending:
                self._reader.take(push)
            self._pending.clear()
            self._reader.cursor = event.cursor


class PollVisit(Visit):
    """A visit by long-poll: one poll after the other, each from the cursor of the one before."""

    transport_name = "longpoll"
    _overflows = (None, "latest")

    def _open(self) -> None:
        self._status = 0
        self._body: list[bytes] = []
        # Without a cursor a poll would wait, and whoever left meanwhile would still have none.
        is_at_once = not self._reader.positions or self._rng.random() < 0.1
        timeout_s = 0 if is_at_once else _POLL_TIMEOUT_S
        parameters = [*self._where(), ("timeout", str(timeout_s))]
        self._request(f"/poll?{urlencode(parameters, quote_via=quote)}")

    def _feed(self, data: bytes) -> None:
        for event in self._responses.feed(data):
            if isinstance(event, Head):
                self._check_status(event, 200)
                self._status = event.status
            elif isinstance(event, bytes):
                self._body.append(event)
            elif isinstance(event, End):
                self._take(msgspec.json.decode(b"".join(self._body)))

    def _take(self, answer: Push) -> None:
        if self._status != 200:
            self._check_error(answer)
            self.asyncio_transport.close()
            return
        self._reader.take_answer(answer)
        self._open()


VISITS: Final[tuple[type[Visit], ...]] = (
    WebSocketVisit,
    PackedWebSocketVisit,
    EventStreamVisit,
    PollVisit,
)
