"""Query strings are read strictly: what is not understood is answered, not ignored."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.query import Query, read_integer
from protocol.codes import ErrorCode
from protocol.errors import MessageError

KNOWN = ("channel", "cursor")


def refuse(text: str, code: ErrorCode, known: tuple[str, ...] = KNOWN) -> str:
    """Return why text is no query string of these parameters."""
    with pytest.raises(MessageError) as caught:
        Query(text, known)
    assert caught.value.code == code
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("", []),
        ("&", []),
        ("cursor=1", []),
        ("channel=a", ["a"]),
        ("channel=b&cursor=1&channel=a&channel=b", ["b", "a", "b"]),
        ("channel=", [""]),
        ("channel", [""]),
        ("channel=a=b", ["a=b"]),
        ("channel=a;b", ["a;b"]),
        ("channel=a/b?c", ["a/b?c"]),
        ("channel=a+b%2Bc%20d", ["a b+c d"]),
        ("channel=%26%3D%23%00", ["&=#\0"]),
        ("channel=%C3%A4%F0%9F%92%A5", ["ä\U0001f4a5"]),
        ("channel=%zz%", ["%zz%"]),
        ("%63hannel=a", ["a"]),
        ("channel=a&&channel=b&", ["a", "b"]),
    ],
)
def test_all_values_of_a_parameter_come_decoded_and_in_their_order(text, channels):
    assert Query(text, KNOWN).all("channel") == channels


def test_a_parameter_that_occurs_once_has_one_value():
    query = Query("cursor=&channel=a", KNOWN)
    assert query.one("channel") == "a"
    assert query.one("cursor") == ""
    assert Query("channel=a", KNOWN).one("cursor") is None


def test_a_parameter_of_which_there_is_one_is_not_given_twice():
    query = Query("cursor=1&cursor=1", KNOWN)
    with pytest.raises(MessageError) as caught:
        query.one("cursor")
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert caught.value.message == "parameter 'cursor' is given twice"


@pytest.mark.parametrize("text", ["chanel=a", "channel=a&Cursor=1", "=a", "channel[]=a", "amp;x=1"])
def test_a_misspelt_parameter_is_told_which_there_are(text):
    message = refuse(text, ErrorCode.INVALID_FIELD)
    assert message.startswith("unknown parameter '")
    assert message.endswith("'; there are channel, cursor")


def test_an_endpoint_without_parameters_says_so():
    assert Query("", ()) is not None
    message = refuse("a=1", ErrorCode.INVALID_FIELD, known=())
    assert message == "unknown parameter 'a'; there are none"


def test_a_long_parameter_is_not_sent_back_whole():
    assert len(refuse("x" * 10_000 + "=1", ErrorCode.INVALID_FIELD)) < 200


@pytest.mark.parametrize(
    "text", ["channel=%ff", "channel=%ED%A0%80", "%C3=a", "channel=a&cursor=%80"]
)
def test_text_that_is_not_utf_8_is_refused(text):
    assert "cannot be read" in refuse(text, ErrorCode.MALFORMED)


@given(st.lists(st.tuples(st.sampled_from(KNOWN), st.text())))
def test_whatever_a_client_library_encodes_is_read_back(pairs):
    query = Query(urlencode(pairs), KNOWN)
    for name in KNOWN:
        assert query.all(name) == [value for each, value in pairs if each == name]


@given(st.text(st.characters()) | st.text("chanelursor=&%+;0123456789cC3fF"))
def test_any_text_is_read_or_refused(text):
    try:
        Query(text, KNOWN)
    except MessageError as error:
        outcome = error.code
    else:
        outcome = None
    assert outcome in (None, ErrorCode.INVALID_FIELD, ErrorCode.MALFORMED)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("25", 25), ("007", 7), ("100", 100), ("0000000000000000005", 5)],
)
def test_an_integer_is_read(text, number):
    assert read_integer("limit", text, at_most=100) == number


def test_the_greatest_offset_can_be_read():
    assert read_integer("offset", str(2**63 - 1), at_most=2**63 - 1) == 2**63 - 1


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "+1", "-1", "1.0", "1e2", "1_0", "0x1", "٣", "\xb2", "a", "101", "1" * 5000],
)
def test_what_is_no_integer_within_the_bounds_is_refused(text):
    with pytest.raises(MessageError) as caught:
        read_integer("limit", text, at_most=100)
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert caught.value.message == f"limit {text[:40]!r} is not an integer from 0 to 100"


def test_the_lower_bound_counts_too():
    assert read_integer("limit", "1", at_least=1, at_most=100) == 1
    with pytest.raises(MessageError, match="from 1 to 100"):
        read_integer("limit", "0", at_least=1, at_most=100)
