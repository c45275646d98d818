"""When a broker has to look at a stream again: because something in it expires, or it is unused.

A stream is booked once, for the second after its deadline; publications do not move it. So a
publication costs nothing here, and a stream for which nothing is due costs nothing at all.
"""

import heapq
import math
from typing import Final

from gateway.stream import Stream

# Streams looked at before others get their turn: some milliseconds, if each drops 1,000.
STREAMS_PER_CALL: Final = 100
# Streams that keep something for somebody who lags are looked at again after this.
LOOK_AGAIN_S: Final = 1.0


class Deadlines:
    """Streams by the second in which they are due, each in one second at most.

    Reads no clock: one that jumps makes everything it jumped over due, a call's limit at a time.
    """

    def __init__(self) -> None:
        self._streams: dict[int, set[Stream]] = {}
        self._seconds: list[int] = []  # the keys of _streams, as a heap

    def book(self, stream: Stream, due: float) -> None:
        """Have stream taken in the first second that is not before due; an earlier booking stays.

        due is on the stream's clock, in seconds.
        """
        due_s = math.ceil(due)
        if stream.due_s is not None:
            if stream.due_s <= due_s:
                return
            self.cancel(stream)
        stream.due_s = due_s
        streams = self._streams.get(due_s)
        if streams is None:
            streams = self._streams[due_s] = set()
            heapq.heappush(self._seconds, due_s)
        streams.add(stream)

    def cancel(self, stream: Stream) -> None:
        """Do not have stream taken; does nothing where it is not booked."""
        if stream.due_s is not None:
            self._streams[stream.due_s].discard(stream)
            stream.due_s = None

    def take_due(self, now: float, limit: int) -> list[Stream]:
        """Return at most limit streams that are due, the longest due first, no longer booked.

        Looks at no more than limit seconds, either; call again while has_due.
        """
        due: list[Stream] = []
        for _ in range(limit):
            if not self.has_due(now):
                break
            streams = self._streams[self._seconds[0]]
            if streams:
                stream = streams.pop()
                stream.due_s = None
                due.append(stream)
            if not streams:
                del self._streams[heapq.heappop(self._seconds)]
        return due

    def has_due(self, now: float) -> bool:
        """Return whether a second has come that take_due has not seen to its end."""
        return bool(self._seconds) and self._seconds[0] <= now

    def clear(self) -> None:
        """Cancel all."""
        for streams in self._streams.values():
            for stream in streams:
                stream.due_s = None
        self._streams.clear()
        self._seconds.clear()
