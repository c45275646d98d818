"""Judges what clients are given: every publication in order, once, or a gap that names it exactly.

Pure: a Reader is told what one client received, in the order in which it did, and where the client
stood before; faults are counted in the Tally that all readers share.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

from loadtest.losses.ledger import Ledger, Place
from loadtest.losses.payload import Mangled, read_data
from protocol.cursor import Position

# lost: neither given nor announced. unannounced: a new epoch, or a loss that was admitted, without
# its gap. wrong: data, a gap or an answer that cannot be true.
FAULTS: Final = ("lost", "duplicated", "reordered", "unannounced", "wrong")
# As many are told in full; the rest is counted.
_MAX_CASES: Final = 10

# A push of the client protocol as it was decoded: who wrote it is on trial, so nothing is assumed.
Push = dict[str, Any]


class Tally:
    """What was tried and what was found, by all clients together."""

    def __init__(self) -> None:
        self.visits: Counter[str] = Counter()  # by transport
        self.delivery_count = 0
        self.gaps: Counter[str] = Counter()  # by reason
        self.announced_count = 0  # publications that gaps announced as missing
        self.faults: Counter[str] = Counter()
        self.cases: list[str] = []

    def fault(self, kind: str, case: str, count: int = 1) -> None:
        """Count a fault of that kind; the first of all are kept in full."""
        self.faults[kind] += count
        if len(self.cases) < _MAX_CASES:
            self.cases.append(f"{kind}: {case}")


class Reader:
    """One client's account: where it stands in each channel, whatever transport it comes by.

    is_durable says that logs outlive a restart, so that no epoch may end.
    """

    def __init__(self, name: str, tally: Tally, ledger: Ledger, *, is_durable: bool) -> None:
        self.positions: dict[str, Position] = {}
        self.cursor: str | None = None  # the transport's own word for positions, where it gave one
        self._name = name
        self._tally = tally
        self._ledger = ledger
        self._is_durable = is_durable
        self._transport = "nowhere"
        self._owed: set[str] = set()  # channels in which a loss was admitted, and no gap came yet
        self._missed: dict[str, list[range]] = defaultdict(list)
        self._judges: dict[str, Callable[[Push], None]] = {
            "subscribed": self._judge_subscribed,
            "message": self._judge_message,
            "gap": self._judge_gap,
        }

    def begin_visit(self, transport: str) -> None:
        """Note that the client comes back by transport, from where it stands."""
        self._transport = transport
        self._tally.visits[transport] += 1
        self._owed.clear()

    def take(self, push: Push) -> None:
        """Judge one push: `subscribed`, `message` or `gap`."""
        self._judges[push["type"]](push)

    def take_answer(self, answer: Push) -> None:
        """Judge the answer to a poll, whose gaps stand beside its messages, and keep its cursor."""
        for channel, place in answer["positions"].items():
            # Without a position a poll begins with whatever it gives first.
            given = [each["offset"] for each in answer["messages"] if each["channel"] == channel]
            start = given[0] - 1 if given else place["offset"]
            self.positions.setdefault(channel, Position(place["epoch"], start))
        for push in _merge(answer["messages"], answer["gaps"]):
            self.take(push)
        for channel, place in answer["positions"].items():
            position = Position(place["epoch"], place["offset"])
            known = self.positions[channel]
            if known.epoch != position.epoch:
                self.fault("unannounced", f"{channel}: at {known}, the cursor says {position}")
            elif known.offset < position.offset:
                missing = position.offset - known.offset
                self.fault("lost", f"{channel}: at {known}, the cursor says {position}", missing)
            elif known.offset > position.offset:
                self.fault("wrong", f"{channel}: given up to {known}, the cursor says {position}")
            self.positions[channel] = position
        self.cursor = answer["cursor"]

    def finish(self, ends: dict[str, Position]) -> None:
        """Judge where the client stands after the last publication."""
        for channel, known in self.positions.items():
            end = ends[channel]
            if known.epoch != end.epoch:
                self.fault("lost", f"{channel}: stands at {known}, which ended; now it is {end}")
            elif known.offset != end.offset:
                missing = abs(end.offset - known.offset)
                self.fault("lost", f"{channel}: stands at {known}, the end is {end}", missing)

    def fault(self, kind: str, what: str, count: int = 1) -> None:
        """Count a fault that this client met."""
        self._tally.fault(kind, f"{self._name} by {self._transport}: {what}", count)

    def _judge_subscribed(self, push: Push) -> None:
        channel, position = push["channel"], Position(push["epoch"], push["offset"])
        known = self.positions.setdefault(channel, position)
        if not push["recovered"]:
            if known is not position:
                self._owed.add(channel)
        elif position != known:
            self.fault("unannounced", f"{channel}: came from {known}, goes on from {position}")
            self.positions[channel] = position

    def _judge_message(self, push: Push) -> None:
        self._tally.delivery_count += 1
        channel, offset = push["channel"], push["offset"]
        position = self.positions.get(channel)
        if position is None:
            self.fault("wrong", f"{channel}: offset {offset} before it was subscribed")
            return
        if channel in self._owed:
            self._owed.discard(channel)
            self.fault("unannounced", f"{channel}: offset {offset} instead of a gap at {position}")
        self._judge_order(channel, position, offset)
        try:
            identity = read_data(channel, push["data"])
        except Mangled as mangled:
            self.fault("wrong", f"{channel}: at offset {offset} of {position.epoch}: {mangled}")
            return
        problem = self._ledger.see(identity, Place(channel, position.epoch, offset))
        if problem:
            self.fault("wrong", problem)

    def _judge_order(self, channel: str, position: Position, offset: int) -> None:
        expected = position.offset + 1
        if offset == expected:
            pass
        elif offset > expected:
            text = f"{channel}: offset {offset} of {position.epoch} where {expected} was next"
            self.fault("lost", text, offset - expected)
            self._missed[channel].append(range(expected, offset))
        else:
            is_late = any(offset in missed for missed in self._missed[channel])
            kind = "reordered" if is_late else "duplicated"
            self.fault(kind, f"{channel}: offset {offset} of {position.epoch} at {position.offset}")
            return
        self.positions[channel] = Position(position.epoch, offset)

    def _judge_gap(self, push: Push) -> None:
        channel, reason = push["channel"], push["reason"]
        first, last = push["from"], push["to"]
        self._tally.gaps[reason] += 1
        self._tally.announced_count += max(0, last + 1 - first)
        position = self.positions.get(channel)
        if position is None:
            self.fault("wrong", f"a gap before its channel was subscribed: {push}")
            return
        self._owed.discard(channel)
        if reason == "epoch":
            is_true = push["epoch"] != position.epoch and first == 1 and not self._is_durable
            self._missed[channel].clear()
        else:
            is_true = (push["epoch"], first) == (position.epoch, position.offset + 1)
            is_true = is_true and last >= first
        if not is_true:
            self.fault("wrong", f"a gap that cannot be, at {position}: {push}")
        self._missed[channel].append(range(first, last + 1))
        self.positions[channel] = Position(push["epoch"], last)


def _merge(messages: list[Push], gaps: list[Push]) -> Iterable[Push]:
    """Yield messages in their order, each gap before the first of its channel that is past it."""
    waiting = list(gaps)
    for message in messages:
        due = [
            gap
            for gap in waiting
            if gap["channel"] == message["channel"] and gap["from"] <= message["offset"]
        ]
        for gap in due:
            waiting.remove(gap)
        yield from due
        yield message
    yield from waiting
