"""What a peer has sent and nobody has wanted yet."""

from typing import Final

from protocol.http1 import Event, HeadLimits, RequestDecoder, RequestHead, Upgrade

# Pipelined requests are small and grow when they are parsed: so much at a time bounds what they
# can grow to. It is also the size of a TLS record.
PIECE_BYTES: Final = 16 * 1024

# A peer that polls sends the same bytes each time. Those of its last request are remembered, with
# the head that they are, up to this size: the usual head of a browser, with some cookies.
MAX_REMEMBERED_BYTES: Final = 1024


class Intake:
    """The requests of one connection, in order, parsed no further than they are taken."""

    __slots__ = (
        "_decoder",
        "_events",
        "_is_between_requests",
        "_is_http",
        "_last_data",
        "_last_head",
        "_unparsed",
    )

    def __init__(self, limits: HeadLimits) -> None:
        self._decoder = RequestDecoder(limits)
        self._events: list[Event] = []  # latest first
        self._unparsed = b""
        self._is_between_requests = True
        self._is_http = True
        self._last_data = b""
        self._last_head: RequestHead | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits here, not even the beginning of a head."""
        return self._is_between_requests and not self._events and not self._unparsed

    @property
    def unparsed_bytes(self) -> int:
        """How many bytes wait to be parsed, or to be handed on after an upgrade."""
        return len(self._unparsed)

    def repeated(self, data: bytes) -> RequestHead | None:
        """Return the head of a whole request that has come before in the same bytes; while idle.

        Such a request has no body and lets the connection live, so it leaves nothing to take.
        """
        return self._last_head if data == self._last_data else None

    def add(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._unparsed = self._unparsed + data if self._unparsed else data

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
        was_between_requests = self._is_between_requests
        piece, self._unparsed = self._unparsed[:PIECE_BYTES], self._unparsed[PIECE_BYTES:]
        events = self._decoder.feed(piece)
        self._is_between_requests = self._decoder.is_idle
        if events and type(last := events[-1]) is Upgrade:
            events.pop()
            self._unparsed = last.tail + self._unparsed
            self._is_http = False
        elif was_between_requests and len(events) == 2:
            self._remember(piece, events[0])
        events.reverse()
        self._events = events

    def _remember(self, data: bytes, event: Event) -> None:
        """Keep the head that data is, unless it needs more than to be handled."""
        is_small = len(data) <= MAX_REMEMBERED_BYTES
        if is_small and type(event) is RequestHead and event.keep_alive and not event.has_body:
            self._last_data, self._last_head = data, event

    def take_unparsed(self) -> bytes:
        """Return what was not parsed; it is not HTTP where an upgrade was offered."""
        data, self._unparsed = self._unparsed, b""
        return data

    def end(self) -> Event | None:
        """Return an HTTPError if the peer stopped sending inside a request, otherwise None."""
        events = self._decoder.feed_eof()
        return events[0] if events else None
