"""Codings of a part, whole and in pieces."""

import base64
import binascii
import gzip
import sys
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.web.exceptions import HTTPRequestEntityTooLarge, MalformedBodyError
from gateway.web.forms.part_coding import (
    MAX_DECODED_BYTES,
    decodable_bytes,
    decode_content,
    decode_transfer,
    essential,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.mark.parametrize(
    ("coding", "data", "decoded"),
    [
        ("base64", b"aGVs\r\nbG8=\r\n", b"hello"),
        ("base64", b"", b""),
        ("quoted-printable", b"a=3Db=\r\nc\r\n", b"a=bc\r\n"),
        ("7bit", b"a=3D", b"a=3D"),
        ("8bit", b"\xff", b"\xff"),
        ("binary", b"\x00", b"\x00"),
    ],
)
def test_a_transfer_coding_is_undone(coding, data, decoded):
    assert decode_transfer(coding, data) == decoded


RAW = zlib.compressobj(wbits=-15)
RAW_DATA = RAW.compress(b"hello") + RAW.flush()


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("identity", b"hello"),
        ("br", brotli.compress(b"hello")),
        ("gzip", gzip.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", RAW_DATA),
    ],
)
def test_a_content_coding_is_undone(coding, data):
    assert decode_content(headers(coding), data) == b"hello"


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_a_content_coding_may_have_very_many_members(coding, compress):
    data = b"".join([compress(b"%d " % number) for number in range(5000)])
    assert decode_coded(coding, data) == b"".join([b"%d " % number for number in range(5000)])


def headers(coding):
    return CIMultiDictProxy(CIMultiDict({"Content-Encoding": coding}))


def decode_coded(coding, data):
    return decode_content(headers(coding), data)


@pytest.mark.parametrize("decode", [decode_transfer, decode_coded])
def test_an_unknown_coding_is_an_unsupported_media_type_and_a_runtime_error(decode):
    with pytest.raises(RuntimeError) as caught:
        decode("rot13", b"a")
    assert (caught.value.status, caught.value.text) == (
        415,
        "415: Unknown coding of a part: 'rot13'",
    )


@pytest.mark.parametrize(
    ("decode", "coding", "data"),
    [
        (decode_transfer, "base64", b"abc"),
        (decode_coded, "gzip", b"hello"),
        (decode_coded, "gzip", gzip.compress(b"hello")[:-3]),
        (decode_coded, "deflate", b"\xff\xff"),
    ],
)
def test_malformed_data_are_a_bad_request(decode, coding, data):
    with pytest.raises(MalformedBodyError) as caught:
        decode(coding, data)
    assert f"Malformed {coding} in a part" in caught.value.text


def test_a_bomb_is_not_unpacked():
    bomb = zlib.compress(bytes(MAX_DECODED_BYTES + 1))
    with pytest.raises(HTTPRequestEntityTooLarge):
        decode_coded("deflate", bomb)
    assert len(decode_coded("gzip", gzip.compress(bytes(MAX_DECODED_BYTES)))) == 2**25


def decode_in_pieces(coding, data, size):
    """Decode as a reader does that takes size bytes at a time."""
    decoded, chunk = b"", b""
    for start in range(0, len(data), size):
        chunk = essential(coding, chunk) + data[start : start + size]
        end = decodable_bytes(coding, chunk)
        decoded += decode_transfer(coding, chunk[:end])
        chunk = chunk[end:]
    return decoded + decode_transfer(coding, chunk)


@given(st.binary(), st.integers(1, 100))
def test_base64_in_lines_is_decoded_in_pieces_of_any_size(data, size):
    assert decode_in_pieces("base64", base64.encodebytes(data), size) == data


@given(st.binary().filter(lambda data: b"\r" not in data), st.integers(1, 100))
def test_quoted_printable_is_decoded_in_pieces_of_any_size(data, size):
    coded = binascii.b2a_qp(data, quotetabs=True)
    assert decode_in_pieces("quoted-printable", coded, size) == binascii.a2b_qp(coded)


@pytest.mark.parametrize("filler", [b" ", b"\r\n", b"-", b"\xff"])
def test_what_is_no_base64_does_not_pile_up(filler):
    chunk = b"A" + filler * 5000
    assert decodable_bytes("base64", chunk) == 0
    assert essential("base64", chunk) == b"A"
