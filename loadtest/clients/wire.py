"""What a gateway sends, decoded for clients under load: responses, frames, events.

Sans-I/O, and apart from the gateway's own code, so that the two do not share a mistake. They expect
what this gateway sends and refuse the rest with WireError.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

# Nothing that a scenario asks for has a longer head, or a larger message.
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_FRAME_BYTES: Final = 16 * 1024 * 1024

# RFC 6455 section 5.2: bits of a frame's first byte. The second reserved bit and the third have no
# meaning with any extension; the first says that a message is compressed.
FIN: Final = 0x80
CONTROL: Final = 0x08
_WALKED_BITS: Final = 0xB0


class WireError(Exception):
    """What arrived is not what a gateway sends."""


class Head(NamedTuple):
    """The beginning of a response; names of headers in lower case."""

    status: int
    headers: dict[str, str]


class End(NamedTuple):
    """The end of a response's body, after which the next response may begin."""


ResponseEvent = Head | bytes | End


class ResponseDecoder:
    """The responses of one connection: Head, pieces of the body, End.

    A body without a length, or behind 101, ends with the connection and has no End.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._step: Callable[[list[ResponseEvent]], bool] = self._read_head
        self._missing_bytes = 0

    @property
    def is_between(self) -> bool:
        """Whether nothing of a next response has arrived."""
        return not self._buffer and self._step == self._read_head

    def feed(self, data: bytes) -> list[ResponseEvent]:
        """Return what data completes, oldest first; raise WireError for what is no response."""
        self._buffer += data
        events: list[ResponseEvent] = []
        while self._step(events):
            pass
        return events

    def _read_head(self, events: list[ResponseEvent]) -> bool:
        text, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            if len(text) > _MAX_HEAD_BYTES:
                raise WireError("a response's head does not end")
            return False
        head = _parse_head(text)
        self._buffer = rest
        events.append(head)
        length = head.headers.get("content-length")
        if length is not None:
            self._missing_bytes = int(length)
            self._step = self._read_sized
        else:
            if "transfer-encoding" in head.headers:
                raise WireError("a body in chunks, where none is expected")
            self._step = self._read_endless
        return True

    def _read_sized(self, events: list[ResponseEvent]) -> bool:
        piece, self._buffer = (
            self._buffer[: self._missing_bytes],
            self._buffer[self._missing_bytes :],
        )
        self._missing_bytes -= len(piece)
        if piece:
            events.append(piece)
        if self._missing_bytes:
            return False
        events.append(End())
        self._step = self._read_head
        return True

    def _read_endless(self, events: list[ResponseEvent]) -> bool:
        if self._buffer:
            events.append(self._buffer)
            self._buffer = b""
        return False


def _parse_head(text: bytes) -> Head:
    first, *lines = text.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if version != "HTTP/1.1" or not (status.isascii() and status.isdecimal()):
        raise WireError(f"no status line: {first[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Head(int(status), headers)


class ServerFrame(NamedTuple):
    """One whole frame of a server: its opcode and payload."""

    opcode: int
    payload: bytes


class ServerFrameDecoder:
    """The frames of a server (RFC 6455 section 5.2), which has agreed on no extension."""

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def is_between(self) -> bool:
        """Whether nothing of a next frame has arrived."""
        return not self._buffer

    def feed(self, data: bytes) -> list[ServerFrame]:
        """Return the frames that data completes; raise WireError for a malformed one."""
        buffer = self._buffer + data if self._buffer else data
        frames = []
        start = 0
        while True:
            body, length = read_frame_head(buffer, start, len(buffer))
            if body is None or body + length > len(buffer):
                break
            frames.append(ServerFrame(buffer[start] & 0x0F, buffer[body : body + length]))
            start = body + length
        self._buffer = buffer[start:]
        return frames


class FrameWalker:
    """Counts the data frames of a server without taking them out of the buffer that they are in.

    Whether they are compressed is no concern of it; fragments are refused.
    """

    __slots__ = ("_held", "_missing_bytes")

    def __init__(self) -> None:
        self._held = b""  # the beginning of a head, or of a control frame
        self._missing_bytes = 0  # of the payload of a data frame

    @property
    def is_between(self) -> bool:
        """Whether nothing of a next frame has arrived."""
        return not self._held and not self._missing_bytes

    def feed(self, buffer: bytes | bytearray, size: int) -> tuple[int, list[ServerFrame]]:
        """Return how many data frames the first size bytes of buffer complete, and control frames.

        Raises WireError for a malformed frame.
        """
        controls: list[ServerFrame] = []
        if self._held:
            buffer = self._held + buffer[:size]
            size, self._held = len(buffer), b""
        at = min(self._missing_bytes, size)
        count = 1 if at and at == self._missing_bytes else 0
        self._missing_bytes -= at
        while at < size:
            body, length = read_frame_head(buffer, at, size, _WALKED_BITS)
            is_control = buffer[at] & CONTROL
            if body is None or (is_control and body + length > size):
                self._held = bytes(buffer[at:size])
                break
            if is_control:
                payload = bytes(buffer[body : body + length])
                controls.append(ServerFrame(buffer[at] & 0x0F, payload))
            elif body + length > size:
                self._missing_bytes = body + length - size
                break
            else:
                count += 1
            at = body + length
        return count, controls


def read_frame_head(
    buffer: bytes | bytearray, start: int, end: int, checked_bits: int = 0xF0
) -> tuple[int | None, int]:
    """Return where the payload of the frame at start begins, None while unknown, and its length.

    What arrived ends at end. Raises WireError for a head that is malformed or of a fragment, as
    checked_bits of the first byte, of which only FIN is to be set, tell.
    """
    if end - start < 2:
        return None, 0
    if buffer[start] & checked_bits != FIN:
        raise WireError(f"a frame begins with {buffer[start]:#x}: fragmented or with reserved bits")
    length = buffer[start + 1]
    if length > 127:
        raise WireError("a frame of the server is masked")
    width = {126: 2, 127: 8}.get(length, 0)
    body = start + 2 + width
    if end < body:
        return None, 0
    if width:
        length = int.from_bytes(buffer[start + 2 : body], "big")
    if length > _MAX_FRAME_BYTES:
        raise WireError(f"a frame of {length} bytes")
    return body, length


class EventWalker:
    """Counts the events of an event stream that end with end, without taking them out.

    Anything else in which end occurs once per delivery is counted as well.
    """

    __slots__ = ("_end", "_tail")

    def __init__(self, end: bytes) -> None:
        self._end = end
        self._tail = b""  # what may be the beginning of an end

    @property
    def is_between(self) -> bool:
        """Whether the stream stands at the end of such an event, or at its beginning."""
        return not self._tail

    def feed(self, buffer: bytes | bytearray, size: int) -> tuple[int, list[ServerFrame]]:
        """Return how many events the first size bytes of buffer complete, and no control frames."""
        end, kept = self._end, len(self._end) - 1
        count = buffer.count(end, 0, size)
        if self._tail:
            count += (self._tail + buffer[: min(kept, size)]).count(end)
        if buffer.endswith(end, 0, size):
            self._tail = b""
        else:
            self._tail = (self._tail + buffer[max(0, size - kept) : size])[-kept:]
        return count, []


def describe_close(payload: bytes) -> str:
    """Return the code and the reason in the payload of a close frame as text."""
    if len(payload) < 2:
        return "without a code"
    return f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}".rstrip()


class StreamEvent(NamedTuple):
    """One event of an event stream: its type, its data, and the cursor that its id sets, if any.

    Where only the id was sent, data is None, as no EventSource would dispatch it.
    """

    type: str
    data: str | None
    cursor: str | None


class EventDecoder:
    """The events of a text/event-stream (HTML, section 9.2.6) that ends lines with LF."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Return the events that data completes, oldest first; raise WireError for a stray line."""
        *blocks, self._buffer = (self._buffer + data).split(b"\n\n")
        events = []
        for block in blocks:
            event = _parse_event(block.decode())
            if event.data is not None or event.cursor is not None:
                events.append(event)
        return events


def _parse_event(block: str) -> StreamEvent:
    fields: dict[str, str] = {}
    lines = []
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            lines.append(value)
        elif name in ("id", "event", "retry"):
            fields[name] = value
        elif name:
            raise WireError(f"an event stream has the line {line[:80]!r}")
    text = "\n".join(lines) if lines else None
    return StreamEvent(fields.get("event", "message"), text, fields.get("id"))
