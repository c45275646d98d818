"""Results and comparisons in files."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.saved import Saved, encode, load, save
from loadtest.result import Comparison, Entry, Figure, Point, Ratio, Result
from tests.loadtest.report.samples import make_comparison, make_result

TEXTS = st.text(max_size=20) | st.just("[\n  1,\n  2\n]") | st.just("[1, 2]")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)  # JSON has no others
MAYBE = st.none() | NUMBERS
COUNTS = st.integers(0, 2**53)
POINTS = st.builds(
    Point, NUMBERS, NUMBERS, st.none() | COUNTS, st.none() | COUNTS, NUMBERS, MAYBE, st.none()
)
RESULTS = st.builds(
    Result,
    elapsed_s=NUMBERS,
    parameters=st.dictionaries(TEXTS, TEXTS | COUNTS | st.booleans() | MAYBE, max_size=3),
    figures=st.lists(st.builds(Figure, TEXTS, MAYBE, TEXTS), max_size=2),
    latency_us=st.lists(st.tuples(COUNTS, COUNTS), max_size=3),
    timeline=st.lists(POINTS, max_size=2),
    faults=st.dictionaries(TEXTS, COUNTS, max_size=2),
    warnings=st.lists(TEXTS, max_size=2),
)
COMPARISONS = st.builds(
    Comparison,
    entries=st.lists(st.builds(Entry, TEXTS, st.lists(RESULTS, max_size=2)), max_size=2),
    ratios=st.lists(st.builds(Ratio, TEXTS, st.none() | TEXTS, MAYBE, goal=MAYBE), max_size=2),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved") / "result.json"


@given(RESULTS | COMPARISONS)
def test_what_is_read_is_what_was_saved(path: Path, saved: Saved) -> None:
    save(saved, path)
    assert load(path) == [saved]


def test_several_are_saved_in_one_file(path: Path) -> None:
    several = [make_result(), make_comparison()]
    save(several, path)
    assert load(path) == several


def test_a_file_is_read_by_people_too() -> None:
    lines = encode(make_result()).decode().splitlines()
    assert '  "type": "result",' in lines
    assert "    [900, 50]," in lines


@pytest.mark.parametrize("content", [b"", b"{}", b'{"type": "result"}', b"[1]", b"\xff"])
def test_another_content_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(msgspec.DecodeError):
        load(path)
