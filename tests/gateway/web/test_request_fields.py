"""Header values of requests, from text to meaning, whatever the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.web.fields import ETag
from gateway.web.request_fields import parse_cookies, parse_etags, parse_forwarded, parse_range


@pytest.mark.parametrize(
    ("text", "cookies"),
    [
        ("", {}),
        ("a=b", {"a": "b"}),
        ("a=b; c=d;e=f", {"a": "b", "c": "d", "e": "f"}),
        ("a=b; a=c", {"a": "c"}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        ("a", {"a": ""}),
        ("a; b=c", {"a": "", "b": "c"}),
        ("=a; b=c", {"b": "c"}),
        (" a = b ;", {"a": "b"}),
        ("{a}=1; b/c=2; d[e]=3", {"{a}": "1", "b/c": "2", "d[e]": "3"}),
        ('a="b c"', {"a": "b c"}),
        (r'a="b\"c\\d\073"', {"a": 'b"c\\d;'}),
        ('a="', {"a": '"'}),
        ("a=b; Path=/; HttpOnly", {"a": "b", "Path": "/", "HttpOnly": ""}),
        ("a=č", {"a": "č"}),
    ],
)
def test_cookies_are_read_leniently(text, cookies):
    assert parse_cookies(text) == cookies


@pytest.mark.parametrize(
    ("values", "elements"),
    [
        ([], []),
        (["for=a"], [{"for": "a"}]),
        (["For=a;PROTO=https, for=b"], [{"for": "a", "proto": "https"}, {"for": "b"}]),
        (["for=a", "for=b"], [{"for": "a"}, {"for": "b"}]),
        (['for="[2001:db8::1]:80"'], [{"for": "[2001:db8::1]:80"}]),
        (["for=1.2.3.4:80"], [{"for": "1.2.3.4:80"}]),
        ([r'by="a\"b\\,;c"'], [{"by": r'a"b\,;c'}]),
        (["for=a ; proto=b"], [{"for": "a", "proto": "b"}]),
        (["for = a, for=b"], [{}, {"for": "b"}]),
        (["for=a b;proto=c, for=d"], [{"for": "a"}, {"for": "d"}]),
        (['for="a, for=b'], [{}, {"for": "b"}]),
        (["for=a;;proto=b"], [{"for": "a", "proto": "b"}]),
        ([""], [{}]),
        (["for=a, ,"], [{"for": "a"}, {}, {}]),
    ],
)
def test_forwarded_is_read_up_to_what_is_wrong_in_an_element(values, elements):
    assert parse_forwarded(values) == tuple(elements)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, slice(None, None, 1)),
        ("bytes=0-0", slice(0, 1, 1)),
        ("bytes=5-", slice(5, None, 1)),
        ("bytes=-5", slice(-5, None, 1)),
        ("bytes=0-499", slice(0, 500, 1)),
    ],
)
def test_a_range_is_a_slice(text, found):
    assert parse_range(text) == found


@pytest.mark.parametrize(
    "text",
    ["", "bytes", "bytes=-", "bytes=5-2", "items=0-5", "bytes=0-1,3-4", "bytes=٣-", "bytes=+1-"],
)
def test_what_is_not_one_range_of_bytes_is_an_error(text):
    with pytest.raises(ValueError, match=r"range|start"):
        parse_range(text)


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        ([], None),
        (["*"], [ETag("*")]),
        (['"a"'], [ETag("a")]),
        (['"a", W/"b"', '"c"'], [ETag("a"), ETag("b", is_weak=True), ETag("c")]),
        (['"a,b"'], [ETag("a,b")]),
        (['"a", b, "c"'], [ETag("a")]),
        (["a"], []),
        ([""], None),
    ],
)
def test_entity_tags_are_read_up_to_what_is_none(values, tags):
    assert parse_etags(values) == (None if tags is None else tuple(tags))


@settings(deadline=None)
@given(st.text('ab=;,"\\ \t[]:0', max_size=60))
def test_no_text_breaks_a_parser(text):
    parse_cookies(text)
    parse_forwarded([text])
    parse_etags([text])


@pytest.mark.parametrize(
    "text", ['a="' * 10_000, "a " * 10_000, "a;" * 10_000, '"\\' * 10_000, ", " * 10_000]
)
def test_long_texts_are_read_in_linear_time(text):
    # A quadratic parser would take minutes here.
    parse_cookies(text)
    parse_forwarded([text])
    parse_etags([text])
