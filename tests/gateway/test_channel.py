"""One channel: where each subscription is, what it has been given, and that nobody is lost."""

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.channel import Channel
from gateway.config import ChannelsConfig
from gateway.session import Encode, Positions, Session, Subscription
from gateway.stream import Stream
from protocol.cursor import Position
from protocol.messages import Push
from protocol.publication import Data, Publication

ROOMY = 1 << 20


def encode_offsets(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Stands for one encoding: the offsets of a batch."""
    return json.dumps([each.offset for each in publications]).encode()


def encode_offsets_too(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Stands for another encoding of the same."""
    return encode_offsets(stream, publications, _)


class ScriptedTransport:
    """Keeps what it is given; each write first does what the test wants to happen meanwhile."""

    encode_push = None

    def __init__(self) -> None:
        self.given: list[int] = []
        self.write_count = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def write(self, data: bytes) -> None:
        self.write_count += 1
        self.given += json.loads(data)
        self.meanwhile()

    def push(self, push: Push, positions: Positions) -> None:
        raise AssertionError("a channel pushes nothing")

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        raise AssertionError("a channel ends nobody")


class Member:
    """A subscription of a session of its own."""

    def __init__(self, channel: Channel, encode: Encode = encode_offsets) -> None:
        self.channel = channel
        self.transport = ScriptedTransport()
        self.session = Session(self.transport, encode)
        self.subscription = Subscription(self.session, channel.stream, channel.stream.delivered)
        channel.add_lagging(self.subscription)

    @property
    def places(self) -> list[str]:
        """Where the subscription is."""
        channel = self.channel
        named = [("live", each) for each in channel.live.values()]
        named += [("waiting", batch.waiting) for batch in channel.batches]
        named += [("lagging", channel.lagging)]
        return [name for name, subscriptions in named if self.subscription in subscriptions]


@pytest.fixture
def channel() -> Channel:
    stream = Stream("a", "epoch", ChannelsConfig(), clock=lambda: 0.0)
    stream.delivered = 0
    return Channel(stream)


def publish(channel: Channel, count: int = 1) -> None:
    for _ in range(count):
        stream = channel.stream
        stream.append(Publication(stream.last + 1, Data(b"1"), 0.0))


def join(channel: Channel, count: int, encode: Encode = encode_offsets) -> list[Member]:
    """Return live members."""
    members = [Member(channel, encode) for _ in range(count)]
    for member in members:
        channel.go_live(member.subscription)
    return members


def begin_flush(channel: Channel, max_bytes: int = ROOMY) -> int:
    channel.begin_flush(max_bytes=max_bytes)
    return len(channel.slice)


def write(channel: Channel, budget: int) -> int:
    return channel.write_batches(lambda name: Position("epoch", 0), budget)


def flush(channel: Channel) -> None:
    begin_flush(channel)
    write(channel, ROOMY)


def test_a_new_channel_is_empty(channel: Channel) -> None:
    assert channel.is_empty
    assert (channel.subscriber_count, list(channel)) == (0, [])


def test_a_subscription_lags_until_it_goes_live_and_again_when_it_falls_behind(channel) -> None:
    member = Member(channel)
    assert (member.places, channel.stream.lagging_count) == (["lagging"], 1)
    channel.go_live(member.subscription)
    assert (member.places, channel.stream.lagging_count) == (["live"], 0)
    channel.fall_behind(member.subscription)
    assert (member.places, channel.stream.lagging_count) == (["lagging"], 1)


def test_members_are_counted_and_listed_wherever_they_are(channel: Channel) -> None:
    members = [*join(channel, 3), *join(channel, 3, encode_offsets_too), Member(channel)]
    publish(channel)
    begin_flush(channel)
    write(channel, 2)
    assert sorted(each.places[0] for each in members) == 1 * ["lagging"] + 2 * ["live"] + 4 * [
        "waiting"
    ]
    assert channel.subscriber_count == 7
    assert sorted(map(id, channel)) == sorted(id(each.subscription) for each in members)


def test_a_channel_whose_only_members_wait_in_a_flush_is_not_empty(channel: Channel) -> None:
    (member,) = join(channel, 1)
    publish(channel)
    begin_flush(channel)
    assert channel.live == {}
    assert (member.places, channel.is_empty, channel.subscriber_count) == (["waiting"], False, 1)
    channel.remove(member.subscription)
    assert (channel.is_empty, channel.subscriber_count) == (True, 0)
    assert write(channel, ROOMY) == 0
    assert (channel.batches, channel.live) == ([], {})


def test_the_position_of_a_live_member_moves_with_the_stream(channel: Channel) -> None:
    (member,) = join(channel, 1)
    publish(channel, 2)
    assert member.subscription.position == ("epoch", 0)
    flush(channel)
    assert member.subscription.position == ("epoch", 2)
    assert member.transport.given == [1, 2]


def test_the_position_of_a_lagging_member_stays_where_it_fell_behind(channel: Channel) -> None:
    member, witness = join(channel, 2)
    publish(channel, 2)
    flush(channel)
    channel.fall_behind(member.subscription)
    publish(channel, 3)
    flush(channel)
    assert member.subscription.position == ("epoch", 2)
    assert member.transport.given == [1, 2]
    assert witness.transport.given == [1, 2, 3, 4, 5]


def test_who_falls_behind_while_waiting_stands_before_the_batch(channel: Channel) -> None:
    members = join(channel, 2)
    publish(channel, 2)
    flush(channel)
    publish(channel, 3)
    begin_flush(channel)
    write(channel, 1)
    (waiting,) = [each for each in members if each.places == ["waiting"]]
    (served,) = [each for each in members if each.places == ["live"]]
    for member in members:
        channel.fall_behind(member.subscription)
    assert waiting.subscription.position == ("epoch", 2)
    assert served.subscription.position == ("epoch", 5)


def test_who_goes_live_in_the_middle_of_a_flush_is_not_given_its_batch(channel: Channel) -> None:
    members = join(channel, 2)
    publish(channel)
    begin_flush(channel)
    write(channel, 1)
    late = Member(channel)
    channel.go_live(late.subscription)
    write(channel, ROOMY)
    publish(channel)
    flush(channel)
    assert late.transport.given == [2]
    assert [each.transport.given for each in members] == [[1, 2], [1, 2]]


def test_a_flush_takes_as_many_publications_as_fit_and_at_least_one(channel: Channel) -> None:
    (member,) = join(channel, 1)
    publish(channel, 5)
    lengths = []
    while channel.stream.delivered < channel.stream.last:
        lengths.append(begin_flush(channel, max_bytes=2))
        write(channel, ROOMY)
    assert lengths == [2, 2, 1]
    assert member.transport.given == [1, 2, 3, 4, 5]
    assert member.transport.write_count == 3


def test_a_flush_writes_to_no_more_than_its_budget_and_goes_on_where_it_was(channel) -> None:
    members = [*join(channel, 4), *join(channel, 3, encode_offsets_too)]
    publish(channel)
    begin_flush(channel)
    assert [write(channel, 3) for _ in range(4)] == [3, 3, 1, 0]
    assert [each.transport.given for each in members] == [[1]] * 7


def test_a_write_may_take_its_own_and_other_subscriptions_out(channel: Channel) -> None:
    members = join(channel, 4)
    full, leaving = members[:2]

    def fill_up() -> None:
        if full.subscription.is_live:
            channel.fall_behind(full.subscription)

    def leave() -> None:
        if leaving.places:
            channel.remove(leaving.subscription)

    for member in members:
        member.transport.meanwhile = fill_up
    leaving.transport.meanwhile = leave
    publish(channel)
    flush(channel)
    assert (full.places, leaving.places) == (["lagging"], [])
    assert full.transport.given == [1][: full.subscription.offset]
    assert [each.places for each in members[2:]] == [["live"], ["live"]]


def test_who_is_written_to_after_the_only_live_one_fell_behind_is_not_lost(channel) -> None:
    members = join(channel, 3)

    def fall_behind_first() -> None:
        if sum(each.transport.write_count for each in members) == 1:
            (first,) = [each for each in members if each.transport.write_count]
            channel.fall_behind(first.subscription)

    for member in members:
        member.transport.meanwhile = fall_behind_first
    publish(channel)
    flush(channel)
    assert sorted(each.places for each in members) == [["lagging"], ["live"], ["live"]]


def test_who_was_not_written_to_because_a_write_broke_still_waits(channel: Channel) -> None:
    members = join(channel, 5)

    def break_second() -> None:
        if sum(each.transport.write_count for each in members) == 2:
            raise ValueError

    for member in members:
        member.transport.meanwhile = break_second
    publish(channel)
    begin_flush(channel)
    with pytest.raises(ValueError):  # noqa: PT011 - the bare one that was raised above
        write(channel, 4)
    places = sorted((each.transport.write_count, *each.places) for each in members)
    assert places == 3 * [(0, "waiting")] + 2 * [(1, "live")]
    write(channel, ROOMY)
    assert [each.transport.write_count for each in members] == [1] * 5


def test_an_encoding_nobody_uses_any_more_is_forgotten(channel: Channel) -> None:
    (member,) = join(channel, 1)
    (other,) = join(channel, 1, encode_offsets_too)
    channel.remove(member.subscription)
    assert list(channel.live) == [encode_offsets_too]
    channel.fall_behind(other.subscription)
    assert channel.live == {}


def test_who_comes_and_goes_in_the_middle_of_a_flush_leaves_no_encoding_behind(channel) -> None:
    join(channel, 2)
    publish(channel)
    begin_flush(channel)
    write(channel, 1)
    (passing,) = join(channel, 1, encode_offsets_too)
    channel.remove(passing.subscription)
    write(channel, ROOMY)
    assert list(channel.live) == [encode_offsets]


def test_a_subscription_that_is_not_there_cannot_fall_behind(channel: Channel) -> None:
    stranger = Member(channel)
    channel.remove(stranger.subscription)
    with pytest.raises(KeyError):
        channel.fall_behind(stranger.subscription)
    assert channel.is_empty


class Moves(RuleBasedStateMachine):
    """Whatever happens in whatever order: each member is in one place, and given all, once."""

    def __init__(self) -> None:
        super().__init__()
        stream = Stream("a", "epoch", ChannelsConfig(), clock=lambda: 0.0)
        stream.delivered = 0
        self.channel = Channel(stream)
        self.members: list[Member] = []

    def pick(self, index: int, *places: str) -> Member | None:
        fitting = [each for each in self.members if each.places[0] in places]
        return fitting[index % len(fitting)] if fitting else None

    @rule(encode=st.sampled_from([encode_offsets, encode_offsets_too]))
    def subscribe(self, encode: Encode) -> None:
        member = Member(self.channel, encode)
        member.transport.given = list(range(1, member.subscription.offset + 1))
        self.members.append(member)

    @rule(count=st.integers(1, 3))
    def publish(self, count: int) -> None:
        publish(self.channel, count)

    @rule(max_bytes=st.integers(1, 3))
    def begin_flush(self, max_bytes: int) -> None:
        # Not a precondition: who waits depends on the order of sets, and examples must not.
        if not self.channel.batches:
            begin_flush(self.channel, max_bytes)

    @rule(budget=st.integers(1, 3))
    def write_batches(self, budget: int) -> None:
        assert write(self.channel, budget) <= budget

    @rule(index=st.integers(0, 9))
    def fall_behind(self, index: int) -> None:
        if member := self.pick(index, "live", "waiting"):
            self.channel.fall_behind(member.subscription)

    @rule(index=st.integers(0, 9))
    def catch_up(self, index: int) -> None:
        if member := self.pick(index, "lagging"):
            delivered = self.channel.stream.delivered
            member.transport.given += range(member.subscription.offset + 1, delivered + 1)
            member.subscription.offset = delivered
            self.channel.go_live(member.subscription)

    @rule(index=st.integers(0, 9))
    def remove(self, index: int) -> None:
        if member := self.pick(index, "live", "waiting", "lagging"):
            self.channel.remove(member.subscription)
            assert member.places == []
            self.members.remove(member)

    @invariant()
    def everyone_is_in_one_place(self) -> None:
        assert [len(each.places) for each in self.members] == [1] * len(self.members)
        assert {id(each) for each in self.channel} == {id(m.subscription) for m in self.members}
        assert self.channel.subscriber_count == len(self.members) == len(list(self.channel))
        assert self.channel.is_empty is (not self.members)
        # Who waits in a batch may yet fall behind it.
        lagging_count = len(self.channel.lagging) + len(self.channel.batches)
        assert self.channel.stream.lagging_count == (lagging_count if self.members else 0)

    @invariant()
    def everyone_was_given_everything_up_to_where_it_stands(self) -> None:
        standings = {
            "live": lambda member: self.channel.stream.delivered,
            "waiting": lambda member: self.channel.given_before,
            "lagging": lambda member: member.subscription.offset,
        }
        for member in self.members:
            stands = standings[member.places[0]](member)
            assert member.transport.given == list(range(1, stands + 1))
            assert member.subscription.is_live is (member.places != ["lagging"])

    @invariant()
    def no_encoding_is_kept_for_nobody(self) -> None:
        if not self.channel.batches:
            assert all(self.channel.live.values())


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
