"""One channel as the hub sees it: its stream, and which of its subscriptions is where.

Here is the innermost loop of the gateway: one encoded batch to every live subscription.
"""

from collections.abc import Iterator
from typing import Final

from gateway.session import Encode, Positions, Subscription
from gateway.stream import Stream
from protocol.publication import Publication

# Publications of one slice: what is small as data may be large once encoded, an event with its
# cursor above all.
MAX_SLICE_COUNT: Final = 256


class Batch:
    """One encoding of a slice of a channel, made when it is first written, and who waits for it."""

    __slots__ = ("data", "encode", "waiting")

    def __init__(self, encode: Encode, waiting: set[Subscription]) -> None:
        self.encode = encode
        self.waiting = waiting
        self.data = b""


class Channel:
    """One channel's subscriptions on this node.

    Each is in exactly one place: live (given everything up to stream.delivered), waiting in a
    batch (given everything up to the flush before), or lagging.
    """

    __slots__ = ("batches", "given_before", "is_dirty", "lagging", "live", "slice", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.live: dict[Encode, set[Subscription]] = {}
        self.lagging: set[Subscription] = set()
        self.slice: list[Publication] = []  # what batches carry
        self.batches: list[Batch] = []
        self.given_before = 0  # what those who wait in batches have been given
        self.is_dirty = False

    @property
    def is_empty(self) -> bool:
        """Whether nobody is subscribed."""
        if self.lagging or any(self.live.values()):
            return False
        return not any(batch.waiting for batch in self.batches)

    @property
    def subscriber_count(self) -> int:
        """How many are subscribed."""
        waiting_count = sum([len(batch.waiting) for batch in self.batches])
        return len(self.lagging) + waiting_count + sum(map(len, self.live.values()))

    def __iter__(self) -> Iterator[Subscription]:
        for subscriptions in self.live.values():
            yield from subscriptions
        for batch in self.batches:
            yield from batch.waiting
        yield from self.lagging

    def go_live(self, subscription: Subscription) -> None:
        """Move a lagging subscription that has reached stream.delivered to the live ones."""
        self.live.setdefault(subscription.session.encode, set()).add(subscription)
        subscription.is_live = subscription.has_been_live = True
        subscription.latest = None
        self._end_lagging(subscription)

    def add_lagging(self, subscription: Subscription) -> None:
        """Take in a subscription that is not live."""
        self.lagging.add(subscription)
        self._count_lagging()

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
            self._end_lagging(subscription)
        if self.is_empty:  # perhaps amid a flush, which nobody will end
            self.stream.lagging_count = 0

    def begin_flush(self, *, max_bytes: int) -> None:
        """Take the next slice of the stream, and have every live subscription wait for it."""
        stream = self.stream
        self.given_before = stream.delivered or 0
        up_to = min(stream.last, self.given_before + MAX_SLICE_COUNT)
        self.slice = stream.read(self.given_before, up_to, max_bytes=max_bytes)
        stream.delivered = self.given_before + len(self.slice)
        live, self.live = self.live, {}
        self.batches = [Batch(encode, waiting) for encode, waiting in live.items()]
        self._count_lagging()

    @property
    def work_bytes(self) -> int:
        """How much there is to encode for all batches of a flush that has just begun."""
        return len(self.batches) * sum([each.size_bytes for each in self.slice])

    @property
    def unechoed(self) -> set[str]:
        """The sessions that published some of slice and do not want to receive it."""
        return {each.unechoed for each in self.slice if each.unechoed is not None}

    def write_batches(self, positions: Positions, budget: int) -> int:
        """Write to up to budget waiting subscriptions; return how many that were.

        What an encoder raises comes out with its batch still the last of batches.
        """
        written = 0
        while self.batches:
            batch = self.batches[-1]
            if batch.waiting:
                if not batch.data:
                    # Positions do not move during a flush, so it is the same whenever it is made.
                    batch.data = batch.encode(self.stream, self.slice, positions)
                written += self._write_batch(batch, budget - written)
                if batch.waiting:
                    break
            self.batches.pop()
            self._count_lagging()
        return written

    def _write_batch(self, batch: Batch, budget: int) -> int:
        """Write to up to budget of those who wait for batch; return how many that were.

        All of them count as live, given the batch, before the first is written to: a write may
        pause its session, which leaves the live ones then. Who leaves is written to all the same.
        """
        chosen = self._take_waiting(batch, budget)
        if batch.encode in self.live:
            self.live[batch.encode] |= chosen
        else:
            self.live[batch.encode] = chosen
        data, count = batch.data, len(chosen)
        unwritten = iter(list(chosen))
        try:
            for subscription in unwritten:
                try:  # noqa: SIM105 - suppress() would cost a tenth of a delivery
                    subscription.write(data)
                except RuntimeError:
                    # uvloop refuses to write between a socket's failure and its connection_lost,
                    # which then removes the session.
                    pass
        except BaseException:
            for subscription in unwritten:
                self._leave_live(subscription)
                batch.waiting.add(subscription)
            raise
        return count

    def _take_waiting(self, batch: Batch, count: int) -> set[Subscription]:
        """Return up to count of those who wait for batch, who then do not any more."""
        waiting = batch.waiting
        if len(waiting) > count:
            return {waiting.pop() for _ in range(count)}
        batch.waiting = set()
        return waiting

    def give_up_batch(self) -> list[Subscription]:
        """Return who waits for the last batch, which cannot be encoded; they lag behind it."""
        waiting = list(self.batches[-1].waiting)
        for subscription in waiting:
            self.fall_behind(subscription)
        self.batches.pop()
        self._count_lagging()
        return waiting

    def _end_lagging(self, subscription: Subscription) -> None:
        """Take a subscription out of the lagging ones; with the last the log need not wait."""
        self.lagging.discard(subscription)
        self._count_lagging()
        if not self.stream.lagging_count:
            self.stream.trim()

    def _count_lagging(self) -> None:
        """Tell the stream that somebody lags; who waits in a batch may yet fall behind it."""
        self.stream.lagging_count = len(self.lagging) + len(self.batches)

    def _leave_live(self, subscription: Subscription) -> int:
        """Take a subscription out of live or waiting; return the offset it has been given."""
        for batch in self.batches:
            if subscription in batch.waiting:
                batch.waiting.remove(subscription)
                return self.given_before
        encode = subscription.session.encode
        live = self.live[encode]
        live.remove(subscription)
        if not live:
            del self.live[encode]
        return self.stream.delivered or 0
