"""Content codings of response bodies: which one a peer is given, and bytes on their way into it."""

import re
import zlib
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

# What is compressed on the event loop at a time: a millisecond's work. More goes to a thread where
# the whole is there, and otherwise lets others have a turn in between.
STEP_BYTES: Final = 32 * 1024

# Of one Accept-Encoding: there are a dozen codings, and a header has room for thousands. What
# stands behind so many is not there for us.
MAX_WEIGHTS: Final = 32

_ANY: Final = "*"
_ALIASES: Final = {"x-gzip": "gzip"}  # RFC 9110 section 8.4.1.3
_WEIGHT: Final = re.compile(r"[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class ContentCoding(Enum):
    """The codings of response bodies, those that are preferred first."""

    deflate = "deflate"
    gzip = "gzip"
    identity = "identity"  # none


_WINDOW_BITS: Final = {
    ContentCoding.deflate: zlib.MAX_WBITS,
    ContentCoding.gzip: 16 + zlib.MAX_WBITS,
}


@lru_cache(maxsize=64)  # clients have few values for it
def parse_accept_encoding(text: str) -> Mapping[str, float]:
    """Return the weights that text gives to codings, their names in lower case, perhaps to `*`.

    A coding whose weight cannot be read has none. RFC 9110 section 12.5.3.
    """
    weights: dict[str, float] = {}
    for element in text.split(",", MAX_WEIGHTS)[:MAX_WEIGHTS]:
        name, _, parameter = (part.strip(" \t") for part in element.partition(";"))
        match = _WEIGHT.fullmatch(parameter or "q=1")
        name = name.lower()
        weights.setdefault(_ALIASES.get(name, name), float(match[1]) if match is not None else 0.0)
    return MappingProxyType(weights)


def choose_coding(accept_encoding: str) -> ContentCoding:
    """Return the coding that has the most weight for a peer, of equal ones the preferred.

    Where it accepts none, it gets identity all the same: a body that it may be able to read.
    """
    weights = parse_accept_encoding(accept_encoding)
    others = weights.get(_ANY, 0.0)
    best = max(ContentCoding, key=lambda coding: weights.get(coding.value, others))
    return best if weights.get(best.value, others) > 0 else ContentCoding.identity


class Encoder:
    """One body on its way into deflate or gzip; strategy is one of zlib's."""

    __slots__ = ("_stream",)

    def __init__(self, coding: ContentCoding, strategy: int | None = None) -> None:
        self._stream = zlib.compressobj(
            wbits=_WINDOW_BITS[coding],
            strategy=zlib.Z_DEFAULT_STRATEGY if strategy is None else strategy,
        )

    def encode(self, data: bytes) -> bytes:
        """Return what data becomes so far; some of it may wait for more."""
        return self._stream.compress(data)

    def flush(self) -> bytes:
        """Return what waits, so that the peer can read all that was encoded."""
        return self._stream.flush(zlib.Z_SYNC_FLUSH)

    def finish(self, data: bytes | bytearray) -> bytes:
        """Return what data becomes as the last of the body."""
        return self._stream.compress(data) + self._stream.flush()
