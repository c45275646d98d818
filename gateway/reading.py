"""How sessions that lag read on from the logs: a chunk at a time, encoded once for all who read it.

A laggard owns nothing but its position. Chunks end at the same offsets for everybody, so thousands
that resume the same backlog meet at the same chunks, and what is encoded for the first is kept, up
to a bound, until nobody reads on any more.
"""

import sys
from bisect import bisect_right
from collections.abc import Hashable
from contextlib import suppress
from typing import Final, NamedTuple

from gateway.config import ChannelConfig, HubConfig
from gateway.session import Latest, Session, Subscription
from gateway.stream import GapReason, Missing, Stream
from protocol.codes import Disconnect, ErrorCode
from protocol.errors import MessageError
from protocol.messages import Gap, Overflow

# A chunk ends at a multiple of this offset at the latest. With publications of 1 KiB that is
# HubConfig.catch_up_bytes.
CHUNK_COUNT: Final = 64
# Encoded chunks that are kept for the next reader. Sessions that resume the same backlog go through
# it side by side, a few chunks apart; beyond it the oldest is encoded again for who comes late.
MEMO_BYTES: Final = 1024 * 1024
# What keeping a chunk costs besides its data: its key, its places in tables.
_CHUNK_OVERHEAD_BYTES: Final = 500
# Ends that the newest of each key are remembered for: laggards of one channel and moment share one.
# Each holds one offset per key, of at most a whole log.
_MEMO_NEWEST_COUNT: Final = 8
# A write of so many bytes counts as another delivery: its copy in the kernel takes as long.
_DELIVERY_BYTES: Final = 4096
# What a step counts at least of a session's room: a gap and its framing.
_STEP_BYTES: Final = 150
_TOO_SLOW: Final = "too slow: what was to be read next has left the log"
# Publications that are looked at for being the newest of their key, and subscriptions for being
# behind, in the time of one delivery.
_LOOKS_PER_DELIVERY: Final = 20


class TurnBudget:
    """How much of one turn is left for reading on."""

    __slots__ = ("deliveries", "encoded_bytes")

    def __init__(self, config: HubConfig) -> None:
        self.deliveries = config.turn_deliveries
        self.encoded_bytes = config.turn_encoded_bytes

    @property
    def is_spent(self) -> bool:
        """Whether the rest has to wait for the next turn."""
        return self.deliveries <= 0 or self.encoded_bytes <= 0


class Chunk(NamedTuple):
    """Some publications as bytes for one encoding, and the offset of the last.

    work_bytes are those of data, or those it was made of where it is compressed.
    unechoed are the sessions that published one of them and do not want to receive it.
    """

    data: bytes
    last: int
    publication_count: int
    work_bytes: int
    unechoed: frozenset[str]


_NOTHING: Final = Chunk(b"", 0, 0, 0, frozenset())


class Reader:
    """What lagging sessions read, whoever they are."""

    def __init__(self, config: HubConfig) -> None:
        self.gap_count = 0
        self._config = config
        self._chunks: dict[Hashable, Chunk] = {}  # oldest first
        self._chunks_bytes = 0
        self._newest: dict[tuple[Stream, int], list[int]] = {}  # oldest first

    def read_on(self, session: Session, budget: TurnBudget) -> int:
        """Give a lagging session what its socket may take at once; return how many publications.

        At least one is given where one waits. The channels with the shortest backlogs come first,
        so that a busy one does not keep the others waiting. A session whose overflow policy says so
        is ended.
        """
        room = self._config.catch_up_bytes
        count = 0
        budget.deliveries -= len(session.subscriptions) // _LOOKS_PER_DELIVERY
        for subscription in sorted(lagging(session), key=_backlog_count):
            end = subscription.stream.delivered or 0
            if subscription.has_left_log:
                if subscription.overflow == "disconnect" and subscription.has_been_live:
                    session.transport.disconnect(Disconnect.SLOW, _TOO_SLOW)
                    break
                if subscription.overflow == "latest":
                    reason = "slow" if subscription.latest is None else subscription.latest.reason
                    subscription.latest = Latest(end, reason)
            while subscription.offset < end and room > 0 and not session.is_paused:
                chunk = self._step(subscription, end, budget)
                count += chunk.publication_count
                room -= max(chunk.work_bytes, _STEP_BYTES)
        return count

    def forget(self) -> None:
        """Keep no chunk: nobody reads on."""
        self._chunks.clear()
        self._chunks_bytes = 0
        self._newest.clear()

    def gap(self, stream: Stream, missing: Missing) -> Gap:
        """Return the push that tells a client what it will not see, and count it."""
        self.gap_count += 1
        return gap_push(stream.name, stream.epoch, missing)

    def _step(self, subscription: Subscription, end: int, budget: TurnBudget) -> Chunk:
        """Give the next publications up to end, after the gap before them; return what was given.

        There may be none: what is left of the log is a gap, or the session's own, or both.
        """
        session, stream = subscription.session, subscription.stream
        budget.deliveries -= 1
        first, last, reason = self._next_range(subscription, end, budget)
        if first > subscription.offset + 1:
            missing = Missing(subscription.offset + 1, first - 1, reason)
            subscription.offset = missing.last
            with suppress(RuntimeError):  # as in Channel.write_batches
                session.push(self.gap(stream, missing))
        if first > last:
            return _NOTHING
        chunk = self._chunk(session, stream, subscription.offset, last, budget)
        subscription.offset = chunk.last
        if chunk.data:
            with suppress(RuntimeError):
                subscription.write(chunk.data)
        budget.deliveries -= max(chunk.publication_count, len(chunk.data) // _DELIVERY_BYTES)
        return chunk

    def _next_range(
        self, subscription: Subscription, end: int, budget: TurnBudget
    ) -> tuple[int, int, GapReason]:
        """Return the next offsets to give, first and last, and why those before are missing."""
        stream, latest = subscription.stream, subscription.latest
        after = max(subscription.offset, stream.first - 1)
        if latest is None or subscription.offset >= latest.until:
            subscription.latest = None
            return after + 1, end, "slow"
        newest = self._newest_of(stream, latest.until, budget)
        index = bisect_right(newest, after)
        if index == len(newest):
            return latest.until + 1, latest.until, latest.reason
        first = last = newest[index]
        while index + 1 < len(newest) and newest[index + 1] == last + 1:
            index, last = index + 1, last + 1
        return first, last, latest.reason

    def _newest_of(self, stream: Stream, until: int, budget: TurnBudget) -> list[int]:
        """Return the offsets up to until of the newest publication of each key, in order."""
        newest = self._newest.get((stream, until))
        if newest is None:
            publications = stream.read(stream.first - 1, until, max_bytes=sys.maxsize)
            budget.deliveries -= len(publications) // _LOOKS_PER_DELIVERY
            by_key = {each.key: each.offset for each in publications}
            newest = self._newest[stream, until] = sorted(by_key.values())
            while len(self._newest) > _MEMO_NEWEST_COUNT:
                del self._newest[next(iter(self._newest))]
        return newest

    def _chunk(
        self, session: Session, stream: Stream, after: int, up_to: int, budget: TurnBudget
    ) -> Chunk:
        """Return the next publications after `after` for session, without its unechoed ones."""
        up_to = min(up_to, (after // CHUNK_COUNT + 1) * CHUNK_COUNT)
        chunk = self._shared_chunk(session, stream, after, up_to, budget)
        if session.id not in chunk.unechoed:
            return chunk
        # Members of one channel who all leave themselves out would each encode all the others':
        # single publications are shared. Who can publish reads a stream of bytes: they may be
        # joined.
        pieces = [
            self._shared_chunk(session, stream, offset - 1, offset, budget)
            for offset in range(after + 1, chunk.last + 1)
        ]
        heard = [piece for piece in pieces if session.id not in piece.unechoed]
        return Chunk(
            b"".join([piece.data for piece in heard]),
            chunk.last,
            len(heard),
            sum(piece.work_bytes for piece in heard),
            chunk.unechoed,
        )

    def _shared_chunk(
        self, session: Session, stream: Stream, after: int, up_to: int, budget: TurnBudget
    ) -> Chunk:
        """Return publications after + 1 to up_to, or as many as fit; encode them if nobody did."""
        elsewhere = [
            session.position_of(name) for name in session.cursor_channels if name != stream.name
        ]
        key = (session.encode, stream, after, up_to, *elsewhere)
        chunk = self._chunks.get(key)
        if chunk is None:
            publications = stream.read(after, up_to, max_bytes=self._config.catch_up_bytes)
            data = session.encode(stream, publications, session.position_of)
            work_bytes = max(len(data), sum(each.size_bytes for each in publications))
            unechoed = frozenset([each.unechoed for each in publications if each.unechoed])
            last, count = publications[-1].offset, len(publications)
            chunk = Chunk(data, last, count, work_bytes, unechoed)
            budget.encoded_bytes -= work_bytes
            self._remember(key, chunk)
        return chunk

    def _remember(self, key: Hashable, chunk: Chunk) -> None:
        self._chunks[key] = chunk
        self._chunks_bytes += len(chunk.data) + _CHUNK_OVERHEAD_BYTES
        while self._chunks_bytes > MEMO_BYTES and len(self._chunks) > 1:
            oldest = self._chunks.pop(next(iter(self._chunks)))
            self._chunks_bytes -= len(oldest.data) + _CHUNK_OVERHEAD_BYTES


def lagging(session: Session) -> list[Subscription]:
    """Return the subscriptions of session that are behind their channels' live ones."""
    return [each for each in session.subscriptions.values() if not each.is_live]


def _backlog_count(subscription: Subscription) -> int:
    return (subscription.stream.delivered or 0) - subscription.offset


def choose_overflow(config: ChannelConfig, wish: Overflow | None) -> Overflow:
    """Return the policy of a new subscription; raise MessageError for one that is not allowed."""
    if wish is None:
        return config.overflow
    if wish not in config.allowed_overflows:
        allowed = ", ".join(config.allowed_overflows)
        text = f"overflow {wish!r} is not allowed in this channel; allowed: {allowed}"
        raise MessageError(ErrorCode.INVALID_FIELD, text)
    return wish


def gap_push(channel: str, epoch: str, missing: Missing) -> Gap:
    """Return the push that tells a client what it will not see."""
    return Gap(
        channel=channel,
        epoch=epoch,
        from_=missing.first,
        to=missing.last,
        reason=missing.reason,
    )
