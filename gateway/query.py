"""The query strings of the gateway's endpoints, read strictly: a typing error is not a default."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from protocol.codes import ErrorCode
from protocol.errors import MessageError


class Query:
    """The parameters of a query string, each name perhaps several times, in their order."""

    def __init__(self, query_string: str, known: Sequence[str]) -> None:
        """Raises MessageError for a name that is not known, or text that is not UTF-8."""
        self._values: dict[str, list[str]] = {name: [] for name in known}
        try:
            pairs = parse_qsl(query_string, keep_blank_values=True, errors="strict")
        except ValueError as error:
            text = f"the query string cannot be read: {error}"
            raise MessageError(ErrorCode.MALFORMED, text) from None
        for name, value in pairs:
            if name not in self._values:
                text = f"unknown parameter {name[:80]!r}; there are {', '.join(known) or 'none'}"
                raise MessageError(ErrorCode.INVALID_FIELD, text)
            self._values[name].append(value)

    def all(self, name: str) -> list[str]:
        """Return the values of name."""
        return self._values[name]

    def one(self, name: str) -> str | None:
        """Return the value of name, None where it is absent; raise MessageError for several."""
        values = self._values[name]
        if len(values) > 1:
            raise MessageError(ErrorCode.INVALID_FIELD, f"parameter {name!r} is given twice")
        return values[0] if values else None


def read_integer(name: str, text: str, *, at_least: int = 0, at_most: int) -> int:
    """Return the integer in text, the value of parameter name; raise MessageError otherwise."""
    # isdecimal() alone would admit other scripts' digits; the length keeps int() cheap.
    is_number = text.isascii() and text.isdecimal() and len(text) <= 19
    if not is_number or not at_least <= int(text) <= at_most:
        message = f"{name} {text[:40]!r} is not an integer from {at_least} to {at_most}"
        raise MessageError(ErrorCode.INVALID_FIELD, message)
    return int(text)
