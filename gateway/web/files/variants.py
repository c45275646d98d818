"""Which file stands for a path: the one there, or a sibling that holds the same compressed."""

import io
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from stat import S_ISREG
from typing import Final

from gateway.web.body.coding import parse_accept_encoding
from gateway.web.fields import ETag, format_http_date

# What a sibling's name ends with and the content coding it is in, the better compression first.
SIBLINGS: Final = ((".br", "br"), (".gz", "gzip"))

# Opened without waiting for another process: a FIFO that takes a file's place must not block.
_NO_WAITING: Final = getattr(os, "O_NONBLOCK", 0)
_NO_FOLLOWING: Final = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file that was opened for reading, and what it was then."""

    file: io.FileIO
    size: int
    modified_s: float
    tag: ETag
    last_modified: str  # as the header says it
    coding: str | None  # the content coding, unless it is the file at the path itself
    has_siblings: bool  # whether another Accept-Encoding could have got another file

    def read(self, part: range) -> bytes:
        """Return part of the file, fewer bytes where it has shrunk; it may wait for the disk."""
        self.file.seek(part.start)
        return self.file.read(len(part)) or b""


def open_variant(path: Path, accept_encoding: str | None) -> OpenFile:
    """Return what to send for path; siblings do not count where accept_encoding is None.

    A sibling will do where nothing is at path. Symbolic links are followed at path and not at its
    siblings. Raises PermissionError for what is no regular file, and the OSError of whatever else
    prevents opening. It may wait for the disk.
    """
    siblings = {} if accept_encoding is None else _find_siblings(path)
    for coding in prefer_codings(accept_encoding or "", siblings):
        with suppress(OSError):
            return _open(siblings[coding], _NO_FOLLOWING, coding, has_siblings=True)
    if not S_ISREG(os.stat(path).st_mode):  # opening one can have effects
        raise PermissionError(f"Not a regular file: {path}")
    return _open(path, 0, None, has_siblings=bool(siblings))


def prefer_codings(accept_encoding: str, codings: Iterable[str]) -> list[str]:
    """Return those of codings that have weight, and no less than none at all has, best first.

    RFC 9110 section 12.5.3.
    """
    weights = parse_accept_encoding(accept_encoding)
    others = weights.get("*", 0.0)
    least = weights.get("identity", others)
    found = {coding: weights.get(coding, others) for coding in codings}
    good = [coding for coding, weight in found.items() if weight > 0 and weight >= least]
    return sorted(good, key=lambda coding: -found[coding])


def _find_siblings(path: Path) -> dict[str, Path]:
    siblings: dict[str, Path] = {}
    for suffix, coding in SIBLINGS if path.name else ():
        sibling = path.with_name(path.name + suffix)
        with suppress(OSError):
            if S_ISREG(os.lstat(sibling).st_mode):
                siblings[coding] = sibling
    return siblings


def _open(path: Path, flags: int, coding: str | None, *, has_siblings: bool) -> OpenFile:
    file = io.FileIO(path, opener=lambda name, usual: os.open(name, usual | flags | _NO_WAITING))
    try:
        found = os.fstat(file.fileno())
        if not S_ISREG(found.st_mode):  # it took the place of one a moment ago
            raise PermissionError(f"Not a regular file: {path}")
    except BaseException:
        file.close()
        raise
    modified_s = found.st_mtime_ns / 1e9
    # Rounded up, so that it does not look older than a copy taken in the same second, but not into
    # the future: RFC 9110 section 8.8.2.1.
    said_s = min(ceil(modified_s), int(time.time()))
    return OpenFile(
        file,
        found.st_size,
        modified_s,
        ETag(f"{found.st_mtime_ns:x}-{found.st_size:x}"),
        format_http_date(said_s),
        coding,
        has_siblings,
    )
