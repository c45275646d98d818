"""Which web pages may use the gateway from a browser. RFC 6454, RFC 6455 section 10.2."""

from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlsplit

from gateway.web.request import BaseRequest


def is_allowed_origin(request: BaseRequest, allowed: Collection[str]) -> bool:
    """Return whether request comes from a page that may: one of allowed, or of the same host.

    A request without Origin comes from no browser and passes. `*` allows every page.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    if allowed:
        return "*" in allowed or origin.lower() in allowed
    with suppress(ValueError):
        return urlsplit(origin).netloc.lower() == request.headers.get("Host", "").lower()
    return False
