"""Cookies as responses set them."""

import re
from collections.abc import Container, Mapping
from http.cookies import Morsel, SimpleCookie
from typing import Final

EXPIRED: Final = "Thu, 01 Jan 1970 00:00:00 GMT"

# The standard library quotes a cookie's value but writes its attributes as they are.
_UNSAFE_IN_ATTRIBUTE: Final = re.compile(r"[;\x00-\x1f\x7f]")


class PartitionedMorsel(Morsel[str]):
    """A cookie that each top-level site has a jar of its own for.

    The standard library's has the attribute since Python 3.14.
    """

    def OutputString(self, attrs: Container[str] | None = None) -> str:
        """Return the value of the Set-Cookie header."""
        return super().OutputString(attrs) + "; Partitioned"


def set_cookie(
    jar: SimpleCookie,
    name: str,
    value: str,
    attributes: Mapping[str, object],
    *,
    partitioned: bool | None,
) -> None:
    """Put a cookie into jar, or change the one of that name; an attribute of None stays as it was.

    Max-Age and the Expires of a deletion do not outlive the setting they came with. Raises
    CookieError for a name that is not a token and ValueError for an attribute that would begin
    another one; jar is unchanged then.
    """
    for key, given in attributes.items():
        if isinstance(given, str) and _UNSAFE_IN_ATTRIBUTE.search(given):
            raise ValueError(f"Cookie attribute {key} cannot be {given!r}")
    old = jar.get(name)
    if partitioned is None:
        partitioned = isinstance(old, PartitionedMorsel)
    cookie: Morsel[str] = PartitionedMorsel() if partitioned else Morsel()
    cookie.update({**(old or {}), "max-age": ""})
    if cookie["expires"] == EXPIRED:
        cookie["expires"] = ""
    for key, given in attributes.items():
        if given is not None:
            cookie[key] = str(given) if key == "max-age" else given
    cookie.set(name, *jar.value_encode(value))
    jar[name] = cookie
