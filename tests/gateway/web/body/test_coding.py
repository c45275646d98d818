"""A peer is given the coding that it weighs highest, and can undo it."""

import random
import zlib

import pytest

from gateway.web.body.coding import (
    MAX_WEIGHTS,
    ContentCoding,
    Encoder,
    choose_coding,
    parse_accept_encoding,
)

DEFLATE, GZIP, IDENTITY = ContentCoding

CHOICES = {
    "": IDENTITY,
    "gzip": GZIP,
    "deflate": DEFLATE,
    "gzip, deflate": DEFLATE,
    "gzip, deflate, br, zstd": DEFLATE,
    "GZip": GZIP,
    "x-gzip": GZIP,
    "br": IDENTITY,
    "gzippy, notgzip": IDENTITY,
    "gzip;q=0": IDENTITY,
    "gzip;q=0.000, deflate;q=0": IDENTITY,
    "gzip; q=0.001": GZIP,
    "gzip;Q=1.000": GZIP,
    "deflate;q=0.5, gzip;q=0.8": GZIP,
    "deflate;q=0, gzip": GZIP,
    "identity, gzip;q=0.5": IDENTITY,
    "identity;q=0.5, gzip;q=0.5": GZIP,
    "identity;q=0": IDENTITY,
    "identity;q=0, gzip;q=0.1": GZIP,
    "*": DEFLATE,
    "*;q=0": IDENTITY,
    "*;q=0.1, gzip;q=0.2": GZIP,
    "*, deflate;q=0": GZIP,
    "*;q=0, gzip": GZIP,
    "gzip;q=2": IDENTITY,
    "gzip;q=-1": IDENTITY,
    "gzip;q=0.0001": IDENTITY,
    "gzip;q=": IDENTITY,
    "gzip;level=9": IDENTITY,
    "gzip;q=0, gzip": IDENTITY,
    ", ,gzip\t;\tq=1 ,,": GZIP,
}


@pytest.mark.parametrize("accept_encoding", CHOICES)
def test_the_coding_with_the_most_weight_is_chosen(accept_encoding: str) -> None:
    assert choose_coding(accept_encoding) is CHOICES[accept_encoding]


def test_the_weights_of_all_codings_can_be_read() -> None:
    weights = parse_accept_encoding("BR;q=0.5, x-gzip, *;q=0")

    assert dict(weights) == {"br": 0.5, "gzip": 1.0, "*": 0.0}


def test_no_more_weights_are_remembered_than_there_are_codings_for() -> None:
    assert len(parse_accept_encoding(",".join(map(str, range(5000))))) == MAX_WEIGHTS
    assert choose_coding("br," * (MAX_WEIGHTS - 1) + "gzip") is GZIP
    assert choose_coding("br," * MAX_WEIGHTS + "gzip") is IDENTITY


def test_a_long_header_is_read_in_one_pass() -> None:
    text = "a;" * 100_000 + "," + "gzip;" + " " * 100_000 + "q=1," * 100_000

    assert choose_coding(text) is GZIP


@pytest.mark.parametrize("coding", [DEFLATE, GZIP])
@pytest.mark.parametrize(
    "strategy", [None, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED]
)
def test_what_is_encoded_can_be_decoded_as_far_as_it_was_flushed(
    coding: ContentCoding, strategy: int | None
) -> None:
    encoder = Encoder(coding, strategy)
    decoder = zlib.decompressobj(31 if coding is GZIP else 15)
    noise = random.Random(1).randbytes(100_000)
    for piece in (b"one", b"x" * 100_000, noise):
        assert decoder.decompress(encoder.encode(piece) + encoder.flush()) == piece
    assert decoder.decompress(encoder.finish(b"end")) == b"end"
    assert decoder.eof


def test_the_strategy_is_zlibs() -> None:
    body = b"abc" * 1000

    assert len(Encoder(GZIP, zlib.Z_HUFFMAN_ONLY).finish(body)) > len(Encoder(GZIP).finish(body))
