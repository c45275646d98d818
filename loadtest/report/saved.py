"""Results and comparisons in files: JSON that gives the same when it is read again."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from loadtest.result import Comparison, Result

Saved = Result | Comparison

# A line end never occurs inside a string of JSON.
_PAIR: Final = re.compile(rb"\[\n\s+(\d+),\n\s+(\d+)\n\s+\]")


def encode(saved: Saved | Sequence[Saved]) -> bytes:
    """Return JSON, indented, each pair of a histogram on one line, with a line end."""
    text = msgspec.json.format(msgspec.json.encode(saved), indent=2)
    return _PAIR.sub(rb"[\1, \2]", text) + b"\n"


def save(saved: Saved | Sequence[Saved], path: Path) -> None:
    """Write a file that load() reads, over one that is there."""
    path.write_bytes(encode(saved))


def load(path: Path) -> list[Saved]:
    """Return what a file holds, whether that was saved alone or as a list.

    Raises OSError where there is no such file and msgspec.DecodeError for another content.
    """
    found = msgspec.json.decode(path.read_bytes(), type=Result | Comparison | list[Saved])
    return found if isinstance(found, list) else [found]
