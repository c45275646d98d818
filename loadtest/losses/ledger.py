"""What was published, and where it went: what all that clients see is compared with."""

from collections import defaultdict
from typing import NamedTuple

from loadtest.losses.payload import Identity


class Place(NamedTuple):
    """Where one publication is."""

    channel: str
    epoch: str
    offset: int


class Ledger:
    """One place per publication, one publication per place; whoever tells it first is believed.

    A publication whose answer was lost may have a place or none, but not two. The methods return
    what contradicts what is known, or nothing.
    """

    def __init__(self) -> None:
        self._sent: dict[int, int] = defaultdict(int)
        self._acknowledged: set[Identity] = set()
        self._refused: set[Identity] = set()
        self._repeated: set[Identity] = set()
        self._logs: dict[tuple[str, str], dict[int, Identity]] = defaultdict(dict)
        self._places: dict[Identity, Place] = {}
        self._acknowledged_end: dict[tuple[str, str], int] = defaultdict(int)

    @property
    def acknowledged_count(self) -> int:
        """How many publications were acknowledged, once or more often."""
        return len(self._acknowledged)

    @property
    def repeated_count(self) -> int:
        """How many publications were sent more than once."""
        return len(self._repeated)

    def send(self, publisher: int) -> Identity:
        """Return the next identity of publisher, which from now on may be seen."""
        self._sent[publisher] += 1
        return Identity(publisher, self._sent[publisher])

    def repeat(self, identity: Identity) -> None:
        """Note that identity is sent again, because its answer was lost."""
        self._repeated.add(identity)

    def refuse(self, identity: Identity) -> str:
        """Note that identity was refused: it must have no place.

        The refusal of a repetition says nothing of what came before it.
        """
        if identity in self._repeated:
            return ""
        self._refused.add(identity)
        place = self._places.get(identity)
        return f"{identity} was refused, but seen at {place}" if place else ""

    def acknowledge(self, identity: Identity, place: Place) -> str:
        """Note what a publisher was answered."""
        self._acknowledged.add(identity)
        log = (place.channel, place.epoch)
        self._acknowledged_end[log] = max(self._acknowledged_end[log], place.offset)
        return self._settle(identity, place)

    def see(self, identity: Identity, place: Place) -> str:
        """Note what a client was given."""
        if identity.sequence > self._sent[identity.publisher]:
            return f"{identity} was never sent, but seen at {place}"
        if identity in self._refused:
            return f"{identity} was refused, but seen at {place}"
        return self._settle(identity, place)

    def count_vanished(self, channel: str, epoch: str, end: int) -> int:
        """Return how many publications were acknowledged behind the end of that epoch's log."""
        return max(0, self._acknowledged_end[channel, epoch] - end)

    def find_misplaced(self) -> list[str]:
        """Return where the order of a log is not the order in which a publisher sent.

        A repeated publication may have taken its first place or a later one.
        """
        problems = []
        for (channel, epoch), log in self._logs.items():
            latest: dict[int, int] = defaultdict(int)
            for offset in sorted(log):
                identity = log[offset]
                if identity in self._repeated:
                    continue
                if identity.sequence < latest[identity.publisher]:
                    place = Place(channel, epoch, offset)
                    problems.append(
                        f"{identity} is at {place}, behind a later one of its publisher"
                    )
                latest[identity.publisher] = identity.sequence
        return problems

    def _settle(self, identity: Identity, place: Place) -> str:
        log = self._logs[place.channel, place.epoch]
        known = log.setdefault(place.offset, identity)
        if known != identity:
            return f"{identity} is at {place}, where {known} was before"
        first = self._places.setdefault(identity, place)
        if first == place:
            return ""
        if identity in self._repeated and first.epoch != place.epoch:
            return ""  # the log that knew it is gone
        return f"{identity} is at {place}, and at {first} as well"
