"""`report`, as it is used on saved files."""

import argparse
from pathlib import Path

import pytest
from msgspec.structs import replace

from loadtest.errors import LoadError
from loadtest.report.command import add_arguments, run
from loadtest.report.markdown import format_markdown
from loadtest.report.page import format_page
from loadtest.report.saved import save
from loadtest.report.table import format_comparison, format_result
from tests.loadtest.report.samples import make_comparison, make_result


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Return the paths of a saved result and a saved comparison."""
    save(make_result(), tmp_path / "result.json")
    save([make_comparison()], tmp_path / "comparison.json")
    return [str(tmp_path / "result.json"), str(tmp_path / "comparison.json")]


async def report(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return await run(parser.parse_args(arguments))


async def test_saved_files_are_printed_as_tables(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await report(*files) == 0
    tables = f"{format_result(make_result())}\n\n{format_comparison(make_comparison())}\n"
    assert capsys.readouterr().out == tables


async def test_saved_files_become_one_page(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert await report(*files, "--html", str(page)) == 0
    assert page.read_text(encoding="utf-8") == format_page([make_result(), make_comparison()])
    assert capsys.readouterr().out == ""


async def test_the_comparisons_among_saved_files_become_a_markdown_table(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await report(*files, "--markdown") == 0
    assert capsys.readouterr().out == f"{format_markdown([make_comparison()])}\n"


async def test_markdown_of_no_comparison_with_a_goal_is_refused(
    files: list[str], tmp_path: Path
) -> None:
    quick = make_comparison()
    path = tmp_path / "quick.json"
    save(replace(quick, ratios=[replace(each, goal=None) for each in quick.ratios]), path)
    for file in (files[0], str(path)):
        with pytest.raises(LoadError, match="made of comparisons with goals: here are none"):
            await report(file, "--markdown")


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(LoadError, match=f"cannot read {path}: No such file or directory"):
        await report(str(path))


async def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"type": "result"}')
    with pytest.raises(LoadError, match=f"{path} is not what --json saves: Object missing"):
        await report(str(path))
