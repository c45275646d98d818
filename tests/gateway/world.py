"""A hub whose turns and time pass only when told to, and scripted sockets: all else is real."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import pytest

from gateway.broker import Draft
from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig, HubConfig, PresenceConfig
from gateway.hub import Hub, Start
from gateway.presence import Presence
from gateway.session import Encode, Positions, Session
from gateway.stream import Stream
from protocol.codec import JSON
from protocol.cursor import Position
from protocol.messages import Push
from protocol.publication import Data, Publication

CHANNELS = ("a", "b", "c")


def encode_lines(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Stands for JSON frames: one line per publication."""
    return b"".join([JSON.encode_message(stream.name, each) + b"\n" for each in publications])


def encode_more_lines(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Stands for a second encoding in use in the same channel."""
    return encode_lines(stream, publications, _)


def encode_push_line(push: Push) -> bytes:
    """Stands for the encoding of pushes that goes with these."""
    return JSON.encode(push) + b"\n"


class ScriptedTransport:
    """A session's socket: full at capacity_bytes, empty after read()."""

    encode_push = staticmethod(encode_push_line)

    def __init__(
        self, hub: Hub, encode: Encode, capacity_bytes: int = 1 << 20, user: str | None = None
    ) -> None:
        self.hub = hub
        self.capacity_bytes = capacity_bytes
        self.unread = b""
        self.write_count = 0
        self.session = Session(self, encode, user)
        hub.attach(self.session)

    def write(self, data: bytes) -> None:
        self.unread += data
        self.write_count += 1
        if len(self.unread) > self.capacity_bytes and not self.session.is_paused:
            self.hub.pause(self.session)

    def push(self, push: Push, positions: Positions) -> None:
        self.write(encode_push_line(push))

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        self.hub.detach(self.session)

    def read(self) -> list[dict[str, Any]]:
        taken, self.unread = self.unread, b""
        if self.session.is_paused:
            self.hub.resume(self.session)
        return [json.loads(line) for line in taken.splitlines()]


class World:
    """A hub with a memory broker, whose turns and time pass only when told to."""

    def __init__(
        self,
        channels: ChannelsConfig | None = None,
        hub: HubConfig | None = None,
        presence: PresenceConfig | None = None,
    ) -> None:
        self.now = 1_000_000.0
        self.callbacks: list[Callable[[], None]] = []
        self.broker = MemoryBroker(channels or ChannelsConfig(), clock=lambda: self.now)
        self.timers: list[tuple[float, Callable[[], None]]] = []
        call_soon = self.callbacks.append
        told = Presence(presence or PresenceConfig(), call_soon, self.call_later)
        self.hub = Hub(self.broker, hub or HubConfig(), call_soon, told)
        self.run(self.broker.start(self.hub.deliver))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(coroutine)

    def publish(self, channel: str, text: str = "x") -> Position:
        async def publish() -> Position:
            (place,) = await self.broker.publish(channel, [Draft(Data(json.dumps(text).encode()))])
            return place

        return self.run(publish())

    def subscribe(self, transport: ScriptedTransport, channel: str, start: Start = None) -> None:
        self.begin(transport.session, {channel: start})

    def follow(self, channels: Iterable[str]) -> list[Stream]:
        async def follow() -> list[Stream]:
            return [await self.hub.follow(channel) for channel in channels]

        return self.run(follow())

    def begin(self, session: Session, starts: dict[str, Start]) -> None:
        for stream, start in zip(self.follow(starts), starts.values(), strict=True):
            subscribed, gap = self.hub.subscribe(session, stream, start)
            session.push(subscribed)
            if gap is not None:
                session.push(gap)
        self.hub.start(session)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.now + delay_s, callback))

    def wait(self, seconds: float) -> None:
        """Let time pass, and run what was to be called meanwhile."""
        self.now += seconds
        due = [callback for when_s, callback in self.timers if when_s <= self.now]
        self.timers = [each for each in self.timers if each[0] > self.now]
        for callback in due:
            callback()

    def turn(self) -> bool:
        """Run one turn; return whether there was anything to do."""
        callbacks, self.callbacks[:] = tuple(self.callbacks), []
        for callback in callbacks:
            callback()
        return bool(callbacks)

    def settle(self) -> None:
        for _ in range(1000):
            if not self.turn():
                return
        pytest.fail("the hub never comes to rest")
