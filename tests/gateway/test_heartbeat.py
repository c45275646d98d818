"""The sweep, on a clock that only the test moves: everyone once per interval, nobody who left."""

import asyncio
from asyncio import AbstractEventLoop
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.heartbeat import SLOTS, Heartbeat

INTERVAL_S = 32.0  # so that a tick takes one second, and times are exact
TICK_S = INTERVAL_S / SLOTS


class Timer:
    """What call_later returns."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ScriptedLoop:
    """The one method of an event loop that a heartbeat needs, on virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.errors: list[Exception] = []
        self._timers: list[Timer] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay, callback)
        self._timers.append(timer)
        return timer

    @property
    def pending(self) -> int:
        return sum(not timer.is_cancelled for timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Let time pass; an error in a callback is caught, as a real loop does."""
        end = self.now + seconds
        while due := [timer for timer in self._timers if timer.when <= end]:
            timer = min(due, key=lambda each: each.when)
            self._timers.remove(timer)
            self.now = timer.when
            try:
                if not timer.is_cancelled:
                    timer.callback()
            except Exception as error:
                self.errors.append(error)
        self.now = end


class Peer:
    """Notes when it is visited, and then does what it was told."""

    def __init__(self, loop: ScriptedLoop, then: Callable[[], None] = lambda: None) -> None:
        self._loop = loop
        self.then = then
        self.visits: list[float] = []

    def beat(self) -> None:
        self.visits.append(self._loop.now)
        self.then()


@pytest.fixture
def loop() -> ScriptedLoop:
    return ScriptedLoop()


@pytest.fixture
def heartbeat(loop: ScriptedLoop) -> Heartbeat:
    """Return a heartbeat that has been started at time 0."""
    heartbeat = make_heartbeat(loop)
    heartbeat.start()
    return heartbeat


def make_heartbeat(loop: ScriptedLoop) -> Heartbeat:
    return Heartbeat(cast(AbstractEventLoop, loop), INTERVAL_S)


def make_neighbours(heartbeat: Heartbeat, loop: ScriptedLoop) -> tuple[Peer, Peer]:
    """Return two added peers that are visited in the same tick, in whatever order."""
    peers = [Peer(loop) for _ in range(SLOTS + 1)]
    for peer in peers:
        heartbeat.add(peer)
    loop.advance(INTERVAL_S)
    first_seen: dict[float, Peer] = {}
    for peer in peers:
        neighbour = first_seen.setdefault(peer.visits.pop(), peer)
        if neighbour is not peer:
            return neighbour, peer
    raise AssertionError("more peers than ticks, but no two in one")


def test_each_peer_is_visited_exactly_once_per_interval(heartbeat, loop):
    peers = [Peer(loop) for _ in range(500)]
    for peer in peers:
        heartbeat.add(peer)
    loop.advance(INTERVAL_S)
    assert {len(peer.visits) for peer in peers} == {1}
    loop.advance(3 * INTERVAL_S)
    for peer in peers:
        first = peer.visits[0]
        assert peer.visits == [first + count * INTERVAL_S for count in range(4)]


@given(st.lists(st.integers(0, 2 * SLOTS - 1), max_size=60))
def test_whenever_a_peer_comes_its_first_visit_is_within_one_interval(ticks):
    loop = ScriptedLoop()
    heartbeat = make_heartbeat(loop)
    heartbeat.start()
    peers = []
    for tick in range(2 * SLOTS):
        for _ in range(ticks.count(tick)):
            peers.append((loop.now, Peer(loop)))
            heartbeat.add(peers[-1][1])
        loop.advance(TICK_S)
    loop.advance(INTERVAL_S)
    for since, peer in peers:
        assert 0 < peer.visits[0] - since <= INTERVAL_S
        gaps = [late - early for early, late in zip(peer.visits, peer.visits[1:], strict=False)]
        assert set(gaps) <= {INTERVAL_S}


@pytest.mark.parametrize("size", range(64))
def test_visits_are_spread_over_the_ticks_whatever_the_size_of_a_peer(heartbeat, loop, size):
    class Sized(Peer):
        __slots__ = tuple(f"field_{number}" for number in range(size))

    peers = [Sized(loop) for _ in range(100 * SLOTS)]
    for peer in peers:
        heartbeat.add(peer)
    loop.advance(INTERVAL_S)
    visits = Counter(peer.visits[0] for peer in peers)
    assert len(visits) == SLOTS
    assert max(visits.values()) < 3 * 100


def test_a_peer_that_was_added_twice_is_visited_once(heartbeat, loop):
    peer = Peer(loop)
    heartbeat.add(peer)
    heartbeat.add(peer)
    loop.advance(INTERVAL_S)
    assert len(peer.visits) == 1
    heartbeat.remove(peer)
    loop.advance(INTERVAL_S)
    assert len(peer.visits) == 1


def test_a_removed_peer_is_visited_no_more_and_may_be_removed_again(heartbeat, loop):
    peer, stranger = Peer(loop), Peer(loop)
    heartbeat.add(peer)
    loop.advance(INTERVAL_S)
    heartbeat.remove(peer)
    heartbeat.remove(peer)
    heartbeat.remove(stranger)
    loop.advance(2 * INTERVAL_S)
    assert len(peer.visits) == 1


def test_a_peer_may_leave_while_it_is_visited(heartbeat, loop):
    peer = Peer(loop)
    peer.then = lambda: heartbeat.remove(peer)
    heartbeat.add(peer)
    loop.advance(3 * INTERVAL_S)
    assert len(peer.visits) == 1
    assert loop.errors == []


def test_a_peer_that_another_removes_in_the_same_tick_is_not_visited(heartbeat, loop):
    one, other = make_neighbours(heartbeat, loop)
    one.then = lambda: heartbeat.remove(other)
    other.then = lambda: heartbeat.remove(one)
    loop.advance(INTERVAL_S)
    assert len(one.visits) + len(other.visits) == 1
    assert loop.errors == []


def test_a_peer_may_add_another_while_it_is_visited(heartbeat, loop):
    late = [Peer(loop) for _ in range(SLOTS)]
    peer = Peer(loop)
    peer.then = lambda: [heartbeat.add(each) for each in late] and None
    heartbeat.add(peer)
    loop.advance(2 * INTERVAL_S)
    assert all(each.visits for each in late)
    assert all(each.visits[0] > peer.visits[0] for each in late)
    assert loop.errors == []


def test_a_peer_that_fails_does_not_stop_the_heart(heartbeat, loop):
    def fail() -> None:
        raise ConnectionError("gone")

    failing, peer = Peer(loop, fail), Peer(loop)
    heartbeat.add(failing)
    heartbeat.add(peer)
    loop.advance(3 * INTERVAL_S)
    assert len(failing.visits) == 3
    assert len(peer.visits) >= 2


def test_nothing_is_visited_before_start_or_after_stop(loop):
    heartbeat = make_heartbeat(loop)
    peer = Peer(loop)
    heartbeat.add(peer)
    heartbeat.stop()
    loop.advance(INTERVAL_S)
    assert peer.visits == []
    heartbeat.start()
    loop.advance(INTERVAL_S)
    heartbeat.stop()
    heartbeat.stop()
    assert loop.pending == 0
    loop.advance(INTERVAL_S)
    assert len(peer.visits) == 1


def test_a_peer_may_stop_the_heart_while_it_is_visited(heartbeat, loop):
    one, other = make_neighbours(heartbeat, loop)
    one.then = other.then = heartbeat.stop
    loop.advance(3 * INTERVAL_S)
    assert max(len(one.visits), len(other.visits)) == 1
    assert loop.pending == 0


def test_peers_cost_no_timers(heartbeat, loop):
    for _ in range(1000):
        heartbeat.add(Peer(loop))
    assert loop.pending == 1
    loop.advance(INTERVAL_S)
    assert loop.pending == 1


async def test_it_beats_on_a_real_loop():
    visited = asyncio.Event()

    class Real:
        def beat(self) -> None:
            visited.set()

    heartbeat = Heartbeat(asyncio.get_running_loop(), 0.001)
    heartbeat.add(Real())
    heartbeat.start()
    await visited.wait()
    heartbeat.stop()
