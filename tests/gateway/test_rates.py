"""So much per second, and not more at once: on a clock that only the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rates import Rate

NOW = 1000.0


def test_a_burst_is_there_at_once_and_then_as_much_as_the_rate_gives():
    rate = Rate(per_s=2, burst=4)
    assert [rate.take(1, NOW) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert [rate.take(1, NOW + 0.5) for _ in range(2)] == [0, 0.5]


def test_what_is_refused_takes_nothing():
    rate = Rate(per_s=1, burst=10)
    assert rate.take(8, NOW) == 0
    assert [rate.take(5, NOW) for _ in range(3)] == [3, 3, 3]
    assert rate.take(2, NOW) == 0
    assert rate.take(5, NOW) == 5


@pytest.mark.parametrize("count", [1, 3, 10])
def test_who_waits_as_long_as_told_is_served(count):
    rate = Rate(per_s=4, burst=10)
    rate.take(10, NOW)
    wait_s = rate.take(count, NOW)
    assert wait_s == count / 4
    assert rate.take(count, NOW + wait_s - 0.01) > 0
    assert rate.take(count, NOW + wait_s) == 0


def test_an_idle_rate_saves_no_more_than_the_burst():
    rate = Rate(per_s=1, burst=2)
    assert [rate.take(1, NOW + 3600) for _ in range(3)] == [0, 0, 1]


def test_more_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt():
    rate = Rate(per_s=1, burst=2)
    assert rate.take(1, NOW) == 0
    assert rate.take(5, NOW) == 1
    assert rate.take(5, NOW + 1) == 0
    assert rate.take(1, NOW + 1) == 4


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5)), max_size=60),
    st.sampled_from([1, 2, 4]),
    st.integers(5, 9),
)
def test_no_stretch_of_time_gives_more_than_the_rate_and_one_burst(steps, per_s, burst):
    rate = Rate(per_s, burst)
    now = NOW
    taken = []  # (when, how much)
    for eighths, count in steps:
        now += eighths / 8
        if rate.take(count, now) == 0:
            taken.append((now, count))
    for i, (begin, _) in enumerate(taken):
        total = 0
        for end, count in taken[i:]:
            total += count
            assert total <= burst + (end - begin) * per_s
