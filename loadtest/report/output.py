"""The options by which what was measured is written into files, too."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from loadtest.report.page import format_page
from loadtest.report.saved import Saved, save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --json and --html to parser."""
    add = parser.add_argument_group("output").add_argument
    add(
        "--json",
        metavar="FILE",
        type=_read_file,
        help="save it for `python -m loadtest report`, too",
    )
    add("--html", metavar="FILE", type=_read_file, help="write a page with plots, too")


def _read_file(text: str) -> Path:
    """Return a path, so that no run is lost for the want of its folder."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"expected a file in a folder that exists, got {text!r}")
    return path


def write(saved: Sequence[Saved], arguments: argparse.Namespace) -> None:
    """Write the files that the arguments name, over those that are there."""
    if arguments.json is not None:
        save(saved[0] if len(saved) == 1 else saved, arguments.json)
    if arguments.html is not None:
        arguments.html.write_text(format_page(saved), encoding="utf-8")
