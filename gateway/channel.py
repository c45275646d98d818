"""One channel as the hub sees it: its stream, and which of its subscriptions is where.

Here is the innermost loop of the gateway: one encoded batch to every live subscription.
"""

from collections.abc import Iterator
from typing import NamedTuple

from gateway.session import Encode, Positions, Subscription
from gateway.stream import Stream


class Batch(NamedTuple):
    """One encoding of a slice of a channel, and who has not been given it yet."""

    encode: Encode
    data: bytes
    waiting: set[Subscription]


class Channel:
    """One channel's subscriptions on this node.

    Each is in exactly one place: live (given everything up to stream.delivered), waiting in a
    batch (given everything up to the flush before), or lagging.
    """

    __slots__ = ("batches", "given_before", "is_dirty", "lagging", "live", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.live: dict[Encode, set[Subscription]] = {}
        self.lagging: set[Subscription] = set()
        self.batches: list[Batch] = []
        self.given_before = 0  # what those who wait in batches have been given
        self.is_dirty = False

    @property
    def is_empty(self) -> bool:
        """Whether nobody is subscribed."""
        return next(iter(self), None) is None

    @property
    def subscriber_count(self) -> int:
        """How many are subscribed."""
        sets = [*self.live.values(), *(batch.waiting for batch in self.batches), self.lagging]
        return sum(len(each) for each in sets)

    def __iter__(self) -> Iterator[Subscription]:
        for subscriptions in self.live.values():
            yield from subscriptions
        for batch in self.batches:
            yield from batch.waiting
        yield from self.lagging

    def go_live(self, subscription: Subscription) -> None:
        """Move a lagging subscription that has reached stream.delivered to the live ones."""
        self.lagging.discard(subscription)
        self.stream.lagging_count = len(self.lagging)
        self.live.setdefault(subscription.session.encode, set()).add(subscription)
        subscription.is_live = True

    def add_lagging(self, subscription: Subscription) -> None:
        """Take in a subscription that is not live."""
        self.lagging.add(subscription)
        self.stream.lagging_count = len(self.lagging)

    def fall_behind(self, subscription: Subscription) -> None:
        """Move a live or waiting subscription to the lagging ones, with a position of its own."""
        subscription.offset = self._leave_live(subscription)
        subscription.is_live = False
        self.add_lagging(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Take a subscription out, wherever it is."""
        if subscription.is_live:
            self._leave_live(subscription)
        else:
            self.lagging.discard(subscription)
            self.stream.lagging_count = len(self.lagging)

    def begin_flush(self, positions: Positions, *, max_bytes: int) -> int:
        """Encode the next slice of the stream for all live subscriptions; return its length."""
        stream = self.stream
        self.given_before = stream.delivered or 0
        slice_ = stream.read(self.given_before, stream.last, max_bytes=max_bytes)
        stream.delivered = self.given_before + len(slice_)
        live, self.live = self.live, {}
        self.batches = [
            Batch(encode, encode(stream, slice_, positions), waiting)
            for encode, waiting in live.items()
        ]
        return len(slice_)

    def write_batches(self, budget: int) -> int:
        """Write to up to budget waiting subscriptions; return how many that were.

        A write may pause its session, and so take subscriptions out of the sets in use here.
        """
        written = 0
        while self.batches:
            encode, data, waiting = self.batches[-1]
            live = self.live.setdefault(encode, set())
            while waiting:
                if written == budget:
                    return written
                subscription = waiting.pop()
                live.add(subscription)
                written += 1
                try:  # noqa: SIM105 - suppress() would cost a tenth of a delivery
                    subscription.write(data)
                except RuntimeError:
                    # uvloop refuses to write between a socket's failure and its connection_lost,
                    # which then removes the session.
                    pass
            self.batches.pop()
            if not live:
                self.live.pop(encode, None)
        return written

    def _leave_live(self, subscription: Subscription) -> int:
        """Take a subscription out of live or waiting; return the offset it has been given."""
        for batch in self.batches:
            if subscription in batch.waiting:
                batch.waiting.remove(subscription)
                return self.given_before
        encode = subscription.session.encode
        live = self.live[encode]
        live.remove(subscription)
        if not live and not self.batches:
            del self.live[encode]
        return self.stream.delivered or 0
