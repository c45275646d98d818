"""What tests/autobahn/run.py does before and after the suite itself runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.autobahn.run import (
    LONG_CASES,
    find_cache,
    find_python27,
    make_spec,
    read_verdicts,
    summarize,
)

SCRIPT = Path(__file__).with_name("run.py")


def make_python(path: Path, status: int) -> str:
    """Write a program that answers every question about its version with status."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(autouse=True)
def no_pyenv(monkeypatch):
    monkeypatch.delenv("PYENV_ROOT", raising=False)


def test_a_python_2_7_is_taken_from_the_path(tmp_path):
    python = make_python(tmp_path / "bin" / "python2.7", 0)
    assert find_python27(str(tmp_path / "bin"), tmp_path) == python


def test_pyenvs_newest_is_taken_where_the_one_in_the_path_does_not_run(tmp_path):
    make_python(tmp_path / "shims" / "python2.7", 127)
    make_python(tmp_path / ".pyenv/versions/2.7.9/bin/python2.7", 127)
    python = make_python(tmp_path / ".pyenv/versions/2.7.18/bin/python2.7", 0)
    assert find_python27(str(tmp_path / "shims"), tmp_path) == python


def test_there_may_be_no_python_2_7(tmp_path):
    make_python(tmp_path / "bin" / "python2.7", 1)
    assert find_python27(str(tmp_path / "bin"), tmp_path) is None


def test_without_python_2_7_the_script_says_so_in_one_line_and_succeeds(tmp_path):
    environment = {**os.environ, "PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--fast"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "The Autobahn test-suite did not run: it needs Python 2.7, and there is none."
    ]


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_cache().parent == tmp_path / "realtime-gateway"


def test_the_fast_cases_are_all_but_the_long_ones():
    assert len(LONG_CASES) == 517 - 373
    assert {"12.1.7", "13.7.18"} < set(LONG_CASES)
    spec = make_spec(9000, ["*"], LONG_CASES, Path("/reports"))
    assert spec["exclude-cases"] == LONG_CASES
    assert spec["servers"] == [{"agent": "gateway.web", "url": "ws://127.0.0.1:9000"}]


def write_index(reports: Path, **outcomes: tuple[str, str]) -> None:
    index = {
        name.replace("_", ".").strip("."): {
            "behavior": behavior,
            "behaviorClose": closing,
            "reportfile": f"gateway_web_case{name}.json",
        }
        for name, (behavior, closing) in outcomes.items()
    }
    (reports / "index.json").write_text(json.dumps({"gateway.web": index}))


def test_what_is_bad_is_counted_and_named_with_its_report(tmp_path):
    write_index(
        tmp_path,
        _10_1_1=("OK", "OK"),
        _7_13_2=("INFORMATIONAL", "INFORMATIONAL"),
        _6_4_3=("NON-STRICT", "OK"),
        _1_1_1=("FAILED", "WRONG CODE"),
        _2_1=("OK", "UNCLEAN"),
        _13_1_1=("UNIMPLEMENTED", "OK"),
    )
    verdicts = read_verdicts(tmp_path)
    assert [verdict.case for verdict in verdicts if not verdict.is_good] == [
        *("1.1.1", "6.4.3", "13.1.1")
    ]
    lines = summarize(verdicts).splitlines()
    assert [line.split() for line in lines[:8]] == [
        ["cases", "6"],
        ["OK", "2"],
        ["NON-STRICT", "1"],
        ["INFORMATIONAL", "1"],
        ["UNCLEAN", "1"],
        ["FAILED", "1"],
        ["WRONG", "CODE", "1"],
        ["UNIMPLEMENTED", "1"],
    ]
    assert lines[8:] == [
        f"1.1.1: FAILED, closing WRONG CODE: {tmp_path}/gateway_web_case_1_1_1.html",
        f"2.1: OK, closing UNCLEAN: {tmp_path}/gateway_web_case_2_1.html",
        f"6.4.3: NON-STRICT, closing OK: {tmp_path}/gateway_web_case_6_4_3.html",
        f"13.1.1: UNIMPLEMENTED, closing OK: {tmp_path}/gateway_web_case_13_1_1.html",
    ]
