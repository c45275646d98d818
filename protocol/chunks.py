"""Where a chunked body ends, found from size to size: what its data look like costs nothing.

llhttp judges the bytes; here they are only counted. RFC 9112 section 7.1.
"""

import re
from typing import Final

from protocol.errors import HTTPError
from protocol.head import HeadLimits

__all__ = ["ChunkFraming", "find_end"]

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]+)(?:;[^\r\n]*)?\r\n")
_LINE_BREAK: Final = b"\r\n"
_EMPTY_LINE: Final = b"\r\n\r\n"

# Of a size line these bytes are free, and twice as many as there are data in its chunk, as in Go's
# net/http; what all lines have beyond that counts. Data in chunks of one byte are just free.
_FREE_LINE_BYTES: Final = 16
_SHORT_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,14})\r\n")


class ChunkFraming:
    """How far one chunked body has come.

    is_complete tells whether it has ended, and error what is wrong with it at the place that
    advance() returned, if llhttp has nothing against the bytes before.
    """

    __slots__ = (
        "_data_bytes",
        "_excess_bytes",
        "_is_trailing",
        "_kept",
        "_limits",
        "error",
        "is_complete",
        "trailer_bytes",
    )

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._data_bytes = 0  # still to come of a chunk, with the line break behind it
        self._excess_bytes = 0  # of the size lines so far, beyond what is free
        self._is_trailing = False
        self._kept = b""  # of a size line everything so far, of the trailers their last bytes
        self.trailer_bytes = 0
        self.is_complete = False
        self.error: HTTPError | None = None

    def advance(self, data: bytes, start: int) -> int:
        """Return how far data belongs to the body, from start on, or how far it may be read."""
        position, end = start, len(data)
        while position < end and not self.is_complete and self.error is None:
            if self._data_bytes:
                passed_bytes = min(self._data_bytes, end - position)
                self._data_bytes -= passed_bytes
                position += passed_bytes
            elif self._is_trailing:
                position = self._pass_trailers(data, position)
            else:
                position = self._pass_size(data, position)
        return position

    def _pass_size(self, data: bytes, start: int) -> int:
        """Take note of the size of the next chunk; return where its line ends, or data."""
        kept = self._kept
        if not kept and (match := _SHORT_SIZE_LINE.match(data, start)) is not None:
            self._begin_chunk(int(match[1], 16), 0)
            return match.end()
        found = find_end(_LINE_BREAK, kept, data, start)
        stop = found if found >= 0 else len(data)
        room_bytes = self._limits.max_head_bytes + _FREE_LINE_BYTES - self._excess_bytes
        if len(kept) + stop - start > room_bytes:
            self.error = HTTPError(431, "The chunk extensions are too large")
            return start + room_bytes - len(kept)
        line = kept + data[start:stop]
        if found < 0:
            self._kept = line
        elif match := _SIZE_LINE.fullmatch(line):
            self._begin_chunk(int(match[1], 16), max(0, len(line) - _FREE_LINE_BYTES))
        else:
            self.error = HTTPError(400, "The size of a chunk is malformed")
        return stop

    def _begin_chunk(self, size: int, excess_bytes: int) -> None:
        if excess_bytes or self._excess_bytes:
            self._excess_bytes = max(0, self._excess_bytes + excess_bytes - 2 * size)
        if size:
            self._kept = b""
            self._data_bytes = size + len(_LINE_BREAK)
        else:
            self._kept = _LINE_BREAK
            self._is_trailing = True

    def _pass_trailers(self, data: bytes, start: int) -> int:
        """Return where the trailers end, or data."""
        found = find_end(_EMPTY_LINE, self._kept, data, start)
        stop = found if found >= 0 else len(data)
        room_bytes = self._limits.max_head_bytes - self.trailer_bytes
        if stop - start > room_bytes:
            self.error = HTTPError(431, "The trailers are too large")
            return start + room_bytes
        self.trailer_bytes += stop - start
        self.is_complete = found >= 0
        self._kept = (self._kept + data[start:stop])[1 - len(_EMPTY_LINE) :]
        return stop


def find_end(mark: bytes, kept: bytes, data: bytes, start: int) -> int:
    """Return where data, from start on, has ended the next mark, or -1.

    The mark may have begun in kept, which is what came before and holds none.
    """
    if kept:
        reach = len(mark) - 1
        kept = kept[-reach:]
        found = (kept + data[start : start + reach]).find(mark)
        if found >= 0:
            return start + found + len(mark) - len(kept)
    found = data.find(mark, start)
    return found + len(mark) if found >= 0 else -1
