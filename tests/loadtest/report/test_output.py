"""The options that write results into files."""

import argparse
from pathlib import Path

import pytest

from loadtest.report.output import add_arguments, write
from loadtest.report.page import format_page
from loadtest.report.saved import Saved, load
from tests.loadtest.report.samples import make_comparison, make_result


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser


@pytest.mark.parametrize("saved", [[make_result()], [make_result(), make_comparison()], []])
def test_what_was_measured_is_written_as_the_options_say(
    saved: list[Saved], tmp_path: Path
) -> None:
    parser = make_parser()
    saved_at, page = tmp_path / "it.json", tmp_path / "it.html"
    write(saved, parser.parse_args([]))
    assert list(tmp_path.iterdir()) == []
    write(saved, parser.parse_args(["--html", str(page)]))
    assert list(tmp_path.iterdir()) == [page]
    write(saved, parser.parse_args(["--json", str(saved_at)]))
    assert load(saved_at) == saved
    assert page.read_text(encoding="utf-8") == format_page(saved)


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_file_without_a_folder_is_refused_before_anything_runs(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (tmp_path / "missing" / "it", tmp_path):
        with pytest.raises(SystemExit, match="2"):
            make_parser().parse_args([option, str(path)])
        assert "expected a file in a folder that exists" in capsys.readouterr().err
