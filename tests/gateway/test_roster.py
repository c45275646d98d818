"""Members in order: counted once, and met once by whoever walks the pages while others move."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.roster import BLOCK_COUNT, Roster
from gateway.session import Session
from tests.gateway.test_session import ScriptedTransport

every_mode = pytest.mark.parametrize("is_by_user", [False, True])


def come(user: str | None = None, id_: str | None = None) -> Session:
    session = Session(ScriptedTransport(), lambda *_: b"", user)
    session.id = id_ or session.id
    return session


def walk(roster: Roster, limit: int) -> list[Session]:
    """Return who is met from page to page."""
    met: list[Session] = []
    while page := roster.read(roster.key_of_member(met[-1]) if met else None, limit):
        met += page
    return met


@every_mode
def test_nobody_is_in_a_new_roster(is_by_user: bool) -> None:
    roster = Roster([], is_by_user=is_by_user)
    assert (roster.count, roster.read(None, 10), roster.sessions()) == (0, [], [])
    assert roster.read(("", "x"), 10) == []


@every_mode
def test_each_session_without_user_is_a_member(is_by_user: bool) -> None:
    roster = Roster([], is_by_user=is_by_user)
    one, other = come(), come()
    assert roster.add(one)
    assert roster.add(other)
    assert roster.count == 2
    assert roster.remove(one)
    assert roster.read(None, 10) == [other]


def test_two_sessions_of_one_user_are_two_members_by_session() -> None:
    roster = Roster([], is_by_user=False)
    one, other = come("ann"), come("ann")
    assert [roster.add(one), roster.add(other)] == [True, True]
    assert roster.count == len(roster.read(None, 10)) == 2
    assert [roster.remove(one), roster.remove(other)] == [True, True]


def test_two_sessions_of_one_user_are_one_member_by_user() -> None:
    roster = Roster([], is_by_user=True)
    one, other, bob = come("ann"), come("ann"), come("bob")
    assert [roster.add(each) for each in (one, other, bob)] == [True, False, True]
    assert roster.count == 2
    assert [each.user for each in roster.read(None, 10)] == ["ann", "bob"]
    assert len(roster.sessions()) == 3
    assert [roster.remove(one), roster.remove(other)] == [False, True]
    assert roster.read(None, 10) == [bob]


def test_a_user_named_as_a_session_is_not_that_session() -> None:
    anonymous = come(id_="ann")
    roster = Roster([anonymous], is_by_user=True)
    ann = come("ann")
    assert roster.add(ann)
    assert walk(roster, 1) == [anonymous, ann]


@pytest.mark.parametrize("is_kept", [False, True], ids=["sorted at once", "one by one"])
@every_mode
def test_more_than_many_blocks_hold_are_met_once_each(is_by_user: bool, is_kept: bool) -> None:
    users = [None if number % 3 else f"u{number % 40}" for number in range(5 * BLOCK_COUNT)]
    sessions = [come(user) for user in users]
    if is_kept:
        roster = Roster([], is_by_user=is_by_user)
        for each in sessions:
            roster.add(each)
    else:
        roster = Roster(sessions, is_by_user=is_by_user)
    members = {roster.member_of(each) for each in sessions}
    met = [roster.member_of(each) for each in walk(roster, 100)]
    assert len(met) == len(members) == roster.count
    assert set(met) == members
    for each in sessions:
        roster.remove(each)
    assert (roster.count, roster.sessions(), walk(roster, 100)) == (0, [], [])


users = st.none() | st.sampled_from(["", "ann", "bob"])
# Which user comes, or who of those who are there goes.
moves = st.lists(st.tuples(st.just("come"), users) | st.tuples(st.just("go"), st.integers(0, 99)))


@settings(deadline=None)
@given(
    before=st.lists(users, max_size=12), moves=moves, limit=st.integers(1, 4), mode=st.booleans()
)
def test_whoever_stays_is_met_exactly_once_while_others_come_and_go(
    before: list[str | None], moves: list[tuple[str, object]], limit: int, mode: bool
) -> None:
    present = [come(user) for user in before]
    roster = Roster(present, is_by_user=mode)
    staying = {roster.member_of(each) for each in present}
    met: list[Session] = []
    pending = list(moves)
    while page := roster.read(roster.key_of_member(met[-1]) if met else None, limit):
        met += page
        if pending:
            kind, what = pending.pop()
            if kind == "come":
                present.append(come(what))
                roster.add(present[-1])
            elif present:
                roster.remove(present.pop(what % len(present)))
            staying &= {roster.member_of(each) for each in present}
    named = [roster.member_of(each) for each in met]
    assert len(set(named)) == len(named)
    assert staying <= set(named)
    assert roster.count == len({roster.member_of(each) for each in present})
