"""A whole node in virtual time, all connections to it, and what must be true of it at any time."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from gateway.config import Config
from gateway.node import Node
from gateway.stream import Stream
from tests.gateway.promise.ledger import Entry, Ledger, Pace, WatchedBroker
from tests.gateway.promise.links import Link
from tests.gateway.promise.virtual import ScriptedSocket, VirtualLoop

# More than any age, window or time to forget that is configured here.
FORGOTTEN_AFTER_S = 2000
# A sweep every second, of what has been due for up to a second.
SWEPT_WITHIN_S = 2
L = TypeVar("L", bound=Link)


class VirtualNode(Node):
    """A node whose broker is watched, and whose time is its loop's."""

    def __init__(self, config: Config, loop: VirtualLoop, ledger: Ledger, pace: Pace) -> None:
        super().__init__(config)
        self.broker = WatchedBroker(config.channels, loop, ledger, pace)

    def _make_broker(self) -> WatchedBroker:
        return self.broker


class Complaints(logging.Handler):
    """What the gateway logs as an error: nothing, whatever clients do."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class World:
    """One node after another, and everything that was ever connected to them."""

    def __init__(self, config: Config, pace: Pace, *, segment_bytes: int, is_strict: bool) -> None:
        self.loop = VirtualLoop()
        self.ledger = Ledger()
        self.links: list[Link] = []
        self.restart_count = 0
        self._is_easy = False
        self._config = config
        self._pace = pace
        self._segment_bytes = segment_bytes
        self._is_strict = is_strict
        self._complaints = Complaints()
        self._verdict: Exception | None = None  # the first against what the gateway has written
        logging.getLogger("gateway").addHandler(self._complaints)
        self._start()

    @property
    def broker(self) -> WatchedBroker:
        return self.node.broker

    def _start(self) -> None:
        self.node = VirtualNode(self._config, self.loop, self.ledger, self._pace)
        self.loop.finish(self.node.start())

    def open(self, kind: type[L], kernel_bytes: int, **options: Any) -> L:
        """Return a new connection of that kind."""

        def connect(hear: Any, kernel_bytes: int) -> ScriptedSocket:
            return ScriptedSocket(
                self.loop,
                partial(self._judge, hear),
                kernel_bytes=kernel_bytes,
                segment_bytes=self._segment_bytes,
                is_strict=self._is_strict,
            )

        link = kind(self.ledger, connect, kernel_bytes, **options)
        if self._is_easy:
            link.socket.widen()
        link.is_late = self._pace != "prompt"
        self.links.append(link)
        return link

    def _judge(self, hear: Callable[[bytes], None], data: bytes) -> None:
        """Have data judged; the gateway goes on, and the step fails at its end."""
        if self._verdict is None:
            try:
                hear(data)
            except Exception as error:
                self._verdict = error

    def restart(self, *, is_kill: bool) -> None:
        """Have another node take over from nothing; a killed one tells nobody."""
        self.restart_count += 1
        if is_kill:
            for link in self.links:
                link.socket.is_muted = True
                link.socket.reset()
        self.loop.finish(self.node.stop())
        self.loop.settle()
        self.links.clear()
        self.ledger.streams.clear()
        self._start()

    # --- what must be true ---

    def check(self) -> None:
        """Fail where anything is wrong that no judge has seen."""
        self._check_failures()
        self._check_books()

    def _check_failures(self) -> None:
        """Fail where a judge did, or something was raised or logged that nobody expected."""
        if self._verdict is not None:
            raise self._verdict
        for failure in self.loop.failures:
            raise AssertionError(failure) from failure.get("exception")
        for record in self._complaints.records:
            raise AssertionError(record.getMessage()) from (record.exc_info or [None] * 2)[1]

    def _check_books(self) -> None:
        """Fail unless the hub knows who is where, and logs are within their bounds."""
        hub = self.node.hub
        assert hub.subscription_count == sum(len(each.subscriptions) for each in hub.sessions)
        for name, channel in hub.channels.items():
            subscriptions = list(channel)
            assert len(subscriptions) == len(set(subscriptions)) == channel.subscriber_count
            for subscription in subscriptions:
                assert subscription.session in hub.sessions
                assert subscription.session.subscriptions[name] is subscription
                assert subscription.is_live is (subscription not in channel.lagging)
                assert not (subscription.is_live and subscription.session.is_paused)
            lagging_count = len(channel.lagging) + len(channel.batches)
            assert channel.stream.lagging_count == lagging_count
        if self.loop.is_idle:
            self._check_rest()

    def _check_rest(self) -> None:
        """Fail unless everybody who could be told everything was; nothing happens of itself."""
        for channel in self.node.hub.channels.values():
            assert not channel.is_dirty
            assert not channel.batches
        for link in self.links:
            if not self.broker.asked and not link.socket.is_closing():
                link.check_rest()
        for stream in self._streams_at_rest():
            config, is_lagging = stream.config, stream.lagging_count > 0
            kept = self._kept(stream)
            assert len(kept) <= max(config.history_count, config.lag_count * is_lagging)
            size_bytes = sum(each.size_bytes for each in kept)
            assert size_bytes <= max(config.history_bytes, config.lag_bytes * is_lagging)

    def check_ages(self) -> None:
        """Fail where something is kept that is older than it may be; the sweep has had its time."""
        for stream in self._streams_at_rest():
            config = stream.config
            age = max(config.history_age_s, config.lag_age_s * (stream.lagging_count > 0))
            for entry in self._kept(stream):
                assert entry.time >= self.loop.now - age - SWEPT_WITHIN_S

    def _streams_at_rest(self) -> list[Stream]:
        """Return the streams of which nothing waits for a follower whom the broker answers late."""
        return [each for each in self.broker.streams if each.delivered in (None, each.last)]

    def _kept(self, stream: Stream) -> list[Entry]:
        return self.ledger.logs.get((stream.name, stream.epoch), [])[stream.first - 1 :]

    # --- the end ---

    def make_easy(self) -> None:
        """Let every socket take everything from now on, and the broker answer at once."""
        self._is_easy = True
        for link in self.links:
            link.socket.widen()
        self.broker.failures_due = 0
        self.broker.pace = "prompt"
        self.broker.answer()
        self.loop.settle()

    def end(self) -> None:
        """Fail unless all that ever was is forgotten once everybody has left."""
        self.check()
        for link in self.links:
            link.socket.reset()
        self.loop.settle()
        hub = self.node.hub
        assert (hub.sessions, hub.channels, hub.subscription_count) == (set(), {}, 0)
        for stream in self.broker.streams:
            assert (stream.delivered, stream.lagging_count) == (None, 0)
        self.loop.now += FORGOTTEN_AFTER_S
        self.loop.advance(60)
        assert (self.broker.channel_count, self.broker.log_bytes) == (0, 0)
        self.loop.finish(self.node.stop())
        self.loop.settle()
        assert not asyncio.all_tasks(self.loop)
        assert not self.loop.timers
        self._check_failures()

    def close(self) -> None:
        """Leave nothing behind."""
        logging.getLogger("gateway").removeHandler(self._complaints)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle()
        self.loop.close()
