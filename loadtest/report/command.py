"""Shows what earlier runs and comparisons have saved: as tables, as Markdown, or as one HTML page.

Without an option it prints the tables that the runs themselves printed.
"""

import argparse
from pathlib import Path
from typing import Final

import msgspec

from loadtest.errors import LoadError
from loadtest.report.markdown import format_markdown
from loadtest.report.page import format_page
from loadtest.report.saved import Saved, load
from loadtest.report.table import format_comparison, format_result
from loadtest.result import Comparison

EXAMPLES: Final = """\
examples:
  python -m loadtest fanout --json run.json
  python -m loadtest report run.json
  python -m loadtest report before.json after.json --html report.html
  python -m loadtest report compare.json --markdown
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to parser."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="what --json saved")
    parser.add_argument("--html", type=Path, metavar="OUT", help="write one self-contained page")
    parser.add_argument(
        "--markdown", action="store_true", help="print the ratios of comparisons as a table"
    )


async def run(arguments: argparse.Namespace) -> int:
    """Show all files as the options say, and return 0; raise LoadError for what cannot be shown."""
    saved = [each for path in arguments.files for each in _load(path)]
    comparisons = [each for each in saved if isinstance(each, Comparison)]
    if arguments.markdown and not any(map(_has_goal, comparisons)):
        raise LoadError("a Markdown table is made of comparisons with goals: here are none")
    if arguments.html:
        arguments.html.write_text(format_page(saved), encoding="utf-8")
    if arguments.markdown:
        print(format_markdown(comparisons))
    elif not arguments.html:
        print("\n\n".join(map(format_saved, saved)))
    return 0


def format_saved(saved: Saved) -> str:
    """Return the table of a result or a comparison."""
    return format_comparison(saved) if isinstance(saved, Comparison) else format_result(saved)


def _has_goal(comparison: Comparison) -> bool:
    return any(ratio.goal is not None for ratio in comparison.ratios)


def _load(path: Path) -> list[Saved]:
    try:
        return load(path)
    except OSError as error:
        raise LoadError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise LoadError(f"{path} is not what --json saves: {error}") from error
