"""The broker of a single node: streams in this process's memory, gone when it ends.

A channel exists from its first publication or follower until nobody follows it, it retains nothing
and forget_after_s have passed since its last use; one that was never published to only while it is
followed. Then it is forgotten and would begin again.
"""

import secrets
import sys
from array import array
from asyncio import AbstractEventLoop, Future, get_running_loop
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from gateway.broker import Deliver, Draft
from gateway.brokers.deadlines import LOOK_AGAIN_S, STREAMS_PER_CALL, Deadlines
from gateway.brokers.room import check_room, log_metrics
from gateway.brokers.sequence import NO_KEYS, IdempotencyKeys, sequence
from gateway.clock import steady_time
from gateway.config import ChannelsConfig
from gateway.metrics import Metric
from gateway.stream import LogMemory, Page, Stream
from protocol.codes import ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError

T = TypeVar("T")

_EPOCH_BYTES: Final = 6
# Channels share counters, of 1 MiB in all, where their hashes are equal.
_LIFETIMES_COUNT: Final = 2**18


class Lifetimes:
    """The epoch of any channel, known or not, without memory of the channels that were forgotten.

    An epoch is a random number of the process plus how many channels of the same hash were
    forgotten. So two lifetimes of a channel differ, and a channel that does not exist has the epoch
    that its next lifetime will have, unless one of the same hash is forgotten before: then its
    readers are told of a gap, of nothing. 48 bits: two processes share an epoch once in 2^48.
    """

    def __init__(self) -> None:
        self._start = secrets.randbits(8 * _EPOCH_BYTES)
        self._ended = array("I", bytes(4 * _LIFETIMES_COUNT))

    def epoch(self, channel: str) -> str:
        """Return the epoch of channel's lifetime, now or to come."""
        ended_count = self._ended[hash(channel) % _LIFETIMES_COUNT]
        number = (self._start + ended_count) % 2 ** (8 * _EPOCH_BYTES)
        # Most are the same, so one object will do for them.
        return sys.intern(urlsafe_b64encode(number.to_bytes(_EPOCH_BYTES, "big")).decode())

    def end(self, channel: str) -> None:
        """Begin another lifetime of channel."""
        self._ended[hash(channel) % _LIFETIMES_COUNT] += 1


class MemoryBroker:
    """All channels of one node; nothing is awaited, so every future it returns is done.

    Every stream is booked in _deadlines, but for those that are followed and retain nothing.
    """

    _loop: AbstractEventLoop  # since start; asking for it costs a tenth of a publication

    def __init__(self, config: ChannelsConfig, *, clock: Callable[[], float] = steady_time) -> None:
        self._config = config
        self._clock = clock
        self._streams: dict[str, Stream] = {}
        self._keys: dict[str, IdempotencyKeys] = {}  # of the streams that remember any
        self._deliver: Deliver | None = None
        self.publication_count = 0
        self._deadlines = Deadlines()
        self._lifetimes = Lifetimes()
        self._memory = LogMemory()

    @property
    def channel_count(self) -> int:
        """How many channels exist."""
        return len(self._streams)

    @property
    def log_bytes(self) -> int:
        """How many bytes all logs take in memory, of at most max_log_bytes."""
        return self._memory.used_bytes

    @property
    def metrics(self) -> list[Metric]:
        """What an operator may want to know of it."""
        return log_metrics(self.publication_count, self.channel_count, self.log_bytes)

    async def start(self, deliver: Deliver) -> None:
        """Use deliver for followed streams from now on."""
        self._loop = get_running_loop()
        self._deliver = deliver

    async def stop(self) -> None:
        """Forget every channel."""
        self._deliver = None
        self._streams.clear()
        self._keys.clear()
        self._deadlines.clear()
        self._memory = LogMemory()
        self._lifetimes = Lifetimes()

    def follow(self, channel: str) -> "Future[Stream]":
        """Return the stream of channel, marked as followed up to its end."""
        stream = self._find(channel)
        try:
            self._enter(stream)
        except MessageError as error:
            return self._failed(error)
        if stream.delivered is None:
            stream.delivered = stream.last
        return self._done(stream)

    def unfollow(self, channel: str) -> None:
        """Forget channel once its retention is over, unless it is used again before."""
        stream = self._streams.get(channel)
        if stream is None:
            return
        if not stream.last:  # its epoch is still known when it is followed again
            del self._streams[channel]
            return
        stream.delivered = None
        stream.used = self._clock()
        stream.trim()
        self._deadlines.book(stream, stream.used + self._config.forget_after_s)

    def publish(self, channel: str, drafts: Sequence[Draft]) -> "Future[list[Position]]":
        """Append drafts to channel and return their places."""
        stream = self._find(channel)
        try:
            now = self._clock()
            keys = self._keys.get(channel, NO_KEYS)
            sequenced = sequence(drafts, stream.epoch, stream.last, now, keys, stream.config)
            publications, places, used = sequenced
            if publications:
                check_room(stream, self._memory, self._config)
                if stream.is_empty:
                    self._enter(stream)
                    self._deadlines.book(stream, now + stream.config.history_age_s)
        except MessageError as error:
            return self._failed(error)
        for publication in publications:
            stream.append(publication)
        if used:
            until = now + stream.config.idempotency_window_s
            keys = self._keys.setdefault(channel, IdempotencyKeys(self._memory))
            keys.remember(used, until)
        self.publication_count += len(publications)
        if publications and stream.delivered is not None and self._deliver is not None:
            self._deliver(stream)
        return self._done(places)

    def history(
        self,
        channel: str,
        position: Position | None,
        *,
        limit: int,
        max_bytes: int,
        is_reverse: bool,
    ) -> "Future[Page]":
        """Return a page of what channel retains; of a channel that does not exist, an empty one.

        Reading does not make a channel; the position of the page is that before its first
        publication, whenever it comes.
        """
        stream = self._find(channel)
        stream.used = self._clock()
        return self._done(
            stream.page(position, limit=limit, max_bytes=max_bytes, is_reverse=is_reverse)
        )

    def forget_unused(self) -> bool:
        """Drop what has expired, and forget channels that nobody uses; return whether more is due.

        Called about once a second, and again in the next turn while more is due, so that a million
        of them never hold the loop.
        """
        now = self._clock()
        for stream in self._deadlines.take_due(now, STREAMS_PER_CALL):
            stream.trim()
            due = self._next_deadline(stream, now)
            if due is None:
                continue
            if due > now:
                self._deadlines.book(stream, due)
            else:
                del self._streams[stream.name]
                self._lifetimes.end(stream.name)
        return self._deadlines.has_due(now)

    def _next_deadline(self, stream: Stream, now: float) -> float | None:
        """Return when to look at stream again, None for not before it is used; now to forget it."""
        keys_expire = self._expire_keys(stream.name, now)
        if not stream.is_empty:
            return max(stream.expires, now + LOOK_AGAIN_S)
        if keys_expire is not None or stream.delivered is not None:
            return keys_expire
        return stream.used + self._config.forget_after_s

    def _expire_keys(self, channel: str, now: float) -> float | None:
        """Return when the next idempotency key of channel expires, after dropping those that have.

        None where no key is remembered.
        """
        keys = self._keys.get(channel)
        if keys is None:
            return None
        keys.expire(now)
        if not keys:
            del self._keys[channel]
        return keys.next_expiry

    def _find(self, channel: str) -> Stream:
        """Return the stream of channel, or a new one that is not entered yet."""
        stream = self._streams.get(channel)
        if stream is not None:
            return stream
        epoch, config = self._lifetimes.epoch(channel), self._config.find(channel)
        return Stream(channel, epoch, config, self._clock, self._memory)

    def _enter(self, stream: Stream) -> None:
        """Keep stream as its channel's; raise MessageError where this node holds too many."""
        if stream.name in self._streams:
            return
        if len(self._streams) >= self._config.max_channels:
            text = f"this node holds {self._config.max_channels} channels, as many as it may"
            raise MessageError(ErrorCode.OVERLOADED, text)
        self._streams[stream.name] = stream

    def _done(self, result: T) -> "Future[T]":
        future: Future[T] = self._loop.create_future()
        future.set_result(result)
        return future

    def _failed(self, error: MessageError) -> "Future[T]":
        future: Future[T] = self._loop.create_future()
        future.set_exception(error)
        return future
