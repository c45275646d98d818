"""What is between the calls of the durable broker and the disk: channels in memory, publications.

Offsets are given when publish is called, in the order of calls; a publication enters its stream
once it is committed. The two ends of a log in between are kept here.
"""

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gateway.broker import Draft
from gateway.brokers.database import Growth, Kept, Key
from gateway.brokers.sequence import IdempotencyKeys
from gateway.errors import BrokerUnavailable
from gateway.stream import PUBLICATION_BYTES, TAG_BYTES, Stream
from protocol.cursor import Position
from protocol.publication import Publication

# A call that waits, its future and its lists, by tracemalloc.
_CALL_BYTES: Final = 700


class Waiting(NamedTuple):
    """A call for a channel that is being read from the disk."""

    go_on: Callable[["Log"], None]
    fail: Callable[[BrokerUnavailable], None]


class Log:
    """A channel in memory. Until it has been read, calls wait, and there is no stream.

    Offsets are given up to sequenced; the stream ends with what is committed. pending_count is how
    many calls of publish are in between. newest is the time of the last publication: the clock of
    another run may have been ahead, and times do not go back within a channel.
    """

    __slots__ = ("id", "keys", "name", "newest", "pending_count", "sequenced", "stream", "waiting")

    id: int
    stream: Stream

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: list[Waiting] | None = []
        self.keys: IdempotencyKeys | None = None
        self.sequenced = 0
        self.pending_count = 0
        self.newest = 0.0

    def fill(self, kept: Kept, stream: Stream) -> None:
        """Have what was kept on disk in stream, which is new."""
        self.id, self.stream, self.sequenced = kept.channel, stream, kept.last
        used, stream.last = stream.used, kept.last
        for publication in kept.publications:
            stream.append(publication)
        if kept.publications:
            self.newest = kept.publications[-1].time
        stream.used = used
        stream.trim()

    def clear(self) -> None:
        """Take no more memory."""
        self.stream.clear()
        if self.keys is not None:
            self.keys.clear()


class Publishing:
    """One call of publish: what becomes of its drafts, and where to tell."""

    __slots__ = (
        "drafts",
        "expires",
        "future",
        "log",
        "places",
        "publications",
        "size_bytes",
        "used",
    )

    log: Log
    expires: float

    def __init__(
        self, drafts: Sequence[Draft], future: "Future[list[Position]]", size_bytes: int
    ) -> None:
        self.drafts = drafts
        self.future = future
        self.size_bytes = size_bytes
        self.publications: list[Publication] = []
        self.places: list[Position] = []
        self.used: dict[str, int] = {}


def measure(drafts: Sequence[Draft]) -> int:
    """Return about how many bytes one call of publish takes until it is answered."""
    size = _CALL_BYTES
    for data, key, tags, *_ in drafts:
        size += PUBLICATION_BYTES + len(data.json)
        if key is not None:
            size += len(key)
        if tags is not None:
            size += sum(TAG_BYTES + len(name) + len(text) for name, text in tags.items())
    return size


def group(writing: list[Publishing]) -> list[Growth]:
    """Return what each channel gains by writing, in the order in which it was sequenced."""
    by_log: dict[Log, list[Publishing]] = {}
    for publishing in writing:
        if publishing.publications:  # none where all are repeats
            by_log.setdefault(publishing.log, []).append(publishing)
    return [_grow(log, each) for log, each in by_log.items()]


def _grow(log: Log, writing: list[Publishing]) -> Growth:
    stream, bounds = log.stream, log.stream.config
    publications = [each for publishing in writing for each in publishing.publications]
    last = publications[-1].offset
    is_kept = bounds.history_count and bounds.history_bytes and bounds.history_age_s
    keys = [
        Key(key, offset, publishing.expires)
        for publishing in writing
        for key, offset in publishing.used.items()
    ]
    return Growth(
        log.id,
        log.name,
        stream.epoch,
        last,
        max(stream.first, last - bounds.history_count + 1),
        bounds.history_age_s,
        publications[-bounds.history_count :] if is_kept else [],
        keys,
    )
