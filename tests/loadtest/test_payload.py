"""What is published: JSON of the size that was asked for, different each time."""

import json

import pytest

from loadtest.payload import Payload


@pytest.mark.parametrize("size", [12, 13, 64, 1024])
def test_a_text_is_json_of_its_size_and_has_its_number(size: int) -> None:
    text = Payload(size).text(42)
    assert len(text) == size
    assert json.loads(text).startswith("0000000042")


def test_the_smallest_text_is_a_number_in_quotes() -> None:
    assert Payload(1).text(7) == '"0000000007"'


def test_texts_are_the_same_in_each_process() -> None:
    assert Payload(200).text(1) == Payload(200).text(1) != Payload(200).text(2)
