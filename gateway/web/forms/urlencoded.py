"""The older of the two types of a form: names and values as in a query."""

import asyncio
from typing import Final
from urllib.parse import parse_qsl

from gateway.web.charset import decode_text, find_charset
from gateway.web.exceptions import HTTPRequestEntityTooLarge

MAX_FIELDS: Final = 1000  # per form, as PHP, Django and Starlette; more is answered with 413
INLINE_BYTES: Final = 16 * 1024  # of a form parsed on the event loop: 5 ms where all is escapes


async def read_urlencoded(body: bytes, charset: str) -> list[tuple[str, str]]:
    """Return what parse_urlencoded() does, in a thread where that may take long."""
    if len(body) <= INLINE_BYTES:
        return parse_urlencoded(body, charset)
    return await asyncio.to_thread(parse_urlencoded, body, charset)


def parse_urlencoded(body: bytes, charset: str) -> list[tuple[str, str]]:
    """Return the names and values of a form in their order, empty values too.

    Raises HTTPRequestEntityTooLarge for more than MAX_FIELDS, and what decode_text() raises.
    """
    text = decode_text(body.rstrip(), charset)
    try:
        return parse_qsl(text, True, encoding=find_charset(charset), max_num_fields=MAX_FIELDS)
    except ValueError:
        raise too_many(MAX_FIELDS, text.count("&") + 1, "fields") from None


def too_many(maximum: int, actual: int, what: str) -> HTTPRequestEntityTooLarge:
    """Return the answer to a form with more fields or files than are taken."""
    text = f"413: A form has at most {maximum} {what}"
    return HTTPRequestEntityTooLarge(maximum, actual, text=text)
