"""What was really published, and the broker that tells it: the truth that clients are held to."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from gateway.broker import Draft
from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig
from gateway.errors import BrokerUnavailable
from gateway.stream import Page, Stream
from protocol.cursor import Position
from protocol.errors import MessageError, OffsetConflict
from tests.gateway.promise.virtual import VirtualLoop

# When a broker does what it is asked, and when it answers: at once; answers late; does it late.
Pace = Literal["prompt", "late answers", "late work"]


class Entry(NamedTuple):
    """One publication as it was handed in."""

    draft: Draft
    time: float

    @property
    def size_bytes(self) -> int:
        labels = [self.draft.key or "", *(self.draft.tags or {}), *(self.draft.tags or {}).values()]
        return len(self.draft.data.json) + sum(len(each.encode()) for each in labels)


class Ledger:
    """All publications by channel and epoch, in the order of offsets from 1.

    streams are those that were used last, by channel; some may be forgotten.
    """

    def __init__(self) -> None:
        self.logs: dict[tuple[str, str], list[Entry]] = {}
        self.streams: dict[str, Stream] = {}
        self._keys: dict[tuple[str, str, str], int] = {}

    def entry(self, channel: str, position: Position) -> Entry:
        return self.logs[channel, position.epoch][position.offset - 1]

    def record(
        self, channel: str, drafts: Sequence[Draft], places: Sequence[Position], now: float
    ) -> None:
        """Take note of what a broker says it has done; fail where it makes no sense."""
        assert len(drafts) == len(places)
        for draft, (epoch, offset) in zip(drafts, places, strict=True):
            log = self.logs.setdefault((channel, epoch), [])
            key = draft.idempotency_key
            if offset <= len(log):
                assert key is not None, "an offset is given twice"
                assert self._keys[channel, epoch, key] == offset
                continue
            assert offset == len(log) + 1, "offsets have a hole"
            assert draft.expected_offset in (None, len(log))
            log.append(Entry(draft, now))
            if key is not None:
                self._keys[channel, epoch, key] = offset

    def refuse(self, channel: str, drafts: Sequence[Draft], error: BaseException | None) -> None:
        """Take note of what a broker refuses; fail where it has no reason to."""
        assert isinstance(error, MessageError), error
        if isinstance(error, OffsetConflict):
            assert any(each.expected_offset is not None for each in drafts)
            assert error.offset == len(self.logs.get((channel, error.epoch), []))


class WatchedBroker(MemoryBroker):
    """The memory broker at any pace, which keeps a ledger and can be out of reach."""

    def __init__(
        self, config: ChannelsConfig, loop: VirtualLoop, ledger: Ledger, pace: Pace
    ) -> None:
        super().__init__(config, clock=loop.time)
        self.failures_due = 0
        self.failures_count = 0
        self.pace: Pace = pace
        self.asked: deque[tuple[asyncio.Future[Any], Callable[[], asyncio.Future[Any]]]] = deque()
        self._virtual = loop
        self._ledger = ledger

    @property
    def streams(self) -> list[Stream]:
        """The streams of all channels that exist."""
        return list(self._streams.values())

    def follow(self, channel: str) -> asyncio.Future[Stream]:
        return self._ask(lambda: self._follow(channel))

    def unfollow(self, channel: str) -> None:
        if self.asked and self.pace == "late work":
            done: asyncio.Future[Any] = self._virtual.create_future()
            self.asked.append((done, lambda: self._unfollow(channel)))
        else:
            super().unfollow(channel)

    def publish(self, channel: str, drafts: Sequence[Draft]) -> asyncio.Future[list[Position]]:
        return self._ask(lambda: self._publish(channel, drafts))

    def history(self, channel: str, position: Position | None, **how: Any) -> asyncio.Future[Page]:
        read = super().history
        return self._ask(lambda: read(channel, position, **how))

    async def stop(self) -> None:
        while self.asked:
            future, _ = self.asked.popleft()
            if not future.done():
                future.set_exception(BrokerUnavailable("the broker is stopped"))
                future.exception()
        await super().stop()

    def answer(self, count: int | None = None) -> None:
        """Answer what was asked first, all by default."""
        for _ in range(len(self.asked) if count is None else min(count, len(self.asked))):
            future, act = self.asked.popleft()
            acted = act()
            if future.done():  # whoever asked has given up
                acted.exception()
            elif acted.exception() is not None:
                future.set_exception(acted.exception())  # type: ignore[arg-type]
            else:
                future.set_result(acted.result())

    def _ask(self, act: Callable[[], asyncio.Future[Any]]) -> asyncio.Future[Any]:
        if self.failures_due:
            self.failures_due -= 1
            self.failures_count += 1
            act = self._fail
        if self.pace == "prompt":
            return act()
        if self.pace == "late answers":
            acted = act()
            acted.exception()  # which nobody else may come to ask for
            act = lambda: acted  # noqa: E731
        future: asyncio.Future[Any] = self._virtual.create_future()
        self.asked.append((future, act))
        return future

    def _fail(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._virtual.create_future()
        future.set_exception(BrokerUnavailable("out of reach"))
        return future

    def _follow(self, channel: str) -> asyncio.Future[Stream]:
        followed = super().follow(channel)
        self._ledger.streams[channel] = followed.result()
        return followed

    def _unfollow(self, channel: str) -> asyncio.Future[Any]:
        super().unfollow(channel)
        done: asyncio.Future[Any] = self._virtual.create_future()
        done.set_result(None)
        return done

    def _publish(self, channel: str, drafts: Sequence[Draft]) -> asyncio.Future[list[Position]]:
        published = super().publish(channel, drafts)
        error = published.exception()
        if channel in self._streams:
            self._ledger.streams[channel] = self._streams[channel]
        if error is None:
            self._ledger.record(channel, drafts, published.result(), self._virtual.now)
        else:
            self._ledger.refuse(channel, drafts, error)
        return published
