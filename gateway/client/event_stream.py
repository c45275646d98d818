"""The bytes of a text/event-stream to events, as a client reads them. WHATWG HTML section 9.2.6."""

import codecs
import re
from dataclasses import dataclass
from typing import Final

from gateway.errors import GatewayError

# One event; far above a publication that a gateway accepts by default, and a bound where the peer
# is no gateway.
MAX_EVENT_CHARACTERS: Final = 16 * 1024 * 1024

_LINE_END: Final = re.compile(r"\r\n|\r|\n")


class EventTooLarge(GatewayError):
    """An event has no end within the bound."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a text/event-stream; last_event_id is the stream's as of this event."""

    type: str
    data: str
    last_event_id: str


class EventStreamDecoder:
    """Turns the bytes of one text/event-stream into events. WHATWG HTML section 9.2.6."""

    __slots__ = (
        "_data",
        "_decoder",
        "_held",
        "_id",
        "_is_after_cr",
        "_tail",
        "_type",
        "last_event_id",
        "retry_ms",
    )

    def __init__(self, last_event_id: str = "", retry_ms: int | None = None) -> None:
        """Start a stream, with what the stream before it left."""
        # "utf-8-sig" because one byte order mark at the start is not part of the stream.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._tail = ""
        self._is_after_cr = False
        self._type = ""
        self._id = last_event_id
        self._data: list[str] = []
        self._held = 0
        self.last_event_id = last_event_id
        self.retry_ms = retry_ms

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Return the events that data completes, oldest first; keep an incomplete one.

        Raises EventTooLarge for one above MAX_EVENT_CHARACTERS; the decoder is unusable afterwards.
        """
        text = self._decoder.decode(data)
        if not text:
            return []
        if self._is_after_cr:  # that CR has ended its line; a LF now belongs to it
            text = text.removeprefix("\n")
        self._is_after_cr = text.endswith("\r")
        *lines, self._tail = _LINE_END.split(self._tail + text)
        events = [event for line in lines if (event := self._take(line)) is not None]
        if self._held + len(self._tail) > MAX_EVENT_CHARACTERS:
            raise EventTooLarge(f"an event is longer than {MAX_EVENT_CHARACTERS} characters")
        return events

    def _take(self, line: str) -> StreamEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")  # a comment is a field without a name
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._held += len(value) + 1
        elif field == "event":
            self._type = value
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> StreamEvent | None:
        # Only now: an id whose event breaks off would resume behind that event.
        self.last_event_id = self._id
        event = StreamEvent(self._type or "message", "\n".join(self._data), self._id)
        has_data = bool(self._data)
        self._type, self._data, self._held = "", [], 0
        return event if has_data else None
