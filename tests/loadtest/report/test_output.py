"""The options that write results into files."""

import argparse
from pathlib import Path

import pytest

from loadtest.report.output import add_arguments, write
from loadtest.report.page import format_page
from loadtest.report.saved import Saved, load
from tests.loadtest.report.samples import make_comparison, make_result


@pytest.mark.parametrize("saved", [[make_result()], [make_result(), make_comparison()], []])
def test_what_was_measured_is_written_as_the_options_say(
    saved: list[Saved], tmp_path: Path
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    saved_at, page = tmp_path / "it.json", tmp_path / "it.html"
    write(saved, parser.parse_args([]))
    assert list(tmp_path.iterdir()) == []
    write(saved, parser.parse_args(["--html", str(page)]))
    assert list(tmp_path.iterdir()) == [page]
    write(saved, parser.parse_args(["--json", str(saved_at)]))
    assert load(saved_at) == saved
    assert page.read_text(encoding="utf-8") == format_page(saved)
