"""The promise, as a judge of what one connection is told, at the moment the gateway writes it."""

from typing import Any

import msgpack

from gateway.stream import Stream
from protocol.cursor import Position, decode_cursor
from tests.gateway.promise.ledger import Entry, Ledger

Push = dict[str, Any]
# Where a subscription was asked to begin: at a position, with the last n publications, or now.
Start = Position | int | None


class Told:
    """What one connection has been told of one channel."""

    def __init__(self, epoch: str, offset: int, overflow: str, gap_due: str | None) -> None:
        self.epoch = epoch
        self.offset = offset
        self.overflow = overflow
        self.gap_due = gap_due  # the reason of the gap that must come before all else
        self.reason = "slow"  # of the gaps of an overflow
        self.until = 0  # up to here only the newest of each key are given
        self.has_been_live = False

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)


class Judge:
    """Holds what is told against the ledger; own is the session's id, whose echo may be off."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.is_late = False  # judged when it is collected, not when it was read from the log
        self.told: dict[str, Told] = {}
        self.own: str | None = None

    def positions(self) -> dict[str, Position]:
        return {channel: told.position for channel, told in self.told.items()}

    # --- the pushes of one channel, in order ---

    def subscribed(self, push: Push, start: Start) -> None:
        channel, overflow = push["channel"], push["overflow"]
        stream = self.ledger.streams[channel]
        assert channel not in self.told, "subscribed twice"
        assert push["epoch"] == stream.epoch
        offset, gap_due = expected_start(stream, start)
        assert push["offset"] == offset
        assert push["recovered"] is (isinstance(start, Position) and gap_due is None)
        assert decode_cursor(push["cursor"]) == {channel: Position(stream.epoch, offset)}
        assert push["retention"]["count"] == stream.config.history_count
        self.told[channel] = Told(stream.epoch, offset, overflow, gap_due)

    def message(self, push: Push, data: Any, payload: bytes) -> None:
        """Judge a message with its data as a value; a JSON payload holds the data verbatim."""
        channel = push["channel"]
        told = self.told[channel]
        assert told.gap_due is None, "a message where a gap was due"
        self._check_next(channel, push["offset"])
        entry = self.ledger.entry(channel, Position(told.epoch, push["offset"]))
        assert self.own is None or entry.draft.unechoed != self.own, "an echo nobody wanted"
        if push["offset"] <= told.until and not self.is_late:
            assert not self._is_superseded(channel, push["offset"]), "not the latest of its key"
        config = self.ledger.streams[channel].config
        check_content(push, entry, data, payload)
        assert push.get("time") == (round(entry.time, 3) if config.message_time else None)
        told.offset = push["offset"]

    def gap(self, push: Push) -> None:
        channel, first, last, reason = push["channel"], push["from"], push["to"], push["reason"]
        told, stream = self.told[channel], self.ledger.streams[channel]
        assert push["epoch"] == told.epoch == stream.epoch
        if reason == "epoch":
            assert (told.gap_due, first, told.offset) == ("epoch", 1, 0)
            assert last == stream.first - 1 or (self.is_late and last < stream.first)
        else:
            self._check_next(channel, first)
            assert last >= first, "a gap of nothing"
            self._check_loss(channel, push)
        told.gap_due = None
        told.offset = max(last, told.offset)

    def unsubscribed(self, channel: str) -> None:
        del self.told[channel]

    # --- at rest ---

    def check_at_end(self, channel: str) -> None:
        """Fail unless everything there is has been told."""
        told, stream = self.told[channel], self.ledger.streams[channel]
        assert told.gap_due is None, "a gap that never came"
        assert told.epoch == stream.epoch
        assert self._skip_own(channel) - 1 == stream.last == stream.delivered, "left behind"
        told.until = 0
        told.reason = "slow"
        told.has_been_live = True

    # --- details ---

    def _check_next(self, channel: str, offset: int) -> None:
        """Fail unless offset is what comes next; own publications may be left out."""
        told = self.told[channel]
        expected = range(told.offset + 1, self._skip_own(channel) + 1)
        assert offset in expected, f"{offset} where {expected} was due"

    def _skip_own(self, channel: str) -> int:
        """Return the next offset that is not one of the session's own without echo."""
        told = self.told[channel]
        log = self.ledger.logs.get((channel, told.epoch), [])
        offset = told.offset + 1
        while self.own and offset <= len(log) and log[offset - 1].draft.unechoed == self.own:
            offset += 1
        return offset

    def _check_loss(self, channel: str, push: Push) -> None:
        """Fail unless what a gap names is gone, or superseded where the policy is `latest`."""
        told, stream = self.told[channel], self.ledger.streams[channel]
        first, last = push["from"], push["to"]
        if told.gap_due is not None:
            told.reason = told.gap_due
        is_latest = told.overflow == "latest"
        assert push["reason"] in ((told.reason, "slow") if is_latest else (told.gap_due or "slow",))
        if not is_latest:
            assert told.overflow == "gap" or told.gap_due or not told.has_been_live
            assert last == stream.first - 1 or (self.is_late and last < stream.first), (
                "not a true loss"
            )
            return
        if first < stream.first or self.is_late:
            # Nobody follows any more where a poll was the only one.
            told.until = live_end(stream).offset
        assert last <= told.until, "a gap beyond what the policy may leave out"
        for offset in range(max(first, stream.first), last + 1):
            assert self._is_superseded(channel, offset), "the newest of its key is left out"

    def _is_superseded(self, channel: str, offset: int) -> bool:
        told = self.told[channel]
        log = self.ledger.logs[channel, told.epoch]
        later = log[offset : told.until]
        return any(each.draft.key == log[offset - 1].draft.key for each in later)


def expected_start(stream: Stream, start: Start) -> tuple[int, str | None]:
    """Return the offset that a subscription begins after, and the reason of the gap to follow."""
    end = stream.delivered or 0
    if isinstance(start, int):
        return max(end - start, stream.first - 1), None
    if start is None:
        return end, None
    if start.epoch != stream.epoch or start.offset > stream.last:
        return 0, "epoch"
    return start.offset, "expired" if start.offset < stream.first - 1 else None


def live_end(stream: Stream) -> Position:
    """Return where live subscribers of stream stand, or would."""
    return Position(stream.epoch, stream.last if stream.delivered is None else stream.delivered)


def check_content(push: Push, entry: Entry, data: Any, payload: bytes) -> None:
    """Fail unless a message or a record of history is what was published."""
    draft = entry.draft
    assert data == value_of(entry)
    assert push.get("key") == draft.key
    assert push.get("tags") == draft.tags
    if payload:
        assert b'"data":' + draft.data.json in payload, "not verbatim"


def value_of(entry: Entry) -> Any:
    """Return what was published as a Python value, bytes for binary."""
    return msgpack.unpackb(entry.draft.data.as_msgpack())
