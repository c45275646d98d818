"""Positions in several channels <-> one opaque string; and places in a list of members <-> another.

Layout, version 4: the byte 4; per channel its name as length and UTF-8, its epoch, and its offset;
then the CRC-32 of all that, big-endian. An epoch is 0 where it is that of the channel before, as
most are; else twice its length and its bytes, where it is the base64url of those; else twice its
length and 1, and UTF-8. Integers are LEB128 varints; the whole is base64url without padding. The
check finds cursors that were cut or altered by accident; it does not authenticate, because a cursor
grants nothing. Those of presence hold, between the byte 2 and the check, the id of a session, or
behind the byte 3 the name of a user.
"""

import base64
import binascii
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn
from zlib import crc32

from protocol.codes import ErrorCode
from protocol.errors import MessageError

VERSION: Final = 4
_AFTER_SESSION: Final = 2
_AFTER_USER: Final = 3
MAX_OFFSET: Final = 2**63 - 1  # what every client language and database holds in a signed integer
# What fits into a header field, in which an EventSource brings it back; whoever makes cursors keeps
# to it. A longer string is no cursor of ours, and would take long to read: some 10 ms have to do.
MAX_CURSOR_CHARS: Final = 8 * 1024

_TO_BASE64URL: Final = bytes.maketrans(b"+/", b"-_")
_SAME_EPOCH: Final = b"\0"
_SMALL: Final = [bytes((value,)) for value in range(0x80)]  # varints of one byte

_MAX_REMEMBERED_CHARS: Final = 16  # twice an epoch of ours

# A place in a list of members: a user and "", or "" and the id of a session without user.
MemberKey = tuple[str, str]


class Position(NamedTuple):
    """A place in one channel's log: after publication offset of that epoch."""

    epoch: str
    offset: int


def encode_cursor(positions: Mapping[str, Position]) -> str:
    """Return the cursor that holds positions, by channel name, in their order."""
    pieces = [_SMALL[VERSION]]
    epoch_before = None
    for channel, (epoch, offset) in positions.items():
        name = channel.encode()
        packed_epoch = _SAME_EPOCH if epoch == epoch_before else _encode_epoch(epoch)
        pieces += (_encode_varint(len(name)), name, packed_epoch, _encode_varint(offset))
        epoch_before = epoch
    return _seal(b"".join(pieces))


def decode_cursor(cursor: str) -> dict[str, Position]:
    """Return the positions in cursor by channel name.

    Raises MessageError (invalid_cursor) for anything that encode_cursor did not return.
    """
    body = _open(cursor)
    if body[0] != VERSION:
        _refuse(f"its version is {body[0]}, not {VERSION}")
    positions = _read_positions(body)
    if encode_cursor(positions) != cursor:
        _refuse("it is not in its canonical form")
    return positions


def encode_member_cursor(after: MemberKey) -> str:
    """Return the cursor of the members behind after."""
    user, session = after
    return _seal(bytes((_AFTER_USER if user else _AFTER_SESSION,)) + (user or session).encode())


def decode_member_cursor(cursor: str) -> MemberKey:
    """Return where the members behind cursor begin.

    Raises MessageError (invalid_cursor) for anything that encode_member_cursor did not return.
    """
    body = _open(cursor)
    if body[0] not in (_AFTER_SESSION, _AFTER_USER) or len(body) == 1:
        _refuse("it is not one of presence")
    try:
        text = body[1:].decode()
    except UnicodeDecodeError:
        _refuse("its content is malformed")
    after = ("", text) if body[0] == _AFTER_SESSION else (text, "")
    if encode_member_cursor(after) != cursor:
        _refuse("it is not in its canonical form")
    return after


def _seal(body: bytes) -> str:
    whole = body + crc32(body).to_bytes(4, "big")
    text = binascii.b2a_base64(whole, newline=False).translate(_TO_BASE64URL)
    return text.rstrip(b"=").decode()


def _open(cursor: str) -> bytes:
    """Return what _seal was given, at least one byte."""
    if not cursor or len(cursor) > MAX_CURSOR_CHARS:
        _refuse("it is empty" if not cursor else "it is too long")
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        whole = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        _refuse("it is not base64url")
    body, check = whole[:-4], whole[-4:]
    if len(whole) < 5 or crc32(body).to_bytes(4, "big") != check:
        _refuse("its checksum does not match")
    return body


def _read_positions(body: bytes) -> dict[str, Position]:
    positions: dict[str, Position] = {}
    epoch = None
    at = 1
    try:
        while at < len(body):
            size, at = _read_varint(body, at)
            channel, at = _read_bytes(body, at, size).decode(), at + size
            kind, at = _read_varint(body, at)
            if kind:
                epoch = _decode_epoch(kind, _read_bytes(body, at, kind >> 1))
                at += kind >> 1
            offset, at = _read_varint(body, at)
            if epoch is None:
                _refuse("its first epoch is that of none before")
            positions[channel] = Position(epoch, offset)
    except (IndexError, UnicodeDecodeError):
        _refuse("its content is malformed")
    return positions


def _read_bytes(body: bytes, at: int, size: int) -> bytes:
    if at + size > len(body):
        raise IndexError
    return body[at : at + size]


def _encode_epoch(epoch: str) -> bytes:
    # What is remembered must be short, because anybody can send a cursor.
    return _remember_epoch(epoch) if len(epoch) <= _MAX_REMEMBERED_CHARS else _pack_epoch(epoch)


def _pack_epoch(epoch: str) -> bytes:
    text = epoch.encode()
    with suppress(binascii.Error):
        raw = base64.urlsafe_b64decode(text)
        if raw and base64.urlsafe_b64encode(raw) == text:
            return _encode_varint(2 * len(raw)) + raw
    return _encode_varint(2 * len(text) + 1) + text


_remember_epoch = lru_cache(maxsize=1000)(_pack_epoch)  # some hundred KiB; channels share epochs


def _decode_epoch(kind: int, content: bytes) -> str:
    return (content if kind & 1 else base64.urlsafe_b64encode(content)).decode()


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    value = body[at]
    if value < 0x80:  # as most are
        return value, at + 1
    value = 0
    for shift in range(0, 63, 7):  # the bits of MAX_OFFSET; a longer number is not read to its end
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise IndexError


def _encode_varint(value: int) -> bytes:
    if value < 0x80:
        return _SMALL[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _refuse(reason: str) -> NoReturn:
    raise MessageError(ErrorCode.INVALID_CURSOR, f"invalid cursor: {reason}")
