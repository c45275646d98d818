"""Sessions that lag, and what they are told: for the tests of reading on."""

import json
from typing import Any

from gateway.broker import Draft
from gateway.config import ChannelsConfig
from gateway.hub import Start
from protocol.cursor import Position
from protocol.messages import Overflow
from protocol.publication import Data
from tests.gateway.world import ScriptedTransport, World, encode_lines

# The configuration of a log that keeps four publications for whoever lags.
KEPT = ChannelsConfig(history_count=4, lag_count=4)


class Reader(ScriptedTransport):
    """A session that remembers with which code it was ended."""

    code: int | None = None

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        self.code = code
        super().disconnect(code, reason)


def publish(world: World, *keys: str | None, channel: str = "a", text: str = "x") -> Position:
    """Publish one publication for each key; return the place of the last."""
    drafts = [Draft(Data(json.dumps(text).encode()), key) for key in keys]

    async def publish() -> Position:
        return (await world.broker.publish(channel, drafts))[-1]

    place: Position = world.run(publish())
    return place


def subscribe(
    world: World,
    reader: ScriptedTransport,
    start: Start = None,
    overflow: Overflow | None = None,
    channel: str = "a",
) -> None:
    (stream,) = world.follow([channel])
    subscribed, gap = world.hub.subscribe(reader.session, stream, start, overflow)
    reader.push(subscribed, reader.session.position_of)
    if gap is not None:
        reader.push(gap, reader.session.position_of)
    world.hub.start(reader.session)


def stalled(world: World, overflow: Overflow | None = None) -> Reader:
    """Return a reader that was live, and whose socket takes no more."""
    reader = Reader(world.hub, encode_lines)
    subscribe(world, reader, overflow=overflow)
    reader.read()
    world.hub.pause(reader.session)
    return reader


def wake(world: World, reader: ScriptedTransport) -> list[Any]:
    """Return what a stalled reader is given when it reads again."""
    world.hub.resume(reader.session)
    world.settle()
    return told(reader)


def told(reader: ScriptedTransport) -> list[Any]:
    """Return what has come: the offset of each message, and (from, to, reason) of each gap."""
    return [
        push["offset"] if push["type"] == "message" else (push["from"], push["to"], push["reason"])
        for push in reader.read()
        if push["type"] != "subscribed"
    ]
