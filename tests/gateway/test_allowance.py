"""What one session may send at once and per second, and when it has been refused too often."""

from gateway.allowance import Allowance
from gateway.config import SessionConfig

NOW = 1000.0


def take(allowance: Allowance, count: int, now: float, *, size_bytes: int = 1) -> list[bool]:
    """Return for each of count commands whether it was granted."""
    return [allowance.take(size_bytes, now) == 0 for _ in range(count)]


def test_exactly_a_burst_of_commands_is_granted_at_once_and_then_the_rate():
    allowance = Allowance(SessionConfig(commands_per_s=8, commands_burst=25, bytes_per_s=0))
    assert take(allowance, 27, NOW) == [True] * 25 + [False] * 2
    assert take(allowance, 5, NOW + 0.5) == [True] * 4 + [False]


def test_who_is_refused_is_told_when_it_would_be_granted():
    allowance = Allowance(SessionConfig(commands_per_s=4, commands_burst=1))
    assert allowance.take(1, NOW) == 0
    assert allowance.take(1, NOW) == 0.25
    assert allowance.take(1, NOW + 0.25) == 0


def test_bytes_are_limited_however_few_the_commands():
    allowance = Allowance(SessionConfig(commands_per_s=0, bytes_per_s=100, bytes_burst=1000))
    assert take(allowance, 12, NOW, size_bytes=100) == [True] * 10 + [False] * 2
    assert take(allowance, 2, NOW + 1, size_bytes=100) == [True, False]


def test_zero_is_no_limit():
    allowance = Allowance(SessionConfig(commands_per_s=0, bytes_per_s=0))
    assert all(take(allowance, 10_000, NOW, size_bytes=1_000_000))


def test_a_returning_session_may_subscribe_to_all_of_its_channels_at_once():
    config = SessionConfig()
    assert all(take(Allowance(config), config.max_subscriptions, NOW, size_bytes=300))


def test_refusals_are_counted_and_what_is_granted_makes_up_for_them():
    allowance = Allowance(SessionConfig(commands_per_s=8, commands_burst=10))
    take(allowance, 16, NOW)
    assert allowance.refused_count == 6
    take(allowance, 5, NOW + 0.5)
    assert allowance.refused_count == 3
    take(allowance, 10, NOW + 10)
    assert allowance.refused_count == 0
