"""The clock that dates publications."""

import time

from gateway.clock import steady_time


def test_it_tells_the_time_since_1970(monkeypatch):
    before = time.time()
    assert abs(steady_time() - before) < 3600  # unless the system's clock was set since the start


def test_it_does_not_follow_a_system_clock_that_is_set(monkeypatch):
    before = steady_time()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert steady_time() >= before


def test_it_goes_on_as_time_passes(monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    before = steady_time()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10)
    assert round(steady_time() - before, 3) == 10
