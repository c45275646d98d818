"""Every public name, method, argument and default of aiohttp's low-level classes is here, too."""

import inspect
from typing import Any

import aiohttp
import pytest
from aiohttp import web as aiohttp_web

from gateway import web

# Arguments and attributes of aiohttp that its documentation does not have, or that are the
# client's: of each class those that are not here.
INTERNAL: dict[str, set[str]] = {
    "AccessLogger": {"CLEANUP_RE", "FORMAT_RE", "LOG_FORMAT_MAP", "compile_format"},
    "MultipartReader": {
        *("fetch_next_part", "from_response", "multipart_reader_cls", "part_reader_cls"),
        "response_wrapper_cls",
    },
    "RequestHandler": {
        *("access_logger", "finish_response", "handle_error", "log_access", "log_debug"),
        *("log_exception", "max_field_size", "max_headers", "max_line_size", "pause_reading"),
        *("resume_reading", "set_parser", "shutdown", "start", "writing_paused"),
    },
    "Server": {"connection_lost", "connection_made"},
    "StreamReader": {
        *("begin_http_chunk_receiving", "end_http_chunk_receiving", "total_compressed_bytes"),
    },
}
# What only the server calls itself, so that its arguments are its own.
OWN_ARGUMENTS: set[tuple[str, str]] = {
    *(("BodyPartReader", "__init__"), ("MultipartReader", "__init__")),
    *(("RequestHandler", "__init__"), ("StreamReader", "__init__")),
    *(("StreamReader", "feed_data"), ("StreamReader", "set_exception")),
}
# Of the constructor of our own objects, without a promise, and what every class has.
UNPROMISED = {"ATTRS", "kwargs", "_real_headers", "loop"}


def theirs_of(name: str) -> Any:
    return getattr(aiohttp_web, name, None) or getattr(aiohttp, name, None)


CLASSES = sorted(
    name for name in web.__all__ if inspect.isclass(getattr(web, name)) and theirs_of(name)
)
FUNCTIONS = sorted(
    name for name in web.__all__ if inspect.isfunction(getattr(web, name)) and theirs_of(name)
)


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")} - UNPROMISED


def arguments(function: Any) -> dict[str, tuple[object, object]]:
    """Return how each argument may be given and its default, where that is a plain value."""
    return {
        name: (
            parameter.kind,
            parameter.default if isinstance(parameter.default, str | int | float | tuple) else None,
        )
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in UNPROMISED
    }


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_attribute_is_here(name: str) -> None:
    ours, theirs = public(getattr(web, name)), public(theirs_of(name))

    assert theirs - ours == INTERNAL.get(name, set())


@pytest.mark.parametrize("name", CLASSES)
def test_every_method_takes_the_same_arguments(name: str) -> None:
    ours, theirs = getattr(web, name), theirs_of(name)
    for method in sorted((public(ours) & public(theirs)) | {"__init__"}):
        pair = getattr(ours, method), getattr(theirs, method)
        if (name, method) in OWN_ARGUMENTS or not all(map(inspect.isfunction, pair)):
            continue
        assert inspect.iscoroutinefunction(pair[0]) == inspect.iscoroutinefunction(pair[1]), method
        found = arguments(pair[0])
        if name.startswith("HTTP") and method == "__init__":
            found |= arguments(web.HTTPException.__init__)  # the others come as keywords
        found.pop("options", None)
        for argument, (kind, default) in arguments(pair[1]).items():
            assert found[argument][0] == kind, (method, argument)
            assert found[argument][1] == default or default is None, (method, argument)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_takes_the_same_arguments(name: str) -> None:
    assert arguments(getattr(web, name)) == arguments(theirs_of(name))


def test_the_table_is_up_to_date() -> None:
    for name, missing in INTERNAL.items():
        assert missing <= public(theirs_of(name))
