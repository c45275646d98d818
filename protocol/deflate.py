"""RFC 7692, permessage-deflate: agreed upon as a server does, done to one connection's messages.

A compressor and a decompressor are kept only where the next message can refer to earlier ones, and
made when the first message needs them: a connection that sends and receives nothing holds none.
"""

import re
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from protocol.codes import CloseCode
from protocol.errors import WebSocketError

NAME: Final = "permessage-deflate"

# RFC 7692 section 7.1.2: windows are of 2**8 to 2**15 bytes, the largest unless agreed otherwise.
MAX_WINDOW_BITS: Final = 15
# zlib does not compress raw data into the window of 2**8, so no client is promised that.
MIN_WINDOW_BITS: Final = 9

# How we compress, and what we ask a client for where it lets us ask. Measured with zlib 1.2.13 over
# 300 JSON messages of 600 bytes, context kept: 38.3 % of them are left, in 11 us each, for 30 KiB a
# connection. zlib's own choice of 15 and 8 leaves 38.1 % for 206 KiB; 11 and 4 leave 39.3 % for 22
# KiB. Level 6 leaves 34 % and takes 1.5 to 2.5 times as long.
WINDOW_BITS: Final = 12
MEMORY_LEVEL: Final = 4
LEVEL: Final = zlib.Z_BEST_SPEED

# RFC 7692 section 7.2.1: an empty block without compression ends each message, less these bytes.
TAIL: Final = b"\x00\x00\xff\xff"
# Section 7.2.3.6. A compressor that has just been flushed has nothing to flush, and gives nothing.
EMPTY_MESSAGE: Final = b"\x00"
# Section 7.2.3.4 lets a message have final blocks, after each of which a new stream begins. For two
# bytes each we make a decompressor, so more are taken for an attack and answered with 1007.
MAX_FINAL_BLOCKS: Final = 16

# RFC 6455 section 9.1, between commas that are not in quotes; what is in quotes must be a token.
ELEMENT: Final = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+')
TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
PARAMETER: Final = re.compile(
    rf'[ \t]*({TOKEN})[ \t]*(?:=[ \t]*(?:({TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*)?'
)
# RFC 7692 section 7.1.2: a decimal integer without leading zeroes.
BITS: Final = re.compile(r"[89]|1[0-5]")

SERVER_NO_CONTEXT_TAKEOVER: Final = "server_no_context_takeover"
CLIENT_NO_CONTEXT_TAKEOVER: Final = "client_no_context_takeover"
SERVER_MAX_WINDOW_BITS: Final = "server_max_window_bits"
CLIENT_MAX_WINDOW_BITS: Final = "client_max_window_bits"

# Whether an offer's parameter may have a value, None where it is left out. RFC 7692 section 7.1.
PARAMETERS: Final[dict[str, Callable[[str | None], object]]] = {
    SERVER_NO_CONTEXT_TAKEOVER: lambda value: value is None,
    CLIENT_NO_CONTEXT_TAKEOVER: lambda value: value is None,
    SERVER_MAX_WINDOW_BITS: lambda value: value is not None and BITS.fullmatch(value),
    CLIENT_MAX_WINDOW_BITS: lambda value: value is None or BITS.fullmatch(value),
}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How both sides compress; the windows are the largest that each side's messages may need."""

    server_window_bits: int = MAX_WINDOW_BITS
    client_window_bits: int = MAX_WINDOW_BITS
    server_keeps_context: bool = True
    client_keeps_context: bool = True
    extension: str = NAME  # the Sec-WebSocket-Extensions header of the 101


def negotiate(headers: Iterable[str], *, keeps_context: bool = True) -> Agreement | None:
    """Return what the first acceptable offer in Sec-WebSocket-Extensions headers leads to, or None.

    An offer with a parameter that is unknown, repeated or badly valued is declined, and so is one
    that cannot be kept; the next is then looked at. Without keeps_context every message is to stand
    alone, in both directions, and the client to take what deflate_message makes for many. RFC 7692
    sections 5 and 7.1.
    """
    for header in headers:
        for element in ELEMENT.findall(header):
            offer = _parse_offer(element)
            if offer is not None and (agreement := _accept(offer, keeps_context)) is not None:
                return agreement
    return None


def _parse_offer(element: str) -> tuple[tuple[str, str | None], ...] | None:
    """Return the parameters of an offer by name, None for another extension or a malformed one."""
    name, *rest = element.split(";")
    if name.strip(" \t") != NAME:
        return None
    parameters: dict[str, str | None] = {}
    for parameter in rest:
        match = PARAMETER.fullmatch(parameter)
        if match is None or match[1] not in PARAMETERS or match[1] in parameters:
            return None
        value = match[2] if match[3] is None else re.sub(r"\\(.)", r"\1", match[3])
        if not PARAMETERS[match[1]](value):
            return None
        parameters[match[1]] = value
    return tuple(sorted(parameters.items()))


@cache  # one for all connections that agree on the same: there are 720 at the most
def _accept(offer: tuple[tuple[str, str | None], ...], keeps_context: bool) -> Agreement | None:
    """Return what is agreed where an offer has parameters; None if we cannot do what it demands."""
    parameters = dict(offer)
    if not keeps_context:  # section 7.1.1 lets a server say so unasked
        parameters |= dict.fromkeys((SERVER_NO_CONTEXT_TAKEOVER, CLIENT_NO_CONTEXT_TAKEOVER))
    answer = [NAME]
    # The client's hint that it keeps no context is made binding: then neither do we for it.
    answer += [
        parameter
        for parameter in (SERVER_NO_CONTEXT_TAKEOVER, CLIENT_NO_CONTEXT_TAKEOVER)
        if parameter in parameters
    ]
    server_window_bits = int(parameters.get(SERVER_MAX_WINDOW_BITS) or MAX_WINDOW_BITS)
    if server_window_bits < (MIN_WINDOW_BITS if keeps_context else WINDOW_BITS):
        return None
    if SERVER_MAX_WINDOW_BITS in parameters:
        answer.append(f"{SERVER_MAX_WINDOW_BITS}={server_window_bits}")
    client_window_bits = MAX_WINDOW_BITS
    if CLIENT_MAX_WINDOW_BITS in parameters:
        client_window_bits = WINDOW_BITS
        asked = min(int(parameters[CLIENT_MAX_WINDOW_BITS] or MAX_WINDOW_BITS), WINDOW_BITS)
        answer.append(f"{CLIENT_MAX_WINDOW_BITS}={asked}")
    return Agreement(
        server_window_bits,
        client_window_bits,
        SERVER_NO_CONTEXT_TAKEOVER not in parameters,
        CLIENT_NO_CONTEXT_TAKEOVER not in parameters,
        "; ".join(answer),
    )


def deflate_message(payload: bytes, window_bits: int = WINDOW_BITS) -> bytes:
    """Return the payload of a compressed message that stands alone, to be sent to many peers.

    It suits every connection whose agreement has at least window_bits (9 to 15) for the server. One
    that keeps a context must be told: see Deflate.forget_sent.
    """
    return _compress(_new_compressor(window_bits), payload) if payload else EMPTY_MESSAGE


def _new_compressor(window_bits: int) -> "zlib._Compress":
    return zlib.compressobj(
        LEVEL, zlib.DEFLATED, -min(window_bits, WINDOW_BITS), MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY
    )


def _compress(compressor: "zlib._Compress", payload: bytes) -> bytes:
    """Return what compressor makes of a payload that is not empty. RFC 7692 section 7.2.1."""
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]


class Deflate:
    """The compressor and the decompressor of one connection."""

    __slots__ = ("_agreement", "_compressor", "_decompressor", "_final_block_count", "_has_begun")

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._compressor: zlib._Compress | None = None
        self._decompressor: zlib._Decompress | None = None
        # Of the message that is being decompressed.
        self._has_begun = False
        self._final_block_count = 0

    def compress(self, payload: bytes) -> bytes:
        """Return the payload of a compressed message, which must be sent before the next one."""
        window_bits = self._agreement.server_window_bits
        if not payload or not self._agreement.server_keeps_context:
            return deflate_message(payload, window_bits)
        if self._compressor is None:
            self._compressor = _new_compressor(window_bits)
        return _compress(self._compressor, payload)

    def forget_sent(self) -> None:
        """Refer to nothing sent so far: the peer has received a message compressed elsewhere.

        That has moved its window, and what this compressor would refer to is not where it was.
        """
        self._compressor = None

    def decompress(self, piece: bytes, max_bytes: int, *, is_last: bool) -> bytes:
        """Return what the next piece of a message's payload becomes; is_last ends the message.

        Raises WebSocketError with close code 1009 as soon as it is more than max_bytes, and 1007
        for what no compressor makes; nothing can be decompressed afterwards. RFC 7692 section
        7.2.2.
        """
        try:
            data = self._decompress(piece, max_bytes) if piece else b""
            if is_last:
                self._end_message()
        except zlib.error:
            raise _corrupt() from None
        return data

    def _decompress(self, piece: bytes, max_bytes: int) -> bytes:
        self._has_begun = True
        decompressor = self._decompressor or self._begin_stream()
        # One byte more than may be, to see that there is one.
        data = decompressor.decompress(piece, min(max_bytes, sys.maxsize - 1) + 1)
        while len(data) <= max_bytes and decompressor.unused_data:
            self._final_block_count += 1
            if self._final_block_count > MAX_FINAL_BLOCKS:
                raise _corrupt()
            piece = decompressor.unused_data
            decompressor = self._begin_stream()
            data += decompressor.decompress(piece, max_bytes - len(data) + 1)
        if len(data) > max_bytes:
            raise WebSocketError(
                CloseCode.MESSAGE_TOO_BIG, "a message is above the limit when decompressed"
            )
        return data

    def _begin_stream(self) -> "zlib._Decompress":
        decompressor = zlib.decompressobj(-self._agreement.client_window_bits)
        self._decompressor = decompressor
        return decompressor

    def _end_message(self) -> None:
        """Put back the end that each message goes without, and see that nothing but it is missing.

        What a final block ended needs no end, nor does a message of no bytes at all: it should have
        one, but peers that flush zlib twice for two empty messages do not know.
        """
        decompressor, self._final_block_count = self._decompressor, 0
        if decompressor is None or not self._has_begun:
            return
        self._has_begun = False
        if not decompressor.eof and (decompressor.decompress(TAIL) or decompressor.eof):
            raise _corrupt()
        if decompressor.eof or not self._agreement.client_keeps_context:
            self._decompressor = None


def _corrupt() -> WebSocketError:
    return WebSocketError(CloseCode.INVALID_TEXT, "a compressed message is corrupt")
