"""Connections as clients have them, one class for each transport; all they share is bytes.

What the gateway writes is parsed and judged at once; the client learns it when it reads it.
"""

import base64
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import msgpack
from websockets.frames import Frame, Opcode

from protocol.cursor import Position, decode_cursor, encode_cursor
from tests.gateway.promise.judge import Judge, Push, Start
from tests.gateway.promise.ledger import Ledger
from tests.gateway.promise.virtual import ScriptedSocket

# Opens a socket: what to call with what is written, and how much the kernel takes.
Connect = Callable[[Callable[[bytes], None], int], ScriptedSocket]
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: gateway.v1.{}\r\n{}\r\n"
)
OFFER = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
RSV1 = 0x40
# Pushes that hold publications or their absence: what waits in the log while a socket is full.
FROM_LOG = {"message", "gap"}


class Link:
    """One connection: what was written to it and not read yet, and the judge of it."""

    status = 0  # of the response, 0 before it
    head = b""
    is_late = False  # the broker answers late: the order of replies is not that of commands

    def __init__(self, ledger: Ledger, connect: Connect, kernel_bytes: int) -> None:
        self.judge = Judge(ledger)
        self.is_over = False  # the gateway has said that it ends
        self.written_bytes = 0
        self.read_bytes = 0
        self._unread: deque[tuple[int, Callable[[], None]]] = deque()
        self._partial = b""
        self._kind = ""  # of the last push
        self._is_behind_gap = False  # whether this write goes with the gap before it
        # What the client will go on from, by channel.
        self.known: dict[str, Position] = {}
        self.socket = connect(self.hear, kernel_bytes)

    @property
    def unread_count(self) -> int:
        """How many items the client has not read."""
        return len(self._unread)

    @property
    def is_begun(self) -> bool:
        """Whether the gateway has taken the request."""
        return self.status != 0

    def hear(self, data: bytes) -> None:
        """Judge what the gateway writes now."""
        self._is_behind_gap = self._kind == "gap"
        self._partial += data
        self.written_bytes += len(data)
        if not self.status:
            head, end, rest = self._partial.partition(b"\r\n\r\n")
            if not end:
                return
            self.status, self.head, self._partial = int(head.split(b" ")[1]), head + b"\r\n", rest
        for learn in self.parse():
            self._unread.append((self.written_bytes - len(self._partial), learn))

    def parse(self) -> Iterator[Callable[[], None]]:
        """Judge each whole item in _partial; yield what the client does when it has read it."""
        raise NotImplementedError

    def read(self, count: int | None = None) -> None:
        """Read up to count bytes, all by default, and learn what is whole."""
        self.read_bytes += len(self.socket.read(count))
        while self._unread and self._unread[0][0] <= self.read_bytes:
            self._unread.popleft()[1]()

    def check_refused(self) -> None:
        """Fail unless the node says that it is going."""
        assert (self.status, b"shutting_down" in self._partial) == (503, True), self._partial
        self.is_over = True

    def check_flow(self, push: Push) -> None:
        """Fail where a full socket is given what should wait in the log."""
        told = self.judge.told.get(push.get("channel", ""))
        is_reply = push["type"] == "gap" and told is not None and told.gap_due is not None
        if push["type"] in FROM_LOG and not is_reply and not self._is_behind_gap:
            assert not self.socket.is_paused, "written to a socket that takes no more"
        assert not self.is_over, "written after closing"
        self._kind = push["type"]

    def check_rest(self) -> None:
        """Fail unless all there is was told; the loop is at rest."""
        if self.is_begun and not self.is_over and not self.socket.is_paused:
            for channel in self.judge.told:
                self.judge.check_at_end(channel)

    def learn(self, positions: dict[str, Position]) -> Callable[[], None]:
        """Return what takes positions for what the client knows."""
        return lambda: self.known.update(positions)


class WebSocketLink(Link):
    """A WebSocket in one codec; it answers pings when it reads them."""

    def __init__(
        self,
        ledger: Ledger,
        connect: Connect,
        kernel_bytes: int,
        *,
        is_json: bool,
        is_deflated: bool = False,
    ) -> None:
        super().__init__(ledger, connect, kernel_bytes)
        self.is_json = is_json
        self.pending: dict[int, tuple[Push, Start]] = {}
        self._last_id = 0
        codec, offer = "json" if is_json else "msgpack", OFFER if is_deflated else ""
        self.socket.send(UPGRADE.format(codec, offer).encode())

    # --- what the client says ---

    def send(self, type_: str, start: Start = None, *, data: bytes = b"", **fields: Any) -> None:
        """Send a command with an id; start is what its fields say, data a JSON text."""
        self._last_id += 1
        command = {"type": type_, "id": self._last_id, **fields}
        self.pending[self._last_id] = command | {"raw": data}, start
        if self.is_json:
            text = json.dumps(command).encode()
            if data:
                text = text[:-1] + b', "data":' + data + b"}"
            self._send_frame(Opcode.TEXT, text)
        else:
            value = {"data": json.loads(data)} if data else {}
            self._send_frame(Opcode.BINARY, msgpack.packb(command | value))

    def subscribe(self, channel: str, start: Start, overflow: str | None, is_cursor: bool) -> None:
        """Ask for channel; a position is told as a cursor, or as epoch and offset."""
        fields: dict[str, Any] = {"channel": channel, "overflow": overflow}
        if isinstance(start, int):
            fields["history"] = start
        elif start is not None and is_cursor:
            fields["cursor"] = encode_cursor({"elsewhere": Position("x", 1), channel: start})
        elif start is not None:
            fields |= {"epoch": start.epoch, "offset": start.offset}
        self.send("subscribe", start, **fields)

    def close(self) -> None:
        """Begin the closing handshake."""
        self._send_frame(Opcode.CLOSE, b"\x03\xe8")

    def _send_frame(self, opcode: Opcode, payload: bytes) -> None:
        self.socket.send(Frame(opcode, payload).serialize(mask=True))

    # --- what it is told ---

    def parse(self) -> Iterator[Callable[[], None]]:
        if self.status != 101:
            self.check_refused()
            return
        while (frame := self._take_frame()) is not None:
            opcode, payload = frame
            if opcode == Opcode.PING:
                yield lambda payload=payload: self._send_frame(Opcode.PONG, payload)
            elif opcode == Opcode.CLOSE:
                self.is_over = True
                yield self.close
            elif opcode != Opcode.PONG:
                push = json.loads(payload) if self.is_json else msgpack.unpackb(payload)
                yield self._judge(push, payload)

    def _take_frame(self) -> tuple[int, bytes] | None:
        data = self._partial
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        self._partial = data[start + size :]
        payload = data[start : start + size]
        if data[0] & RSV1:
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        return data[0] & 0x0F, payload

    def _judge(self, push: Push, payload: bytes) -> Callable[[], None]:
        self.check_flow(push)
        kind, channel, judge = push["type"], push.get("channel", ""), self.judge
        command, start = self._take_reply(push)
        if kind == "welcome":
            judge.own = push["session"]
        elif kind == "closing":
            self.is_over = True
        elif kind == "subscribed":
            judge.subscribed(push, start)
            return self._learn(channel)
        elif kind == "message":
            judge.message(push, value_in(push), payload if self.is_json else b"")
            return self._learn(channel)
        elif kind == "gap":
            judge.gap(push)
            return self._learn(channel)
        elif kind == "unsubscribed":
            judge.unsubscribed(channel)
        elif kind == "published":
            check_published(judge, push, command)
        elif kind == "history":
            check_page(judge.ledger, push, command, is_json=self.is_json)
        elif kind == "error":
            check_refusal(judge, push, command)
        return lambda: None

    def _learn(self, channel: str) -> Callable[[], None]:
        return self.learn({channel: self.judge.told[channel].position})

    def _take_reply(self, push: Push) -> tuple[Push, Start]:
        if "id" not in push:
            assert push["type"] in ("welcome", "closing", *FROM_LOG), push
            return {}, None
        number = push["id"]
        assert number in self.pending, "a reply to nothing"
        assert self.is_late or number == next(iter(self.pending)), "replies out of order"
        command, start = self.pending.pop(number)
        assert push["type"] in (REPLIES[command["type"]], "error")
        return command, start

    def check_rest(self) -> None:
        super().check_rest()
        if not (self.is_over or self.socket.has_unheard):
            assert not self.pending, "a command without a reply"


def value_in(push: Push) -> Any:
    """Return the data of a message as a value, bytes for binary."""
    is_base64 = push.get("encoding") == "base64"
    return base64.b64decode(push["data"]) if is_base64 else push["data"]


REPLIES = {
    "subscribe": "subscribed",
    "unsubscribe": "unsubscribed",
    "publish": "published",
    "history": "history",
    "ping": "pong",
}


def check_published(judge: Judge, push: Push, command: Push) -> None:
    """Fail unless what was asked for stands where its publisher is told."""
    entry = judge.ledger.entry(command["channel"], Position(push["epoch"], push["offset"]))
    draft = entry.draft
    assert draft.idempotency_key == command.get("idempotency_key")
    if draft.idempotency_key is not None:
        return  # a repeat may say something else
    assert command.get("expected_offset") in (None, push["offset"] - 1)
    assert json.loads(draft.data.json) == json.loads(command["raw"])
    assert (draft.key, draft.tags) == (command.get("key"), command.get("tags"))
    assert draft.unechoed == (None if command.get("echo", True) else judge.own)


def check_refusal(judge: Judge, push: Push, command: Push) -> None:
    """Fail where a command is refused that nothing was wrong with."""
    code, channel = push["code"], command["channel"]
    if code == "already_subscribed":
        assert command["type"] == "subscribe"
        assert channel in judge.told
    elif code == "not_subscribed":
        assert command["type"] == "unsubscribe"
        assert channel not in judge.told
    elif code == "offset_conflict":
        assert push["offset"] != command["expected_offset"]
    elif code == "invalid_field":
        config = judge.ledger.streams[channel].config
        assert command["overflow"] not in config.allowed_overflows
    else:
        assert code == "overloaded", push


def check_page(ledger: Ledger, push: Push, command: Push, *, is_json: bool) -> None:
    """Fail unless a page of history is contiguous and right, and its gap and cursor exact."""
    channel, epoch = command["channel"], push["epoch"]
    offsets = [each["offset"] for each in push["publications"]]
    step = -1 if command.get("reverse") else 1
    assert (
        offsets == list(range(offsets[0], offsets[0] + step * len(offsets), step)) if offsets else 1
    )
    for record in push["publications"]:
        entry = ledger.entry(channel, Position(epoch, record["offset"]))
        assert json.loads(entry.draft.data.json) == record["data"] or not is_json
        assert (entry.draft.key, entry.draft.tags) == (record.get("key"), record.get("tags"))
    after = decode_cursor(push["cursor"])[channel]
    assert after.epoch == epoch
    if offsets:
        assert after.offset == (offsets[-1] - 1 if step < 0 else offsets[-1])


class EventStreamLink(Link):
    """An event stream; its client knows only the id of the last event."""

    def __init__(
        self,
        ledger: Ledger,
        connect: Connect,
        kernel_bytes: int,
        *,
        channels: list[str],
        start: dict[str, Position],
        overflow: str | None = None,
    ) -> None:
        super().__init__(ledger, connect, kernel_bytes)
        self.channels = channels
        self._start = start
        query = [("channel", each) for each in channels]
        query += [("overflow", overflow)] if overflow else []
        cursor = f"Last-Event-ID: {encode_cursor(start)}\r\n" if start else ""
        head = f"GET /sse?{urlencode(query)} HTTP/1.1\r\nHost: gateway\r\n{cursor}\r\n"
        self.socket.send(head.encode())

    def parse(self) -> Iterator[Callable[[], None]]:
        if self.status != 200:
            self.check_refused()
            return
        while b"\n\n" in self._partial:
            block, _, self._partial = self._partial.partition(b"\n\n")
            lines = [line for line in block.split(b"\n") if not line.startswith(b":")]
            fields = dict(line.split(b": ", 1) for line in lines)
            if b"data" in fields:
                push = json.loads(fields[b"data"])
                assert fields.get(b"event", b"message").decode() == push["type"]
                self._judge(push, fields[b"data"])
            yield self._judge_id(fields.get(b"id"))

    def _judge(self, push: Push, payload: bytes) -> None:
        self.check_flow(push)
        kind, judge = push["type"], self.judge
        if kind == "subscribed":
            judge.subscribed(push, self._start.get(push["channel"]))
        elif kind == "message":
            judge.message(push, value_in(push), payload)
        elif kind == "gap":
            judge.gap(push)
        else:
            assert kind in ("closing", "error"), push
            self.is_over = True

    def _judge_id(self, cursor: bytes | None) -> Callable[[], None]:
        if not cursor:
            return lambda: None
        positions = decode_cursor(cursor.decode())
        assert list(positions) == self.channels
        assert positions == self.judge.positions(), "a cursor that is not what was told"
        return self.learn(positions)
