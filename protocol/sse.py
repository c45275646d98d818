"""Publications and other pushes as text/event-stream (HTML Living Standard section 9.2)."""

from typing import Final

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
# A comment is invisible to EventSource; the blank line lets parsers that wait for one see it at
# once.
HEARTBEAT: Final = b":\n\n"


def encode_event(data: bytes, *, event: str | None = None, cursor: str | None = None) -> bytes:
    """Return one event: data is UTF-8, cursor becomes its id; without event it is a `message`.

    Line breaks of data become several data lines, which the reader joins with LF again; event and
    cursor
    must hold none.
    """
    parts = []
    if cursor is not None:
        parts.append(b"id: %b\n" % cursor.encode())
    if event is not None:
        parts.append(b"event: %b\n" % event.encode())
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    parts.append(b"data: %b\n\n" % data)
    return b"".join(parts)


def encode_retry(retry_ms: int) -> bytes:
    """Return the line that tells EventSource to wait retry_ms before it reconnects."""
    return b"retry: %d\n\n" % retry_ms


def encode_id(cursor: str) -> bytes:
    """Return an event that says nothing but its id, which EventSource keeps for reconnecting."""
    return b"id: %b\n\n" % cursor.encode()
