"""Data carries what tells it from any other, whatever codec it travels in."""

import json
import random

import msgpack
import pytest

from loadtest.losses.payload import (
    MAX_PADDING_CHARS,
    Identity,
    Mangled,
    choose_padding_chars,
    make_data,
    read_data,
)


@pytest.mark.parametrize("padding_chars", [0, 1, 100, MAX_PADDING_CHARS])
def test_data_comes_back_from_both_codecs(padding_chars: int) -> None:
    identity = Identity(3, 77)
    data = make_data("news", identity, padding_chars)
    assert len(str(data["padding"])) == padding_chars
    assert read_data("news", json.loads(json.dumps(data))) == identity
    assert read_data("news", msgpack.unpackb(msgpack.packb(data))) == identity
    assert len(json.dumps(data).encode()) < 64 * 1024


@pytest.mark.parametrize("data", [None, [], {}, "text", {"publisher": 1, "sequence": 1}])
def test_data_of_another_shape_is_mangled(data: object) -> None:
    with pytest.raises(Mangled):
        read_data("news", data)


def test_paddings_are_mostly_short_and_sometimes_as_long_as_they_may_be() -> None:
    rng = random.Random(1)
    chosen = sorted(choose_padding_chars(rng, 8000) for _ in range(1000))
    assert 0 < chosen[500] < 300
    assert chosen[-1] == 8000
