"""How workers agree, over a pair of sockets each."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from loadtest.errors import LoadError
from loadtest.team import Follower, Leader


def make_team(
    on_arrived: Callable[[int], None] = lambda _: None,
) -> tuple[Leader, list[Follower], list[tuple[int, int]]]:
    """Return a leader, its two followers, and what they hear."""
    rounds: list[tuple[int, int]] = []
    pairs = [socket.socketpair() for _ in range(2)]
    leader = Leader([ours.detach() for ours, _ in pairs], on_arrived)
    followers = [
        Follower(theirs.detach(), lambda due_us, count: rounds.append((due_us, count)))
        for _, theirs in pairs
    ]
    return leader, followers, rounds


async def test_a_round_is_there_as_soon_as_it_was_told() -> None:
    leader, followers, rounds = make_team()
    leader.tell(5, 64)
    leader.tell(6, 1)
    for follower in followers:  # without a turn of the event loop
        follower.hear()
        follower.hear()
    assert rounds == [(5, 64), (6, 1)] * 2
    for follower in followers:
        follower.close()
    leader.close()


async def test_the_leader_hears_who_has_everything() -> None:
    has_heard_all = asyncio.Event()
    heard: list[int] = []

    def take(count: int) -> None:
        heard.append(count)
        if sum(heard) == 2:
            has_heard_all.set()

    leader, followers, _ = make_team(take)
    assert leader.await_all() == 2
    for follower in followers:
        follower.tell_arrived()
    async with asyncio.timeout(20):
        await has_heard_all.wait()
    assert leader.awaited_count == 0
    leader.close()
    for follower in followers:
        follower.close()


async def test_all_hear_that_it_is_over_behind_the_last_round() -> None:
    leader, followers, rounds = make_team()
    leader.tell(5, 64)
    leader.close()
    leader.close()
    for follower in followers:
        async with asyncio.timeout(20):
            await follower.is_over.wait()
        follower.tell_arrived()  # to nobody
        follower.close()
    assert rounds == [(5, 64)] * 2


async def test_it_is_over_also_where_the_leader_has_not_heard_all() -> None:
    leader, followers, _ = make_team()
    for follower in followers:
        follower.tell_arrived()
    leader.close()
    for follower in followers:
        async with asyncio.timeout(20):
            await follower.is_over.wait()
        follower.close()


async def test_a_worker_that_is_gone_is_told_nothing() -> None:
    leader, followers, rounds = make_team()
    followers[0].close()
    leader.tell(5, 64)
    followers[1].hear()
    assert rounds == [(5, 64)]
    leader.close()
    followers[1].close()


async def test_a_worker_that_does_not_listen_ends_the_run() -> None:
    leader, followers, _ = make_team()

    def tell_much() -> None:
        for _ in range(1_000_000):
            leader.tell(1, 1)

    with pytest.raises(LoadError, match="a worker is too slow to follow"):
        tell_much()
    leader.close()
    for follower in followers:
        follower.close()
