"""What slow subscribers cost, in small; tests/gateway/test_node_memory.py has it in earnest."""

import json

import pytest

from loadtest.errors import LoadError
from loadtest.slow import Slow
from tests.loadtest.test_main import run


def test_a_run_in_which_nobody_falls_behind_is_told_so(url: str) -> None:
    target = url.replace("http", "ws") + "/ws"
    options = ["--subscribers", "3", "--stalled", "1", "--megabytes", "1"]
    finished = run("slow", "--target", target, "--json", *options)
    assert (finished.returncode, finished.stderr) == (1, "")
    result = json.loads(finished.stdout)
    assert result["publications"] == 16
    assert result["delivered_gb"] == 0.003
    assert result["without_gap"] == 1
    assert result["rss_peak_kib"] is None
    assert [result[name] for name in ("incomplete", "out_of_order", "with_gap")] == [0, 0, 0]


@pytest.mark.parametrize("target", ["http://127.0.0.1/", "127.0.0.1"])
def test_a_url_of_another_kind_is_refused(target: str) -> None:
    with pytest.raises(LoadError, match="ws://"):
        Slow(target, 2, 1)


def test_somebody_must_read() -> None:
    with pytest.raises(LoadError, match="must read"):
        Slow("ws://127.0.0.1/ws", 5, 5)
