"""Sessions without sockets: real hub, broker and commands, and clients of plain values."""

import json
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import msgpack

from gateway.broker import Broker
from gateway.brokers.memory import MemoryBroker
from gateway.commands import Commands
from gateway.config import ChannelsConfig, HubConfig, PresenceConfig, SessionConfig
from gateway.hub import Hub
from gateway.presence import CallSoon, Presence
from gateway.session import Encode, EncodePush, Positions, Session
from gateway.stream import Stream
from protocol.codec import JSON, MSGPACK, Codec
from protocol.messages import Push
from protocol.publication import Publication


def encode_json(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    return b"".join([JSON.encode_message(stream.name, each) + b"\n" for each in publications])


def encode_msgpack(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    return b"".join([MSGPACK.encode_message(stream.name, each) for each in publications])


def quiet_presence(call_soon: CallSoon) -> Presence:
    """Return a presence of channels that do not tell who comes and goes."""

    def call_later(delay_s: float, callback: Callable[[], None]) -> None:
        raise AssertionError("no channel here rests from telling")

    return Presence(PresenceConfig(), call_soon, call_later)


class Client:
    """A session on a scripted transport, and what it says and hears as plain values."""

    def __init__(self, gateway: "Gateway", codec: Codec, user: str | None = None) -> None:
        self.gateway = gateway
        self.codec = codec
        self.unread = b""
        self.disconnects: list[int] = []
        self.retry_after_ms: int | None = None
        self.is_reading_paused = False
        encode: Encode = encode_json if codec is JSON else encode_msgpack
        self.encode_push: EncodePush = codec.encode
        self.session = Session(self, encode, user)
        gateway.hub.attach(self.session)

    def write(self, data: bytes) -> None:
        self.unread += data

    def push(self, push: Push, positions: Positions) -> None:
        self.unread += self.codec.encode(push) + (b"\n" if self.codec is JSON else b"")

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        self.disconnects.append(code)
        self.retry_after_ms = retry_after_ms
        self.gateway.hub.detach(self.session)

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False

    def send_bytes(self, message: str | bytes) -> None:
        self.gateway.commands.receive(self.session, self.codec, message)

    def send(self, type_: str, **fields: Any) -> None:
        command = {"type": type_, **fields}
        self.send_bytes(json.dumps(command) if self.codec is JSON else msgpack.packb(command))

    def read(self) -> list[dict[str, Any]]:
        """Return what has come since the last time, after all turns that are due."""
        self.gateway.settle()
        taken, self.unread = self.unread, b""
        if self.codec is JSON:
            return [json.loads(line) for line in taken.splitlines()]
        unpacker = msgpack.Unpacker()
        unpacker.feed(taken)
        return list(unpacker)

    def ask(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Return the one reply to a command."""
        self.send(type_, id=7, **fields)
        (reply,) = [each for each in self.read() if each.get("id") == 7]
        return reply


class Gateway:
    """A hub, a broker and the commands; turns run when a client reads."""

    def __init__(
        self,
        broker: Broker | None = None,
        *,
        clock: Callable[[], float] = monotonic,
        **limits: int,
    ) -> None:
        self.turns: list[Callable[[], None]] = []
        self.broker = broker or MemoryBroker(ChannelsConfig(), clock=lambda: 1e9)
        presence = quiet_presence(self.turns.append)
        self.hub = Hub(self.broker, HubConfig(), self.turns.append, presence)
        self.commands = Commands(self.hub, self.broker, SessionConfig(**limits), clock=clock)

    async def start(self) -> "Gateway":
        await self.broker.start(self.hub.deliver)
        return self

    def settle(self) -> None:
        while self.turns:
            self.turns.pop(0)()
