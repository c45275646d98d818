"""RFC 6455 section 5: the server's frames, decoding with unmasking and encoding.

The hottest bytes of the project pass here, so the module keeps to what compiles well from its own
source: integer constants, locals, bytes in and bytes out, plain tuples, no closures. Installing
compiles it, and protocol.websocket, where it can: see .build/compile.py.
"""

from struct import Struct
from typing import Final

from protocol.codes import CloseCode
from protocol.errors import WebSocketError

# Whether this is the compiled form.
IS_COMPILED: Final = not __file__.endswith(".py")

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

# The parts of a frame's first byte, and the bit that makes an opcode a control opcode.
FIN: Final = 0x80
RSV1: Final = 0x40
RESERVED: Final = 0x70
OPCODE: Final = 0x0F
CONTROL: Final = 0x08
# The upper bit of the second byte.
MASKED: Final = 0x80

# RFC 6455 section 5.2: the seven bits hold a length, or say that 16 or 64 bits follow with it.
MAX_SHORT_BYTES: Final = 125
LENGTH_16: Final = 126
LENGTH_64: Final = 127
MAX_16_BYTES: Final = 0xFFFF
MAX_64_BYTES: Final = 0x7FFF_FFFF_FFFF_FFFF
# The first two bytes and the masking key: all the head that a short masked frame has.
SHORT_HEAD_BYTES: Final = 6

# Where one XOR of long integers stops being faster than four table look-ups (CPython 3.11).
INTEGER_XOR_BYTES: Final = 512

# The head of a frame without a mask, by the bits that its length takes.
_pack_head: Final = Struct(">BB").pack
# The same for a short whole frame, found by opcode and length: 40 KB that save half of the time.
_SHORT_HEADS: Final = {
    opcode: tuple(_pack_head(FIN | opcode, size) for size in range(MAX_SHORT_BYTES + 1))
    for opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
}
_pack_head_16: Final = Struct(">BBH").pack
_pack_head_64: Final = Struct(">BBQ").pack

# One frame, or what has arrived of it: (first byte, unmasked payload, bytes still missing).
Frame = tuple[int, bytes, int]

# The value of FrameDecoder._missing_bytes once a frame was refused.
REFUSED: Final = -1


def _first_byte_problem(first: int) -> str:
    """Return why no frame may begin with the byte first, or nothing if one may."""
    opcode = first & OPCODE
    if first & RESERVED:
        return "reserved bits are set but no extension was agreed"
    if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        return f"opcode {opcode} is reserved"
    if opcode & CONTROL and not first & FIN:
        return "control frames must not be fragmented"
    return ""


def _deflated_first_byte_problem(first: int) -> str:
    """Return as _first_byte_problem does, where RSV1 may begin a message: RFC 7692 section 6."""
    problem = _first_byte_problem(first & ~RSV1)
    if first & RSV1 and not problem and first & OPCODE not in (TEXT, BINARY):
        return "only the first frame of a message can say that it is compressed"
    return problem


# By the first byte of a frame; empty where it is good. The second is for where RSV1 was agreed.
FIRST_BYTE_PROBLEMS: Final = tuple(_first_byte_problem(first) for first in range(256))
DEFLATED_FIRST_BYTE_PROBLEMS: Final = tuple(map(_deflated_first_byte_problem, range(256)))


# What repeats a key in a long integer, by how often; found at once under a name of their own.
_to_integer: Final = int.from_bytes
_REPEATS: Final = tuple(
    _to_integer(b"\1\0\0\0" * count, "little") for count in range(INTEGER_XOR_BYTES // 4 + 2)
)
_KEY_BITS: Final = 0xFFFF_FFFF


def _unmask_short(masked: bytes) -> bytes:
    """Return what follows a key of four bytes, XORed with the repeated key as one long integer."""
    size = len(masked)
    count = (size + 3) >> 2
    number = _to_integer(masked, "little")
    number ^= (number & _KEY_BITS) * _REPEATS[count]
    return number.to_bytes(count << 2, "little")[4:size]


# By a byte of the key: the table for bytes.translate that XORs with it.
XOR_TABLES: Final = tuple(
    _unmask_short(bytes((byte,)) * 4 + bytes(range(256))) for byte in range(256)
)


def mask(payload: bytes, key: bytes) -> bytes:
    """Return payload masked with the four bytes of key, or unmasked: RFC 6455 section 5.3."""
    if len(payload) < INTEGER_XOR_BYTES:
        return _unmask_short(key + payload)
    masked = bytearray(payload)
    for index in range(4):
        masked[index::4] = masked[index::4].translate(XOR_TABLES[key[index]])
    return bytes(masked)


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """Return one unmasked frame, its length in the fewest bytes: RFC 6455 section 5.2.

    Raises ValueError for a control frame that is fragmented, compressed or above 125 bytes.
    """
    size = len(payload)
    if size <= MAX_SHORT_BYTES and fin and not rsv1:
        return _SHORT_HEADS[opcode][size] + payload
    first = opcode | (FIN if fin else 0) | (RSV1 if rsv1 else 0)
    if opcode & CONTROL and (not fin or rsv1 or size > MAX_SHORT_BYTES):
        raise ValueError("a control frame is whole, uncompressed and at most 125 bytes long")
    if size <= MAX_SHORT_BYTES:
        return _pack_head(first, size) + payload
    if size <= MAX_16_BYTES:
        return _pack_head_16(first, LENGTH_16, size) + payload
    return _pack_head_64(first, LENGTH_64, size) + payload


def encode_masked_frame(
    opcode: int, payload: bytes, key: bytes, *, fin: bool = True, rsv1: bool = False
) -> bytes:
    """Return one frame as a client sends it, masked with the four bytes of key.

    Raises ValueError as encode_frame does.
    """
    frame = encode_frame(opcode, payload, fin=fin, rsv1=rsv1)
    head_bytes = len(frame) - len(payload)
    head = bytes((frame[0], frame[1] | MASKED)) + frame[2:head_bytes]
    return head + key + mask(payload, key)


def max_deflated_bytes(max_bytes: int) -> int:
    """Return how long a compressed message may be that is at most max_bytes long when decompressed.

    zlib makes at most an eighth more of the worst data, and some bytes per flush; what is twice as
    long as the message is padded.
    """
    return min(2 * max_bytes + 1024, MAX_64_BYTES)


class FrameDecoder:
    """The frames of one client, cut out of its bytes and unmasked.

    With is_deflating messages may be compressed, and frames then be as long as max_deflated_bytes
    allows. Between frames it holds no buffer of its own.
    """

    __slots__ = ("_first", "_key", "_max_frame_bytes", "_missing_bytes", "_problems", "_tail")

    def __init__(self, max_frame_bytes: int, *, is_deflating: bool = False) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._problems = DEFLATED_FIRST_BYTE_PROBLEMS if is_deflating else FIRST_BYTE_PROBLEMS
        self._tail = b""  # a head, or a control frame, that is not complete yet
        # What the rest of a data frame needs: its FIN bit, its key turned to the next byte, and how
        # much it is.
        self._first = 0
        self._key = b""
        self._missing_bytes = 0

    def feed(self, data: bytes) -> list[Frame | WebSocketError]:
        """Return the frames that data completes, oldest first, and what there is of one unfinished.

        Only a data frame comes out unfinished, in parts that look like fragments: only its last
        part may carry FIN, all but its first have the opcode CONTINUATION, and all but its last
        have bytes missing. The first comes as soon as the length is known, even if it is empty.

        A malformed frame is a WebSocketError at the end of the list, with close code 1002, or 1009
        for a frame above max_frame_bytes, told from its head; after that the decoder returns
        nothing more. RFC 6455 section 5.2.
        """
        frames: list[Frame | WebSocketError] = []
        start = 0
        if self._missing_bytes:
            start = self._feed_rest(data, frames)
        elif self._tail:
            data = self._tail + data
            self._tail = b""
        size = len(data)
        max_frame_bytes = self._max_frame_bytes
        problems = self._problems
        while start < size:
            # A short frame that is here as a whole is cut out at once; everything else takes the
            # general way.
            if size - start >= SHORT_HEAD_BYTES:
                first = data[start]
                length = data[start + 1] - MASKED  # negative when the bit is not set
                body = start + SHORT_HEAD_BYTES
                end = body + length
                if (
                    0 <= length <= MAX_SHORT_BYTES
                    and end <= size
                    and length <= max_frame_bytes
                    and not problems[first]
                ):
                    frames.append((first, _unmask_short(data[start + 2 : end]), 0))
                    start = end
                    continue
            try:
                start = self._feed_any(data, start, frames)
            except WebSocketError as error:
                self._missing_bytes = REFUSED
                frames.append(error.with_traceback(None))
                break
        return frames

    def _feed_rest(self, data: bytes, frames: list[Frame | WebSocketError]) -> int:
        """Append the next part of the unfinished data frame; return where the one after begins."""
        if self._missing_bytes == REFUSED:
            return len(data)
        piece = data[: self._missing_bytes]
        missing_bytes = self._missing_bytes - len(piece)
        self._append_part(self._first, piece, missing_bytes, frames)
        return len(piece)

    def _append_part(
        self, first: int, piece: bytes, missing_bytes: int, frames: list[Frame | WebSocketError]
    ) -> None:
        """Append one part of a data frame, keeping what the next one needs."""
        key = self._key
        self._missing_bytes = missing_bytes
        if not missing_bytes:
            self._key = b""
            frames.append((first, mask(piece, key), 0))
            return
        turn = len(piece) & 3
        self._key = key[turn:] + key[:turn]
        self._first = first & FIN
        frames.append((first & ~FIN, mask(piece, key), missing_bytes))

    def _feed_any(self, data: bytes, start: int, frames: list[Frame | WebSocketError]) -> int:
        """Append the frame at start, or what there is of it; return where the next one begins.

        Raises WebSocketError for a malformed head.
        """
        size = len(data)
        if size - start < 2:
            self._tail = data[start:]
            return size
        first = data[start]
        length, key_start = self._parse_length(data, start)
        body = key_start + 4
        if length < 0 or size < body or (first & CONTROL and size - body < length):
            self._tail = data[start:]
            return size
        self._key = data[key_start:body]
        piece = data[body : body + length]
        self._append_part(first, piece, length - len(piece), frames)
        return body + len(piece)

    def _parse_length(self, data: bytes, start: int) -> tuple[int, int]:
        """Return the payload's length, -1 while unknown, and where the masking key begins.

        Raises WebSocketError for anything in the head that is not allowed.
        """
        first = data[start]
        length = data[start + 1] & ~MASKED
        if self._problems[first]:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, self._problems[first])
        if not data[start + 1] & MASKED:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "frames of a client must be masked")
        if length > MAX_SHORT_BYTES:
            if first & CONTROL:
                raise WebSocketError(
                    CloseCode.PROTOCOL_ERROR, "control frames carry at most 125 bytes"
                )
            return self._parse_long_length(data, start, 2 if length == LENGTH_16 else 8)
        if not first & CONTROL:
            self._check_size(first, length)
        return length, start + 2

    def _parse_long_length(self, data: bytes, start: int, width: int) -> tuple[int, int]:
        """Return as _parse_length does, from the width bytes behind the two at start."""
        first = data[start]
        start += 2
        if len(data) - start < width:
            return -1, start
        length = int.from_bytes(data[start : start + width], "big")
        if length > MAX_64_BYTES:
            raise WebSocketError(
                CloseCode.PROTOCOL_ERROR, "the upper bit of a 64-bit length is set"
            )
        if length <= (MAX_SHORT_BYTES if width == 2 else MAX_16_BYTES):
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a length must take the fewest bytes")
        self._check_size(first, length)
        return length, start + width

    def _check_size(self, first: int, length: int) -> None:
        """Raise WebSocketError with close code 1009 if length is above the bound."""
        max_bytes = self._max_frame_bytes
        is_plain = first & OPCODE and not first & RSV1
        if not is_plain and self._problems is DEFLATED_FIRST_BYTE_PROBLEMS:
            max_bytes = max_deflated_bytes(max_bytes)
        if length > max_bytes:
            raise WebSocketError(
                CloseCode.MESSAGE_TOO_BIG, f"a frame of {length} bytes is above {max_bytes}"
            )
