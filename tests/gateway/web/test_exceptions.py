"""Answers that are raised."""

import inspect
from collections.abc import Callable
from http import HTTPStatus

import pytest
from yarl import URL

from gateway.web import exceptions
from gateway.web.exceptions import (
    HTTPClientError,
    HTTPError,
    HTTPException,
    HTTPFound,
    HTTPMethodNotAllowed,
    HTTPMove,
    HTTPNoContent,
    HTTPNotFound,
    HTTPNotModified,
    HTTPOk,
    HTTPRedirection,
    HTTPRequestEntityTooLarge,
    HTTPResetContent,
    HTTPServerError,
    HTTPSuccessful,
    HTTPUnavailableForLegalReasons,
)

STATUSES = [
    *range(200, 207),
    *(300, 301, 302, 303, 304, 305, 307, 308),
    *range(400, 418),
    *(421, 422, 424, 426, 428, 429, 431, 451),
    *range(500, 508),
    *(510, 511),
]
CLASSES = {
    cls.status_code: cls
    for name, cls in inspect.getmembers(exceptions, inspect.isclass)
    if name.startswith("HTTP") and issubclass(cls, HTTPException) and cls.status_code > 0
}
ARGUMENTS: dict[type[HTTPException], tuple[object, ...]] = {
    HTTPMethodNotAllowed: ("GET", ["PUT"]),
    HTTPRequestEntityTooLarge: (10, 20),
    HTTPUnavailableForLegalReasons: ("https://example.org/",),
}
BASES = {2: HTTPSuccessful, 3: HTTPRedirection, 4: HTTPClientError, 5: HTTPServerError}


def make(cls: type[HTTPException], **options: object) -> HTTPException:
    default = ("/there",) if issubclass(cls, HTTPMove) else ()
    build: Callable[..., HTTPException] = cls
    return build(*ARGUMENTS.get(cls, default), **options)


def test_every_status_of_the_list_has_its_class() -> None:
    assert sorted(CLASSES) == STATUSES


@pytest.mark.parametrize("status", STATUSES)
def test_an_exception_is_a_response_of_its_status(status: int) -> None:
    exception = make(CLASSES[status])

    assert (exception.status, exception.reason) == (status, HTTPStatus(status).phrase)
    assert isinstance(exception, BASES[status // 100])
    assert isinstance(exception, HTTPError) == (status >= 400)
    assert str(exception) == exception.reason


@pytest.mark.parametrize("status", STATUSES)
def test_the_body_is_the_status_line_unless_there_can_be_none(status: int) -> None:
    text = make(CLASSES[status]).text

    if status in (204, 205, 304):
        assert text is None
    elif status == 413:
        assert text == "Maximum request body size 10 exceeded, actual body size 20"
    else:
        assert text == f"{status}: {HTTPStatus(status).phrase}"


@pytest.mark.parametrize("status", STATUSES)
def test_every_class_takes_the_same_options(status: int) -> None:
    exception = make(
        CLASSES[status],
        headers={"X-A": "b"},
        reason="Because",
        text="<p>x",
        content_type="text/html",
    )

    assert (exception.reason, exception.text) == ("Because", "<p>x")
    assert exception.headers["X-A"] == "b"
    assert exception.headers["Content-Type"] == "text/html; charset=utf-8"


def test_an_exception_can_be_raised_as_a_class_and_caught_as_any_of_its_kinds() -> None:
    with pytest.raises(HTTPClientError) as caught:
        raise HTTPNotFound
    assert caught.value.status == 404


def test_an_exception_is_true_and_equals_only_itself() -> None:
    exception = HTTPNotFound()

    assert exception
    assert exception != HTTPNotFound()
    assert len({exception, exception}) == 1


@pytest.mark.parametrize(
    ("location", "header"),
    [
        ("/there", "/there"),
        ("/a b?q=č", "/a%20b?q=%C4%8D"),
        (URL("https://example.org/x"), "https://example.org/x"),
        ("/\r\nSet-Cookie: a=b", "/Set-Cookie:%20a=b"),
    ],
)
def test_a_redirection_names_where_to(location: str | URL, header: str) -> None:
    exception = HTTPFound(location)

    assert exception.location == location
    assert exception.headers["Location"] == header


@pytest.mark.parametrize("location", ["", URL()])
def test_a_redirection_to_nowhere_is_refused(location: str | URL) -> None:
    with pytest.raises(ValueError, match="location"):
        HTTPFound(location)


def test_not_modified_is_a_redirection_that_names_no_place() -> None:
    assert "Location" not in HTTPNotModified().headers


def test_a_refused_method_is_told_which_are_allowed() -> None:
    exception = HTTPMethodNotAllowed("patch", iter(["PUT", "GET"]))

    assert exception.headers["Allow"] == "GET,PUT"
    assert (exception.method, exception.allowed_methods) == ("PATCH", {"GET", "PUT"})


def test_legal_reasons_name_who_demanded_it_where_that_may_be_told() -> None:
    named = HTTPUnavailableForLegalReasons("https://example.org/order")
    unnamed = HTTPUnavailableForLegalReasons(None)

    assert named.link == URL("https://example.org/order")
    assert named.headers["Link"] == '<https://example.org/order>; rel="blocked-by"'
    assert unnamed.link is None
    assert "Link" not in unnamed.headers


def test_a_reason_of_two_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="Reason"):
        HTTPNotFound(reason="a\r\nX: y")


def test_a_body_still_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match="use text"):
        exception = HTTPOk(body=b"bytes")

    assert exception.body == b"bytes"


def test_an_empty_text_is_an_empty_body() -> None:
    assert HTTPNotFound(text="").body == b""
    assert HTTPNoContent().body is None
    assert HTTPResetContent().body is None


def test_a_class_of_ones_own_names_its_status_either_way() -> None:
    class Teapot(HTTPClientError, status_code=418):
        """As an argument."""

    class Enhance(HTTPClientError):
        """As an attribute, the way of aiohttp."""

        status_code = 420

    class Short(Teapot):
        """Inherited."""

    assert [cls().status for cls in (Teapot, Enhance, Short)] == [418, 420, 418]
    assert Enhance().text == "420: "
