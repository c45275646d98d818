"""When many come and go at once: how often that is told, and how much of it by name."""

import pytest

from gateway.config import PresenceConfig
from tests.gateway.rooms import REST_S, ROOMS, come, go, rest, told
from tests.gateway.world import World


@pytest.fixture
def world() -> World:
    return World(ROOMS)


def test_the_first_change_is_told_at_once_and_the_next_ones_after_a_rest(world: World) -> None:
    ann = come(world)
    world.settle()
    assert len(told(ann)) == 1
    come(world)
    world.settle()
    come(world)
    world.wait(REST_S * 0.9)
    world.settle()
    assert told(ann) == []
    world.wait(REST_S * 0.2)
    world.settle()
    assert [each[2] for each in told(ann)] == [3, 3]


def test_a_channel_that_has_rested_tells_at_once_again(world: World) -> None:
    ann = come(world)
    rest(world)
    ann.read()
    for count in (2, 3):
        come(world)
        world.settle()
        assert [each[2] for each in told(ann)] == [count]
        world.wait(REST_S)


def test_more_than_can_be_named_are_told_by_their_count() -> None:
    world = World(ROOMS, presence=PresenceConfig(max_names=3))
    ann = come(world)
    rest(world)
    ann.read()
    for _ in range(3):
        come(world)
    rest(world)
    assert [each[0] for each in told(ann)] == ["joined"] * 3
    for _ in range(4):
        come(world)
    rest(world)
    assert ann.read() == [{"type": "presence", "channel": "a", "count": 8}]


def test_names_for_too_many_subscribers_are_told_by_their_count() -> None:
    world = World(ROOMS, presence=PresenceConfig(max_deliveries=10))
    ann = come(world)
    for _ in range(4):
        come(world)
        rest(world)
    assert [each[:1] + each[2:] for each in told(ann)][-1] == ("joined", 5)
    come(world)
    come(world)
    rest(world)
    assert told(ann) == [("presence", None, 7)]


def test_the_more_are_told_the_longer_a_channel_rests() -> None:
    world = World(ROOMS, presence=PresenceConfig(max_deliveries=10))
    ann, *_ = [come(world) for _ in range(40)]
    rest(world)
    assert told(ann) == [("presence", None, 40)]
    come(world)
    world.wait(REST_S * 2.9)
    world.settle()
    assert told(ann) == []
    world.wait(REST_S * 0.2)
    world.settle()
    assert told(ann) == [("presence", None, 41)]


def test_the_bytes_of_an_arrival_of_many_grow_as_they_do() -> None:
    written = {}
    for count in (500, 1000):
        world = World(ROOMS)
        everybody = [come(world) for _ in range(count)]
        for each in everybody:
            each.read()
        for _ in range(8):
            rest(world)
        written[count] = sum(len(each.unread) for each in everybody)
    assert written[1000] < 2.1 * written[500]


def test_telling_many_leaves_the_loop_to_others_in_between() -> None:
    world = World(ROOMS, presence=PresenceConfig(turn_writes=10))
    everybody = [come(world) for _ in range(16)]
    world.settle()
    for each in everybody:
        each.read()
    go(everybody.pop())
    world.wait(REST_S)
    world.turn()
    assert sum(bool(each.unread) for each in everybody) == 10
    gone = next(each for each in everybody if not each.unread)
    world.hub.unsubscribe(gone.session, "a")
    world.settle()
    assert gone.read() == []
    assert all(each.unread for each in everybody if each is not gone)


def test_a_channel_that_begins_anew_amid_the_telling_tells_nothing_of_before() -> None:
    world = World(ROOMS, presence=PresenceConfig(turn_writes=1))
    members = [come(world) for _ in range(3)]
    world.turn()  # one of them is told, two wait
    for member in members:
        world.hub.unsubscribe(member.session, "a")
        member.read()
    for member in members:
        world.subscribe(member, "a")
        world.hub.pause(member.session)
    for _ in members:
        world.turn()
        for member in members:
            world.hub.resume(member.session)
            world.hub.pause(member.session)
    for member in members:
        world.hub.resume(member.session)
    rest(world)
    assert [{each[2] for each in told(member)} for member in members] == [{3}] * 3
