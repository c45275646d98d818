"""What the broker in memory holds, for how long, and what it is told to hold no longer."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.broker import Draft
from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig, PrefixConfig
from gateway.stream import PUBLICATION_BYTES, TAG_BYTES, Missing
from protocol.codes import ErrorCode
from protocol.errors import MessageError, OffsetConflict
from protocol.publication import Data

AGE_S = 10.0
FORGET_AFTER_S = 100.0


class Bench:
    """A broker on a clock that only the test moves."""

    def __init__(self, **bounds):
        self.now = 1_000_000.0
        usual = {"history_age_s": AGE_S, "forget_after_s": FORGET_AFTER_S}
        self.broker = MemoryBroker(ChannelsConfig(**(usual | bounds)), clock=lambda: self.now)

    async def start(self):
        await self.broker.start(lambda stream: None)
        return self

    def publish(self, channel="a", json=b"1", **labels):
        return self.broker.publish(channel, [Draft(Data(json), **labels)]).result()[0]

    def follow(self, channel="a"):
        return self.broker.follow(channel).result()

    def read(self, channel="a", position=None):
        """Return the offsets of what channel retains, where that ends, and what is missing."""
        reading = self.broker.history(channel, position, limit=99, max_bytes=999, is_reverse=False)
        page = reading.result()
        return [each.offset for each in page.publications], page.position, page.missing

    def pass_time(self, seconds):
        """Let time pass at once, then have the chores of a turn done until there are none."""
        self.now += seconds
        while self.broker.forget_unused():
            pass


@pytest.fixture
async def bench():
    return await Bench().start()


def refuse(bench, channel="a", json=b"1"):
    """Return why a publication is refused."""
    with pytest.raises(MessageError) as caught:
        bench.publish(channel, json)
    return caught.value


# --- channels that nobody made ------------------------------------------------------------------


async def test_reading_a_channel_that_does_not_exist_makes_none(bench):
    for number in range(1000):
        assert bench.read(f"room {number}")[0] == []
    assert bench.broker.channel_count == 0


async def test_what_comes_after_reading_a_channel_that_did_not_exist_is_read_without_a_gap(bench):
    _, position, _ = bench.read()
    place = bench.publish("a")
    bench.publish("b")
    assert bench.read("a", position) == ([1], place, None)


async def test_a_lifetime_that_passed_since_reading_a_channel_that_did_not_exist_is_a_gap(bench):
    _, position, _ = bench.read()
    bench.publish()
    bench.pass_time(2 * FORGET_AFTER_S)
    bench.publish()
    assert bench.read("a", position)[2] == Missing(1, 0, "epoch")


async def test_a_channel_that_was_only_followed_is_forgotten_with_its_follower(bench):
    stream = bench.follow()
    bench.broker.unfollow("a")
    assert bench.broker.channel_count == 0
    assert bench.follow().end == stream.end


async def test_a_refused_publication_makes_no_channel(bench):
    with pytest.raises(OffsetConflict):
        bench.publish(expected_offset=1)
    assert bench.broker.channel_count == 0


async def test_channels_that_did_not_exist_do_not_count_against_their_bound():
    bench = await Bench(max_channels=1).start()
    bench.publish("a")
    assert bench.read("b")[0] == []
    with pytest.raises(MessageError, match="holds 1 channels"):
        bench.publish("b")


# --- expiry without anybody looking -------------------------------------------------------------


@pytest.mark.parametrize("is_followed", [False, True])
async def test_what_expires_is_dropped_although_nobody_touches_its_channel(bench, is_followed):
    if is_followed:
        stream = bench.follow()
    bench.publish()
    if is_followed:
        stream.delivered = 1
    bench.pass_time(AGE_S - 1)
    assert bench.broker.log_bytes > 0
    bench.pass_time(1)
    assert bench.broker.log_bytes == 0
    assert bench.broker.channel_count == 1


async def test_each_publication_expires_at_its_own_age(bench):
    for _ in range(5):
        bench.publish()
        bench.pass_time(2)
    sizes = []
    for _ in range(5):
        sizes.append(bench.broker.log_bytes // PUBLICATION_BYTES)
        bench.pass_time(2)
    assert sizes == [4, 3, 2, 1, 0]


async def test_a_publication_into_an_unused_channel_does_not_wait_for_its_forgetting(bench):
    bench.publish()
    bench.pass_time(AGE_S)
    bench.publish()
    bench.pass_time(AGE_S)
    assert bench.broker.log_bytes == 0


async def test_a_followed_channel_that_retains_nothing_is_not_looked_at(bench):
    stream = bench.follow()
    bench.publish()
    stream.delivered = 1
    bench.pass_time(AGE_S)
    assert stream.due_s is None
    bench.pass_time(1000 * FORGET_AFTER_S)
    assert bench.publish().offset == 2


async def test_what_somebody_lagged_behind_is_dropped_soon_after_nobody_does():
    bench = await Bench(history_count=0, lag_age_s=1000).start()
    stream = bench.follow()
    stream.lagging_count = 1
    bench.publish()
    stream.delivered = 1
    bench.pass_time(5 * AGE_S)
    assert bench.broker.log_bytes > 0
    stream.lagging_count = 0
    bench.pass_time(1)
    assert bench.broker.log_bytes == 0


async def test_a_clock_that_jumps_a_day_expires_everything_a_hundred_streams_at_a_time(bench):
    for number in range(250):
        bench.publish(str(number))
        bench.now += 1
    bench.now += 86_400
    calls = 1
    while bench.broker.forget_unused():
        calls += 1
    assert (bench.broker.channel_count, bench.broker.log_bytes) == (0, 0)
    assert calls == 3


# --- the memory of all logs ---------------------------------------------------------------------


async def test_all_logs_together_are_measured_with_what_holds_their_publications(bench):
    bench.publish("a", b"12345")
    bench.publish("b", b"1", key="ab", tags={"x": "y", "z": ""})
    assert bench.broker.log_bytes == 2 * PUBLICATION_BYTES + 5 + 1 + 2 + 3 + 2 * TAG_BYTES


async def test_beyond_the_bound_of_all_logs_publications_are_refused_and_nothing_is_dropped(caplog):
    bench = await Bench(max_log_bytes=2 * PUBLICATION_BYTES).start()
    bench.publish("a")
    bench.publish("b")
    with caplog.at_level(logging.WARNING, logger="gateway.broker"):
        error = refuse(bench, "news")
    assert error.code == ErrorCode.OVERLOADED
    assert "channel 'news'" in error.message
    assert "400 bytes" in error.message
    (record,) = caplog.records
    assert record.getMessage() == "publications are refused: all logs together hold 400 bytes"
    assert bench.read("a")[0] == bench.read("b")[0] == [1]
    assert bench.broker.channel_count == 2


async def test_publishing_goes_on_when_logs_have_expired():
    bench = Bench(max_log_bytes=256, prefixes=(PrefixConfig(prefix="k", history_age_s=99),))
    bench = await bench.start()
    bench.publish("keep")
    bench.publish("a")
    refuse(bench)
    bench.pass_time(AGE_S)
    assert bench.publish().offset == 2


async def test_a_repeat_is_answered_although_the_logs_are_full():
    bench = await Bench(max_log_bytes=256).start()
    bench.publish("b")
    place = bench.publish(idempotency_key="k")
    refuse(bench)
    assert bench.publish(idempotency_key="k") == place


ACTIONS = st.lists(
    st.tuples(st.just("publish"), st.sampled_from("abc"), st.integers(0, 30))
    | st.tuples(
        st.sampled_from(["follow", "unfollow", "deliver"]), st.sampled_from("abc"), st.just(0)
    )
    | st.tuples(st.just("wait"), st.just(""), st.integers(0, 15)),
    max_size=50,
)


@settings(deadline=None)
@given(ACTIONS, st.integers(0, 3), st.integers(0, 60))
async def test_what_is_measured_is_always_what_is_kept(actions, count, size):
    bench = await Bench(history_count=count, history_bytes=size).start()
    streams = {}
    for action, channel, number in actions:
        if action == "publish":
            bench.publish(channel, b'"%b"' % (b"x" * number), tags={"t": ""} if number else None)
        elif action == "follow":
            streams[channel] = bench.follow(channel)
        elif action == "unfollow":
            bench.broker.unfollow(channel)
            streams.pop(channel, None)
        elif action == "deliver" and channel in streams:
            streams[channel].delivered = streams[channel].last
        elif action == "wait":
            bench.pass_time(number)
        kept = 0
        for name in "abc":
            page = bench.broker.history(name, None, limit=99, max_bytes=9999, is_reverse=False)
            for each in page.result().publications:
                kept += each.size_bytes + PUBLICATION_BYTES + TAG_BYTES * len(each.tags or ())
        assert bench.broker.log_bytes == kept
    for name in "abc":
        bench.broker.unfollow(name)
    bench.pass_time(AGE_S)
    assert bench.broker.log_bytes == 0
    bench.pass_time(FORGET_AFTER_S)
    assert bench.broker.channel_count == 0
