"""What publishing does to a channel: offsets, expected offsets and idempotency keys. Pure.

A broker asks sequence() for the publications and places of some drafts, and then appends and
remembers; what sequence() refuses has changed nothing. A broker that commits later passes as last
the offset of the last publication that it has sequenced, and remembers keys at once, so that a
repeat waits in line behind the first; where the commit fails it gives up everything that was
sequenced since, and forgets those keys.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Final, TypeAlias

from gateway.broker import Draft
from gateway.config import ChannelConfig
from gateway.stream import LogMemory
from protocol.codes import ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError, OffsetConflict
from protocol.publication import Publication

# What a remembered key takes in memory with a text of 36 characters, as a UUID has: 175 bytes
# beside the text, by tracemalloc with 10,000 of them.
KEY_BYTES: Final = 260

# What is to be appended, the place of each draft, and the keys used now with their offsets.
Sequenced: TypeAlias = tuple[list[Publication], list[Position], dict[str, int]]


class IdempotencyKeys:
    """The idempotency keys that one channel remembers, each with the offset it was used for.

    Oldest first, which is the order in which they expire as long as the clock runs forward and
    the window of the channel stays the same. What they take is added to memory, and taken away
    again with each key that goes: clear() before keys are let go.
    """

    __slots__ = ("_memory", "_uses")

    def __init__(self, memory: LogMemory) -> None:
        self._memory = memory
        # An OrderedDict, because finding the oldest of a dict walks over all that were deleted.
        self._uses: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._uses)

    @property
    def next_expiry(self) -> float | None:
        """When the oldest key expires, by the broker's clock; None where there is none."""
        return next(iter(self._uses.values()))[1] if self._uses else None

    def find(self, key: str) -> int | None:
        """Return the offset that key was used for, None where it is not remembered."""
        use = self._uses.get(key)
        return None if use is None else use[0]

    def remember(self, offsets: Mapping[str, int], until: float) -> None:
        """Remember keys with their offsets until then; none of them may be remembered already."""
        for key, offset in offsets.items():
            self._uses[key] = offset, until
        self._memory.used_bytes += KEY_BYTES * len(offsets)

    def forget(self, keys: Iterable[str]) -> None:
        """Forget keys whose publications did not come about."""
        for key in keys:
            if self._uses.pop(key, None) is not None:
                self._memory.used_bytes -= KEY_BYTES

    def clear(self) -> None:
        """Forget all keys."""
        self._memory.used_bytes -= KEY_BYTES * len(self._uses)
        self._uses.clear()

    def expire(self, now: float) -> None:
        """Forget the keys whose time has come; costs nothing where there are none."""
        uses = self._uses
        while uses and next(iter(uses.values()))[1] <= now:
            uses.popitem(last=False)
            self._memory.used_bytes -= KEY_BYTES


NO_KEYS: Final = IdempotencyKeys(LogMemory())


def sequence(
    drafts: Sequence[Draft],
    epoch: str,
    last: int,
    now: float,
    keys: IdempotencyKeys,
    config: ChannelConfig,
) -> Sequenced:
    """Return what publishing drafts does to a channel that ends at last; now is their time.

    A draft whose key is remembered, or stands earlier in drafts, has the place of the first and is
    not appended, whatever else it says: the key alone decides. A publisher that tries again often
    builds the data anew, with another time stamp or order of names; to refuse that would tell it
    that its publication failed, when it did not. Nor is its expected_offset looked at, or trying
    again after a lost answer would conflict with what it has published itself.

    Raises OffsetConflict where an expected_offset is not the end of the channel and the drafts
    before; MessageError (overloaded) where more keys would be remembered than config allows, and
    (unsupported) where it allows none. keys is only relieved of what has expired.
    """
    offset = last
    publications: list[Publication] = []
    places: list[Position] = []
    used: dict[str, int] = {}
    for data, key, tags, idempotency_key, expected_offset, unechoed in drafts:
        if idempotency_key is not None:
            keys.expire(now)
            first = used.get(idempotency_key) or keys.find(idempotency_key)
            if first is not None:
                places.append(Position(epoch, first))
                continue
            used[idempotency_key] = offset + 1
        if expected_offset is not None and expected_offset != offset:
            raise _conflict(epoch, last, expected_offset, len(publications))
        offset += 1
        publications.append(Publication(offset, data, now, key, tags, unechoed))
        places.append(Position(epoch, offset))
    if used:
        _check_room(keys, len(used), now, config)
    return publications, places, used


def _conflict(epoch: str, last: int, expected_offset: int, before_count: int) -> OffsetConflict:
    text = f"expected offset {expected_offset}, but the channel ends at {last}"
    if before_count:
        text += f" (at {last + before_count} with what is before it in this batch)"
    return OffsetConflict(epoch, last, text)


def _check_room(keys: IdempotencyKeys, count: int, now: float, config: ChannelConfig) -> None:
    """Raise MessageError unless so many more keys may be remembered."""
    limit = config.max_idempotency_keys
    if not limit or not config.idempotency_window_s:
        text = "this channel remembers no idempotency keys"
        raise MessageError(ErrorCode.UNSUPPORTED, text)
    if len(keys) + count > limit:
        text = f"this channel remembers at most {limit} idempotency keys, and forgets none early"
        expiry = keys.next_expiry
        wait_ms = None if expiry is None else ceil((expiry - now) * 1000)
        raise MessageError(ErrorCode.OVERLOADED, text, retry_after_ms=wait_ms)
