"""What a person sees of a run: one line that is written anew, or many where nobody watches."""

import io
import sys

import pytest

from loadtest.progress import Progress
from loadtest.result import Point

POINT = Point(
    at_s=3.0,
    events_per_s=12_345.6,
    p50_us=900,
    p99_us=1_250,
    driver_cpu_share=0.25,
    server_cpu_share=0.995,
    server_rss_kib=1000,
)
TEXT = "3 s, 12,346 deliveries/s, p99 1.25 ms, server 100%, driver 25% of a core"


class Terminal(io.StringIO):
    """A stream on which somebody watches."""

    def isatty(self) -> bool:
        return True


def test_where_nobody_watches_every_second_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("deliveries", "round 1: ") as progress:
        progress.show(POINT)
    assert capsys.readouterr().err == f"round 1: opening connections\nround 1: {TEXT}\n"


def test_on_a_terminal_the_line_is_written_anew_and_taken_away_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("deliveries", "round 1: ") as progress:
        progress.show(POINT)
        assert terminal.getvalue().endswith(f"\r\x1b[Kround 1: {TEXT}")
    assert terminal.getvalue().endswith(f"{TEXT}\r\x1b[K")
    assert "\n" not in terminal.getvalue()


def test_what_was_not_measured_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    point = Point(1.0, 5.0, None, None, 0.0, None, None)
    with Progress("pings") as progress:
        progress.show(point)
    assert capsys.readouterr().err.splitlines()[1] == "1 s, 5 pings/s, driver 0% of a core"
