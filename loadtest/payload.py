"""What load scenarios publish: JSON texts of a given size, each with its number in it.

They are words, because a text of one letter would tell nothing about compression.
"""

import random
from typing import Final

_DIGITS: Final = 10
SMALLEST_BYTES: Final = _DIGITS + 2  # in quotes
_WORDS: Final = (
    *("price", "order", "stock", "trade", "limit", "offer", "share", "market", "volume", "index"),
    *("north", "south", "table", "river", "green", "paper", "light", "stone", "cloud", "voice"),
    *("score", "match", "league", "player", "minute", "winter", "summer", "alpha", "delta"),
)


class Payload:
    """JSON texts of size_bytes, SMALLEST_BYTES at the least, that begin with their number."""

    def __init__(self, size_bytes: int) -> None:
        words = random.Random(size_bytes)  # the same ones in each run
        filler = ""
        while len(filler) < size_bytes:
            filler += f" {words.choice(_WORDS)} {words.randrange(1000)}"
        self._filler = filler[: max(0, size_bytes - SMALLEST_BYTES)]

    def text(self, number: int) -> str:
        """Return the text with that number."""
        return f'"{number:0{_DIGITS}}{self._filler}"'
