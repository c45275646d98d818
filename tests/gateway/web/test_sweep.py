"""The sweep, on a clock that only the test moves: everyone once per period, nobody who left."""

import asyncio
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextvars import Context, ContextVar
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.sweep import TICKS, Sweep, Sweeps

PERIOD_S = 32.0  # so that a tick takes one second, and times are exact
TICK_S = PERIOD_S / TICKS


class Timer:
    """What call_later returns."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ScriptedLoop:
    """The one method of an event loop that a sweep needs, on virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.errors: list[Exception] = []
        self._timers: list[Timer] = []

    def call_later(
        self, delay: float, callback: Callable[[], None], context: Context | None = None
    ) -> Timer:
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
            self.now = max(self.now, timer.when)
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
def sweep(loop: ScriptedLoop) -> Sweep:
    """Return a sweep in which nobody stands yet."""
    return make_sweep(loop)


def make_sweep(loop: ScriptedLoop) -> Sweep:
    return Sweep(cast(AbstractEventLoop, loop), PERIOD_S)


def make_neighbours(sweep: Sweep, loop: ScriptedLoop) -> tuple[Peer, Peer]:
    """Return two added peers that are visited in the same tick, one after the other."""
    peers = Peer(loop), Peer(loop)
    for peer in peers:
        sweep.add(peer)
    return peers


def test_each_peer_is_visited_exactly_once_per_period(sweep, loop):
    peers = [Peer(loop) for _ in range(500)]
    for peer in peers:
        sweep.add(peer)
    loop.advance(PERIOD_S)
    assert {len(peer.visits) for peer in peers} == {1}
    loop.advance(3 * PERIOD_S)
    for peer in peers:
        first = peer.visits[0]
        assert peer.visits == [first + count * PERIOD_S for count in range(4)]


@given(st.lists(st.integers(0, 2 * TICKS - 1), max_size=60))
def test_whenever_a_peer_comes_its_visits_follow_at_the_period(ticks):
    loop = ScriptedLoop()
    sweep = make_sweep(loop)
    peers = []
    for tick in range(2 * TICKS):
        for _ in range(ticks.count(tick)):
            peers.append((loop.now, Peer(loop)))
            sweep.add(peers[-1][1])
        loop.advance(TICK_S)
    loop.advance(PERIOD_S)
    for since, peer in peers:
        assert peer.visits[0] - since == PERIOD_S
        gaps = [late - early for early, late in pairwise(peer.visits)]
        assert set(gaps) <= {PERIOD_S}


def test_who_comes_between_two_ticks_is_visited_at_most_a_tick_early(sweep, loop):
    early, peer = Peer(loop), Peer(loop)
    sweep.add(early)
    loop.advance(TICK_S * 0.9)
    sweep.add(peer)
    loop.advance(PERIOD_S)
    assert PERIOD_S - TICK_S < peer.visits[0] - TICK_S * 0.9 < PERIOD_S


def test_a_peer_that_was_added_twice_is_visited_once(sweep, loop):
    peer = Peer(loop)
    sweep.add(peer)
    sweep.add(peer)
    loop.advance(PERIOD_S)
    assert len(peer.visits) == 1
    sweep.remove(peer)
    loop.advance(PERIOD_S)
    assert len(peer.visits) == 1


def test_a_removed_peer_is_visited_no_more_and_may_be_removed_again(sweep, loop):
    peer, stranger = Peer(loop), Peer(loop)
    sweep.add(peer)
    loop.advance(PERIOD_S)
    sweep.remove(peer)
    sweep.remove(peer)
    sweep.remove(stranger)
    loop.advance(2 * PERIOD_S)
    assert len(peer.visits) == 1


def test_a_peer_may_leave_while_it_is_visited(sweep, loop):
    peer = Peer(loop)
    peer.then = lambda: sweep.remove(peer)
    sweep.add(peer)
    loop.advance(3 * PERIOD_S)
    assert len(peer.visits) == 1
    assert loop.errors == []


def test_a_peer_that_another_removes_in_the_same_tick_is_not_visited(sweep, loop):
    one, other = make_neighbours(sweep, loop)
    one.then = lambda: sweep.remove(other)
    loop.advance(PERIOD_S)
    assert (len(one.visits), len(other.visits)) == (1, 0)
    assert loop.errors == []


def test_a_peer_may_add_another_while_it_is_visited(sweep, loop):
    late = [Peer(loop) for _ in range(3)]
    peer = Peer(loop)
    peer.then = lambda: [sweep.add(each) for each in late] and None
    sweep.add(peer)
    loop.advance(2 * PERIOD_S)
    assert all(each.visits for each in late)
    assert all(each.visits[0] > peer.visits[0] for each in late)
    assert loop.errors == []


def test_a_peer_that_fails_does_not_stop_the_heart(sweep, loop):
    def fail() -> None:
        raise ConnectionError("gone")

    failing, peer = Peer(loop, fail), Peer(loop)
    sweep.add(failing)
    sweep.add(peer)
    loop.advance(3 * PERIOD_S)
    assert len(failing.visits) == 3
    assert len(peer.visits) >= 2


def test_there_is_a_timer_only_while_there_are_peers(sweep, loop):
    one, other = Peer(loop), Peer(loop)
    assert loop.pending == 0
    for _ in range(2):
        sweep.add(one)
        sweep.add(other)
        assert loop.pending == 1
        sweep.remove(one)
        loop.advance(PERIOD_S)
        assert loop.pending == 1
        sweep.remove(other)
        sweep.remove(other)
        assert loop.pending == 0
    assert (len(one.visits), len(other.visits)) == (0, 2)


def test_the_last_peers_may_leave_while_they_are_visited(sweep, loop):
    one, other = make_neighbours(sweep, loop)

    def leave() -> None:
        sweep.remove(one)
        sweep.remove(other)

    one.then = leave
    loop.advance(3 * PERIOD_S)
    assert (len(one.visits), len(other.visits)) == (1, 0)
    assert loop.pending == 0


def test_a_loop_that_was_late_takes_no_time_from_peers(sweep, loop):
    peers = [Peer(loop) for _ in range(TICKS)]
    for peer in peers:
        sweep.add(peer)
        loop.advance(TICK_S)
    loop.advance(PERIOD_S)
    loop.now += 10 * PERIOD_S  # nothing ran meanwhile: what peers have sent waits in their sockets
    late = loop.now
    loop.advance(2 * PERIOD_S)
    assert sum(late in peer.visits for peer in peers) == 1  # not all at once, before it is read
    for peer in peers:
        assert min(after - before for before, after in pairwise(peer.visits)) >= PERIOD_S


def test_peers_cost_no_timers(sweep, loop):
    for _ in range(1000):
        sweep.add(Peer(loop))
    assert loop.pending == 1
    loop.advance(PERIOD_S)
    assert loop.pending == 1


async def test_it_beats_on_a_real_loop():
    visited = asyncio.Event()

    class Real:
        def beat(self) -> None:
            visited.set()

    sweep, real = Sweep(asyncio.get_running_loop(), 0.001), Real()
    sweep.add(real)
    await visited.wait()
    sweep.remove(real)


def test_all_who_want_the_same_period_stand_in_one_sweep(loop):
    sweeps = Sweeps(cast(AbstractEventLoop, loop))
    sweep = sweeps.find(PERIOD_S)
    assert sweeps.find(PERIOD_S) is sweep
    assert sweeps.find(PERIOD_S / 2) is not sweep
    for _ in range(100):
        sweep.add(Peer(loop))
    assert loop.pending == 1


def test_a_sweep_that_nobody_keeps_is_forgotten(loop):
    sweeps = Sweeps(cast(AbstractEventLoop, loop))
    gone = weakref.ref(sweeps.find(PERIOD_S))
    assert gone() is None


def test_what_the_first_peer_had_in_its_context_is_not_kept():
    variable: ContextVar[str] = ContextVar("variable", default="nothing")

    async def main() -> str:
        seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        class Real:
            def beat(self) -> None:
                sweep.remove(self)
                seen.set_result(variable.get())

        sweep = Sweep(asyncio.get_running_loop(), 0.001)
        variable.set("mine")
        sweep.add(Real())
        return await seen

    assert asyncio.run(main()) == "nothing"
