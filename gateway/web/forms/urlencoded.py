"""The older of the two types of a form: names and values as in a query."""

from typing import Final
from urllib.parse import parse_qsl

from gateway.web.charset import decode_text, find_charset
from gateway.web.exceptions import HTTPRequestEntityTooLarge

MAX_FIELDS: Final = 1000  # per form, as PHP, Django and Starlette; more is answered with 413


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
