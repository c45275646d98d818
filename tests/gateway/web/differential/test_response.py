"""Responses before they are sent are what they are with aiohttp, but for what is listed here."""

import asyncio
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from gateway import web
from tests.gateway.web.differential.peers import MODULES, attempt

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# What differs on purpose is told by what it is here, and by the reason.
Differences = dict[str, tuple[str, str]]

ARGUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "nothing": lambda: {},
    "text": lambda: {"text": "č"},
    "empty text": lambda: {"text": ""},
    "text that is no str": lambda: {"text": b"a"},
    "body": lambda: {"body": b"a"},
    "empty body": lambda: {"body": b""},
    "bytearray": lambda: {"body": bytearray(b"a")},
    "body and text": lambda: {"text": "", "body": b""},
    "number as body": lambda: {"body": 1},
    "list as body": lambda: {"body": [b"a"]},
    "dict as body": lambda: {"body": {}},
    "content type": lambda: {"content_type": "text/html"},
    "content type with text": lambda: {"content_type": "a/b", "text": "x"},
    "empty content type": lambda: {"content_type": ""},
    "content type with charset inside": lambda: {"content_type": "text/html; charset=utf-8"},
    "content type and charset": lambda: {"content_type": "text/html", "charset": "latin-1"},
    "charset only": lambda: {"charset": "utf-8"},
    "charset of the text": lambda: {"charset": "UTF-16", "text": "a"},
    "unknown charset": lambda: {"charset": "xx", "text": "a"},
    "charset without the character": lambda: {"charset": "ascii", "text": "č"},
    "header": lambda: {"headers": {"content-type": "a/b"}},
    "header and content type": lambda: {"headers": {"content-type": "a/b"}, "content_type": "c/d"},
    "header and charset": lambda: {"headers": {"content-type": "a/b"}, "charset": "utf-8"},
    "header and text": lambda: {"headers": {"content-type": "a/b"}, "text": "č"},
    "header, type and text": lambda: {
        "headers": {"content-type": "a/b"},
        "content_type": "x/y",
        "text": "a",
    },
    "header with charset and text": lambda: {
        "headers": {"content-type": "a/b; charset=latin-1"},
        "text": "é",
    },
    "header of octets and text": lambda: {
        "headers": {"content-type": "application/octet-stream"},
        "text": "é",
    },
    "pairs as headers": lambda: {"headers": [("A", "1"), ("A", "2")]},
    "number in a header": lambda: {"headers": {"A": 1}},
    "length as header": lambda: {"headers": {"Content-Length": "5"}, "body": b"abc"},
    "status": lambda: {"status": 404},
    "status as text": lambda: {"status": "201"},
    "status with a fraction": lambda: {"status": 200.5},
    "status that is no number": lambda: {"status": "x"},
    "status of nobody": lambda: {"status": 599},
    "reason": lambda: {"reason": "č"},
    "empty reason": lambda: {"reason": ""},
    "CR in the reason": lambda: {"reason": "a\rb"},
    "LF in the reason": lambda: {"reason": "a\nb"},
    "unknown argument": lambda: {"bogus": 1},
}

ATTRIBUTES = (
    *("status", "reason", "body", "text", "content_length", "content_type", "charset", "chunked"),
    *("prepared", "keep_alive", "body_length", "task", "last_modified", "etag", "compression"),
)


def describe(response: Any) -> list[object]:
    """Return what can be asked of a response."""
    return [
        *(attempt(lambda name=name: getattr(response, name)) for name in ATTRIBUTES),
        *(list(response.headers.items()), repr(response), len(response), bool(response)),
        *(dict(response.cookies), response == response, hash(response) == hash(response)),
    ]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_arguments_of_a_response_mean_the_same(name: str) -> None:
    ours, theirs = [
        attempt(lambda module=module: describe(module.Response(**ARGUMENTS[name]())))
        for module in MODULES
    ]

    assert ours == theirs


@pytest.mark.parametrize("body", ["č", memoryview(b"ab"), io.BytesIO(b"ab"), io.StringIO("č")])
def test_a_body_of_another_kind_has_the_same_headers_and_here_is_bytes_at_once(body: Any) -> None:
    ours, theirs = [module.Response(body=body) for module in MODULES]

    assert list(ours.headers.items()) == list(theirs.headers.items())
    assert isinstance(ours.body, bytes)  # there: an object that writes itself


def set_to(name: str, *values: object) -> Callable[[Any, ModuleType], object]:
    """Set an attribute to one value after the other; return what it is then."""

    def set_it(response: Any, module: ModuleType) -> object:
        for value in values:
            setattr(response, name, value)
        return getattr(response, name)

    return set_it


def tag(value: Any, *, is_weak: bool = False) -> Callable[[Any, ModuleType], object]:
    def set_it(response: Any, module: ModuleType) -> object:
        kind = web.ETag if module is web else aiohttp.ETag
        response.etag = kind(value, is_weak)
        return response.etag.value, response.etag.is_weak

    return set_it


def each(*steps: Callable[[Any], object]) -> Callable[[Any, ModuleType], object]:
    return lambda response, module: [step(response) for step in steps]


MOMENT = datetime(1999, 1, 2, 3, 4, 5)
STEPS: dict[str, Callable[[Any, ModuleType], object]] = {
    "status": each(lambda r: r.set_status(201), lambda r: (r.status, r.reason)),
    "status and reason": each(lambda r: r.set_status(201, "x"), lambda r: r.reason),
    "reason of two lines": each(lambda r: r.set_status(200, "a\nb")),
    "status by attribute": set_to("status", 201),
    "status of two digits": each(lambda r: r.set_status(10)),
    "force_close": each(lambda r: r.force_close(), lambda r: r.keep_alive),
    "chunked": each(lambda r: r.enable_chunked_encoding(), lambda r: r.chunked),
    "chunks of a size": each(lambda r: r.enable_chunked_encoding(10), lambda r: r.chunked),
    "chunks beside a length": each(
        lambda r: setattr(r, "content_length", 1), lambda r: r.enable_chunked_encoding()
    ),
    "length beside chunks": each(
        lambda r: r.enable_chunked_encoding(), lambda r: setattr(r, "content_length", 1)
    ),
    "no length beside chunks": each(
        lambda r: r.enable_chunked_encoding(), lambda r: setattr(r, "content_length", None)
    ),
    "length": set_to("content_length", 5),
    "length and none": set_to("content_length", 5, None),
    "length as text": set_to("content_length", "7"),
    "length that is no number": set_to("content_length", "x"),
    "negative length": set_to("content_length", -1),
    "content type": set_to("content_type", "text/html", "text/css"),
    "content type that is no str": set_to("content_type", 1),
    "content type with a parameter": set_to("content_type", "text/html; charset=x"),
    "charset of octets": set_to("charset", "utf-8"),
    "charset": each(
        lambda r: setattr(r, "content_type", "text/html"),
        lambda r: setattr(r, "charset", "UTF-8"),
        lambda r: setattr(r, "content_type", "text/css"),
        lambda r: r.charset,
    ),
    "charset taken away": each(
        lambda r: setattr(r, "content_type", "text/html"),
        lambda r: setattr(r, "charset", "UTF-8"),
        lambda r: setattr(r, "charset", None),
    ),
    "parameter in quotes": each(
        lambda r: r.headers.update({"Content-Type": 'a/b; x="y z"'}),
        lambda r: setattr(r, "charset", "utf-8"),
    ),
    "modified at a second": set_to("last_modified", 0),
    "modified within a second": set_to("last_modified", 1.5),
    "modified at a time": set_to("last_modified", MOMENT),
    "modified elsewhere": set_to(
        "last_modified", MOMENT.replace(tzinfo=timezone(timedelta(hours=2)))
    ),
    "modified in UTC": set_to("last_modified", MOMENT.replace(tzinfo=UTC)),
    "modified as text": set_to("last_modified", "Sat, 02 Jan 1999 03:04:05 GMT"),
    "modified as other text": set_to("last_modified", "x"),
    "modified never": set_to("last_modified", 0, None),
    "modified on a day": set_to("last_modified", date(1999, 1, 1)),
    "etag of text": each(lambda r: setattr(r, "etag", "a"), lambda r: r.etag.value),
    "etag": tag("a"),
    "weak etag": tag("a", is_weak=True),
    "any etag": tag("*"),
    "any weak etag": tag("*", is_weak=True),
    "no etag": set_to("etag", "a", None),
    "etag with a quote": set_to("etag", 'a"b'),
    "etag with a space": set_to("etag", "a b"),
    "empty etag": set_to("etag", ""),
    "etag that is no text": set_to("etag", 1),
    "etag of a number": tag(1),
    "etag beyond Latin-1": set_to("etag", "č"),
    "etag as header": each(lambda r: r.headers.update({"ETag": "bad"}), lambda r: r.etag),
    "state": each(
        lambda r: r.update(a=1), lambda r: (r["a"], len(r), list(r)), lambda r: r.pop("a")
    ),
    "unknown state": each(lambda r: r["a"]),
    "write too early": each(lambda r: asyncio.run(r.write(b""))),
    "end too early": each(lambda r: asyncio.run(r.write_eof())),
    "drain too early": each(lambda r: asyncio.run(r.drain())),
    "write text": each(lambda r: asyncio.run(r.write("a"))),
    "end with text": each(lambda r: asyncio.run(r.write_eof("a"))),
}
STEPS_DIFFERENCES: Differences = {
    "status of two digits": ("ValueError", "no client could read the status line"),
    "negative length": ("ValueError", "it is no length: RFC 9110 section 8.6"),
    "parameter in quotes": (
        "([None, None], [('Content-Type', 'a/b; x=\"y z\"; charset=utf-8')])",
        "without its quotes it would not be one parameter",
    ),
}


def take(steps: Callable[[Any, ModuleType], object], module: ModuleType, kind: str) -> str:
    """Return what steps give and which headers they leave, names as ours are spelled."""
    response = getattr(module, kind)()
    took = attempt(lambda: (steps(response, module), list(response.headers.items())))
    return took.replace("Etag", "ETag")


@pytest.mark.parametrize("name", STEPS)
def test_setting_the_head_of_a_stream_does_the_same(name: str) -> None:
    ours, theirs = [take(STEPS[name], module, "StreamResponse") for module in MODULES]

    if name in STEPS_DIFFERENCES:
        assert ours == STEPS_DIFFERENCES[name][0] != theirs
    else:
        assert ours == theirs


RESPONSE_STEPS: dict[str, Callable[[Any, ModuleType], object]] = {
    "length": set_to("content_length", 1),
    "no length": set_to("content_length", None),
    "text": each(
        lambda r: setattr(r, "text", "é"), lambda r: (r.charset, r.content_type, r.body, r.text)
    ),
    "text of a type": each(
        lambda r: setattr(r, "content_type", "text/html"),
        lambda r: setattr(r, "charset", "latin-1"),
        lambda r: setattr(r, "text", "é"),
        lambda r: (r.body, r.text, r.content_length),
    ),
    "text that is no str": set_to("text", 1),
    "no body": set_to("body", b"a", None),
    "body of a wrong type": set_to("body", [1]),
    "length of chunks": each(lambda r: r.enable_chunked_encoding(), lambda r: r.content_length),
    "length as header": each(
        lambda r: r.headers.update({"Content-Length": "3"}), lambda r: r.content_length
    ),
}
RESPONSE_DIFFERENCES: Differences = {
    "text that is no str": ("TypeError", "as from the constructor, and with python -O, too"),
}


@pytest.mark.parametrize("name", RESPONSE_STEPS)
def test_setting_the_body_of_a_response_does_the_same(name: str) -> None:
    ours, theirs = [take(RESPONSE_STEPS[name], module, "Response") for module in MODULES]

    if name in RESPONSE_DIFFERENCES:
        assert ours == RESPONSE_DIFFERENCES[name][0] != theirs
    else:
        assert ours == theirs


COOKIES: dict[str, tuple[Callable[[Any], object], ...]] = {
    "plain": (lambda r: r.set_cookie("a", "b"),),
    "everything": (
        lambda r: r.set_cookie(
            *("a", "b"),
            **{"expires": "x", "domain": "d", "max_age": 1, "path": "/p", "secure": True},
            **{"httponly": True, "version": "1", "samesite": "Strict"},
        ),
    ),
    "nothing of it": (lambda r: r.set_cookie("a", "b", secure=False, httponly=False, samesite=""),),
    "again": (
        lambda r: r.set_cookie("a", "b", max_age=3, domain="d"),
        lambda r: r.set_cookie("a", "c"),
    ),
    "expiry stays": (
        lambda r: r.set_cookie("a", "b", expires="x"),
        lambda r: r.set_cookie("a", "c"),
    ),
    "age as text": (lambda r: r.set_cookie("a", "b", max_age="5"),),
    "age of zero": (lambda r: r.set_cookie("a", "b", max_age=0),),
    "deleted": (lambda r: r.del_cookie("a"),),
    "deleted everywhere": (
        lambda r: r.del_cookie(
            "a", domain="d", path="/p", secure=True, httponly=True, samesite="Lax"
        ),
    ),
    "deleted and set": (lambda r: r.del_cookie("a"), lambda r: r.set_cookie("a", "b")),
    "set and deleted": (
        lambda r: r.set_cookie("a", "b", domain="d", secure=True),
        lambda r: r.del_cookie("a", path="/x"),
    ),
    "space in the name": (lambda r: r.set_cookie("a b", "c"),),
    "empty name": (lambda r: r.set_cookie("", "c"),),
    "reserved name": (lambda r: r.set_cookie("path", "b"),),
    "quoted value": (lambda r: r.set_cookie("a", 'b"c\n;č,'),),
    "value that is no text": (lambda r: r.set_cookie("a", 1),),
    "order": (
        lambda r: r.set_cookie("b", "1"),
        lambda r: r.set_cookie("a", "2"),
        lambda r: r.set_cookie("b", "3"),
    ),
    "jar": (lambda r: r.cookies.update({"a": "b"}),),
    "no path": (lambda r: r.set_cookie("a", "b", path=None),),
    "attribute in the domain": (lambda r: r.set_cookie("a", "b", domain="d;e"),),
    "header in the path": (lambda r: r.set_cookie("a", "b", path="/\r\nX: y"),),
    "partitioned": (lambda r: r.set_cookie("a", "b", partitioned=True, secure=True),),
}
COOKIE_DIFFERENCES: Differences = {
    "no path": ("['a=b']", "there: Path=None"),
    "attribute in the domain": ("ValueError", "it would begin another attribute"),
    "header in the path": ("ValueError", "it would begin another header"),
    "partitioned": (
        "['a=b; Path=/; Secure; Partitioned']",
        "aiohttp leaves it to the standard library, which knows it since Python 3.14",
    ),
}


@pytest.mark.parametrize("name", COOKIES)
def test_cookies_are_the_same(name: str) -> None:
    def jar(module: ModuleType) -> list[str]:
        response = module.Response()
        for step in COOKIES[name]:
            step(response)
        return [cookie.OutputString() for cookie in response.cookies.values()]

    ours, theirs = [attempt(lambda module=module: jar(module)) for module in MODULES]

    if name in COOKIE_DIFFERENCES:
        assert ours == COOKIE_DIFFERENCES[name][0]
    else:
        assert ours == theirs


JSON: dict[str, dict[str, Any]] = {
    "data": {"data": {"a": [1, None, "č"]}},
    "null": {"data": None},
    "nothing": {},
    "text": {"text": "{}"},
    "body": {"body": b"{}"},
    "data and text": {"data": 1, "text": "x"},
    "data and body": {"data": 1, "body": b"x"},
    "data and empty text": {"data": 1, "text": ""},
    "text and body": {"text": "x", "body": b"x"},
    "dumps": {"data": 1, "dumps": "x{}".format},
    "what is no JSON": {"data": object()},
    "dumps to bytes": {"data": 1, "dumps": lambda data: b"x"},
    "content type": {"data": 1, "content_type": "a/b"},
    "content type as header": {"data": 1, "headers": {"content-type": "x/y"}},
    "everything": {"data": 1, "status": 201, "reason": "r", "headers": {"a": "b"}},
}


@pytest.mark.parametrize("name", JSON)
def test_json_responses_are_the_same(name: str) -> None:
    ours, theirs = [
        attempt(lambda module=module: describe(module.json_response(**JSON[name])))
        for module in MODULES
    ]

    assert ours == theirs


DEPRECATED: dict[str, Callable[[ModuleType], object]] = {
    "body of an exception": lambda module: module.HTTPNotFound(body=b"x"),
    "size of chunks": lambda module: module.StreamResponse().enable_chunked_encoding(10),
    "bool for a coding": lambda module: module.Response().enable_compression(True),
}


@pytest.mark.parametrize("name", DEPRECATED)
def test_what_is_deprecated_there_is_deprecated_here(name: str) -> None:
    for module in MODULES:
        with pytest.warns(DeprecationWarning, match="deprecated"):
            DEPRECATED[name](module)
