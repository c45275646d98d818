"""Publications that their own session does not want to receive."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.broker import Draft
from gateway.config import ChannelsConfig, HubConfig
from gateway.session import Positions
from gateway.stream import Stream
from protocol.publication import Data, Publication
from tests.gateway.world import ScriptedTransport, World, encode_lines


def publish(world: World, *publishers: ScriptedTransport | None, channel: str = "a") -> None:
    """Publish one publication for each, which that session does not want to receive."""
    drafts = [
        Draft(Data(b'"x"'), unechoed=None if each is None else each.session.id)
        for each in publishers
    ]

    async def publish() -> None:
        await world.broker.publish(channel, drafts)

    world.run(publish())


def join(world: World, count: int, **options: Any) -> list[ScriptedTransport]:
    members = [ScriptedTransport(world.hub, encode_lines, **options) for _ in range(count)]
    for member in members:
        world.subscribe(member, "a")
        member.read()
        member.write_count = 0
    return members


def offsets(reader: ScriptedTransport) -> list[int]:
    pushes = reader.read()
    assert all(push["type"] == "message" for push in pushes), "its own is no gap"
    return [push["offset"] for push in pushes]


@pytest.fixture
def world() -> World:
    return World()


def test_a_publisher_that_wants_no_echo_gets_all_but_its_own_in_the_same_turn(world: World) -> None:
    publisher, other = join(world, 2)
    publish(world, None, publisher, None, publisher)
    world.turn()
    assert offsets(publisher) == [1, 3]
    assert offsets(other) == [1, 2, 3, 4]
    assert (publisher.write_count, other.write_count) == (1, 1)


def test_nothing_is_written_to_a_publisher_for_its_own_alone(world: World) -> None:
    publisher, other = join(world, 2)
    publish(world, publisher)
    world.settle()
    assert (publisher.write_count, offsets(other)) == (0, [1])
    publish(world, None)
    world.settle()
    assert (offsets(publisher), offsets(other)) == ([2], [2])


def test_the_position_of_a_publisher_moves_over_its_own(world: World) -> None:
    (publisher,) = join(world, 1)
    publish(world, None, publisher)
    world.settle()
    assert publisher.session.subscriptions["a"].is_live
    assert publisher.session.position_of("a").offset == 2


def test_a_publisher_that_lags_is_not_given_its_own_later(world: World) -> None:
    publisher, other = join(world, 2)
    for reader in (publisher, other):
        world.hub.pause(reader.session)
    publish(world, None, publisher, None)
    world.settle()
    for reader in (publisher, other):
        world.hub.resume(reader.session)
    world.settle()
    assert (offsets(publisher), offsets(other)) == ([1, 3], [1, 2, 3])


def test_another_session_of_the_same_client_is_given_what_it_missed(world: World) -> None:
    (publisher,) = join(world, 1)
    position = publisher.session.position_of("a")
    publish(world, publisher)
    world.settle()
    world.hub.detach(publisher.session)
    again = ScriptedTransport(world.hub, encode_lines)
    world.subscribe(again, "a", position)
    world.settle()
    assert [push.get("offset") for push in again.read()] == [0, 1]


def test_who_publishes_without_being_subscribed_or_has_left_takes_nothing_from_others(
    world,
) -> None:
    reader, leaver = join(world, 2)
    stranger = ScriptedTransport(world.hub, encode_lines)
    publish(world, stranger, leaver)
    world.hub.detach(leaver.session)
    world.settle()
    assert offsets(reader) == [1, 2]


def test_a_room_of_publishers_without_echo_encodes_each_publication_a_few_times(world) -> None:
    count = 0

    def counting(stream: Stream, publications: Sequence[Publication], at: Positions) -> bytes:
        nonlocal count
        count += len(publications)
        return encode_lines(stream, publications, at)

    members = [ScriptedTransport(world.hub, counting) for _ in range(50)]
    for member in members:
        world.subscribe(member, "a")
        member.read()
    publish(world, *members)
    world.settle()
    for number, member in enumerate(members, start=1):
        assert offsets(member) == [offset for offset in range(1, 51) if offset != number]
    assert count <= 3 * 50


def test_a_channel_without_history_keeps_nothing_for_a_publisher_that_was_left_out() -> None:
    world = World(ChannelsConfig(history_count=0))
    publisher, _ = join(world, 2)
    publish(world, publisher)
    world.settle()
    assert world.hub.channels["a"].stream.is_empty


def test_leaving_out_holds_over_flushes_of_several_turns() -> None:
    world = World(hub=HubConfig(turn_deliveries=2, catch_up_bytes=256))
    members = join(world, 7)
    for _ in range(3):
        publish(world, members[0], None, members[3])
        world.turn()
    world.settle()
    everything = list(range(1, 10))
    told = [offsets(member) for member in members]
    assert told[0] == [each for each in everything if each % 3 != 1]
    assert told[3] == [each for each in everything if each % 3 != 0]
    assert [told[number] for number in (1, 2, 4, 5, 6)] == [everything] * 5
