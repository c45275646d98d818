"""Header values shared by requests and responses."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.fields import (
    ETag,
    check_etag,
    format_content_type,
    format_http_date,
    parse_content_type,
    parse_etag,
    parse_http_date,
)

MOMENT = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "media_type", "parameters"),
    [
        ("text/html", "text/html", {}),
        ("text/html; charset=utf-8", "text/html", {"charset": "utf-8"}),
        ('TEXT/HTML ; Charset = "UTF-8" ; A=b', "text/html", {"charset": "UTF-8", "a": "b"}),
        ('text/plain; x="a;b"; charset=latin-1', "text/plain", {"x": "a;b", "charset": "latin-1"}),
        (r'text/plain; a="q\"x\\"; b=1', "text/plain", {"a": 'q"x\\', "b": "1"}),
        ("text/plain; charset=utf-8; charset=ascii", "text/plain", {"charset": "utf-8"}),
        ("text/html;charset", "text/html", {}),
        ("", "application/octet-stream", {}),
        ("bogus", "application/octet-stream", {}),
        ("a/b/c", "application/octet-stream", {}),
        ("text/ html", "application/octet-stream", {}),
        ("; charset=x", "application/octet-stream", {"charset": "x"}),
    ],
)
def test_a_content_type_is_read_and_what_is_none_is_a_stream_of_octets(
    text: str, media_type: str, parameters: dict[str, str]
) -> None:
    assert parse_content_type(text) == (media_type, parameters)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text("ab \"\\;=\t'", min_size=1)
    )
)
def test_every_parameter_survives_being_written_and_read_again(parameters: dict[str, str]) -> None:
    assert parse_content_type(format_content_type("a/b", parameters)) == ("a/b", parameters)


def test_a_content_type_of_many_parameters_is_not_kept_in_mind() -> None:
    few = "text/plain; charset=utf-8"
    many = "text/plain" + "".join(f";p{number}=v" for number in range(1000))

    assert parse_content_type(few) is parse_content_type(few)
    assert parse_content_type(many) is not parse_content_type(many)
    assert len(parse_content_type(many)[1]) == 1000


@given(st.text(alphabet=';="\\ ,a/'))
def test_no_content_type_breaks_the_parser(text: str) -> None:
    media_type, _ = parse_content_type(text)
    assert "/" in media_type


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ('"xyzzy"', ETag("xyzzy")),
        ('W/"xyzzy"', ETag("xyzzy", is_weak=True)),
        ("*", ETag("*")),
    ],
)
def test_an_entity_tag_is_read_and_written_alike(text: str, tag: ETag) -> None:
    assert parse_etag(text) == tag
    assert str(tag) == text


@pytest.mark.parametrize("text", ["", "xyzzy", '"a"b"', 'w/"a"', '""', '"a', '"a b"'])
def test_what_is_no_entity_tag_is_none(text: str) -> None:
    assert parse_etag(text) is None


@pytest.mark.parametrize("value", ["", 'a"b', "a b", "a\r\nb"])
def test_an_entity_tag_that_would_end_its_quotes_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a valid ETag"):
        check_etag(ETag(value))


@pytest.mark.parametrize(
    "text",
    [  # RFC 9110 section 5.6.7: the form to send, and the two obsolete ones to understand
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_all_three_forms_of_a_date_are_the_same_moment(text: str) -> None:
    assert parse_http_date(text) == MOMENT


@pytest.mark.parametrize("text", [None, "", "yesterday", "Sun, 40 Nov 1994 08:49:37 GMT"])
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert parse_http_date(text) is None


def test_a_date_is_written_in_the_one_form_that_may_be_sent() -> None:
    assert format_http_date(MOMENT.timestamp() + 0.9) == "Sun, 06 Nov 1994 08:49:37 GMT"
