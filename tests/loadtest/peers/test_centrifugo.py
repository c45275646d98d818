"""Centrifugo's configuration; the program itself is not something that tests can count on."""

import json
from pathlib import Path

import pytest

from loadtest.peers import centrifugo


def test_it_listens_on_loopback_without_tokens_and_without_compression(tmp_path: Path) -> None:
    program, option, path = centrifugo.prepare(8123, tmp_path)
    assert (program, option) == ("centrifugo", "--config")
    configuration = json.loads(Path(path).read_text())
    assert configuration["http_server"] == {"address": "127.0.0.1", "port": 8123}
    assert configuration["client"]["insecure"] is configuration["http_api"]["insecure"] is True
    assert configuration["websocket"]["compression"] is False


def test_a_missing_program_is_told_with_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "centrifugal.dev" in str(centrifugo.find_absence())
    program = tmp_path / "centrifugo"
    program.touch(mode=0o755)
    assert centrifugo.find_absence() is None
