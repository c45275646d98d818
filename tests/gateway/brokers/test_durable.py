"""The durable broker where it differs from others: commits, failures of the disk, restarts."""

import asyncio
import shutil
import threading

import pytest

from gateway.broker import Draft
from gateway.brokers.database import Database
from gateway.brokers.durable import DurableBroker
from gateway.config import BrokerConfig, ChannelsConfig
from gateway.errors import BrokerUnavailable, GatewayError
from gateway.stream import Missing
from protocol.codes import ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError, OffsetConflict
from protocol.publication import Data
from tests.gateway.clients import bounded

FORGET_AFTER_S = 50.0


class SlowDatabase(Database):
    """One whose commits and reads wait until the test lets them go, or fail where it says so."""

    gate: threading.Event
    is_failing = False
    group_sizes: list[int]

    def load(self, name, now):
        self.gate.wait()
        if self.is_failing:
            raise BrokerUnavailable("cannot be read: as the test wants it")
        return super().load(name, now)

    def commit(self, growths, *, is_synced):
        self.gate.wait()
        self.group_sizes.append(sum(len(each.publications) for each in growths))
        if self.is_failing:
            raise BrokerUnavailable("cannot be written: as the test wants it")
        super().commit(growths, is_synced=is_synced)


class Bench:
    """A broker in a folder, on a clock and a disk that only the test moves."""

    def __init__(self, folder, **bounds):
        self.now = 1_000_000.0
        config = {
            name: bounds.pop(name)
            for name in ("max_pending_bytes", "max_data_bytes")
            if name in bounds
        }
        self.config = BrokerConfig(data=str(folder), **config)
        self.channels = ChannelsConfig(**({"forget_after_s": FORGET_AFTER_S} | bounds))
        self.boot_id = "boot"

    def open(self):
        self.database = SlowDatabase(self.config, max_channels=10, boot_id=self.boot_id)
        self.database.gate, self.database.group_sizes = threading.Event(), []
        self.database.gate.set()
        return self.database

    async def start(self):
        self.delivered = []
        self.broker = DurableBroker(
            self.channels, self.config, clock=lambda: self.now, open_database=self.open
        )
        await self.broker.start(lambda stream: self.delivered.append((stream.name, stream.last)))
        return self

    async def restart(self):
        await self.broker.stop()
        await self.start()

    def begin(self, channel, *drafts):
        """Return the future of publishing drafts: texts, each as JSON, or Draft."""
        made = [each if isinstance(each, Draft) else Draft(Data(each.encode())) for each in drafts]
        return self.broker.publish(channel, made)

    async def publish(self, channel, *drafts):
        async with bounded():
            return await self.begin(channel, *drafts)

    async def page(self, channel, position=None):
        async with bounded():
            return await self.broker.history(
                channel, position, limit=99, max_bytes=10**7, is_reverse=False
            )

    async def texts(self, channel):
        return "".join(each.data.json.decode() for each in (await self.page(channel)).publications)

    def pass_time(self, seconds):
        self.now += seconds
        while self.broker.forget_unused():
            pass


@pytest.fixture
async def bench(tmp_path):
    bench = await Bench(tmp_path).start()
    yield bench
    bench.database.gate.set()
    await bench.broker.stop()


def key(text):
    return Draft(Data(b"1"), idempotency_key=text)


# --- before and after the commit ----------------------------------------------------------------


async def test_nobody_sees_a_publication_before_it_is_committed(bench):
    stream = await bench.broker.follow("a")
    bench.database.gate.clear()
    publishing = bench.begin("a", "1", "2")
    await asyncio.sleep(0)
    assert (stream.last, await bench.texts("a"), publishing.done()) == (0, "", False)
    assert bench.delivered == []
    bench.database.gate.set()
    assert [place.offset for place in await publishing] == [1, 2]
    assert (stream.last, bench.delivered) == (2, [("a", 2)])


async def test_what_comes_while_a_commit_is_on_its_way_is_the_next_one(bench):
    await bench.publish("a", "0")
    await bench.publish("b", "0")
    bench.database.gate.clear()
    first = bench.begin("a", "1")
    await asyncio.sleep(0)
    others = [bench.begin(name, "2", "3") for name in "abab"]
    bench.database.gate.set()
    await asyncio.gather(first, *others)
    assert bench.database.group_sizes == [1, 1, 1, 8]
    assert await bench.texts("a") == "012323"


async def test_a_publisher_that_is_gone_has_published_all_the_same(bench):
    bench.begin("a", "1").cancel()
    assert [place.offset for place in await bench.publish("a", "2")] == [2]
    assert await bench.texts("a") == "12"
    reading = bench.broker.follow("new")
    reading.cancel()
    bench.broker.unfollow("new")
    await bench.publish("new", "1")
    assert bench.delivered == []


async def test_more_than_may_wait_for_the_disk_is_refused_until_it_has_caught_up(tmp_path):
    bench = await Bench(tmp_path, max_pending_bytes=10_000).start()
    bench.database.gate.clear()
    waiting = [bench.begin(name, "1" * 4000) for name in "ab"]
    refused = bench.begin("a", "2" * 4000)
    assert refused.exception().code == ErrorCode.OVERLOADED
    bench.database.gate.set()
    await asyncio.gather(*waiting)
    assert {each.name: each.value for each in bench.broker.metrics}["gateway_pending_bytes"] == 0
    assert (await bench.publish("a", "3" * 20_000))[0].offset == 2, "alone it may be larger"
    await bench.broker.stop()


async def test_many_channels_are_read_a_few_at_a_time_and_commits_go_on_in_between(bench):
    await bench.publish("a", "1")
    bench.database.gate.clear()
    following = [bench.broker.follow(str(number)) for number in range(500)]
    await asyncio.sleep(0)
    publishing = bench.begin("a", "2")
    bench.database.gate.set()
    await publishing
    assert 0 < sum(each.done() for each in following) < 500
    streams = await asyncio.gather(*following)
    assert [stream.name for stream in streams] == [str(number) for number in range(500)]


# --- a disk that fails --------------------------------------------------------------------------


async def test_after_a_failed_commit_nothing_of_it_is_there_and_its_offsets_are_free(bench):
    (place,) = await bench.publish("a", "1")
    bench.database.gate.clear()
    bench.database.is_failing = True
    failing = [bench.begin("a", "2", key("k")), bench.begin("a", "3"), bench.begin("b", "4")]
    await asyncio.sleep(0)
    failing += [bench.begin("a", key("k")), bench.begin("a", Draft(Data(b"5"), expected_offset=4))]
    bench.database.gate.set()
    outcomes = await asyncio.gather(*failing, return_exceptions=True)
    assert {type(each) for each in outcomes} == {BrokerUnavailable}
    bench.database.is_failing = False
    assert await bench.texts("a") == "1"
    assert await bench.publish("a", key("k")) == [Position(place.epoch, 2)]
    assert (await bench.publish("b", "4"))[0].offset == 1
    with pytest.raises(OffsetConflict):
        await bench.publish("a", Draft(Data(b"5"), expected_offset=4))
    await bench.restart()
    assert await bench.texts("a") == "11"


async def test_a_channel_that_could_not_be_read_is_tried_again(bench):
    await bench.publish("a", "1")
    await bench.restart()
    bench.database.is_failing = True
    calls = [bench.begin("a", "2"), bench.broker.follow("a")]
    bench.broker.unfollow("a")
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(each) for each in outcomes} == {BrokerUnavailable}
    assert bench.broker.channel_count == 0
    bench.database.is_failing = False
    assert (await bench.publish("a", "2"))[0].offset == 2


async def test_a_full_disk_refuses_publications_and_goes_on_giving_what_it_has(tmp_path):
    bench = await Bench(tmp_path, max_data_bytes=1024 * 1024, history_bytes=10**7).start()
    drafts = ["1" * 10_000] * 10
    outcomes = [await asyncio.wait([bench.begin("a", *drafts)]) for _ in range(20)]
    failures = [future.exception() for (future,), _ in outcomes]
    count = 10 * failures.count(None)
    assert 0 < count < 200
    assert {type(each) for each in failures} == {type(None), BrokerUnavailable}
    assert len((await bench.page("a")).publications) == min(count, 99)
    assert (await bench.page("a")).publications[0].offset == 1
    await bench.restart()
    assert len((await bench.page("a")).publications) == min(count, 99)
    await bench.broker.stop()


# --- memory -------------------------------------------------------------------------------------


async def test_a_channel_that_is_unused_leaves_memory_and_is_read_again_as_it_was(bench):
    (place,) = await bench.publish("a", key("k"))
    bench.pass_time(FORGET_AFTER_S - 1)
    assert bench.broker.channel_count == 1
    bench.pass_time(2)
    assert (bench.broker.channel_count, bench.broker.log_bytes) == (0, 0)
    assert await bench.publish("a", key("k"), "2") == [place, Position(place.epoch, 2)]
    assert await bench.texts("a") == "12"


async def test_a_channel_in_use_stays_in_memory(bench):
    stream = await bench.broker.follow("a")
    await bench.publish("b", "1")
    bench.database.gate.clear()
    publishing = bench.begin("b", "2")
    await asyncio.sleep(0)
    for _ in range(3):
        bench.pass_time(FORGET_AFTER_S + 1)
    assert bench.broker.channel_count == 2
    bench.database.gate.set()
    assert (await publishing)[0].offset == 2
    assert await bench.broker.follow("a") is stream
    bench.broker.unfollow("a")
    bench.pass_time(FORGET_AFTER_S + 1)
    assert bench.broker.channel_count == 0


async def test_keys_that_have_expired_take_no_memory_of_a_channel_in_use(bench):
    stream = await bench.broker.follow("a")
    await bench.publish("a", *map(key, "bcd"))
    stream.delivered = stream.last
    bench.pass_time(max(bench.channels.idempotency_window_s, bench.channels.history_age_s))
    bench.pass_time(FORGET_AFTER_S)
    assert (bench.broker.channel_count, bench.broker.log_bytes) == (1, 0)


async def test_channels_that_only_the_disk_holds_are_not_read_while_memory_is_full(tmp_path):
    bench = await Bench(tmp_path, max_log_bytes=300).start()
    for name in "ab":
        await bench.publish(name, "1")
        await bench.restart()
    await bench.publish("a", "2")
    with pytest.raises(MessageError) as caught:
        await bench.page("b")
    assert caught.value.code == ErrorCode.OVERLOADED
    bench.pass_time(FORGET_AFTER_S + 1)
    assert await bench.texts("b") == "1"
    await bench.broker.stop()


# --- restarts -----------------------------------------------------------------------------------


async def test_after_a_restart_everything_goes_on_where_it_was(bench):
    places = await bench.publish("a", "1", key("k"))
    nothing = (await bench.page("never used")).position
    await bench.restart()
    assert await bench.texts("a") == "11"
    assert await bench.publish("a", key("k")) == places[1:]
    assert await bench.publish("a", "3") == [Position(places[0].epoch, 3)]
    page = await bench.page("a", places[0])
    assert ([each.offset for each in page.publications], page.missing) == ([2, 3], None)
    assert (await bench.page("never used", nothing)).missing is None


async def test_what_expires_meanwhile_is_told_as_a_gap_and_offsets_go_on(bench):
    (place,) = await bench.publish("a", "1")
    await bench.publish("a", "2")
    await bench.restart()
    bench.now += bench.channels.history_age_s
    page = await bench.page("a", place)
    assert (page.publications, page.missing) == ([], Missing(2, 2, "expired"))
    assert await bench.publish("a", "3") == [Position(place.epoch, 3)]


@pytest.mark.parametrize(("boot_id", "is_same"), [("boot", True), ("another boot", False)])
async def test_after_a_crash_a_client_goes_on_and_after_the_loss_of_power_it_is_told_of_an_epoch(
    bench, tmp_path, boot_id, is_same
):
    (place,) = await bench.publish("a", "1")
    await bench.publish("a", "2")
    shutil.copytree(bench.config.data, tmp_path / "copy")
    copy = Bench(tmp_path / "copy")
    copy.boot_id = boot_id
    await copy.start()
    page = await copy.page("a", place)
    assert [each.offset for each in page.publications] == ([2] if is_same else [1, 2])
    assert page.missing == (None if is_same else Missing(1, 0, "epoch"))
    (place_after,) = await copy.publish("a", "3")
    assert (place_after.offset, place_after.epoch == place.epoch) == (3, is_same)
    await copy.broker.stop()


async def test_times_do_not_go_back_within_a_channel_whatever_the_clock_does(bench):
    await bench.publish("a", "1")
    await bench.restart()
    bench.now -= 10
    await bench.publish("a", "2")
    await bench.publish("b", "1")
    times = [each.time for each in (await bench.page("a")).publications]
    assert times == [bench.now + 10, bench.now + 10]
    assert (await bench.page("b")).publications[0].time == bench.now


async def test_stop_answers_what_is_pending_and_then_refuses(bench):
    await bench.publish("a", "1")
    bench.database.gate.clear()
    publishing = [bench.begin("a", "2"), bench.begin("new", "3")]
    stopping = asyncio.ensure_future(bench.broker.stop())
    await asyncio.sleep(0)
    late = bench.begin("a", "4")
    assert isinstance(late.exception(), BrokerUnavailable)
    bench.database.gate.set()
    await stopping
    assert [(await each)[0].offset for each in publishing] == [2, 1]
    await bench.start()
    assert (await bench.texts("a"), await bench.texts("new")) == ("12", "3")


async def test_a_stop_that_is_cancelled_takes_nothing_back(bench):
    bench.database.gate.clear()
    publishing = bench.begin("a", "1")
    stopping = asyncio.ensure_future(bench.broker.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    bench.database.gate.set()
    assert (await publishing)[0].offset == 1
    await bench.restart()
    assert await bench.texts("a") == "1"


async def test_a_folder_in_use_is_told_by_start(bench):
    second = DurableBroker(bench.channels, bench.config)
    with pytest.raises(GatewayError, match="is in use; stop the node that uses it"):
        await second.start(lambda stream: None)
