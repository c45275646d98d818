"""Who is told of those who come and go, of how many at once, and what those miss who stall."""

import gc
from typing import Any

import pytest

from gateway.config import ChannelsConfig
from gateway.presence import SORTED_COUNT, News
from gateway.roster import Roster
from protocol.cursor import encode_member_cursor
from protocol.errors import MessageError
from tests.gateway.rooms import ROOMS, ROOMS_OF_USERS, come, go, rest, told
from tests.gateway.world import ScriptedTransport, World, encode_more_lines


@pytest.fixture
def world() -> World:
    return World(ROOMS)


def ask(world: World, limit: int = 100, cursor: str | None = None) -> Any:
    return world.hub.presence.page("a", world.hub.channels.get("a"), limit=limit, cursor=cursor)


# --- who is told --------------------------------------------------------------------------------


def test_subscribers_are_told_who_comes_and_who_goes(world: World) -> None:
    ann = come(world, "ann")
    rest(world)
    bob = come(world, "bob")
    rest(world)
    go(bob)
    rest(world)
    pushes = ann.read()
    assert pushes[0]["type"] == "subscribed"
    assert pushes[1:] == [
        {"type": "joined", "channel": "a", "count": 1, "session": ann.session.id, "user": "ann"},
        {"type": "joined", "channel": "a", "count": 2, "session": bob.session.id, "user": "bob"},
        {"type": "left", "channel": "a", "count": 1, "session": bob.session.id, "user": "bob"},
    ]


def test_whoever_joins_hears_of_that_after_its_reply(world: World) -> None:
    rest_of = [come(world) for _ in range(3)]
    world.settle()
    for each in rest_of:
        pushes = each.read()
        assert [push["type"] for push in pushes] == ["subscribed", *["joined"] * 3]
        assert {push["count"] for push in pushes[1:]} == {3}


def test_nobody_is_told_in_a_channel_that_does_not_ask_for_it() -> None:
    world = World()
    ann = come(world)
    go(come(world))
    world.settle()
    assert told(ann) == []
    assert world.timers == []


def test_whoever_comes_and_goes_within_a_turn_is_not_told(world: World) -> None:
    ann = come(world)
    rest(world)
    ann.read()
    go(come(world))
    rest(world)
    assert told(ann) == []


def test_whoever_leaves_is_told_nothing_more(world: World) -> None:
    ann, bob = come(world), come(world)
    rest(world)
    ann.read()
    world.hub.unsubscribe(ann.session, "a")
    go(bob)
    rest(world)
    assert ann.read() == []


def test_what_is_told_is_encoded_once_per_encoding_and_written_once_each(world: World) -> None:
    encodings: list[str] = []

    def encode_push(push: Any) -> bytes:
        encodings.append(push.session)
        return b"{}\n"

    subscribers = [come(world) for _ in range(10)]
    rest(world)
    for each in subscribers:
        each.read()
        each.encode_push = encode_push
        each.write_count = 0
    newcomers = [come(world) for _ in range(3)]
    rest(world)
    assert sorted(encodings) == sorted(each.session.id for each in newcomers)
    assert [each.write_count for each in subscribers] == [1] * 10


def test_a_broken_socket_is_no_reason_not_to_tell_the_others(world: World) -> None:
    ann, broken, bob = come(world), come(world), come(world)

    def refuse(data: bytes) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")

    broken.write = refuse
    world.settle()
    assert len(told(ann)) == len(told(bob)) == 3


# --- users --------------------------------------------------------------------------------------


def test_by_user_the_first_session_joins_and_the_last_one_leaves() -> None:
    world = World(ROOMS_OF_USERS)
    witness = come(world)
    rest(world)
    witness.read()
    first, second = come(world, "ann"), come(world, "ann")
    rest(world)
    assert told(witness) == [("joined", first.session.id, 2)]
    assert ask(world).count == len(ask(world).members) == 2
    go(first)
    rest(world)
    assert told(witness) == []
    assert [each.user for each in ask(world).members] == [None, "ann"]
    go(second)
    rest(world)
    assert told(witness) == [("left", second.session.id, 1)]


def test_a_user_who_changes_sessions_within_a_turn_is_not_told() -> None:
    world = World(ROOMS_OF_USERS)
    witness, ann = come(world), come(world, "ann")
    rest(world)
    witness.read()
    go(ann)
    come(world, "ann")
    rest(world)
    assert told(witness) == []


def test_by_session_each_session_of_a_user_joins_and_leaves(world: World) -> None:
    witness = come(world)
    rest(world)
    witness.read()
    first, second = come(world, "ann"), come(world, "ann")
    rest(world)
    assert [each[2] for each in told(witness)] == [3, 3]
    go(first)
    rest(world)
    assert told(witness) == [("left", first.session.id, 2)]
    go(second)


# --- those who stall ----------------------------------------------------------------------------


def test_a_paused_session_is_told_nothing_but_the_count_when_it_goes_on(world: World) -> None:
    stalled = come(world, capacity_bytes=1000)
    rest(world)
    stalled.read()
    stalled.write(b" " * 1001)
    for _ in range(5):
        come(world)
        rest(world)
    assert len(stalled.unread) == 1001
    stalled.unread = b""
    stalled.read()
    assert told(stalled) == [("presence", None, 6)]
    come(world)
    rest(world)
    assert [each[2] for each in told(stalled)] == [7]


def test_the_count_told_to_a_session_that_goes_on_is_taken_back_when_it_was_not_to_last(
    world: World,
) -> None:
    stalled = come(world, capacity_bytes=1000)
    rest(world)
    stalled.read()
    stalled.write(b" " * 1001)
    come(world)
    world.settle()
    carl = come(world)
    stalled.unread = b""
    world.hub.resume(stalled.session)
    go(carl)
    rest(world)
    world.settle()
    assert [each[2] for each in told(stalled)] == [3, 2]


def test_a_session_that_missed_nothing_is_told_nothing_when_it_goes_on(world: World) -> None:
    stalled = come(world, capacity_bytes=1000)
    rest(world)
    stalled.read()
    stalled.write(b" " * 1001)
    stalled.unread = b""
    world.hub.resume(stalled.session)
    rest(world)
    assert stalled.read() == []


def test_what_was_missed_of_a_channel_that_was_left_is_not_told(world: World) -> None:
    stalled = come(world, capacity_bytes=1000)
    rest(world)
    stalled.read()
    stalled.write(b" " * 1001)
    come(world)
    rest(world)
    world.hub.unsubscribe(stalled.session, "a")
    stalled.unread = b""
    stalled.read()
    assert stalled.read() == []


def test_a_session_that_vanishes_while_paused_is_forgotten(world: World) -> None:
    witness, stalled = come(world), come(world, capacity_bytes=1000)
    rest(world)
    witness.read()
    stalled.write(b" " * 1001)
    come(world)
    rest(world)
    go(stalled)
    rest(world)
    assert told(witness)[-1] == ("left", stalled.session.id, 2)
    stalled.unread = b""
    world.hub.resume(stalled.session)
    assert stalled.unread == b""


# --- those who ask ------------------------------------------------------------------------------


def test_whoever_was_met_in_an_answer_and_leaves_before_it_is_told_is_told_to_have_left(
    world: World,
) -> None:
    ann = come(world)
    world.settle()
    ann.read()
    bob = come(world)
    assert bob.session.id in {each.session for each in ask(world).members}
    go(bob)
    rest(world)
    world.settle()
    assert told(ann) == [("left", bob.session.id, 1)]


def test_a_cursor_of_a_user_is_refused_where_members_are_sessions(world: World) -> None:
    come(world, "ann")
    with pytest.raises(MessageError, match="invalid cursor: it holds a user"):
        ask(world, cursor=encode_member_cursor(("ann", "")))


@pytest.mark.parametrize("mode", ["session", "user"])
def test_pages_of_more_members_than_are_sorted_anew_are_the_same(mode: Any) -> None:
    world = World(ChannelsConfig(presence=mode))
    everybody = [come(world, f"u{number // 2}") for number in range(SORTED_COUNT)]
    cursor = ask(world, limit=10).cursor
    before = ask(world, limit=1000, cursor=cursor)
    everybody += [come(world, "~") for _ in range(2)]
    after = ask(world, limit=1000, cursor=cursor)
    newcomers = {each.session.id for each in everybody[-2:]}
    assert [each for each in after.members if each.session not in newcomers] == before.members
    assert ask(world).count == (SORTED_COUNT + 2 if mode == "session" else SORTED_COUNT // 2 + 1)
    for each in everybody:
        go(each)
    assert ask(world).count == 0


def test_of_a_channel_that_everybody_left_nothing_is_kept(world: World) -> None:
    for each in [come(world), come(world)]:
        go(each)
    rest(world)
    world.settle()
    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, News | Roster)] == []


def test_two_encodings_are_told_the_same(world: World) -> None:
    ann = come(world)
    other = ScriptedTransport(world.hub, encode_more_lines)
    world.subscribe(other, "a")
    world.settle()
    assert told(ann) == told(other) != []
