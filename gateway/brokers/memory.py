"""The broker of a single node: streams in this process's memory, gone when it ends.

A channel exists from its first publication, subscription or read until it has been unused for
its history's age; then it is forgotten and would begin again with a new epoch.
"""

import secrets
import time
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from gateway.broker import Deliver, Draft
from gateway.brokers.sequence import NO_KEYS, IdempotencyKeys, sequence
from gateway.config import ChannelsConfig
from gateway.stream import Page, Stream
from protocol.codes import ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError

T = TypeVar("T")

# 48 random bits: two lifetimes of a channel share an epoch once in 2^48, and a cursor stays short.
_EPOCH_BYTES = 6
# About a millisecond of work; more where there are so many that they would take over a minute.
_CHECKS_PER_CALL = 1000


class MemoryBroker:
    """All channels of one node; nothing is awaited, so every future it returns is done."""

    _loop: AbstractEventLoop  # since start; asking for it costs a tenth of a publication

    def __init__(self, config: ChannelsConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._streams: dict[str, Stream] = {}
        self._keys: dict[str, IdempotencyKeys] = {}  # of the streams that remember any
        self._deliver: Deliver | None = None
        self.publication_count = 0
        # Every stream once, in the order in which they are looked at for being unused.
        self._unchecked: deque[Stream] = deque()

    @property
    def channel_count(self) -> int:
        """How many channels exist."""
        return len(self._streams)

    async def start(self, deliver: Deliver) -> None:
        """Use deliver for followed streams from now on."""
        self._loop = get_running_loop()
        self._deliver = deliver

    async def stop(self) -> None:
        """Forget every channel."""
        self._deliver = None
        self._streams.clear()
        self._keys.clear()
        self._unchecked.clear()

    def follow(self, channel: str) -> "Future[Stream]":
        """Return the stream of channel, marked as followed up to its end."""
        try:
            stream = self._open(channel)
        except MessageError as error:
            return self._failed(error)
        if stream.delivered is None:
            stream.delivered = stream.last
        return self._done(stream)

    def unfollow(self, channel: str) -> None:
        """Forget channel once its retention is over, unless it is used again before."""
        stream = self._streams.get(channel)
        if stream is not None:
            stream.delivered = None
            stream.used = self._clock()
            stream.trim()

    def publish(self, channel: str, drafts: Sequence[Draft]) -> "Future[list[Position]]":
        """Append drafts to channel and return their places."""
        try:
            stream = self._open(channel)
            now = self._clock()
            keys = self._keys.get(channel, NO_KEYS)
            sequenced = sequence(drafts, stream.epoch, stream.last, now, keys, stream.config)
            publications, places, used = sequenced
            if publications and stream.is_overfull:  # never without subscribers: bounds apply
                text = f"channel {channel!r}: its subscribers cannot be given what is published"
                raise MessageError(ErrorCode.OVERLOADED, text)
        except MessageError as error:
            return self._failed(error)
        for publication in publications:
            stream.append(publication)
        if used:
            until = now + stream.config.idempotency_window_s
            self._keys.setdefault(channel, IdempotencyKeys()).remember(used, until)
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
        """Return a page of what channel retains."""
        try:
            stream = self._open(channel)
        except MessageError as error:
            return self._failed(error)
        stream.used = self._clock()
        return self._done(
            stream.page(position, limit=limit, max_bytes=max_bytes, is_reverse=is_reverse)
        )

    def forget_unused(self) -> None:
        """Drop channels that nobody has used for the history's age; called about once a second.

        Looks at the next few channels of all, so that a million of them never hold the loop.
        """
        unused_since = self._clock() - self._config.forget_after_s
        for _ in range(
            min(len(self._unchecked), max(_CHECKS_PER_CALL, len(self._unchecked) // 60))
        ):
            stream = self._unchecked.popleft()
            stream.trim()
            is_needed = self._has_keys(stream.name) or not stream.is_empty
            if stream.delivered is None and not is_needed and stream.used <= unused_since:
                del self._streams[stream.name]
            else:
                self._unchecked.append(stream)

    def _has_keys(self, channel: str) -> bool:
        """Whether channel remembers idempotency keys, once those that expired are dropped."""
        keys = self._keys.get(channel)
        if keys is None:
            return False
        keys.expire(self._clock())
        if not keys:
            del self._keys[channel]
        return len(keys) > 0

    def _open(self, channel: str) -> Stream:
        stream = self._streams.get(channel)
        if stream is None:
            if len(self._streams) >= self._config.max_channels:
                text = f"this node holds {self._config.max_channels} channels, as many as it may"
                raise MessageError(ErrorCode.LIMIT_REACHED, text)
            epoch = secrets.token_urlsafe(_EPOCH_BYTES)
            stream = Stream(channel, epoch, self._config.find(channel), self._clock)
            self._streams[channel] = stream
            self._unchecked.append(stream)
        return stream

    def _done(self, result: T) -> "Future[T]":
        future: Future[T] = self._loop.create_future()
        future.set_result(result)
        return future

    def _failed(self, error: MessageError) -> "Future[T]":
        future: Future[T] = self._loop.create_future()
        future.set_exception(error)
        return future
