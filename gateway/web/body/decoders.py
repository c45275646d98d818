"""Content codings undone piece by piece, so that a body costs no more than is read of it."""

import sys
import zlib
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

import brotli
from multidict import CIMultiDictProxy

from gateway.web.fields import CONTENT_ENCODING

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# What is given to decode() at a time: with what it may return, the work of one step. What was given
# behind a member of gzip or a frame of zstd is copied once for each, so that all of a body at once
# would take quadratic time.
GIVEN_BYTES: Final = 16 * 1024

# What decode() returns at most. It takes 0.1 ms and is brotli's first block, of which its binding
# does not return a part: https://github.com/google/brotli/issues/1396.
PIECE_BYTES: Final = 32 * 1024 - 16

# A window is memory that the peer chooses, so larger ones are refused; deflate's is 32 KiB.
# RFC 9659 section 3: an encoder for the coding zstd keeps to 8 MiB.
MAX_ZSTD_WINDOW_LOG: Final = 23
# Brotli fills its window before it gives out anything: 16 MiB, which its format knows, would be
# made of 54 bytes and take 50 ms. Encoders take 4 MiB unless told otherwise. RFC
# 7932 section 9.1: these are the lowest four bits of bodies with windows of 8 and 16 MiB.
LARGE_BROTLI_WINDOWS: Final = (0b1101, 0b1111)


class CodingError(ValueError):
    """The bytes are not what their coding allows."""


# What decode() may raise: each library has its own.
CODING_ERRORS: Final = (CodingError, zlib.error, brotli.error, zstd.ZstdError)


class Decoder(Protocol):
    """One body on its way out of its coding.

    has_more tells that decode(b"") goes on with bytes it was given before: until it is false, no
    more may be given. is_whole tells that the body may end where it is. is_slow tells that one call
    may take so long that it belongs in a thread.
    """

    is_slow: ClassVar[bool]
    has_more: bool
    is_whole: bool

    def decode(self, data: bytes) -> bytes:
        """Return what comes out next, perhaps nothing yet; raise one of CODING_ERRORS."""


class ZlibDecoder:
    """The codings gzip, of one member or several, and deflate, with or without zlib's header."""

    __slots__ = ("_is_gzip", "_rest", "_stream", "has_more", "is_whole")

    is_slow: ClassVar[bool] = False

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: zlib._Decompress | None = None
        self._rest = b""
        self.has_more = False
        self.is_whole = True

    def decode(self, data: bytes) -> bytes:
        """Return what comes out next, of one member at a time."""
        data = self._rest or data
        if not data and self.is_whole:
            return b""
        if self._stream is None or self._stream.eof:
            self._stream = self._begin(data[0])
        piece = self._stream.decompress(data, PIECE_BYTES)
        self.is_whole = self._stream.eof
        self._rest = self._stream.unused_data if self.is_whole else self._stream.unconsumed_tail
        is_cut = not self.is_whole and len(piece) == PIECE_BYTES  # zlib may hold the rest itself
        self.has_more = is_cut or bool(self._rest)
        return piece

    def _begin(self, first: int) -> "zlib._Decompress":
        if self._is_gzip:  # RFC 1952 section 2.2: a file is a series of members
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        if self._stream is not None:
            raise CodingError("Bytes follow the end of the data")
        # RFC 9110 section 8.4.1.2: some peers send "deflate" data without the zlib wrapper. That
        # begins with four bits that no compressor sets to 8, which is all that zlib's has there.
        return zlib.decompressobj(zlib.MAX_WBITS if first & 0x0F == 8 else -zlib.MAX_WBITS)


class BrotliDecoder:
    """The coding br. RFC 7932."""

    __slots__ = ("_stream", "has_more", "is_whole")

    is_slow: ClassVar[bool] = True  # 10 ms where a window is filled from 50 bytes

    def __init__(self) -> None:
        self._stream: Any = None
        self.has_more = False
        self.is_whole = False

    def decode(self, data: bytes) -> bytes:
        """Return what comes out next."""
        if self._stream is None:
            if data and data[0] & 0b1111 in LARGE_BROTLI_WINDOWS:
                raise CodingError("The window is too large")
            self._stream = brotli.Decompressor()
        piece: bytes = self._stream.process(data, output_buffer_limit=PIECE_BYTES)
        self.is_whole = self._stream.is_finished()
        # It may have taken all its input and still hold some output.
        self.has_more = not self.is_whole and (
            bool(piece) or not self._stream.can_accept_more_data()
        )
        return piece


class ZstdDecoder:
    """The coding zstd, of one frame or several. RFC 8878 and RFC 9659."""

    __slots__ = ("_rest", "_stream", "has_more", "is_whole")

    is_slow: ClassVar[bool] = False

    def __init__(self) -> None:
        self._stream = _open_zstd()
        self._rest = b""
        self.has_more = False
        self.is_whole = False

    def decode(self, data: bytes) -> bytes:
        """Return what comes out next, of one frame at a time."""
        data = self._rest or data
        if self.is_whole:
            if not data:
                return b""
            self._stream = _open_zstd()
        piece: bytes = self._stream.decompress(data, PIECE_BYTES)
        self.is_whole = self._stream.eof
        self._rest = self._stream.unused_data if self.is_whole else b""
        self.has_more = bool(self._rest) if self.is_whole else not self._stream.needs_input
        return piece


def _open_zstd() -> zstd.ZstdDecompressor:
    limits: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_ZSTD_WINDOW_LOG}
    return zstd.ZstdDecompressor(options=limits)


_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "br": BrotliDecoder,
    "deflate": lambda: ZlibDecoder(is_gzip=False),
    "gzip": lambda: ZlibDecoder(is_gzip=True),
    "x-gzip": lambda: ZlibDecoder(is_gzip=True),  # RFC 9110 section 8.4.1.3
    "zstd": ZstdDecoder,
}


def find_decoder(headers: "CIMultiDictProxy[str]") -> Decoder | None:
    """Return what undoes the coding of a body, None where it has none that is known.

    A body in several codings is left to the handler, too, as one in an unknown coding is.
    """
    if CONTENT_ENCODING not in headers:
        return None
    make = _DECODERS.get(",".join(headers.getall(CONTENT_ENCODING)).strip(" \t").lower())
    return make() if make is not None else None
