"""What a peer has sent and nobody has wanted yet."""

from typing import Final

from protocol.http1 import EndOfRequest, Event, HeadLimits, RequestDecoder, Upgrade

# So much is parsed at a time, and of it no more than one request: what is pipelined behind it would
# grow many times over. It is also the size of a TLS record.
PIECE_BYTES: Final = 16 * 1024


class Intake:
    """The requests of one connection, in order, parsed no further than they are taken."""

    __slots__ = (
        "_decoder",
        "_events",
        "_is_between_requests",
        "_is_http",
        "_unparsed",
        "unparsed_bytes",
    )

    def __init__(self, limits: HeadLimits) -> None:
        self._decoder = RequestDecoder(limits)
        self._events: list[Event] = []  # latest first
        self._unparsed = b""
        self.unparsed_bytes = 0  # its end, which waits to be parsed, or to be handed on
        self._is_between_requests = True
        self._is_http = True

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits here, not even the beginning of a head."""
        return self._is_between_requests and not self._events and not self._unparsed

    def add(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._unparsed = self.take_unparsed() + data if self._unparsed else data
        self.unparsed_bytes = len(self._unparsed)

    def take(self) -> Event | None:
        """Return the next event, parsing what is needed for it; None where more bytes are.

        The tail of an Upgrade stays here, and all that follows it.
        """
        while not self._events:
            if not self._unparsed or not self._is_http:
                return None
            self._parse()
        return self._events.pop()

    def _parse(self) -> None:
        """Make events of the next piece."""
        start = len(self._unparsed) - self.unparsed_bytes
        piece = self._unparsed[start : start + PIECE_BYTES]
        events, parsed_bytes = self._decoder.feed_one(piece)
        self.unparsed_bytes -= parsed_bytes
        if not self.unparsed_bytes:
            self._unparsed = b""
        last = events[-1] if events else None
        self._is_between_requests = type(last) is EndOfRequest or self._decoder.is_idle
        if type(last) is Upgrade:
            events.pop()
            self._unparsed = last.tail + self.take_unparsed()
            self.unparsed_bytes = len(self._unparsed)
            self._is_http = False
        events.reverse()
        self._events = events

    def take_unparsed(self) -> bytes:
        """Return what was not parsed; it is not HTTP where an upgrade was offered."""
        data = self._unparsed[len(self._unparsed) - self.unparsed_bytes :]
        self._unparsed, self.unparsed_bytes = b"", 0
        return data

    def end(self) -> Event | None:
        """Return an HTTPError if the peer stopped sending inside a request, otherwise None."""
        events = self._decoder.feed_eof()
        return events[0] if events else None
