"""What a publication of this scenario carries: its publisher, its number, and a sum over it all."""

import random
from typing import Final, NamedTuple
from zlib import crc32

# What JSON, MessagePack and event streams escape, in one, two, three and four bytes of UTF-8.
_TEXT: Final = (
    'plain 0123456789 "quoted" back\\slash\n\r\n\t\x00 äöü € \u2028 \U0001f600 data: ' * 400
)
# In UTF-8 and with JSON's escapes this stays below the 64 KiB of websocket.max_message_bytes.
MAX_PADDING_CHARS: Final = 16_000


class Identity(NamedTuple):
    """One publication as its publisher counts: its sequence is 1, 2, 3, ..."""

    publisher: int
    sequence: int


class Mangled(Exception):
    """Data is not what any publisher sent into this channel."""


def make_data(channel: str, identity: Identity, padding_chars: int) -> dict[str, object]:
    """Return the data of one publication."""
    start = identity.sequence % 64
    padding = _TEXT[start : start + padding_chars]
    return {
        "publisher": identity.publisher,
        "sequence": identity.sequence,
        "sum": _sum(channel, identity, padding),
        "padding": padding,
    }


def read_data(channel: str, data: object) -> Identity:
    """Return whose publication data is; raise Mangled unless it is whole and of this channel."""
    match data:
        case {
            "publisher": int(publisher),
            "sequence": int(sequence),
            "sum": int(sum_),
            "padding": str(padding),
        }:
            identity = Identity(publisher, sequence)
            if sum_ == _sum(channel, identity, padding):
                return identity
    raise Mangled(f"{data!r:.200} was never published into {channel}")


def choose_padding_chars(rng: random.Random, max_chars: int) -> int:
    """Return how long a padding is: mostly short, now and then as long as it may be."""
    return min(int(30 * rng.paretovariate(0.6)), max_chars, MAX_PADDING_CHARS)


def _sum(channel: str, identity: Identity, padding: str) -> int:
    return crc32(f"{channel} {identity.publisher} {identity.sequence} {padding}".encode())
