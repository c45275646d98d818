"""What publishing drafts does to a channel, decided without a broker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker import Draft
from gateway.brokers.sequence import KEY_BYTES, IdempotencyKeys, sequence
from gateway.config import ChannelConfig
from gateway.stream import LogMemory
from protocol.codes import ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError, OffsetConflict
from protocol.publication import Data, Publication

WINDOW_S = 100.0
NOW = 1_000_000.0


def draft(text="1", **fields):
    return Draft(Data(text.encode()), **fields)


class Log:
    """A channel that appends and remembers what sequence() says, as a broker does."""

    def __init__(self, last=0, **bounds):
        self.config = ChannelConfig(**({"idempotency_window_s": WINDOW_S} | bounds))
        self.keys = IdempotencyKeys(LogMemory())
        self.last = last
        self.now = NOW
        self.texts = ""

    def publish(self, *drafts):
        """Return the offsets of drafts."""
        publications, places, used = sequence(
            drafts, "E", self.last, self.now, self.keys, self.config
        )
        self.keys.remember(used, self.now + self.config.idempotency_window_s)
        assert [each.offset for each in publications] == [
            *range(self.last + 1, self.last + 1 + len(publications))
        ]
        self.last += len(publications)
        self.texts += "".join(each.data.json.decode() for each in publications)
        return [place.offset for place in places]

    def refuse(self, *drafts):
        """Return why drafts are refused; nothing has changed then."""
        self.keys.expire(self.now)
        before = self.last, self.texts, len(self.keys)
        with pytest.raises(MessageError) as caught:
            self.publish(*drafts)
        assert (self.last, self.texts, len(self.keys)) == before
        return caught.value


def test_drafts_become_publications_behind_the_end_with_all_they_carry():
    drafts = [draft("1", key="k", tags={"t": "u"}), draft("2", unechoed="s")]
    publications, places, used = sequence(
        drafts, "E", 7, NOW, IdempotencyKeys(LogMemory()), ChannelConfig()
    )
    assert publications == [
        Publication(8, Data(b"1"), NOW, "k", {"t": "u"}),
        Publication(9, Data(b"2"), NOW, unechoed="s"),
    ]
    assert places == [Position("E", 8), Position("E", 9)]
    assert used == {}


def test_no_drafts_are_no_publications():
    assert Log().publish() == []


# --- idempotency keys ---------------------------------------------------------------------------


def test_a_repeat_has_the_place_of_the_first_and_is_not_appended():
    log = Log()
    assert log.publish(draft("1"), draft("2", idempotency_key="k")) == [1, 2]
    assert log.publish(draft("3"), draft("2", idempotency_key="k"), draft("4")) == [3, 2, 4]
    assert log.texts == "1234"


def test_a_repeat_within_one_batch_counts_as_one():
    log = Log()
    drafts = [draft(each, idempotency_key=each) for each in "1213"]
    assert log.publish(*drafts) == [1, 2, 1, 3]
    assert log.texts == "123"


def test_the_key_alone_says_what_is_a_repeat():
    log = Log()
    log.publish(draft("1", idempotency_key="k", key="a"))
    assert log.publish(draft("2", idempotency_key="k", tags={"b": "c"})) == [1]
    assert log.texts == "1"


def test_a_key_is_remembered_for_the_window_after_its_first_use():
    log = Log()
    log.publish(draft("1", idempotency_key="k"))
    log.now += WINDOW_S - 1
    assert log.publish(draft("2", idempotency_key="k")) == [1]
    log.now += 1
    assert log.publish(draft("3", idempotency_key="k")) == [2]
    assert log.texts == "13"


def test_a_key_more_than_may_be_remembered_is_refused_until_the_oldest_expires():
    log = Log(max_idempotency_keys=2)
    log.publish(draft("1", idempotency_key="a"))
    log.now += 10
    log.publish(draft("2", idempotency_key="b"))
    error = log.refuse(draft("3"), draft("4", idempotency_key="c"))
    assert (error.code, error.retry_after_ms) == (ErrorCode.OVERLOADED, (WINDOW_S - 10) * 1000)
    assert "at most 2 idempotency keys" in error.message
    assert log.publish(draft("5"), draft("1", idempotency_key="a")) == [3, 1]
    log.now += WINDOW_S - 10
    assert log.publish(draft("6", idempotency_key="c")) == [4]
    assert log.refuse(draft("7", idempotency_key="a")).code == ErrorCode.OVERLOADED


@pytest.mark.parametrize("bounds", [{"idempotency_window_s": 0}, {"max_idempotency_keys": 0}])
def test_where_no_keys_are_remembered_a_key_is_refused_rather_than_ignored(bounds):
    log = Log(**bounds)
    assert log.refuse(draft("1", idempotency_key="k")).code == ErrorCode.UNSUPPORTED
    assert log.publish(draft("1")) == [1]


def test_keys_whose_publications_did_not_come_about_are_forgotten():
    keys = IdempotencyKeys(LogMemory())
    keys.remember({"a": 1, "b": 2}, NOW)
    keys.forget(["b", "c"])
    assert (keys.find("a"), keys.find("b"), len(keys)) == (1, None, 1)


def test_the_next_expiry_is_the_oldest_keys():
    keys = IdempotencyKeys(LogMemory())
    assert keys.next_expiry is None
    keys.remember({"a": 1}, NOW)
    keys.remember({"b": 2}, NOW + 5)
    assert keys.next_expiry == NOW
    keys.expire(NOW)
    assert (keys.next_expiry, len(keys)) == (NOW + 5, 1)


def test_keys_count_for_the_memory_of_logs_as_long_as_they_are_remembered():
    memory = LogMemory()
    keys, others = IdempotencyKeys(memory), IdempotencyKeys(memory)
    keys.remember({"a": 1}, NOW)
    keys.remember({"b": 2, "c": 3}, NOW + 1)
    others.remember({"a": 1}, NOW)
    assert memory.used_bytes == 4 * KEY_BYTES
    keys.expire(NOW)
    keys.forget(["c", "d"])
    assert memory.used_bytes == 2 * KEY_BYTES
    keys.clear()
    assert (memory.used_bytes, len(keys)) == (KEY_BYTES, 0)


# --- expected offsets ---------------------------------------------------------------------------


def test_an_expected_offset_is_the_end_of_the_channel_with_the_drafts_before():
    log = Log(last=3)
    drafts = [draft(expected_offset=3), draft(), draft(expected_offset=5)]
    assert log.publish(*drafts) == [4, 5, 6]


@pytest.mark.parametrize("expected_offset", [0, 2, 4])
def test_another_end_is_a_conflict_that_tells_where_it_is(expected_offset):
    error = Log(last=3).refuse(draft(expected_offset=expected_offset))
    assert isinstance(error, OffsetConflict)
    assert (error.code, error.epoch, error.offset) == (ErrorCode.OFFSET_CONFLICT, "E", 3)
    assert error.message == f"expected offset {expected_offset}, but the channel ends at 3"


def test_one_conflict_keeps_the_whole_batch_out_and_tells_what_comes_before():
    log = Log(last=3)
    error = log.refuse(draft(), draft(idempotency_key="k"), draft(expected_offset=3))
    assert (error.epoch, error.offset) == ("E", 3)
    text = (
        "expected offset 3, but the channel ends at 3 (at 5 with what is before it in this batch)"
    )
    assert error.message == text
    assert log.publish(draft(idempotency_key="k")) == [4]


def test_a_repeat_does_not_conflict_with_what_it_has_published_itself():
    log = Log(last=3)
    first = draft(idempotency_key="k", expected_offset=3)
    assert log.publish(first) == [4]
    assert log.publish(first) == [4]
    assert log.publish(first, draft(expected_offset=4)) == [4, 5]


def test_a_batch_that_is_repeated_as_a_whole_has_the_places_of_the_first():
    log = Log()
    batch = [draft(str(n), idempotency_key=str(n), expected_offset=n) for n in range(3)]
    assert log.publish(*batch) == log.publish(*batch) == [1, 2, 3]
    assert log.texts == "012"


# --- anything in any order ----------------------------------------------------------------------

DRAFTS = st.builds(
    draft,
    idempotency_key=st.none() | st.sampled_from("abcd"),
    expected_offset=st.none() | st.integers(0, 6),
)


@given(st.lists(st.tuples(st.integers(0, 60), st.lists(DRAFTS, max_size=4)), max_size=12))
def test_whatever_is_published_a_simple_model_agrees(steps):
    log = Log(max_idempotency_keys=3)
    remembered = {}  # key: (offset, time)
    for wait_s, drafts in steps:
        log.now += wait_s
        remembered = {key: use for key, use in remembered.items() if use[1] + WINDOW_S > log.now}
        last, uses, places = log.last, dict(remembered), []
        is_refused = False
        for each in drafts:
            if each.idempotency_key in uses:
                places.append(uses[each.idempotency_key][0])
                continue
            is_refused |= each.expected_offset not in (None, last)
            last += 1
            places.append(last)
            if each.idempotency_key is not None:
                uses[each.idempotency_key] = last, log.now
        if is_refused or len(uses) > 3:
            log.refuse(*drafts)
        else:
            assert log.publish(*drafts) == places
            assert log.last == last
            remembered = uses
