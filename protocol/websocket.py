"""RFC 6455 sections 5.4 to 7: messages and the closing handshake of one connection of a server."""

from codecs import utf_8_decode
from collections.abc import Iterable, Iterator
from enum import IntEnum
from operator import length_hint
from typing import Final

from protocol.codes import UNSENDABLE_CLOSE_CODES, CloseCode
from protocol.deflate import Agreement, Deflate
from protocol.errors import StateError, WebSocketError
from protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL,
    FIN,
    MAX_SHORT_BYTES,
    OPCODE,
    RSV1,
    TEXT,
    Frame,
    FrameDecoder,
    encode_frame,
    max_deflated_bytes,
)

# What a feed gives: (TEXT, str), (BINARY, bytes), (PING, bytes), (PONG, bytes), (CLOSE, (code,
# reason)), or the error that ends it all.
Event = tuple[int, str] | tuple[int, bytes] | tuple[int, tuple[int, str]] | WebSocketError

# The first bytes of messages that are one frame.
WHOLE_TEXT: Final = FIN | TEXT
WHOLE_BINARY: Final = FIN | BINARY

# Twice the 65,536 fragments in which the Autobahn suite sends 4 MiB. Fragments are joined as they
# come, so this bounds only the work that empty ones, which no bound on bytes ever stops, can make
# for nothing. Answered with 1009.
MAX_FRAGMENT_COUNT: Final = 128 * 1024

# What one feed may make of compressed messages before it leaves the rest to the next: 256 KiB of
# them, one read, could become 256 MiB. As each counts for the second number more, 64 are the most.
MAX_GROWN_BYTES: Final = 64 * 1024
GROWN_MESSAGE_BYTES: Final = 1024

# RFC 6455 section 7.4: what a close frame may carry is a registered code that means something on
# the wire, or any code of the ranges for libraries (3000-3999) and applications (4000-4999).
REGISTERED_CLOSE_CODES: Final = frozenset(map(int, frozenset(CloseCode) - UNSENDABLE_CLOSE_CODES))
PRIVATE_CLOSE_CODES: Final = range(3000, 5000)
# Between these lie the first two bytes of every encoded surrogate. Python's decoder waits for the
# third before it refuses one, although no third can make it good.
SURROGATES_BEGIN: Final = b"\xed\xa0"
SURROGATES_END: Final = b"\xee"
# RFC 6455 section 5.5: a control frame's payload, less the two bytes of the code.
MAX_REASON_BYTES: Final = MAX_SHORT_BYTES - 2


class State(IntEnum):
    """How far a connection is from its end; from CLOSE_SENT on nothing more may be sent."""

    OPEN = 0
    CLOSE_RECEIVED = 1
    FAILED = 2  # the peer broke the protocol, and has not been told yet
    CLOSE_SENT = 3
    CLOSED = 4


class Act(IntEnum):
    """What can happen to a connection."""

    SEND_FRAME = 0
    SEND_CLOSE = 1
    RECEIVE_FRAME = 2
    RECEIVE_CLOSE = 3
    RECEIVE_ERROR = 4
    LOSE = 5


# RFC 6455 sections 5.5.1 and 7.1. After its own close frame a side sends nothing more; after the
# peer's, or after an error, nothing more is received, but what was received may still be answered.
TRANSITIONS: Final = {
    State.OPEN: {
        Act.SEND_FRAME: State.OPEN,
        Act.SEND_CLOSE: State.CLOSE_SENT,
        Act.RECEIVE_FRAME: State.OPEN,
        Act.RECEIVE_CLOSE: State.CLOSE_RECEIVED,
        Act.RECEIVE_ERROR: State.FAILED,
        Act.LOSE: State.CLOSED,
    },
    State.CLOSE_RECEIVED: {
        Act.SEND_FRAME: State.CLOSE_RECEIVED,
        Act.SEND_CLOSE: State.CLOSED,
        Act.LOSE: State.CLOSED,
    },
    State.FAILED: {
        Act.SEND_FRAME: State.FAILED,
        Act.SEND_CLOSE: State.CLOSED,
        Act.LOSE: State.CLOSED,
    },
    State.CLOSE_SENT: {
        Act.RECEIVE_FRAME: State.CLOSE_SENT,
        Act.RECEIVE_CLOSE: State.CLOSED,
        Act.RECEIVE_ERROR: State.CLOSED,
        Act.LOSE: State.CLOSED,
    },
    State.CLOSED: {Act.LOSE: State.CLOSED},
}


# What every message asks for; from CLOSE_SENT on nothing is sent. Python 3.11 takes 170 ns to read
# a member from its enum, 10 ns to read a name of the module.
CLOSE_SENT: Final = State.CLOSE_SENT
# Found by comparing: looking a member up takes 400 ns more, as its hash is written in Python.
RECEIVING: Final = tuple(state for state in State if Act.RECEIVE_FRAME in TRANSITIONS[state])


class _Message:
    """A message of which not every fragment has arrived; its data is not compressed."""

    __slots__ = ("data", "deflated_bytes", "fragment_count", "is_deflated", "opcode", "unchecked")

    def __init__(self, opcode: int, *, is_deflated: bool) -> None:
        self.opcode = opcode
        self.is_deflated = is_deflated
        self.deflated_bytes = 0  # how much has arrived, where it comes compressed
        self.data = bytearray()
        self.fragment_count = 0
        self.unchecked = b""  # the beginning of a character that is not complete, in a text

    def append(self, piece: bytes, is_last: bool) -> None:
        """Add piece; raise UnicodeDecodeError as soon as text cannot become valid UTF-8.

        The last piece is left to who decodes the whole.
        """
        self.data += piece
        if self.opcode == TEXT and not is_last:
            unchecked = self.unchecked + piece
            _, checked_bytes = utf_8_decode(unchecked, "strict")
            self.unchecked = unchecked[checked_bytes:]
            if SURROGATES_BEGIN <= self.unchecked < SURROGATES_END:
                utf_8_decode(self.unchecked, "strict", True)

    def finish(self) -> Event:
        """Return the whole message; raise UnicodeDecodeError for text that is not UTF-8."""
        if self.opcode == TEXT:
            return TEXT, str(self.data, "utf-8")
        return BINARY, bytes(self.data)


NO_FRAMES: Final[Iterator[Frame | WebSocketError]] = iter(())


class WebSocket:
    """One WebSocket connection as a server sees it, after the opening handshake.

    It owns neither socket nor clock: bytes of the peer go into feed, and what the send methods
    return goes to the peer. Nothing is answered by itself; ping and close frames are events for the
    owner to answer. With an agreement messages may be compressed; max_message_bytes bounds what
    they become.
    """

    __slots__ = (
        "_decoder",
        "_deflate",
        "_max_message_bytes",
        "_message",
        "_rest",
        "is_behind",
        "state",
    )

    def __init__(self, *, max_message_bytes: int, agreement: Agreement | None = None) -> None:
        self.state = State.OPEN
        self.is_behind = False  # whether feed(b"") would give more, unless the end has come
        self._max_message_bytes = max_message_bytes
        self._deflate = Deflate(agreement) if agreement is not None else None
        self._decoder = FrameDecoder(max_message_bytes, is_deflating=agreement is not None)
        self._message: _Message | None = None
        self._rest: Iterator[Frame | WebSocketError] = NO_FRAMES  # what is_behind tells of

    def feed(self, data: bytes) -> list[Event]:
        """Return the messages and control frames that data completes, oldest first.

        The last event may be a WebSocketError, whose close code is to be sent to the peer: 1002 for
        malformed frames and frames out of order, 1007 for text that is not UTF-8, as soon as its
        first bad byte is here, and for a corrupt compressed message, and 1009 for a message above
        max_message_bytes, as soon as the head of a frame tells, or its decompressing. After an
        error or a close frame nothing more comes out.

        Of compressed messages only some may come out; is_behind says then that more will.
        """
        events: list[Event] = []
        if self.state not in RECEIVING:
            return events
        decoded = self._decoder.feed(data)
        frames: Iterable[Frame | WebSocketError] = decoded
        if self._deflate is not None:
            if decoded:  # copied in each of the turns it takes, the rest would cost its square
                self._rest = iter([*self._rest, *decoded])
            frames = self._rest
            self.is_behind = False
        grown_bytes = 0
        try:
            for frame in frames:
                if not isinstance(frame, tuple):
                    raise frame
                first, payload, missing_bytes = frame
                if first == WHOLE_TEXT and self._message is None:
                    events.append((TEXT, payload.decode()))
                elif first == WHOLE_BINARY and self._message is None:
                    events.append((BINARY, payload))
                elif first & CONTROL:
                    events.append(self._receive_control(first & OPCODE, payload))
                    if first & OPCODE == CLOSE:
                        break
                elif message := self._receive_fragment(first, payload, missing_bytes):
                    grown_bytes += GROWN_MESSAGE_BYTES + len(message.data)
                    events.append(message.finish())
                    if grown_bytes >= MAX_GROWN_BYTES and self._deflate is not None:
                        self.is_behind = length_hint(self._rest) > 0
                        break
        except UnicodeDecodeError:
            events.append(self._fail(WebSocketError(CloseCode.INVALID_TEXT, "text is not UTF-8")))
        except WebSocketError as error:
            events.append(self._fail(error))
        return events

    def send_frame(self, opcode: int, payload: str | bytes) -> bytes:
        """Return one whole message, a ping or a pong, to be written; str is sent as UTF-8.

        Raises StateError after our close frame, ValueError for a control frame above 125 bytes.
        """
        if self.state >= CLOSE_SENT:
            self._move(Act.SEND_FRAME)  # raises; before that it leads nowhere
        return encode_frame(opcode, payload.encode() if isinstance(payload, str) else payload)

    def send_deflated(self, opcode: int, payload: bytes) -> bytes:
        """Return one whole message, compressed, to be written before anything sent later.

        Raises StateError after our close frame and where no compression was agreed upon.
        """
        self._move(Act.SEND_FRAME)
        if self._deflate is None:
            raise StateError("no compression was agreed upon")
        return encode_frame(opcode, self._deflate.compress(payload), rsv1=True)

    def forget_sent(self) -> None:
        """Compress without regard to what was sent: see Deflate.forget_sent."""
        if self._deflate is not None:
            self._deflate.forget_sent()

    def send_close(self, code: int, reason: str = "") -> bytes:
        """Return the close frame to be written, whether it is the first or answers the peer.

        Code 1005 makes an empty frame, which is what 1005 means. A reason above 123 bytes loses its
        end. Raises StateError if one was sent before, ValueError for a code that RFC 6455 section
        7.4 does not let travel.
        """
        payload = encode_close(code, reason)
        self._move(Act.SEND_CLOSE)
        return encode_frame(CLOSE, payload)

    def lose(self) -> None:
        """Hear that the socket is gone: nothing more is sent or received."""
        self._move(Act.LOSE)
        self._forget_received()
        self._deflate = None  # up to 70 KiB, and its owner may wait for the collector

    def _move(self, act: Act) -> None:
        """Go where TRANSITIONS says that act leads; raise StateError if it says nothing."""
        try:
            self.state = TRANSITIONS[self.state][act]
        except KeyError:
            raise StateError(f"{act.name} is not possible in state {self.state.name}") from None

    def _fail(self, error: WebSocketError) -> WebSocketError:
        """Return error, after which nothing more is received."""
        self._move(Act.RECEIVE_ERROR)
        self._forget_received()
        # The traceback would hold the list of events, and that the error: a cycle per bad peer.
        return error.with_traceback(None)

    def _forget_received(self) -> None:
        """Drop what will never be a message."""
        self._message = None
        self._rest = NO_FRAMES
        self.is_behind = False

    def _receive_control(self, opcode: int, payload: bytes) -> Event:
        """Return the event that a control frame is."""
        if opcode != CLOSE:
            return opcode, payload
        code_and_reason = decode_close(payload)
        self._move(Act.RECEIVE_CLOSE)
        self._forget_received()
        return CLOSE, code_and_reason

    def _receive_fragment(self, first: int, piece: bytes, missing_bytes: int) -> _Message | None:
        """Add a frame or a part of one to the unfinished message; return it if that finishes it.

        Raises WebSocketError for a fragment that does not belong there or makes too big a message,
        or for corrupt compressed data, UnicodeDecodeError for text that is none. RFC 6455 section
        5.4.
        """
        opcode = first & OPCODE
        message = self._message
        if opcode == CONTINUATION:
            if message is None:
                raise WebSocketError(
                    CloseCode.PROTOCOL_ERROR, "a continuation frame continues nothing"
                )
        elif message is None:
            message = self._message = _Message(opcode, is_deflated=first & RSV1 != 0)
        else:
            raise WebSocketError(
                CloseCode.PROTOCOL_ERROR, "a new message began inside a fragmented one"
            )
        message.fragment_count += not missing_bytes
        if message.fragment_count > MAX_FRAGMENT_COUNT:
            raise WebSocketError(
                CloseCode.MESSAGE_TOO_BIG, f"a message has more than {MAX_FRAGMENT_COUNT} fragments"
            )
        is_last = first & FIN != 0
        if message.is_deflated:
            piece = self._decompress(message, piece, missing_bytes, is_last)
        else:
            message_bytes = len(message.data) + len(piece) + missing_bytes
            self._check_size(message_bytes, self._max_message_bytes)
        message.append(piece, is_last)
        if not is_last:
            return None
        self._message = None
        return message

    def _decompress(
        self, message: _Message, piece: bytes, missing_bytes: int, is_last: bool
    ) -> bytes:
        """Return what a piece of a compressed message becomes; raise WebSocketError as above."""
        assert self._deflate is not None
        message.deflated_bytes += len(piece)
        max_bytes = self._max_message_bytes
        self._check_size(message.deflated_bytes + missing_bytes, max_deflated_bytes(max_bytes))
        return self._deflate.decompress(piece, max_bytes - len(message.data), is_last=is_last)

    def _check_size(self, message_bytes: int, max_bytes: int) -> None:
        """Raise WebSocketError with close code 1009 for a message above the bound."""
        if message_bytes > max_bytes:
            raise WebSocketError(
                CloseCode.MESSAGE_TOO_BIG,
                f"a message of {message_bytes} bytes is above {max_bytes}",
            )


def encode_close(code: int, reason: str) -> bytes:
    """Return the payload of a close frame; see WebSocket.send_close. RFC 6455 section 5.5.1."""
    if code == CloseCode.NO_STATUS_RECEIVED:
        return b""
    if code not in REGISTERED_CLOSE_CODES and code not in PRIVATE_CLOSE_CODES:
        raise ValueError(f"close code {code} must not be sent")
    cut = reason.encode()[:MAX_REASON_BYTES]
    # What the cut left of a character is not UTF-8, and a peer would have to refuse it.
    return code.to_bytes(2, "big") + cut.decode("utf-8", "ignore").encode()


def decode_close(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason of a close frame, 1005 and nothing for an empty one.

    RFC 6455 section 5.5.1. Raises WebSocketError with code 1002 for a half or forbidden code,
    UnicodeDecodeError for a bad reason.
    """
    if not payload:
        return CloseCode.NO_STATUS_RECEIVED, ""
    if len(payload) == 1:
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a close frame cannot hold half a code")
    code = int.from_bytes(payload[:2], "big")
    if code not in REGISTERED_CLOSE_CODES and code not in PRIVATE_CLOSE_CODES:
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, f"close code {code} must not be sent")
    return code, str(payload[2:], "utf-8")
