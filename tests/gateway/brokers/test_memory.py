"""The broker in memory, on a clock that only the test moves.

Above 400 lines, because the bench at the top is what every part stands on.
"""

import asyncio
from asyncio import Future
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.broker import Draft
from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig
from gateway.stream import Missing, Page, Stream
from protocol.codes import ErrorCode
from protocol.cursor import Position, decode_cursor, encode_cursor
from protocol.errors import MessageError
from protocol.publication import Data

T = TypeVar("T")
AGE_S = 300.0


class Clock:
    """Seconds since 1970, as many as the test says."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A broker, its clock, and what it has delivered as (channel, offset)."""

    def __init__(self, **bounds: float) -> None:
        self.clock = Clock()
        config = ChannelsConfig(**({"history_age_s": AGE_S} | bounds))  # type: ignore[arg-type]
        self.broker = MemoryBroker(config, clock=self.clock)
        self.delivered: list[tuple[str, int]] = []

    async def start(self) -> "Bench":
        await self.broker.start(lambda stream: self.delivered.append((stream.name, stream.last)))
        return self

    def publish(self, channel: str, *texts: str) -> list[Position]:
        """Publish a JSON string for each of texts; return their places."""
        drafts = [Draft(Data(b'"%b"' % text.encode())) for text in texts]
        return [take(self.broker.publish(channel, [draft]))[0] for draft in drafts]

    def read(
        self,
        channel: str,
        position: Position | None = None,
        *,
        limit: int = 100,
        max_bytes: int = 10**6,
        is_reverse: bool = False,
    ) -> Page:
        """Return a page of history."""
        future = self.broker.history(
            channel, position, limit=limit, max_bytes=max_bytes, is_reverse=is_reverse
        )
        return take(future)

    def texts(self, channel: str) -> str:
        """Return all texts that channel retains, oldest first, joined."""
        return join(self.read(channel))

    def epoch(self, channel: str) -> str:
        """Return the epoch of channel; counts as using it."""
        return self.read(channel, limit=1).position.epoch

    def forget_after(self, seconds: float) -> None:
        """Let time pass, then have the broker look for unused channels."""
        self.clock.now += seconds
        self.broker.forget_unused()


def take(future: "Future[T]") -> T:
    """Return the result of a future that is done, as everything here is at once."""
    assert future.done()
    return future.result()


def join(page: Page) -> str:
    return "".join(each.data.json.decode().strip('"') for each in page.publications)


def refuse(future: "Future[T]") -> MessageError:
    """Return why a channel cannot be opened."""
    with pytest.raises(MessageError) as caught:
        take(future)
    assert caught.value.code == ErrorCode.OVERLOADED
    return caught.value


@pytest.fixture
async def bench() -> Bench:
    return await Bench().start()


# --- publishing and following -------------------------------------------------------------------


async def test_publications_are_numbered_from_one_in_each_channel(bench):
    first = bench.publish("a", "x", "y")
    other = bench.publish("b", "z")
    assert [place.offset for place in first] == [1, 2]
    assert [place.offset for place in other] == [1]
    assert first[0].epoch == first[1].epoch
    assert bench.broker.publication_count == 3
    assert bench.broker.channel_count == 2


async def test_a_publication_is_kept_with_its_time_key_and_tags(bench):
    draft = Draft(Data(b"1"), "k", {"t": "u"})
    take(bench.broker.publish("a", [draft]))
    (publication,) = bench.read("a").publications
    assert publication.data == Data(b"1")
    assert (publication.key, publication.tags) == ("k", {"t": "u"})
    assert publication.time == bench.clock.now


async def test_only_followed_channels_are_delivered_each_growth_once_and_in_order(bench):
    bench.publish("a", "x")
    take(bench.broker.follow("a"))
    take(bench.broker.follow("b"))
    bench.publish("a", "y")
    bench.publish("b", "z")
    bench.publish("c", "z")
    bench.publish("a", "z")
    assert bench.delivered == [("a", 2), ("b", 1), ("a", 3)]


async def test_a_followed_stream_has_nothing_to_deliver_yet_and_then_grows(bench):
    bench.publish("a", "x", "y")
    stream = take(bench.broker.follow("a"))
    assert (stream.name, stream.last, stream.delivered) == ("a", 2, 2)
    (place,) = bench.publish("a", "z")
    assert (stream.end, stream.delivered) == (place, 2)


async def test_following_twice_is_undone_once_and_forgets_no_delivery(bench):
    stream = take(bench.broker.follow("a"))
    bench.publish("a", "x")
    assert take(bench.broker.follow("a")) is stream
    assert stream.delivered == 0
    bench.broker.unfollow("a")
    bench.publish("a", "y")
    assert bench.delivered == [("a", 1)]


async def test_whoever_follows_again_within_the_retention_finds_the_same_stream(bench):
    stream = take(bench.broker.follow("a"))
    bench.publish("a", "x")
    bench.broker.unfollow("a")
    bench.publish("a", "y")
    bench.forget_after(AGE_S - 1)
    assert take(bench.broker.follow("a")) is stream
    assert stream.delivered == 2


async def test_unfollowing_what_nobody_knows_does_nothing(bench):
    bench.broker.unfollow("a")
    assert bench.broker.channel_count == 0


async def test_what_is_not_delivered_yet_is_kept_beyond_every_bound():
    bench = await Bench(history_count=0, history_bytes=0, history_age_s=0).start()
    stream = take(bench.broker.follow("a"))
    bench.publish("a", "x", "y", "z")
    bench.clock.now += 10 * AGE_S
    assert bench.texts("a") == "xyz"
    stream.delivered = 2
    assert bench.texts("a") == "z"
    bench.broker.unfollow("a")
    assert stream.is_empty


async def test_a_broker_that_was_stopped_holds_nothing_and_delivers_nothing(bench):
    take(bench.broker.follow("a"))
    bench.publish("b", "x")
    epoch = bench.epoch("b")
    await bench.broker.stop()
    assert bench.broker.channel_count == 0
    bench.forget_after(AGE_S)
    take(bench.broker.follow("a"))
    bench.publish("a", "x")
    assert bench.delivered == []
    assert bench.epoch("b") != epoch


# --- retention ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        pytest.param({"history_count": 3}, "def", id="count"),
        pytest.param({"history_count": 0}, "", id="no history"),
        pytest.param({"history_bytes": 8}, "ef", id="bytes: 3 for each, with the quotes"),
        pytest.param({"history_bytes": 9}, "def", id="bytes: exactly three"),
        pytest.param({"history_bytes": 2}, "", id="bytes: less than one"),
        pytest.param({"history_age_s": 2.5}, "ef", id="age"),
        pytest.param({"history_age_s": 2.0}, "f", id="age: exactly"),
        pytest.param({"history_count": 4, "history_bytes": 6}, "ef", id="the strictest"),
        pytest.param({}, "abcdef", id="no bound reached"),
    ],
)
async def test_the_newest_within_all_bounds_are_kept(bounds, kept):
    bench = await Bench(**bounds).start()
    for text in "abcdef":
        bench.publish("a", text)
        bench.clock.now += 1
    assert bench.texts("a") == kept
    assert bench.read("a").position.offset == 6


async def test_age_alone_empties_a_channel_that_nobody_publishes_to(bench):
    bench.publish("a", "x")
    bench.clock.now += AGE_S - 1
    assert bench.texts("a") == "x"
    bench.clock.now += 1
    assert bench.texts("a") == ""


async def test_offsets_and_epoch_go_on_after_everything_expired(bench):
    (before,) = bench.publish("a", "x")
    bench.clock.now += AGE_S
    bench.read("a")
    assert bench.publish("a", "y") == [Position(before.epoch, 2)]


# --- history ------------------------------------------------------------------------------------


@pytest.fixture
async def shelf() -> tuple[Bench, str]:
    """Return a bench whose channel "a" keeps c, d, e and f as 3 to 6, and its epoch."""
    bench = await Bench(history_count=4).start()
    return bench, bench.publish("a", *"abcdef")[0].epoch


# (offset to read from, reverse, limit, texts, next offset, missing)
PAGES = [
    pytest.param(None, False, 10, "cdef", 6, None, id="from the oldest kept"),
    pytest.param(None, False, 2, "cd", 4, None, id="a page of the oldest"),
    pytest.param(4, False, 10, "ef", 6, None, id="after an offset"),
    pytest.param(2, False, 1, "c", 3, None, id="after the last that is gone"),
    pytest.param(6, False, 10, "", 6, None, id="after the newest"),
    pytest.param(1, False, 2, "cd", 4, (2, 2, "expired"), id="one is missing"),
    pytest.param(0, False, 10, "cdef", 6, (1, 2, "expired"), id="two are missing"),
    pytest.param(7, False, 1, "c", 3, (1, 2, "epoch"), id="beyond the end: another log"),
    pytest.param(None, True, 10, "fedc", 2, None, id="back from the newest"),
    pytest.param(None, True, 3, "fed", 3, None, id="a page back from the newest"),
    pytest.param(4, True, 10, "dc", 2, None, id="back from an offset"),
    pytest.param(6, True, 1, "f", 5, None, id="back from the end"),
    pytest.param(2, True, 10, "", 0, (1, 2, "expired"), id="back from where nothing is left"),
    pytest.param(1, True, 10, "", 0, (1, 1, "expired"), id="back from what is gone"),
    pytest.param(0, True, 10, "", 0, None, id="back from the beginning"),
    pytest.param(7, True, 2, "fe", 4, (1, 2, "epoch"), id="back from beyond the end"),
]


@pytest.mark.parametrize(("offset", "is_reverse", "limit", "texts", "next_", "missing"), PAGES)
async def test_a_page_says_what_is_there_what_is_missing_and_where_to_go_on(
    shelf, offset, is_reverse, limit, texts, next_, missing
):
    bench, epoch = shelf
    position = None if offset is None else Position(epoch, offset)
    page = bench.read("a", position, limit=limit, is_reverse=is_reverse)
    assert join(page) == texts
    assert page.position == (epoch, next_)
    assert page.missing == (None if missing is None else Missing(*missing))


@pytest.mark.parametrize(("is_reverse", "texts", "next_"), [(False, "cdef", 6), (True, "fedc", 2)])
async def test_another_epoch_is_a_gap_up_to_what_is_kept(shelf, is_reverse, texts, next_):
    bench, epoch = shelf
    page = bench.read("a", Position("another", 4), is_reverse=is_reverse)
    assert join(page) == texts
    assert page.position == (epoch, next_)
    assert page.missing == Missing(1, 2, "epoch")


async def test_another_epoch_of_an_empty_channel_is_a_gap_of_nothing(bench):
    page = bench.read("a", Position("another", 9))
    assert page.publications == []
    assert page.position.offset == 0
    assert page.missing == Missing(1, 0, "epoch")


@pytest.mark.parametrize(("is_reverse", "texts"), [(False, "cd"), (True, "fe")])
async def test_a_page_is_bounded_in_bytes_but_holds_one_at_least(shelf, is_reverse, texts):
    bench, _ = shelf
    for max_bytes in (6, 8):
        assert join(bench.read("a", max_bytes=max_bytes, is_reverse=is_reverse)) == texts
    for max_bytes in (0, 3, 5):
        assert join(bench.read("a", max_bytes=max_bytes, is_reverse=is_reverse)) == texts[0]


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 5), st.integers(0, 9), st.booleans())
def test_page_after_page_gives_everything_kept_once(count, kept, limit, max_bytes, is_reverse):
    async def read_all() -> None:
        bench = await Bench(history_count=kept).start()
        texts = "abcdefghijkl"[:count]
        bench.publish("a", *texts)
        found = ""
        position = None
        while True:
            page = bench.read(
                "a", position, limit=limit, max_bytes=max_bytes, is_reverse=is_reverse
            )
            assert page.missing is None
            position = page.position
            found += join(page)
            if not page.has_more:
                break
        newest = texts[max(count - kept, 0) :]
        assert found == (newest[::-1] if is_reverse else newest)

    asyncio.run(read_all())


# --- forgetting, and the bound on channels ------------------------------------------------------


async def test_a_channel_unused_for_its_age_is_forgotten_and_begins_anew(bench):
    bench.publish("a", "x")
    bench.forget_after(AGE_S - 1)
    assert bench.broker.channel_count == 1
    bench.forget_after(1)
    assert bench.broker.channel_count == 0
    assert bench.publish("a", "y")[0].offset == 1


@pytest.mark.parametrize("use", ["publish", "follow", "history"])
async def test_a_channel_that_is_used_again_lives_on_with_its_epoch(bench, use):
    ((epoch, _),) = bench.publish("a", "x")
    bench.forget_after(AGE_S - 1)
    uses = {
        "publish": lambda: bench.publish("a", "x"),
        "follow": lambda: take(bench.broker.follow("a")) and bench.broker.unfollow("a"),
        "history": lambda: bench.read("a"),
    }
    uses[use]()
    bench.forget_after(AGE_S - 1)
    assert bench.broker.channel_count == 1
    assert bench.epoch("a") == epoch


async def test_a_followed_channel_is_not_forgotten_until_its_age_after_the_last_follower(bench):
    stream = take(bench.broker.follow("a"))
    bench.publish("a", "x")
    stream.delivered = 1
    bench.forget_after(100 * AGE_S)
    bench.broker.unfollow("a")
    bench.forget_after(AGE_S - 1)
    assert bench.epoch("a") == stream.epoch
    bench.forget_after(AGE_S)
    assert bench.epoch("a") != stream.epoch


async def test_a_forgotten_channels_cursor_is_answered_with_a_gap_of_reason_epoch(bench):
    cursor = encode_cursor({"a": bench.publish("a", "x")[0]})
    bench.forget_after(AGE_S)
    bench.publish("a", "y")
    page = bench.read("a", decode_cursor(cursor)["a"])
    assert join(page) == "y"
    assert page.missing == Missing(1, 0, "epoch")


async def test_every_lifetime_has_an_epoch_of_its_own(bench):
    epochs = []
    for _ in range(50):
        epochs.append(bench.publish("a", "x")[0].epoch)
        bench.forget_after(AGE_S)
    assert len(set(epochs)) == 50


async def test_many_unused_channels_are_forgotten_a_few_at_a_time(bench):
    for number in range(2500):
        bench.publish(str(number), "x")
    take(bench.broker.follow("7"))
    bench.clock.now += AGE_S
    before = 2500
    while bench.broker.forget_unused():
        assert before - 100 <= bench.broker.channel_count < before
        before = bench.broker.channel_count
    assert bench.broker.channel_count == 1
    bench.broker.unfollow("7")
    bench.forget_after(AGE_S)
    assert bench.broker.channel_count == 0


async def test_one_channel_too_many_is_refused_and_the_others_go_on():
    bench = await Bench(max_channels=2).start()
    bench.publish("a", "x")
    take(bench.broker.follow("b"))
    draft = Draft(Data(b"1"))
    error = refuse(bench.broker.publish("c", [draft]))
    assert error.message == "this node holds 2 channels, as many as it may"
    refuse(bench.broker.follow("c"))
    assert bench.texts("c") == ""
    assert bench.broker.channel_count == 2
    assert bench.broker.publication_count == 1
    assert bench.publish("b", "y")[0].offset == 1
    assert bench.texts("a") == "x"
    bench.forget_after(AGE_S)
    assert bench.publish("c", "z")[0].offset == 1


# --- anything in any order ----------------------------------------------------------------------

CHANNELS = st.sampled_from("abc")
STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "publish", "follow", "unfollow"]), CHANNELS)
    | st.tuples(st.just("wait"), st.integers(1, int(AGE_S))),
    max_size=40,
)


@settings(deadline=None)
@given(STEPS, st.integers(0, 4))
def test_whatever_happens_each_lifetime_is_one_unbroken_sequence(steps, history_count):
    async def play() -> None:
        bench = await Bench(history_count=history_count).start()
        places: dict[tuple[str, str], list[int]] = {}
        followed: dict[str, Stream] = {}
        expected = []
        for action, argument in steps:
            if action == "publish":
                (place,) = bench.publish(argument, "x")
                places.setdefault((argument, place.epoch), []).append(place.offset)
                expected += [(argument, place.offset)] if argument in followed else []
            elif action == "follow":
                followed[argument] = take(bench.broker.follow(argument))
            elif action == "unfollow":
                bench.broker.unfollow(argument)
                followed.pop(argument, None)
            else:
                bench.forget_after(argument)
            for channel, stream in followed.items():
                assert take(bench.broker.follow(channel)) is stream
        assert bench.delivered == expected
        for offsets in places.values():
            assert offsets == list(range(1, len(offsets) + 1))

    asyncio.run(play())
