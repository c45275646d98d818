"""The HTTPException family is aiohttp's: the classes, their arguments and their attributes."""

import copy
import pickle
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web as aiohttp_web
from yarl import URL

from gateway import web
from tests.gateway.web.differential.peers import MODULES, attempt

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CLASSES = sorted(name for name in aiohttp_web.__all__ if name.startswith("HTTP"))
# Bases have no status of their own; ours say so when they are made, theirs answer "HTTP/1.1 -1".
BASES = {
    *("HTTPException", "HTTPError", "HTTPSuccessful", "HTTPRedirection", "HTTPMove"),
    *("HTTPClientError", "HTTPServerError"),
}
POSITIONAL: dict[str, tuple[Any, ...]] = {
    "HTTPMethodNotAllowed": ("get", ["PUT", "GET"]),
    "HTTPRequestEntityTooLarge": (10, 20),
    "HTTPUnavailableForLegalReasons": ("http://x/y z",),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "reason": {"reason": "x"},
    "text": {"text": "t"},
    "empty text": {"text": ""},
    "body": {"body": b"b"},
    "text of a type": {"text": "t", "content_type": "text/html"},
    "a type only": {"content_type": "text/html"},
    "header": {"headers": {"A": "b"}},
    "type as header": {"headers": {"Content-Type": "a/b"}},
    "text and body": {"text": "a", "body": b"a"},
    "reason of two lines": {"reason": "a\rb"},
    "something else": {"bogus": 1},
}
ATTRIBUTES = (
    *("status", "status_code", "reason", "text", "body", "empty_body", "args", "location"),
    *("method", "content_type", "charset", "content_length", "prepared", "keep_alive", "link"),
)


def describe(error: Any, module: ModuleType) -> list[object]:
    return [
        *(attempt(lambda name=name: getattr(error, name)) for name in ATTRIBUTES),
        attempt(lambda: sorted(error.allowed_methods)),
        *(list(error.headers.items()), str(error), repr(error), bool(error), len(error)),
        *(isinstance(error, Exception), isinstance(error, module.Response), error == error),
        [kind.__name__ for kind in type(error).__mro__ if kind.__name__.startswith("HTTP")],
    ]


def positional(kind: Any, module: ModuleType) -> tuple[Any, ...]:
    is_move = issubclass(kind, module.HTTPMove)
    return POSITIONAL.get(kind.__name__, ("/a b?č",) if is_move else ())


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_the_same_bases_and_status(name: str) -> None:
    ours, theirs = [
        [
            [base.__name__ for base in kind.__mro__ if base.__name__.startswith("HTTP")],
            (kind.status_code, kind.empty_body),
        ]
        for kind in (getattr(module, name) for module in MODULES)
    ]

    assert ours == theirs


def make(module: ModuleType, name: str, arguments: dict[str, Any]) -> list[object]:
    kind = getattr(module, name)
    return describe(kind(*positional(kind, module), **arguments), module)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - BASES))
def test_what_is_raised_is_the_same_whatever_it_is_given(name: str) -> None:
    for given, arguments in ARGUMENTS.items():
        ours, theirs = [attempt(partial(make, module, name, arguments)) for module in MODULES]
        assert ours == theirs, given


@pytest.mark.parametrize("name", sorted(BASES))
def test_a_base_cannot_be_raised_itself(name: str) -> None:
    arguments = ("/",) if name == "HTTPMove" else ()
    with pytest.raises(ValueError, match="Status"):
        getattr(web, name)(*arguments)


def subclass(module: ModuleType, base: str, status: int, *, is_empty: bool) -> list[object]:
    attributes = {"status_code": status, "empty_body": is_empty}
    return describe(type("HTTPOdd", (getattr(module, base),), attributes)(), module)


PROBES: dict[str, Callable[[ModuleType], object]] = {
    "no location": lambda module: module.HTTPFound(""),
    "None as location": lambda module: module.HTTPFound(None),
    "URL as location": lambda module: module.HTTPFound(URL("http://č.example/ž")).headers,
    "location beyond ASCII": lambda module: module.HTTPFound("http://č.example/ž?a=b c#d").headers,
    "location by name": lambda module: module.HTTPFound(location="/x").location,
    "no link": lambda module: module.HTTPUnavailableForLegalReasons(None).link,
    "kind of a link": lambda module: type(module.HTTPUnavailableForLegalReasons("/a").link),
    "header of a link": lambda module: module.HTTPUnavailableForLegalReasons("/a b").headers,
    "too large": lambda module: module.HTTPRequestEntityTooLarge(max_size=1, actual_size=2).text,
    "too large, with a text": lambda module: module.HTTPRequestEntityTooLarge(1, 2, text="x").text,
    "no size": lambda module: module.HTTPRequestEntityTooLarge(),
    "kind of methods": lambda module: type(module.HTTPMethodNotAllowed("a", "b").allowed_methods),
    "no methods": lambda module: module.HTTPMethodNotAllowed("get", []).headers["Allow"],
    "methods once": lambda module: module.HTTPMethodNotAllowed("get", iter("ab")).headers["Allow"],
    "copy": lambda module: copy.copy(module.HTTPNotFound(reason="x")).text,
    "deep copy": lambda module: copy.deepcopy(module.HTTPNotFound(reason="x")).reason,
    "pickle": lambda module: pickle.loads(pickle.dumps(module.HTTPNotFound())).text,
    "copy of a response": lambda module: copy.copy(module.Response(text="a")).text,
    "subclass": lambda module: subclass(module, "HTTPClientError", 418, is_empty=False),
    "subclass without body": lambda module: subclass(module, "HTTPException", 299, is_empty=True),
    "raised": lambda module: catch(module.HTTPFound("/x")),
}


def catch(error: Any) -> object:
    try:
        raise error
    except Exception as caught:
        return caught is error, str(caught)


@pytest.mark.parametrize("name", PROBES)
def test_the_rest_of_the_family_behaves_the_same(name: str) -> None:
    ours, theirs = [attempt(lambda module=module: PROBES[name](module)) for module in MODULES]

    assert ours == theirs


def test_the_methods_of_an_iterator_are_all_there() -> None:
    # There: an empty set, because the header has taken them.
    assert web.HTTPMethodNotAllowed("get", iter(["a", "b"])).allowed_methods == {"a", "b"}
