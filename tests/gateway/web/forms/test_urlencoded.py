"""Urlencoded forms: names and values in their order, within bounds."""

import asyncio
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.exceptions import (
    HTTPRequestEntityTooLarge,
    HTTPUnsupportedMediaType,
    MalformedBodyError,
)
from gateway.web.forms.urlencoded import MAX_FIELDS, parse_urlencoded, read_urlencoded


@pytest.mark.parametrize(
    ("body", "charset", "pairs"),
    [
        (b"", "utf-8", []),
        (b"a=b&c=d&a=e", "utf-8", [("a", "b"), ("c", "d"), ("a", "e")]),
        (b"a=1+2&%C4%8D=%26%3D\r\n", "utf-8", [("a", "1 2"), ("č", "&=")]),
        (b"a&b=&=c&&", "utf-8", [("a", ""), ("b", ""), ("", "c")]),
        (b"a=b;c=d==", "utf-8", [("a", "b;c=d==")]),
        (b"a=%ff%zz%", "utf-8", [("a", "\ufffd%zz%")]),
        ("a=č".encode(), "utf-8", [("a", "č")]),
        (b"a=%E8\xe8", "latin2", [("a", "čč")]),
        (b"a=%E8\xe8", "latin2\0", [("a", "čč")]),
    ],
)
def test_a_form_is_read_in_its_order(body, charset, pairs):
    assert parse_urlencoded(body, charset) == pairs


@given(st.lists(st.tuples(st.text(), st.text())))
def test_what_was_encoded_comes_back(pairs):
    assert parse_urlencoded(urlencode(pairs).encode(), "utf-8") == pairs


def test_a_form_has_so_many_fields_and_no_more():
    assert len(parse_urlencoded(b"&".join([b"a=b"] * MAX_FIELDS), "utf-8")) == MAX_FIELDS
    for body in (b"&".join([b"a=b"] * (MAX_FIELDS + 1)), b"&" * 100_000):
        with pytest.raises(HTTPRequestEntityTooLarge) as caught:
            parse_urlencoded(body, "utf-8")
        assert caught.value.text == "413: A form has at most 1000 fields"


def test_a_form_must_be_in_a_charset_that_is_known():
    with pytest.raises(HTTPUnsupportedMediaType):
        parse_urlencoded(b"a", "klingon")
    with pytest.raises(MalformedBodyError):
        parse_urlencoded(b"\xff", "utf-8")


async def test_a_large_form_does_not_hold_the_event_loop():
    reading = asyncio.ensure_future(read_urlencoded(b"a=" + b"%" * 100_000, "utf-8"))
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert reading.result() == [("a", "%" * 100_000)]
    assert turns > 2
    with pytest.raises(MalformedBodyError):
        await read_urlencoded(b"\xff" * 100_000, "utf-8")
