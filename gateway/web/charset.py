"""Bytes as text in a charset that the peer names."""

import pkgutil
from encodings import __path__ as codec_paths
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Final

from gateway.web.exceptions import HTTPUnsupportedMediaType, MalformedBodyError

# Not for peers: punycode takes quadratic time; the others are no charsets of text.
_REFUSED: Final = frozenset(
    {"aliases", "idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
)
# Python keeps in mind for ever each name that it does not know: it is never asked for those.
_KNOWN: Final = (
    frozenset(aliases)
    | frozenset(aliases.values())
    | {module.name for module in pkgutil.iter_modules(codec_paths)}
) - _REFUSED


# Both bases have a reason: one as a property, the other as an attribute.
class MalformedTextError(MalformedBodyError, UnicodeDecodeError):  # type: ignore[override]
    """The text of a body is not in its charset; its reason is that of the response."""

    def __init__(self, error: UnicodeDecodeError) -> None:
        super().__init__(f"The text is not in its charset: {error}")
        UnicodeDecodeError.__init__(self, *error.args)


def find_charset(name: str) -> str:
    """Return a charset by Python's name for it; raise HTTPUnsupportedMediaType where it has none.

    The peer's name is not for Python, which would raise ValueError for some of them.
    """
    charset = normalize_encoding(name).lower()
    if charset not in _KNOWN:
        raise HTTPUnsupportedMediaType(text=f"415: Unknown charset {name!a}")
    return charset


def decode_text(data: bytes, charset: str) -> str:
    """Return data as text.

    Raises HTTPUnsupportedMediaType for an unknown charset, and MalformedTextError, which is also a
    UnicodeDecodeError, for data that are not in it.
    """
    try:
        return data.decode(find_charset(charset))
    except LookupError:  # Python's for its codecs that make no text
        raise HTTPUnsupportedMediaType(text=f"415: Unknown charset {charset!a}") from None
    except UnicodeDecodeError as error:
        raise MalformedTextError(error) from None
    except UnicodeError as error:
        raise MalformedBodyError(f"The text is not in its charset: {error}") from None
