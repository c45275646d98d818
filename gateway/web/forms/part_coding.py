"""How the data of a part are coded: for mail, in the transfer; for size, in the content."""

import base64
import binascii
import string
from collections.abc import Iterator
from typing import Final

from multidict import CIMultiDictProxy

from gateway.web.body.decoders import CODING_ERRORS, GIVEN_BYTES, Decoder, find_decoder
from gateway.web.exceptions import (
    HTTPRequestEntityTooLarge,
    HTTPUnsupportedMediaType,
    MalformedBodyError,
)

MAX_DECODED_BYTES: Final = 32 * 1024 * 1024  # from one call, as aiohttp; more is a 413

_ALPHABET: Final = (string.ascii_letters + string.digits + "+/=").encode()
_NOT_BASE64: Final = bytes(set(range(256)) - set(_ALPHABET))
_UNCODED: Final = frozenset({"7bit", "8bit", "binary"})


class UnknownPartCodingError(HTTPUnsupportedMediaType, RuntimeError):
    """A part is coded in a way that is not known here; unless caught it is answered with 415."""

    def __init__(self, coding: str) -> None:
        super().__init__(text=f"415: Unknown coding of a part: {coding!a}")


def decode_transfer(coding: str, data: bytes) -> bytes:
    """Return what data stand for in a Content-Transfer-Encoding. RFC 2045 section 6."""
    if coding in _UNCODED:
        return data
    if coding == "quoted-printable":
        return binascii.a2b_qp(data)
    if coding == "base64":
        try:
            return base64.b64decode(data)
        except binascii.Error as error:
            raise MalformedBodyError(f"Malformed base64 in a part: {error}") from None
    raise UnknownPartCodingError(coding)


def decode_content(headers: "CIMultiDictProxy[str]", data: bytes) -> bytes:
    """Return what data, whole and complete, stand for in the Content-Encoding of headers.

    Raises HTTPRequestEntityTooLarge above MAX_DECODED_BYTES, of which hardly more are made.
    """
    coding = headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "identity":
        return data
    decoder = find_decoder(headers)
    if decoder is None:
        raise UnknownPartCodingError(coding)
    try:
        decoded = bytearray()
        for piece in _decoded_pieces(decoder, data):
            decoded += piece
            if len(decoded) > MAX_DECODED_BYTES:
                raise HTTPRequestEntityTooLarge(MAX_DECODED_BYTES, len(decoded))
    except CODING_ERRORS:
        raise MalformedBodyError(f"Malformed {coding} in a part") from None
    if data and not decoder.is_whole:
        raise MalformedBodyError(f"Malformed {coding} in a part: it ends too soon")
    return bytes(decoded)


def _decoded_pieces(decoder: Decoder, data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), GIVEN_BYTES):
        yield decoder.decode(data[start : start + GIVEN_BYTES])
        while decoder.has_more:
            yield decoder.decode(b"")


def decodable_bytes(coding: str, chunk: bytes) -> int:
    """Return how much of chunk can be decoded without what follows it."""
    if coding == "base64":
        return _quads_bytes(chunk)
    if coding == "quoted-printable":
        return _lines_bytes(chunk)
    return len(chunk)


def essential(coding: str, chunk: bytes) -> bytes:
    """Return chunk without what makes no difference, so that waiting for more keeps it small."""
    return chunk.translate(None, _NOT_BASE64) if coding == "base64" else chunk


def _quads_bytes(chunk: bytes) -> int:
    """Return where the last four characters of base64 end."""
    excess = len(chunk.translate(None, _NOT_BASE64)) % 4
    end = len(chunk)
    for _ in range(excess):
        end = len(chunk[:end].rstrip(_NOT_BASE64)) - 1
    return end


def _lines_bytes(chunk: bytes) -> int:
    """Return where the last line ends; in a line longer than chunk, before a cut escape."""
    end = chunk.rfind(b"\n") + 1
    if end:
        return end
    escape = chunk.find(b"=", max(0, len(chunk) - 2))
    return escape if escape >= 0 else len(chunk)
