"""One channel's bounded log, and the positions in it.

Live delivery, catching up, recovery, long-poll and history all read from here; nothing else holds
publications for a subscriber.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from gateway.config import ChannelConfig
from protocol.cursor import Position
from protocol.messages import Retention
from protocol.publication import Publication

# What may wait for live subscribers within a turn, however narrow the bounds of a log are set.
MIN_UNDELIVERED_COUNT: Final = 1000
MIN_UNDELIVERED_BYTES: Final = 4 * 1024 * 1024

# What a publication takes in memory beside the text in it: itself, its data, its numbers, the heads
# of their objects and its place in the log, by sys.getsizeof; and each tag, as two more objects and
# a place in a dict.
PUBLICATION_BYTES: Final = 200
TAG_BYTES: Final = 150

# The log of every stream that keeps nothing: an empty deque of its own would take 760 bytes.
_NOTHING: Final[deque[Publication]] = deque(maxlen=0)

GapReason = Literal["slow", "expired", "epoch"]


class Missing(NamedTuple):
    """Publications first to last, both missing, that a reader will not see; may be none."""

    first: int
    last: int
    reason: GapReason


class Page(NamedTuple):
    """Some retained publications, where to continue in the same direction, and what is missing.

    has_more says that more are retained in that direction now.
    """

    publications: list[Publication]
    position: Position
    missing: Missing | None
    has_more: bool


class LogMemory:
    """How many bytes the logs of some streams take together; each stream adds its own."""

    __slots__ = ("used_bytes",)

    def __init__(self) -> None:
        self.used_bytes = 0


class Stream:
    """One lifetime of a channel's log: publications 1, 2, 3, ..., of which the newest are kept.

    delivered is the offset up to which the hub has handed publications to live subscribers, None
    while no subscriber is on this node; what is newer is kept whatever the bounds say.
    lagging_count is how many subscribers are behind it; while there are any, the lag bounds
    apply where they are wider than the history's. due_s belongs to the broker's Deadlines: when it
    looks at the stream again, None for never.
    """

    __slots__ = (
        "_clock",
        "_log",
        "_memory",
        "_size_bytes",
        "config",
        "delivered",
        "due_s",
        "epoch",
        "lagging_count",
        "last",
        "name",
        "used",
    )

    def __init__(
        self,
        name: str,
        epoch: str,
        config: ChannelConfig,
        clock: Callable[[], float],
        memory: LogMemory | None = None,
    ) -> None:
        self.name = name
        self.epoch = epoch
        self.last = 0
        self.delivered: int | None = None
        self.due_s: int | None = None
        self.lagging_count = 0
        self.used = clock()
        self.config = config
        self._clock = clock
        self._memory = memory or LogMemory()
        self._log = _NOTHING
        self._size_bytes = 0

    @property
    def first(self) -> int:
        """The offset of the oldest publication kept; last + 1 when none is."""
        return self.last - len(self._log) + 1

    @property
    def is_empty(self) -> bool:
        """Whether no publication is kept."""
        return not self._log

    @property
    def expires(self) -> float:
        """When the oldest publication kept, of at least one, reaches the history's age."""
        return self._log[0].time + self.config.history_age_s

    @property
    def end(self) -> Position:
        """The position after the newest publication."""
        return Position(self.epoch, self.last)

    @property
    def retention(self) -> Retention:
        """What is kept of the log, as clients are told."""
        config = self.config
        return Retention(config.history_count, config.history_bytes, config.history_age_s)

    @property
    def is_overfull(self) -> bool:
        """Whether so much waits for live subscribers that no more should be appended now."""
        if len(self._log) <= MIN_UNDELIVERED_COUNT and self._size_bytes <= MIN_UNDELIVERED_BYTES:
            return False
        bounds = self.config
        count = max(bounds.history_count, bounds.lag_count, MIN_UNDELIVERED_COUNT)
        size = max(bounds.history_bytes, bounds.lag_bytes, MIN_UNDELIVERED_BYTES)
        return len(self._log) > count or self._size_bytes > size

    def append(self, publication: Publication) -> None:
        """Keep publication, whose offset is last + 1, as the newest of the log."""
        size = publication.size_bytes
        self._size_bytes += size
        grown_bytes = size + PUBLICATION_BYTES
        if publication.tags is not None:
            grown_bytes += TAG_BYTES * len(publication.tags)
        if self._log is _NOTHING:
            self._log = deque()
        self._log.append(publication)
        self.last = publication.offset
        self.used = publication.time
        self._memory.used_bytes += grown_bytes - self._drop_oldest(publication.time)

    def read(self, after: int, up_to: int, *, max_bytes: int) -> list[Publication]:
        """Return publications after + 1 to up_to, oldest first, as many as max_bytes hold.

        At least one is returned where there is one; after must not be below first - 1.
        """
        first = self.first
        if up_to == after + 1:  # as in most flushes
            return [self._log[up_to - first]]
        chosen: list[Publication] = []
        size = 0
        for index in range(after + 1 - first, up_to + 1 - first):
            publication = self._log[index]
            size += publication.size_bytes
            if size > max_bytes and chosen:
                break
            chosen.append(publication)
        return chosen

    def resume(self, position: Position) -> tuple[int, Missing | None]:
        """Return the offset after which a reader at position goes on, and what it has missed.

        An epoch that is not this log's, or an offset beyond its end, belongs to another log: the
        reader goes on from the oldest publication kept here.
        """
        self.trim()
        if position.epoch != self.epoch or position.offset > self.last:
            return self.first - 1, Missing(1, self.first - 1, "epoch")
        return self.skip_lost(position.offset, "expired")

    def skip_lost(self, after: int, reason: GapReason) -> tuple[int, Missing | None]:
        """Return after, or the offset before the oldest kept, and what is lost in between."""
        if after >= self.first - 1:
            return after, None
        return self.first - 1, Missing(after + 1, self.first - 1, reason)

    def page(
        self, position: Position | None, *, limit: int, max_bytes: int, is_reverse: bool
    ) -> Page:
        """Return up to limit publications after position; with is_reverse up to it, newest first.

        Without position a page begins at the oldest kept, or with is_reverse at the newest. What
        has left the log beyond the position in that direction is missing, and the position of the
        page is behind it, so that it is told once.
        """
        self.trim()
        if is_reverse:
            return self._page_before(position, limit, max_bytes)
        after, missing = (self.first - 1, None) if position is None else self.resume(position)
        publications = self.read(after, min(self.last, after + limit), max_bytes=max_bytes)
        end = after + len(publications)
        return Page(publications, Position(self.epoch, end), missing, has_more=end < self.last)

    def _page_before(self, position: Position | None, limit: int, max_bytes: int) -> Page:
        until, missing = self._resume_before(position)
        publications: list[Publication] = []
        size = 0
        for offset in range(until, max(until - limit, self.first - 1), -1):
            publication = self._log[offset - self.first]
            size += publication.size_bytes
            if size > max_bytes and publications:
                break
            publications.append(publication)
        end = until - len(publications)
        return Page(publications, Position(self.epoch, end), missing, has_more=end >= self.first)

    def _resume_before(self, position: Position | None) -> tuple[int, Missing | None]:
        """Return the offset up to which a reverse reader at position reads, and what is missing."""
        if position is None:
            return self.last, None
        if position.epoch != self.epoch or position.offset > self.last:
            return self.last, Missing(1, self.first - 1, "epoch")
        if 0 < position.offset < self.first:
            return 0, Missing(1, position.offset, "expired")
        return position.offset, None

    def trim(self) -> None:
        """Drop the oldest publications that no bound covers any more."""
        if self._log:
            self._memory.used_bytes -= self._drop_oldest(self._clock())

    def clear(self) -> None:
        """Keep nothing; only for a stream that nobody follows."""
        if self._log:
            self._memory.used_bytes -= self._drop_oldest(math.inf)

    def _drop_oldest(self, now: float) -> int:
        """Drop what no bound covers of a log that is not empty; return the memory it took."""
        log, bounds = self._log, self.config
        count, size, age = bounds.history_count, bounds.history_bytes, bounds.history_age_s
        if self.lagging_count:
            count, size = max(count, bounds.lag_count), max(size, bounds.lag_bytes)
            age = max(age, bounds.lag_age_s)
        expired = now - age
        size_bytes = self._size_bytes
        if len(log) <= count and size_bytes <= size and log[0].time > expired:
            return 0
        freed_bytes = 0
        keep_count = 0 if self.delivered is None else self.last - self.delivered
        while len(log) > keep_count and (
            len(log) > count or size_bytes > size or log[0].time <= expired
        ):
            oldest = log.popleft()
            dropped_bytes = oldest.size_bytes
            size_bytes -= dropped_bytes
            freed_bytes += dropped_bytes + PUBLICATION_BYTES
            if oldest.tags is not None:
                freed_bytes += TAG_BYTES * len(oldest.tags)
        if not log:
            self._log = _NOTHING
        self._size_bytes = size_bytes
        return freed_bytes
