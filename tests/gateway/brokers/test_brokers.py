"""What every broker does, asked of each: order, places, followers, keys, history, bounds."""

import asyncio

import pytest

from gateway.broker import Draft
from gateway.brokers.durable import DurableBroker
from gateway.brokers.memory import MemoryBroker
from gateway.config import BrokerConfig, ChannelsConfig
from gateway.stream import Missing
from protocol.codes import ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError, OffsetConflict
from protocol.publication import Data

AGE_S = 100.0


class Bench:
    """A broker on a clock that only the test moves, and what it has delivered."""

    def __init__(self, kind, folder, **bounds):
        self.now = 1_000_000.0
        channels = ChannelsConfig(**({"history_age_s": AGE_S} | bounds))
        if kind == "memory":
            self.broker = MemoryBroker(channels, clock=self.clock)
        else:
            config = BrokerConfig(data=str(folder), fsync=kind)
            self.broker = DurableBroker(channels, config, clock=self.clock)
        self.delivered = []

    def clock(self):
        return self.now

    def deliver(self, stream):
        self.delivered.append((stream.name, stream.last))

    async def publish(self, channel, *drafts):
        """Return the offsets of drafts: texts, or Draft."""
        made = [each if isinstance(each, Draft) else draft(each) for each in drafts]
        return [place.offset for place in await self.broker.publish(channel, made)]

    async def page(self, channel, position=None, *, limit=99, is_reverse=False):
        return await self.broker.history(
            channel, position, limit=limit, max_bytes=9999, is_reverse=is_reverse
        )

    async def texts(self, channel):
        page = await self.page(channel)
        return "".join(each.data.json.decode() for each in page.publications)

    async def refuse(self, channel, *drafts):
        with pytest.raises(MessageError) as caught:
            await self.publish(channel, *drafts)
        return caught.value


def draft(text="1", **fields):
    return Draft(Data(text.encode()), **fields)


@pytest.fixture(params=["memory", "interval", "always"])
async def make(request, tmp_path):
    benches = []

    async def start(**bounds):
        bench = Bench(request.param, tmp_path / str(len(benches)), **bounds)
        benches.append(bench)
        await bench.broker.start(bench.deliver)
        return bench

    yield start
    for bench in benches:
        await bench.broker.stop()


async def test_publications_are_numbered_from_one_in_each_channel(make):
    bench = await make()
    assert await bench.publish("a", "1", "2") == [1, 2]
    assert await bench.publish("b", "3") == [1]
    assert await bench.publish("a", "4") == [3]
    assert (await bench.texts("a"), await bench.texts("b")) == ("124", "3")
    assert (bench.broker.publication_count, bench.broker.channel_count) == (4, 2)


async def test_the_order_is_that_of_the_calls_also_before_the_channel_is_known(make):
    bench = await make()
    publishing = [bench.broker.publish("a", [draft(str(n))]) for n in range(10)]
    reading = bench.broker.history("a", None, limit=99, max_bytes=9999, is_reverse=False)
    places = [(await each)[0].offset for each in publishing]
    assert places == [*range(1, 11)]
    assert len((await reading).publications) <= 10
    assert await bench.texts("a") == "0123456789"


async def test_all_of_a_publication_is_kept(make):
    bench = await make()
    await bench.publish("a", draft("1", key="k", tags={"t": "u"}, unechoed="s"))
    (publication,) = (await bench.page("a")).publications
    assert (publication.data, publication.time) == (Data(b"1"), bench.now)
    assert (publication.key, publication.tags, publication.unechoed) == ("k", {"t": "u"}, "s")


async def test_only_followed_channels_are_delivered_in_order_and_when_they_have_grown(make):
    bench = await make()
    await bench.publish("a", "1")
    stream = await bench.broker.follow("a")
    assert (stream.last, stream.delivered) == (1, 1)
    assert await bench.broker.follow("a") is stream
    await bench.broker.follow("b")
    await bench.publish("a", "2", "3")
    assert stream.last == 3
    await bench.publish("b", "4")
    await bench.publish("c", "5")
    bench.broker.unfollow("a")
    await bench.publish("a", "6")
    assert bench.delivered == [("a", 3), ("b", 1)]


async def test_a_follow_that_is_taken_back_at_once_leaves_nothing_followed(make):
    bench = await make()
    following = bench.broker.follow("a")
    bench.broker.unfollow("a")
    await following
    await bench.publish("a", "1")
    assert bench.delivered == []
    bench.broker.unfollow("nobody knows it")


async def test_a_conflict_or_a_refusal_keeps_a_whole_batch_out(make):
    bench = await make(max_idempotency_keys=1)
    place = (await bench.broker.publish("a", [draft()]))[0]
    error = await bench.refuse("a", draft("2"), draft("3", expected_offset=1))
    assert isinstance(error, OffsetConflict)
    assert (error.epoch, error.offset) == place
    keys = [draft(each, idempotency_key=each) for each in "45"]
    assert (await bench.refuse("a", *keys)).code == ErrorCode.OVERLOADED
    assert await bench.texts("a") == "1"
    assert await bench.publish("a", draft("6", expected_offset=1), "7") == [2, 3]


async def test_expected_offsets_count_what_was_published_before_them_and_is_not_done_yet(make):
    bench = await make()
    publishing = [bench.broker.publish("a", [draft(expected_offset=n)]) for n in (0, 1, 1, 2)]
    outcomes = await asyncio.gather(*publishing, return_exceptions=True)
    assert [type(each) for each in outcomes] == [list, list, OffsetConflict, list]


async def test_a_repeat_has_the_place_of_the_first_for_the_window(make):
    bench = await make(idempotency_window_s=10)
    key = draft("1", idempotency_key="k")
    together = [bench.broker.publish("a", [key]) for _ in range(3)]
    assert len({(await each)[0] for each in together}) == 1
    assert await bench.publish("a", "2", key, "3") == [2, 1, 3]
    assert await bench.publish("a", key) == [1]
    bench.now += 10
    assert await bench.publish("a", key) == [4]
    assert await bench.texts("a") == "1231"


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"history_count": 3}, "456"),
        ({"history_count": 0}, ""),
        ({"history_bytes": 2}, "56"),
        ({"history_age_s": 2.5}, "56"),
        ({}, "123456"),
    ],
)
async def test_the_newest_within_the_bounds_are_kept(make, bounds, kept):
    bench = await make(**bounds)
    for text in "123456":
        await bench.publish("a", text)
        bench.now += 1
    assert await bench.texts("a") == kept
    assert (await bench.page("a")).position.offset == 6


async def test_pages_go_both_ways_and_tell_what_is_missing(make):
    bench = await make(history_count=4)
    epoch = (await bench.broker.publish("a", [draft(each) for each in "123456"]))[0].epoch
    page = await bench.page("a", Position(epoch, 1), limit=2)
    assert [each.offset for each in page.publications] == [3, 4]
    assert page.missing == Missing(2, 2, "expired")
    page = await bench.page("a", Position(epoch, 4), is_reverse=True)
    assert [each.offset for each in page.publications] == [4, 3]
    page = await bench.page("a", Position("another", 5))
    assert page.missing == Missing(1, 2, "epoch")


async def test_reading_makes_no_channel_but_tells_where_it_will_begin(make):
    bench = await make()
    start = (await bench.page("a")).position
    assert bench.broker.channel_count == 0
    await bench.publish("a", "1", "2")
    page = await bench.page("a", start)
    assert ([each.offset for each in page.publications], page.missing) == ([1, 2], None)


async def test_one_channel_too_many_is_refused_and_the_others_go_on(make):
    bench = await make(max_channels=2)
    await bench.publish("a", "1")
    await bench.broker.follow("b")
    assert (await bench.refuse("c", "2")).code == ErrorCode.OVERLOADED
    with pytest.raises(MessageError):
        await bench.broker.follow("c")
    assert await bench.publish("b", "3") == [1]


async def test_logs_that_take_too_much_together_refuse_more_until_something_expires(make):
    bench = await make(max_log_bytes=256)
    await bench.publish("a", "1", "2")
    assert (await bench.refuse("b", "3")).code == ErrorCode.OVERLOADED
    bench.now += AGE_S + 1
    while bench.broker.forget_unused():
        pass
    assert await bench.publish("b", "3") == [1]


async def test_time_and_metrics_go_on_whatever_is_unused(make):
    bench = await make(forget_after_s=10)
    await bench.publish("a", "1")
    for _ in range(int(AGE_S) + 20):
        bench.now += 1
        while bench.broker.forget_unused():
            pass
    assert (bench.broker.channel_count, bench.broker.log_bytes) == (0, 0)
    names = {each.name for each in bench.broker.metrics}
    assert {"gateway_publications_total", "gateway_channels", "gateway_log_bytes"} <= names
