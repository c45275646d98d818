"""Which media type a file is of, told by its name; the same on every system."""

from mimetypes import MimeTypes
from typing import Final


def _make_types() -> MimeTypes:
    """Return the types of the standard library and aiohttp's, whatever the system's are.

    A compressed file is of a type of its own: a.tar.gz is sent as it is, not to be unpacked.
    """
    types = MimeTypes()
    types.encodings_map.clear()
    for content_type, suffix in (
        ("application/gzip", ".gz"),
        ("application/x-brotli", ".br"),
        ("application/x-bzip2", ".bz2"),
        ("application/x-compress", ".Z"),
        ("application/x-xz", ".xz"),
    ):
        types.add_type(content_type, suffix)
    return types


_TYPES: Final = _make_types()


def guess_content_type(name: str) -> str | None:
    """Return the media type for a file's name, which has no folder, None where it tells nothing."""
    return _TYPES.guess_type(f"/{name}")[0]  # with a slash: a name may look like a URL
