"""A body comes out of its content coding whole, in small pieces, however its bytes are cut."""

import gzip
import random
import sys
import zlib

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.web.body.decoders import (
    CODING_ERRORS,
    PIECE_BYTES,
    BrotliDecoder,
    ZlibDecoder,
    ZstdDecoder,
    find_decoder,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"".join(b"%d bottles of beer on the wall\n" % n for n in range(99, 0, -1))
NOISE = random.Random(1).randbytes(3 * PIECE_BYTES)
SKIPPED_FRAME = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"  # RFC 8878 section 3.1.2
GZIP_HEADER_FIELDS = b"\x1f\x8b\x08\x0c" + b"\0" * 6 + b"\x03\0abc" + b"name\0"  # FEXTRA, FNAME


def deflate_raw(data):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODE = {
    "br": brotli.compress,
    "deflate": zlib.compress,
    "deflate without its header": deflate_raw,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
}
# A coding, bytes in it, and what they stand for.
WHOLE = {
    **{f"{name} of nothing": (name, encode(b""), b"") for name, encode in ENCODE.items()},
    **{f"{name} of a byte": (name, encode(b"x"), b"x") for name, encode in ENCODE.items()},
    **{f"{name} of a text": (name, encode(TEXT), TEXT) for name, encode in ENCODE.items()},
    **{f"br of window {n}": ("br", brotli.compress(TEXT, lgwin=n), TEXT) for n in range(10, 23)},
    "gzip of two members": ("gzip", gzip.compress(b"one") + gzip.compress(b"two"), b"onetwo"),
    "gzip with header fields": (
        *("gzip", GZIP_HEADER_FIELDS + gzip.compress(b"x")[10:]),
        b"x",
    ),
    "gzip uncompressed": ("gzip", gzip.compress(TEXT, 0), TEXT),
    "zstd of two frames": ("zstd", zstd.compress(b"one") + zstd.compress(b"two"), b"onetwo"),
    "zstd with a frame to skip": ("zstd", SKIPPED_FRAME + zstd.compress(b"x"), b"x"),
}
BROKEN = {
    "br that is none": ("br", b"\xff\xff\xff\xff"),
    "br with a window of 8 MiB": ("br", brotli.compress(TEXT, lgwin=23)),
    "br with a window of 16 MiB": ("br", brotli.compress(TEXT, lgwin=24)),
    "br with bytes behind": ("br", brotli.compress(b"x") + b"y"),
    "deflate that is none": ("deflate", b"\xff\xff"),
    "deflate with bytes behind": ("deflate", zlib.compress(b"x") + b"y"),
    "deflate with a wrong checksum": ("deflate", zlib.compress(b"x")[:-1] + b"\0"),
    "gzip that is none": ("gzip", b"GET / HTTP/1.1"),
    "gzip with bytes behind": ("gzip", gzip.compress(b"x") + b"y" * 20),
    "gzip with a wrong checksum": ("gzip", gzip.compress(b"x")[:-5] + b"\0" * 5),
    "gzip of deflate": ("gzip", zlib.compress(b"x")),
    "zstd that is none": ("zstd", b"GET / HTTP/1.1"),
    "zstd with bytes behind": ("zstd", zstd.compress(b"x") + b"y" * 20),
    "zstd with a window beyond RFC 9659": (
        "zstd",
        # Section 3.1.1.1 of RFC 8878: no size given, and a window of 2^(10 + 14) bytes.
        b"\x28\xb5\x2f\xfd\x00" + bytes([14 << 3]) + b"\x01\0\0",
    ),
}


def make_decoder(name):
    makers = {"br": BrotliDecoder, "zstd": ZstdDecoder}
    maker = makers.get(name.split()[0])
    return maker() if maker is not None else ZlibDecoder(is_gzip=name.startswith("gzip"))


def decode(decoder, *pieces):
    """Return what pieces stand for, asserting that it comes in small steps."""
    decoded = []
    for data in pieces:
        decoded.append(decoder.decode(data))
        while decoder.has_more:
            decoded.append(decoder.decode(b""))
    assert max(map(len, decoded), default=0) <= PIECE_BYTES
    return b"".join(decoded)


@pytest.mark.parametrize("name", WHOLE)
def test_a_body_is_decoded_however_its_bytes_are_cut(name):
    coding, wire, data = WHOLE[name]
    for cut in range(len(wire)):
        decoder = make_decoder(coding)
        pieces = [piece for piece in (wire[:cut], wire[cut:]) if piece]
        assert decode(decoder, *pieces) == data
        assert decoder.is_whole
    decoder = make_decoder(coding)
    assert decode(decoder, *[wire[i : i + 1] for i in range(len(wire))]) == data
    assert decoder.is_whole


@pytest.mark.parametrize("name", ENCODE)
@pytest.mark.parametrize(
    "data",
    [
        bytes(PIECE_BYTES - 1),
        bytes(PIECE_BYTES),
        bytes(PIECE_BYTES + 1),
        bytes(3_000_000),
        NOISE,
        TEXT * 20 + NOISE + TEXT * 20,
    ],
    ids=["just below a piece", "a piece", "just above", "zeros", "noise", "mixed"],
)
def test_no_step_gives_more_than_a_piece(name, data):
    wire = ENCODE[name](data)

    for size in (1000, 16 * 1024, len(wire)):
        decoder = make_decoder(name)
        pieces = [wire[i : i + size] for i in range(0, len(wire), size)]
        assert decode(decoder, *pieces) == data
        assert decoder.is_whole


@pytest.mark.parametrize("name", ENCODE)
def test_a_body_cut_short_is_not_whole(name):
    wire = ENCODE[name](TEXT)

    for end in range(1, len(wire)):
        decoder = make_decoder(name)
        assert TEXT.startswith(decode(decoder, wire[:end]))
        assert not decoder.is_whole


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_in_its_coding_is_refused(name):
    coding, wire = BROKEN[name]

    with pytest.raises(CODING_ERRORS):
        decode(make_decoder(coding), wire)
    with pytest.raises(CODING_ERRORS):
        decode(make_decoder(coding), *[wire[i : i + 1] for i in range(len(wire))])


@given(
    st.sampled_from(sorted(ENCODE)),
    st.binary(max_size=200),
    st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=3)), max_size=3),
    st.integers(1, 50),
)
def test_whatever_is_sent_is_decoded_or_refused(name, data, damages, size):
    wire = ENCODE[name](data)
    for at, put in damages:
        wire = wire[:at] + put + wire[at + 1 :]
    decoder = make_decoder(name)
    pieces = [wire[i : i + size] for i in range(0, len(wire), size)]
    try:
        decoded = decode(decoder, *pieces)
    except CODING_ERRORS:
        assert damages
    else:
        assert decoded == data or damages


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["gzip"], ZlibDecoder),
        (["x-gzip"], ZlibDecoder),
        (["GZip"], ZlibDecoder),
        ([" deflate\t"], ZlibDecoder),
        (["br"], BrotliDecoder),
        (["zstd"], ZstdDecoder),
        ([], None),
        (["identity"], None),
        (["compress"], None),
        (["gzip, br"], None),
        (["gzip", "gzip"], None),
        (["gzip;q=1"], None),
        ([""], None),
    ],
)
def test_one_known_coding_is_undone_and_everything_else_is_left_as_it_is(lines, kind):
    headers = CIMultiDictProxy(CIMultiDict([("Content-Encoding", line) for line in lines]))

    decoder = find_decoder(headers)

    assert isinstance(decoder, kind) if kind is not None else decoder is None


@pytest.mark.parametrize("name", ["deflate", "deflate without its header", "gzip"])
def test_what_zlib_keeps_back_at_the_end_of_a_piece_comes_out_too(name):
    for length in range(PIECE_BYTES - 2, PIECE_BYTES + 300, 5):
        decoder, expected = make_decoder(name), bytes(length)
        wire = ENCODE[name](expected)
        for cut in range(len(wire) - 8, len(wire)):
            decoder = make_decoder(name)
            unbounded = zlib.decompressobj({"gzip": 31, "deflate": 15}.get(name, -15))
            assert decode(decoder, wire[:cut]) == unbounded.decompress(wire[:cut])
