"""The promise: every publication in order, once, or a gap that says which ones will not be seen.

A state machine plays publishers, clients that stall, leave and come back on other transports, and a
clock, against the real hub, broker, encoders and poll collection; only sockets are scripted.
"""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.broker import Draft
from gateway.config import ChannelsConfig, Config, HubConfig
from gateway.hub import Start
from gateway.session import Encode
from gateway.transports.longpoll import PollTransport
from gateway.transports.sse import EventStreamEndpoint
from gateway.transports.wanted import Wanted
from gateway.web.sweep import Sweep
from protocol.cursor import Position, decode_cursor
from protocol.publication import Data
from tests.gateway.world import (
    CHANNELS,
    EventStream,
    ScriptedTransport,
    World,
    encode_lines,
    encode_more_lines,
)


class Client:
    """What one client knows, and its judgement of every push."""

    def __init__(self, published: dict[tuple[str, str, int], str]) -> None:
        self.published = published
        self.seen: dict[str, Position] = {}
        self.transport: ScriptedTransport | EventStream | None = None

    def judge(self, push: dict[str, Any]) -> None:
        channel = push.get("channel", "")
        position = self.seen.get(channel)
        if push["type"] == "subscribed":
            if position is not None and push["epoch"] == position.epoch:
                assert push["offset"] in (position.offset, 0)
            self.seen[channel] = Position(push["epoch"], push["offset"])
        elif push["type"] == "gap":
            if position is None or push["epoch"] != position.epoch or push["reason"] == "epoch":
                assert (push["reason"], push["from"]) == ("epoch", 1)
            else:
                assert push["from"] == position.offset + 1
                assert push["to"] >= push["from"]
            self.seen[channel] = Position(push["epoch"], push["to"])
        elif push["type"] == "message":
            assert position is not None
            assert push["offset"] == position.offset + 1, "lost, repeated or out of order"
            assert push["data"] == self.published[channel, position.epoch, push["offset"]]
            self.seen[channel] = Position(position.epoch, push["offset"])
        if push.get("cursor_after"):
            assert decode_cursor(push["cursor_after"]) == self.seen

    def read(self) -> None:
        if self.transport is not None:
            for push in self.transport.read():
                self.judge(push)


clients = st.integers(0, 3)
channels = st.sampled_from(CHANNELS)
kinds = st.sampled_from([encode_lines, encode_more_lines])


class Promise(RuleBasedStateMachine):
    """Everything a network and a careless client can do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(
            ChannelsConfig(
                history_count=6, history_age_s=30, lag_count=8, lag_bytes=200, lag_age_s=20
            ),
            HubConfig(turn_deliveries=3, catch_up_bytes=150),
        )
        self.published: dict[tuple[str, str, int], str] = {}
        heartbeat = Sweep(None, 25.0)  # nobody stands in it: nobody is pinged here
        self.endpoint = EventStreamEndpoint(self.world.hub, heartbeat, Config())
        self.clients = [Client(self.published) for _ in range(4)]

    @rule(channel=channels, count=st.integers(1, 6))
    def publish(self, channel: str, count: int) -> None:
        for _ in range(count):
            self.world.run(self._publish_one(channel))

    async def _publish_one(self, channel: str) -> None:
        text = f"{len(self.published)}"
        draft = Draft(Data(json.dumps(text).encode()))
        ((epoch, offset),) = await self.world.broker.publish(channel, [draft])
        self.published[channel, epoch, offset] = text

    @rule()
    def turn(self) -> None:
        self.world.turn()

    @rule(client=clients)
    def read(self, client: int) -> None:
        self.clients[client].read()

    @rule(client=clients, capacity=st.sampled_from([0, 100, 1000]), encode=kinds)
    def connect(self, client: int, capacity: int, encode: Encode) -> None:
        chosen = self.clients[client]
        self.drop(client)
        chosen.transport = ScriptedTransport(self.world.hub, encode, capacity)
        for channel, position in tuple(chosen.seen.items()):
            self.world.subscribe(chosen.transport, channel, position)

    @rule(client=clients, capacity=st.sampled_from([0, 100, 1000]))
    def connect_event_stream(self, client: int, capacity: int) -> None:
        chosen = self.clients[client]
        self.drop(client)
        starts: dict[str, Start] = {name: chosen.seen.get(name) for name in CHANNELS}
        chosen.transport = EventStream(self.world.hub, self.endpoint, capacity)
        streams = self.world.follow(starts)
        chosen.transport.transport.begin(streams, [Wanted(*each) for each in starts.items()])

    @rule(client=clients)
    def drop(self, client: int) -> None:
        """Vanish; what was in the socket is lost, and the client goes on from what it has seen."""
        chosen = self.clients[client]
        if chosen.transport is not None:
            self.world.hub.detach(chosen.transport.session)
            chosen.transport = None

    @rule(client=clients, channel=channels, history=st.none() | st.integers(1, 9))
    def subscribe(self, client: int, channel: str, history: int | None) -> None:
        chosen = self.clients[client]
        if isinstance(chosen.transport, EventStream):
            return
        if chosen.transport and channel not in chosen.transport.session.subscriptions:
            chosen.seen.pop(channel, None)
            self.world.subscribe(chosen.transport, channel, history)

    @rule(client=clients, channel=channels)
    def unsubscribe(self, client: int, channel: str) -> None:
        chosen = self.clients[client]
        transport = chosen.transport
        if not isinstance(transport, ScriptedTransport):
            return
        chosen.read()
        if channel in transport.session.subscriptions:
            self.world.hub.unsubscribe(transport.session, channel)
            chosen.seen.pop(channel, None)

    @rule(client=clients, turns=st.integers(0, 3), max_bytes=st.sampled_from([1, 200, 10_000]))
    def poll(self, client: int, turns: int, max_bytes: int) -> None:
        chosen = self.clients[client]
        self.drop(client)
        self.world.run(self._poll(chosen, turns, max_bytes))

    async def _poll(self, client: Client, turns: int, max_bytes: int) -> None:
        transport = PollTransport(self.world.hub, max_bytes)
        hub, session = self.world.hub, transport.session
        hub.attach(session)
        for channel in CHANNELS:
            stream = await hub.follow(channel)
            subscribed, gap = hub.subscribe(session, stream, client.seen.get(channel))
            if channel not in client.seen or subscribed.epoch != client.seen[channel].epoch:
                client.seen[channel] = Position(subscribed.epoch, subscribed.offset)
            if gap is not None:
                session.push(gap)
        hub.start(session)
        for _ in range(turns):
            for channel in CHANNELS:
                await self._publish_one(channel)
            self.world.turn()
        answer = json.loads(transport.take_answer())
        told = [*answer["gaps"], *answer["messages"]]
        for push in sorted(told, key=lambda each: each.get("from", each.get("offset"))):
            client.judge(push)
        assert decode_cursor(answer["cursor"]) == client.seen

    @rule(seconds=st.sampled_from([1, 15, 40]))
    def wait(self, seconds: int) -> None:
        self.world.now += seconds
        self.world.broker.forget_unused()

    @invariant()
    def logs_are_bounded(self) -> None:
        for channel in self.world.hub.channels.values():
            if not channel.is_dirty:
                assert channel.stream.last - channel.stream.first + 1 <= 8
                assert channel.stream.lagging_count == len(channel.lagging)

    @precondition(lambda self: not self.world.callbacks)
    @invariant()
    def nobody_waits_for_a_turn_that_never_comes(self) -> None:
        for client in self.clients:
            if client.transport and not client.transport.session.is_paused:
                assert not self.world.hub.is_behind(client.transport.session)

    def teardown(self) -> None:
        for client in self.clients:
            if client.transport is not None:
                getattr(client.transport, "socket", client.transport).capacity_bytes = 1 << 20
        for _ in range(3):
            for client in self.clients:
                client.read()
            self.world.settle()
        for client in self.clients:
            if client.transport is not None:
                client.read()
                for name, subscription in client.transport.session.subscriptions.items():
                    assert subscription.is_live
                    assert client.seen[name] == subscription.stream.end


TestPromise = Promise.TestCase
TestPromise.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
