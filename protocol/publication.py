"""What can be published, and where: data that both codecs can carry, in channels with valid names.

A value that only JSON or only MessagePack could express is refused when it is published, so that no
subscriber ever meets one that cannot be sent to it.
"""

import base64
import json
import re
from array import array
from itertools import accumulate
from typing import Final, Literal

import msgpack
import msgspec
from msgspec import Struct

from protocol.codes import ErrorCode
from protocol.errors import MessageError

MAX_CHANNEL_BYTES: Final = 255
# Recursive decoders of common languages stop between 500 and 10,000; ours would stop at Python's
# limit, which depends on how deep the caller already is, so the bound is set well below it.
MAX_DATA_DEPTH: Final = 128

CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
# What each byte outside of strings does to the depth, as array("b") reads it; others do nothing.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class Data(Struct, frozen=True):
    """What a publication carries: a JSON text, verbatim; binary as a JSON string of base64."""

    json: bytes
    is_binary: bool = False

    @property
    def encoding(self) -> Literal["base64"] | None:
        """How `json` is to be read: as it stands, or as base64 of binary data."""
        return "base64" if self.is_binary else None

    def as_msgpack(self) -> bytes:
        """Return the same value as one MessagePack object; costs a decoding each time."""
        if self.is_binary:
            return msgspec.msgpack.encode(base64.b64decode(self.json[1:-1]))
        return msgspec.msgpack.encode(msgspec.json.decode(self.json))


def data_from_json(text: bytes | memoryview) -> Data:
    """Return text, one JSON value, as Data.

    Raises MessageError (invalid_data) for what MessagePack or a strict decoder could not carry:
    integers beyond 64 bits, numbers beyond a double, unpaired surrogates, nesting beyond
    MAX_DATA_DEPTH.
    """
    text = bytes(text)
    _check_depth(text)
    try:
        msgspec.msgpack.encode(msgspec.json.decode(text))
    except OverflowError:
        raise MessageError(ErrorCode.INVALID_DATA, "data holds an integer beyond 64 bits") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MessageError(ErrorCode.INVALID_DATA, f"data is not valid JSON: {error}") from None
    return Data(text)


def data_from_msgpack(packed: bytes | memoryview) -> Data:
    """Return packed, one MessagePack object, as Data; a bin object becomes binary data.

    Raises MessageError (invalid_data) for what JSON could not carry: binary or extension types
    inside a value, map keys that are not strings, NaN and infinities, nesting beyond
    MAX_DATA_DEPTH.
    """
    try:
        value = msgpack.unpackb(packed, strict_map_key=True)
    except (ValueError, TypeError, RecursionError) as error:
        raise _without_json_form(error) from None
    return data_from_value(value)


def data_from_value(value: object) -> Data:
    """Return a Python value as Data: bytes become binary data, anything else what json makes of it.

    Raises MessageError (invalid_data) for what JSON or MessagePack could not carry.
    """
    if isinstance(value, bytes):
        return Data(b'"' + base64.b64encode(value) + b'"', is_binary=True)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return data_from_json(text.encode())
    except (ValueError, TypeError, RecursionError) as error:
        raise _without_json_form(error) from None


def _without_json_form(error: Exception) -> MessageError:
    reason = str(error) or type(error).__name__
    text = f"data has no JSON form (binary only as the whole data): {reason}"
    return MessageError(ErrorCode.INVALID_DATA, text)


class Publication(Struct, frozen=True, gc=False):
    """One message published into a channel; time is when, in seconds since 1970.

    unechoed is the session that published it and does not want to receive it.
    """

    offset: int
    data: Data
    time: float
    key: str | None = None
    tags: dict[str, str] | None = None
    unechoed: str | None = None

    @property
    def size_bytes(self) -> int:
        """How much of a log's byte bound this uses: its data, key and tags in UTF-8."""
        size = len(self.data.json)
        if self.key is not None:
            size += len(self.key.encode())
        if self.tags is not None:
            size += sum(len(name.encode()) + len(text.encode()) for name, text in self.tags.items())
        return size


def _check_depth(text: bytes) -> None:
    if text.count(b"[") + text.count(b"{") <= MAX_DATA_DEPTH:
        return
    # Byte by byte in Python, brackets in a body of 1 MiB would hold the loop for half a second.
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = b"".join(unescaped.split(b'"')[::2])
    steps = array("b", outside_strings.translate(_STEPS, _NO_BRACKETS))
    if max(accumulate(steps), default=0) > MAX_DATA_DEPTH:
        message = f"data is nested deeper than {MAX_DATA_DEPTH} levels"
        raise MessageError(ErrorCode.INVALID_DATA, message)


def check_labels(key: str | None, tags: dict[str, str] | None) -> None:
    """Raise MessageError (invalid_field) unless key and tags are strings that UTF-8 can carry."""
    texts = [] if key is None else [key]
    for name, text in (tags or {}).items():
        texts += (name, text)
    for text in texts:
        try:
            text.encode()
        except (AttributeError, UnicodeEncodeError):
            message = f"keys and tags are strings of UTF-8, not {text!r:.80}"
            raise MessageError(ErrorCode.INVALID_FIELD, message) from None


def check_channel(name: str) -> None:
    """Raise MessageError (invalid_channel) unless name can name a channel."""
    if name.isascii() and name.isprintable() and 0 < len(name) <= MAX_CHANNEL_BYTES:
        return  # as most are
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= MAX_CHANNEL_BYTES or CONTROL.search(name):
        raise MessageError(
            ErrorCode.INVALID_CHANNEL,
            f"invalid channel name {name[:80]!r}: a name is 1 to {MAX_CHANNEL_BYTES} bytes of UTF-8"
            " without control characters",
        )
