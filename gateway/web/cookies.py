"""Cookies as responses set them."""

import re
from http.cookies import Morsel, SimpleCookie
from typing import Final

EXPIRED: Final = "Thu, 01 Jan 1970 00:00:00 GMT"

# The standard library quotes a cookie's value but writes its attributes as they are.
_UNSAFE_IN_ATTRIBUTE: Final = re.compile(r"[;\x00-\x1f\x7f]")


class _Morsel(Morsel[str]):
    """A cookie that may be partitioned, which the standard library's knows since Python 3.14."""

    _reserved = {**Morsel._reserved, "partitioned": "Partitioned"}  # noqa: RUF012, SLF001
    _flags = {*Morsel._flags, "partitioned"}  # noqa: RUF012, SLF001


def set_cookie(jar: SimpleCookie, name: str, value: str, attributes: dict[str, object]) -> None:
    """Put a cookie into jar, or change the one of that name; an attribute of None stays as it was.

    Max-Age and the Expires of a deletion do not outlive the setting they came with. Raises
    CookieError for a name that is not a token and ValueError for an attribute that would begin
    another one.
    """
    for key, given in attributes.items():
        if isinstance(given, str) and _UNSAFE_IN_ATTRIBUTE.search(given):
            raise ValueError(f"Cookie attribute {key} cannot contain {given!r}")
    cookie = jar[name] if name in jar else _Morsel()
    cookie.set(name, *jar.value_encode(value))
    if cookie["expires"] == EXPIRED:
        cookie["expires"] = ""
    cookie["max-age"] = ""
    for key, given in attributes.items():
        if given is not None:
            cookie[key] = str(given) if key == "max-age" else given
    jar[name] = cookie
