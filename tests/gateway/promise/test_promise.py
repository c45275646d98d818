"""The promise: every publication in order, once, or a gap that says which ones will not be seen.

A state machine plays publishers, clients that stall, leave and come back on other transports, a
broker, restarts and a clock against a whole node in virtual time; nothing of the gateway is
replaced above the asyncio transports. `--hypothesis-profile=long` plays ten
times as often, which takes some eight minutes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.broker import Draft
from gateway.config import (
    ChannelsConfig,
    Config,
    HeartbeatConfig,
    HubConfig,
    LongpollConfig,
    PrefixConfig,
    SseConfig,
    WebSocketConfig,
)
from protocol.cursor import Position
from protocol.publication import Data
from tests.gateway.promise.answers import PollLink, PublisherLink
from tests.gateway.promise.links import EventStreamLink, Link, WebSocketLink
from tests.gateway.promise.world import World

CHANNELS = ["a", "b", "room/c"]
CLIENT_COUNT = 4
# All time passes in units of one heartbeat interval, so that each peer is visited equally often
# wherever in memory it lies.
UNIT_S = 4.0
ENOUGH = 1 << 20

channels = st.sampled_from(CHANNELS)
some_channels = st.just(CHANNELS) | st.lists(channels, min_size=1, max_size=3, unique=True)
clients = st.integers(0, CLIENT_COUNT - 1)
kinds = st.sampled_from(
    ["json", "msgpack", "json deflated", "msgpack deflated", "sse", "sse", "poll"]
)
kernels = st.sampled_from([60, 60, 400, ENOUGH])
starts = st.sampled_from(["position"] * 3 + ["cursor"] * 3 + ["now", "ahead", 1, 5])
commands = st.sampled_from(["unsubscribe", "unsubscribe", "history", "reverse"])
overflows = st.sampled_from([None, "gap", "latest", "disconnect"])
keys = st.sampled_from([None, None, "k", "ö"])
sizes = st.sampled_from([0, 0, 0, 20, 90, 300, 1500])
# What happens all the time: each byte is one move, for drawing the parts of each would take longer
# than making it.
moves = st.binary(min_size=4, max_size=20)
ages = st.sampled_from([1.0, 6.0, 1000.0])
channel_bounds = {
    "history_count": st.sampled_from([0, 1, 4, 12, 1000]),
    "history_bytes": st.sampled_from([0, 80, 1000, ENOUGH]),
    "history_age_s": ages,
    "lag_count": st.sampled_from([0, 3, 8, 1000]),
    "lag_bytes": st.sampled_from([0, 150, 2000, ENOUGH]),
    "lag_age_s": ages,
    "overflow": st.sampled_from(["gap", "latest", "disconnect"]),
    "message_time": st.booleans(),
}
configs = st.builds(
    Config,
    channels=st.builds(
        ChannelsConfig,
        prefixes=st.tuples(st.builds(PrefixConfig, prefix=st.just("room/"), **channel_bounds)),
        forget_after_s=st.sampled_from([5.0, 40.0]),
        idempotency_window_s=st.sampled_from([5.0, 300.0]),
        **channel_bounds,
    ),
    hub=st.builds(
        HubConfig,
        turn_deliveries=st.sampled_from([1, 2, 2000]),
        catch_up_bytes=st.sampled_from([100, 400, 64 * 1024]),
    ),
    websocket=st.builds(
        WebSocketConfig,
        high_water_bytes=st.sampled_from([100, 400]),
        compression_min_bytes=st.sampled_from([0, 200]),
    ),
    sse=st.builds(SseConfig, high_water_bytes=st.sampled_from([100, 400])),
    longpoll=st.builds(LongpollConfig, max_response_bytes=st.sampled_from([1, 300, ENOUGH])),
    heartbeat=st.builds(HeartbeatConfig, interval_s=st.sampled_from([UNIT_S, UNIT_S, 86_400.0])),
)


class Client:
    """What one client keeps: where it stands in each channel, and its connection."""

    def __init__(self) -> None:
        self.seen: dict[str, Position] = {}
        self.link: Link | None = None
        self.come_back: Callable[[], None] = lambda: None

    def read(self, count: int | None = None) -> None:
        """Read; where the connection has ended, come back as before."""
        if self.link is not None:
            self.link.read(count)
            self.seen |= self.link.known
            if self.link.socket.has_ended or (self.link.is_over and not self.link.unread_count):
                self.come_back()

    def leave(self) -> None:
        if self.link is not None:
            self.link.socket.reset()
            self.link = None


class Promise(RuleBasedStateMachine):
    """Everything a network and a careless client can do, in any order."""

    @initialize(
        config=configs,
        pace=st.sampled_from(["prompt", "prompt", "late answers", "late work"]),
        segment_bytes=st.sampled_from([1 << 16] * 4 + [7]),
        is_strict=st.booleans(),
        first=st.lists(st.tuples(kinds, kernels), min_size=CLIENT_COUNT, max_size=CLIENT_COUNT),
    )
    def begin(
        self, config: Config, pace: Any, segment_bytes: int, is_strict: bool, first: Any
    ) -> None:
        self.world = World(config, pace, segment_bytes=segment_bytes, is_strict=is_strict)
        self.clients = [Client() for _ in range(CLIENT_COUNT)]
        self.count = 0
        for client, (kind, kernel) in enumerate(first):
            self._connect(client, kind, kernel, CHANNELS, None, 30)
        self.world.loop.settle()

    # --- what happens most ---

    @rule(bytes_=moves)
    def bustle(self, bytes_: bytes) -> None:
        self._bustle(bytes_)

    @rule(bytes_=moves)
    def bustle_on(self, bytes_: bytes) -> None:
        self._bustle(bytes_)

    def _bustle(self, bytes_: bytes) -> None:
        """Let the loop turn, let a client read, or publish, which is every other move."""
        for number in bytes_:
            rest, move = divmod(number, 4)
            if move == 0:
                self.world.loop.turn()
            elif move == 1:
                rest, client = divmod(rest, CLIENT_COUNT)
                for _ in range((1, 2, 6)[rest % 3]):
                    self.clients[client].read((None, 50, 400)[rest // 3 % 3])
                    self.world.loop.turn()
            else:
                rest, channel = divmod(rest, len(CHANNELS))
                rest, count = divmod(rest, 4)
                rest, size = divmod(rest, 3)
                key = ("k", None)[rest % 2]
                self._publish(CHANNELS[channel], (1, 2, 8, 30)[count], (0, 40, 300)[size], key)

    def _publish(self, channel: str, count: int, size: int, key: str | None) -> None:
        drafts = [Draft(Data(self._data(size)), key) for _ in range(count)]
        published = self.world.broker.publish(channel, drafts)
        published.add_done_callback(lambda done: done.exception())

    # --- publishers ---

    @rule(
        wanted=st.lists(st.tuples(channels, keys), min_size=1, max_size=4),
        count=st.sampled_from([1, 2, 10]),
        size=sizes,
        more=st.sampled_from([{}, {}, {"tags": {"t": "1"}}, {"idempotency_key": "once"}]),
    )
    def publish(self, wanted: list[Any], count: int, size: int, more: dict[str, Any]) -> None:
        requests = [
            {"channel": channel, "key": key, "raw": self._data(size), **more}
            for channel, key in wanted * count
        ]
        self.world.open(PublisherLink, ENOUGH, requests=requests)

    @rule(
        client=clients,
        channel=channels,
        key=keys,
        size=sizes,
        fields=st.fixed_dictionaries(
            {},
            optional={
                "echo": st.booleans(),
                "idempotency_key": st.sampled_from(["1", "2"]),
                "tags": st.just({"ä": "ö"}),
            },
        ),
        expected=st.sampled_from([None, None, None, 0, 1]),
    )
    def publish_as_client(
        self,
        client: int,
        channel: str,
        key: str | None,
        size: int,
        fields: dict[str, Any],
        expected: int | None,
    ) -> None:
        link = self._websocket(client)
        if link is not None:
            stream = self.world.ledger.streams.get(channel)
            if expected is not None and stream is not None:
                fields = fields | {"expected_offset": stream.last + expected}
            link.send("publish", data=self._data(size), channel=channel, key=key, **fields)

    def _websocket(self, number: int) -> WebSocketLink | None:
        """Return one of the WebSockets that are open, None where there is none."""
        links = [each.link for each in self.clients]
        open_ = [each for each in links if isinstance(each, WebSocketLink) and not each.is_over]
        return open_[number % len(open_)] if open_ else None

    def _data(self, size: int) -> bytes:
        """Return a JSON text of its own, with a space that must stay where it is."""
        self.count += 1
        return f'[{self.count}, "{"x" * size}"]'.encode() if size else str(self.count).encode()

    # --- clients ---

    @rule(
        client=clients,
        kind=kinds,
        kernel=kernels,
        wanted=some_channels,
        overflow=overflows,
        timeout_s=st.sampled_from([0, 3, 30]),
        reads=st.sampled_from([0, 1, 9]),
    )
    def connect(
        self,
        client: int,
        kind: str,
        kernel: int,
        wanted: list[str],
        overflow: str | None,
        timeout_s: int,
        reads: int,
    ) -> None:
        """Come back on any transport, and go on from what has been seen."""
        for _ in range(reads):
            self.clients[client].read()
            self.world.loop.turn()
        self._connect(client, kind, kernel, wanted, overflow, timeout_s)

    def _connect(
        self,
        client: int,
        kind: str,
        kernel: int,
        wanted: list[str],
        overflow: str | None,
        timeout_s: int,
    ) -> None:
        chosen = self.clients[client]
        chosen.leave()
        how = (kind, kernel, wanted, overflow, timeout_s)
        chosen.come_back = partial(self._connect, client, *how)
        options: dict[str, Any] = {"channels": wanted, "start": dict(chosen.seen)}
        if kind == "sse":
            chosen.link = self.world.open(EventStreamLink, kernel, overflow=overflow, **options)
        elif kind == "poll":
            overflow = None if overflow == "disconnect" else overflow
            options |= {"timeout_s": timeout_s, "overflow": overflow}
            chosen.link = self.world.open(PollLink, kernel, **options)
        else:
            codec, _, deflated = kind.partition(" ")
            options = {"is_json": codec == "json", "is_deflated": bool(deflated)}
            link = self.world.open(WebSocketLink, kernel, **options)
            for channel in wanted:
                link.subscribe(channel, chosen.seen.get(channel), overflow, is_cursor=True)
            chosen.link = link

    @rule(client=clients, channel=channels, wish=starts, overflow=overflows)
    def subscribe(self, client: int, channel: str, wish: Any, overflow: str | None) -> None:
        link = self._websocket(client)
        if link is not None:
            start = wish if isinstance(wish, int) else None
            seen = link.known.get(channel)
            if channel in link.judge.told and wish != "now":
                link.send("unsubscribe", channel=channel)
            if seen is not None and wish in ("position", "cursor"):
                start = seen
            elif wish == "ahead" and (stream := self.world.ledger.streams.get(channel)):
                start = Position(stream.epoch, stream.last + 1)
            link.subscribe(channel, start, overflow, wish == "cursor")

    @rule(client=clients, channel=channels, type_=commands)
    def command(self, client: int, channel: str, type_: str) -> None:
        link = self._websocket(client)
        if link is None:
            return
        if type_ == "unsubscribe":
            link.send("unsubscribe", channel=channel)
        else:
            link.send("history", channel=channel, limit=3, reverse=type_ == "reverse")

    @rule(client=clients, how=st.sampled_from(["reset", "close", "end", "silence"]))
    def leave(self, client: int, how: str) -> None:
        link = self.clients[client].link
        if link is None:
            return
        if how == "close" and isinstance(link, WebSocketLink):
            link.close()
        elif how in ("close", "end"):
            link.socket.end()
        elif how == "silence":
            self.clients[client].link = None  # the gateway hears nothing of it, ever
        else:
            link.socket.reset(ConnectionResetError())
            self.clients[client].link = None

    # --- the world ---

    @rule()
    def settle(self) -> None:
        self.world.loop.settle()

    @rule(units=st.sampled_from([1, 1, 3]), is_attentive=st.booleans())
    def wait(self, units: int, is_attentive: bool) -> None:
        for _ in range(units):
            self.world.loop.advance(UNIT_S)
            if is_attentive:
                self._read_all()
        self.world.check_ages()

    def _read_all(self) -> None:
        for _ in range(3):
            for client in self.clients:
                client.read()
            self.world.loop.settle()

    @precondition(lambda self: self.world.broker.asked)
    @rule(count=st.sampled_from([1, 2, None]))
    def answer(self, count: int | None) -> None:
        self.world.broker.answer(count)

    @precondition(lambda self: self.count > 30 * self.world.broker.failures_count)
    @rule()
    def lose_broker(self) -> None:
        """Have it fail once."""
        self.world.broker.failures_due = 1

    @precondition(lambda self: self.count > 60 * self.world.restart_count)
    @rule(is_kill=st.booleans())
    def restart(self, is_kill: bool) -> None:
        self.world.restart(is_kill=is_kill)

    # --- what must hold after every step; judges have spoken already ---

    @invariant()
    def all_is_well(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.make_easy()
                self._read_all()
                self._read_all()
                for client in self.clients:
                    if isinstance(client.link, WebSocketLink | EventStreamLink):
                        assert client.link.known.items() >= client.link.judge.positions().items()
                self.world.end()
            finally:
                self.world.close()


TestPromise = Promise.TestCase
TestPromise.settings = settings(
    stateful_step_count=50, max_examples=6 * settings.default.max_examples
)
# The long profile needs more than any test may; what never comes to rest fails by itself.
TestPromise = pytest.mark.timeout(0)(TestPromise)
