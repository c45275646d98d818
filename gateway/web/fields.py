"""Header fields: their names, and the values that requests and responses both carry as meaning."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from multidict import istr

# Ready for look-ups in headers, which fold the case of a plain str each time.
ACCEPT_ENCODING: Final = istr("Accept-Encoding")
ACCEPT_RANGES: Final = istr("Accept-Ranges")
CONNECTION: Final = istr("Connection")
CONTENT_ENCODING: Final = istr("Content-Encoding")
CONTENT_LENGTH: Final = istr("Content-Length")
CONTENT_RANGE: Final = istr("Content-Range")
CONTENT_TYPE: Final = istr("Content-Type")
COOKIE: Final = istr("Cookie")
DATE: Final = istr("Date")
ETAG: Final = istr("ETag")
HOST: Final = istr("Host")
LAST_MODIFIED: Final = istr("Last-Modified")
SERVER: Final = istr("Server")
SET_COOKIE: Final = istr("Set-Cookie")
TRANSFER_ENCODING: Final = istr("Transfer-Encoding")
VARY: Final = istr("Vary")

# Of a content type that is kept in mind: others are parsed each time, because a peer can put into
# one more parameters than anybody should remember for it.
MAX_KEPT_CHARACTERS: Final = 256

DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"
ETAG_ANY: Final = "*"

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE: Final = re.compile(rf"[ \t]*({TOKEN}/{TOKEN})[ \t]*(?:;|$)")
_PARAMETER: Final = re.compile(rf';[ \t]*({TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"]+))')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")

# RFC 9110 section 8.8.3: etagc is any visible character but the double quote, or obs-text.
_ETAG_VALUE: Final = r"[!\x23-\x7e\x80-\xff]+"
_ETAG: Final = re.compile(rf'(W/)?"({_ETAG_VALUE})"')
_BARE_ETAG: Final = re.compile(_ETAG_VALUE)


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag without its quotes; the value `*` stands for any."""

    value: str
    is_weak: bool = False

    def __str__(self) -> str:
        """Return the tag as a header carries it."""
        if self.value == ETAG_ANY:
            return ETAG_ANY
        return f'W/"{self.value}"' if self.is_weak else f'"{self.value}"'


def parse_etag(text: str) -> ETag | None:
    """Return the one tag that text holds, or None where it is not a tag. RFC 9110 section 8.8.3."""
    if text == ETAG_ANY:
        return ETag(ETAG_ANY)
    match = _ETAG.fullmatch(text)
    return ETag(match[2], is_weak=match[1] is not None) if match else None


def check_etag(tag: ETag) -> ETag:
    """Return tag unchanged; raise ValueError where its value could not stand between the quotes."""
    if not isinstance(tag.value, str) or not _BARE_ETAG.fullmatch(tag.value):
        raise ValueError(f"{tag.value!r} is not a valid ETag value")
    return tag


def parse_content_type(text: str) -> tuple[str, Mapping[str, str]]:
    """Return the media type and its parameters, type and names in lower case, each name's first.

    What is no media type reads as application/octet-stream. RFC 9110 section 8.3.1.
    """
    parse = _recall_content_type if len(text) <= MAX_KEPT_CHARACTERS else _parse_content_type
    return parse(text)


def _parse_content_type(text: str) -> tuple[str, Mapping[str, str]]:
    match = _MEDIA_TYPE.match(text)
    media_type = match[1].lower() if match else DEFAULT_CONTENT_TYPE
    return media_type, MappingProxyType(parse_parameters(text))


_recall_content_type: Final = lru_cache(maxsize=64)(_parse_content_type)


def parse_parameters(text: str) -> dict[str, str]:
    """Return the parameters behind a value, names in lower case, each name's first."""
    parameters: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(text):
        value = unescape(quoted) if quoted else bare.strip()
        parameters.setdefault(name.lower(), value)
    return parameters


def unescape(text: str) -> str:
    """Return what stands between the quotes of a quoted-string. RFC 9110 section 5.6.4."""
    return _QUOTED_PAIR.sub(r"\1", text)


def has_repeated_parameter(text: str) -> bool:
    """Whether a parameter stands behind a value twice, so that readers may choose differently."""
    names = [match[1].lower() for match in _PARAMETER.finditer(text)]
    return len(names) > len(set(names))


def format_content_type(media_type: str, parameters: Mapping[str, str]) -> str:
    """Return the header value for a media type and its parameters, quoting those that need it."""
    return media_type + "".join(
        f"; {name}={_quoted_unless_token(value)}" for name, value in parameters.items()
    )


def _quoted_unless_token(value: str) -> str:
    if re.fullmatch(TOKEN, value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def format_http_date(seconds: float) -> str:
    """Return a Unix time as an IMF-fixdate, whatever the locale. RFC 9110 section 5.6.7."""
    return formatdate(seconds, usegmt=True)


def parse_http_date(text: str | None) -> datetime | None:
    """Return the moment in UTC that any of the three HTTP date forms names, or None."""
    parts = parsedate(text) if text is not None else None
    if parts is None:
        return None
    try:
        return datetime(*parts[:6], tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
