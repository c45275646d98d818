"""What publishers may ask of the broker in memory: batches, idempotency keys, expected offsets."""

import pytest

from gateway.broker import Draft
from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig, PrefixConfig
from protocol.codes import ErrorCode
from protocol.errors import MessageError, OffsetConflict
from protocol.publication import Data

FORGET_AFTER_S = 50.0
WINDOW_S = 100.0


class Bench:
    """A broker on a clock that only the test moves, and what it has delivered."""

    def __init__(self, **bounds):
        self.now = 1_000_000.0
        usual = {
            "history_age_s": FORGET_AFTER_S,
            "forget_after_s": FORGET_AFTER_S,
            "idempotency_window_s": WINDOW_S,
        }
        self.broker = MemoryBroker(ChannelsConfig(**(usual | bounds)), clock=lambda: self.now)
        self.delivered = []

    async def start(self):
        await self.broker.start(lambda stream: self.delivered.append((stream.name, stream.last)))
        return self

    def publish(self, channel, *drafts):
        """Return the offsets of drafts: texts, each with an idempotency key of itself, or Draft."""
        made = [
            Draft(Data(b"1"), idempotency_key=each) if isinstance(each, str) else each
            for each in drafts
        ]
        return [place.offset for place in self.broker.publish(channel, made).result()]

    def place(self, key):
        """Return the place of a publication with this idempotency key in channel a."""
        return self.broker.publish("a", [Draft(Data(b"1"), idempotency_key=key)]).result()[0]

    def refuse(self, channel, *drafts):
        with pytest.raises(MessageError) as caught:
            self.publish(channel, *drafts)
        return caught.value

    def expecting(self, offset):
        return Draft(Data(b"1"), expected_offset=offset)

    def count(self, channel):
        """Return how many publications channel retains."""
        reading = self.broker.history(channel, None, limit=99, max_bytes=9999, is_reverse=False)
        return len(reading.result().publications)

    def pass_time(self, seconds):
        """Let time pass, with the broker's chores every second."""
        for _ in range(int(seconds)):
            self.now += 1
            self.broker.forget_unused()


@pytest.fixture
async def bench():
    return await Bench().start()


async def test_a_batch_is_appended_and_delivered_as_a_whole(bench):
    bench.broker.follow("a").result()
    assert bench.publish("a", "x", "y", "z") == [1, 2, 3]
    assert bench.delivered == [("a", 3)]
    assert bench.broker.publication_count == 3


async def test_a_repeat_is_neither_kept_nor_delivered_nor_counted(bench):
    bench.broker.follow("a").result()
    assert bench.publish("a", "x") == [1]
    assert bench.publish("a", "x", "x") == [1, 1]
    assert bench.delivered == [("a", 1)]
    assert (bench.count("a"), bench.broker.publication_count) == (1, 1)


async def test_each_channel_remembers_keys_of_its_own(bench):
    assert bench.publish("a", "x", "y") == [1, 2]
    assert bench.publish("b", "y", "x") == [1, 2]


async def test_a_conflict_tells_the_end_of_the_channel_and_changes_nothing(bench):
    bench.broker.follow("a").result()
    (place,) = bench.broker.publish("a", [Draft(Data(b"1"))]).result()
    error = bench.refuse("a", "x", bench.expecting(1))
    assert isinstance(error, OffsetConflict)
    assert (error.epoch, error.offset) == (place.epoch, 1)
    assert (bench.delivered, bench.count("a")) == ([("a", 1)], 1)
    assert bench.broker.publication_count == 1
    assert bench.publish("a", bench.expecting(1), "x") == [2, 3]


async def test_an_expected_offset_of_0_opens_a_channel_once(bench):
    assert bench.publish("a", bench.expecting(0)) == [1]
    assert bench.refuse("a", bench.expecting(0)).code == ErrorCode.OFFSET_CONFLICT


async def test_an_overfull_log_refuses_a_batch_as_a_whole_but_answers_a_repeat():
    bench = await Bench(history_count=0, lag_count=0).start()
    stream = bench.broker.follow("a").result()
    bench.publish("a", "first")
    while not stream.is_overfull:
        bench.publish("a", Draft(Data(b"1")))
    end = stream.last
    assert bench.refuse("a", "x", "y").code == ErrorCode.OVERLOADED
    assert stream.last == end
    assert bench.publish("a", "first") == [1]
    stream.delivered = end
    stream.trim()
    assert bench.publish("a", "x", "y") == [end + 1, end + 2]


async def test_a_channel_is_not_forgotten_while_it_remembers_a_key(bench):
    first = bench.place("x")
    bench.pass_time(WINDOW_S - 1)
    assert bench.place("x") == first
    bench.pass_time(1)
    again = bench.place("x")
    assert again != first
    bench.pass_time(WINDOW_S + FORGET_AFTER_S)
    assert bench.broker.channel_count == 0
    assert bench.place("x").epoch not in (first.epoch, again.epoch)


async def test_keys_take_memory_of_the_logs_until_they_expire():
    bench = await Bench(history_count=0, max_log_bytes=1000).start()
    bench.publish("a", *"wxyz")
    assert bench.broker.log_bytes > 1000
    assert bench.refuse("b", Draft(Data(b"1"))).code == ErrorCode.OVERLOADED
    bench.pass_time(WINDOW_S + 1)
    assert bench.broker.log_bytes == 0
    assert bench.publish("b", Draft(Data(b"1"))) == [1]


async def test_the_bounds_of_keys_are_the_channels():
    prefix = PrefixConfig(prefix="b", max_idempotency_keys=1)
    bench = await Bench(prefixes=(prefix,)).start()
    bench.publish("a", "x", "y")
    bench.publish("b", "x")
    assert bench.refuse("b", "y").code == ErrorCode.OVERLOADED


async def test_a_broker_that_was_stopped_remembers_no_keys(bench):
    bench.publish("a", "x")
    await bench.broker.stop()
    await bench.start()
    bench.publish("a", Draft(Data(b"1")))
    assert bench.publish("a", "x") == [2]
