"""The judge sees each kind of fault, and nothing where all is as promised."""

from collections.abc import Sequence

import pytest

from loadtest.losses.ledger import Ledger, Place
from loadtest.losses.payload import make_data
from loadtest.losses.verdict import Push, Reader, Tally
from protocol.cursor import Position

CHANNEL = "news"


class Court:
    """A reader that stands at offset 10 of epoch e, where 1 to 40 were acknowledged."""

    def __init__(self, *, is_durable: bool = False) -> None:
        self.tally = Tally()
        self.ledger = Ledger()
        self.reader = Reader("client", self.tally, self.ledger, is_durable=is_durable)
        self._data = {}
        for offset in range(1, 41):
            identity = self.ledger.send(1)
            self._data[offset] = make_data(CHANNEL, identity, offset)
            assert self.ledger.acknowledge(identity, Place(CHANNEL, "e", offset)) == ""
        self.reader.begin_visit("websocket")
        self.take(subscribed("e", 10, recovered=False))

    def take(self, *pushes: Push) -> dict[str, int]:
        """Return the faults of what is received."""
        for push in pushes:
            self.reader.take(push)
        return {kind: count for kind, count in self.tally.faults.items() if count}

    def messages(self, offsets: Sequence[int]) -> list[Push]:
        return [
            {"type": "message", "channel": CHANNEL, "offset": each, "data": self._data[each]}
            for each in offsets
        ]


def subscribed(epoch: str, offset: int, *, recovered: bool) -> Push:
    return {
        "type": "subscribed",
        "channel": CHANNEL,
        "epoch": epoch,
        "offset": offset,
        "recovered": recovered,
    }


def gap(first: int, last: int, reason: str, epoch: str = "e") -> Push:
    return {
        "type": "gap",
        "channel": CHANNEL,
        "epoch": epoch,
        "from": first,
        "to": last,
        "reason": reason,
    }


def test_every_publication_once_and_in_order_is_no_fault() -> None:
    court = Court()
    assert court.take(*court.messages(range(11, 21))) == {}
    assert court.tally.delivery_count == 10
    assert court.reader.positions == {CHANNEL: Position("e", 20)}


def test_an_announced_gap_is_no_fault() -> None:
    court = Court()
    first, *rest = court.messages([11, 16, 17])
    assert court.take(first, gap(12, 15, "slow"), *rest) == {}
    assert court.tally.gaps == {"slow": 1}
    assert court.tally.announced_count == 4


def test_going_on_from_the_position_after_a_recovery_is_no_fault() -> None:
    court = Court()
    court.take(*court.messages([11]))
    court.reader.begin_visit("websocket")
    assert court.take(subscribed("e", 11, recovered=True), *court.messages([12])) == {}


def test_an_announced_change_of_epoch_is_no_fault() -> None:
    court = Court()
    identity = court.ledger.send(1)
    message = court.messages([1])[0] | {"offset": 3, "data": make_data(CHANNEL, identity, 9)}
    court.reader.begin_visit("websocket")
    pushes = subscribed("f", 0, recovered=False), gap(1, 2, "epoch", "f"), message
    assert court.take(*pushes) == {}
    assert court.reader.positions == {CHANNEL: Position("f", 3)}


def test_a_hole_is_so_many_lost() -> None:
    court = Court()
    assert court.take(*court.messages([11, 14, 15])) == {"lost": 2}
    assert "offset 14 of e where 12 was next" in court.tally.cases[0]


def test_a_repetition_is_duplicated() -> None:
    court = Court()
    assert court.take(*court.messages([11, 12, 12, 11, 13])) == {"duplicated": 2}


def test_what_comes_after_a_later_one_is_reordered() -> None:
    court = Court()
    assert court.take(*court.messages([12, 11, 13])) == {"lost": 1, "reordered": 1}


def test_what_comes_after_its_gap_is_reordered() -> None:
    court = Court()
    assert court.take(gap(11, 12, "slow"), *court.messages([12])) == {"reordered": 1}


@pytest.mark.parametrize("epoch", ["e", "f"])
def test_an_admitted_loss_without_its_gap_is_unannounced(epoch: str) -> None:
    court = Court()
    court.reader.begin_visit("sse")
    faults = court.take(subscribed(epoch, 10, recovered=False), *court.messages([11, 12]))
    assert faults == {"unannounced": 1}


@pytest.mark.parametrize(("epoch", "offset"), [("f", 10), ("e", 11), ("e", 9)])
def test_a_recovery_from_another_place_is_unannounced(epoch: str, offset: int) -> None:
    court = Court()
    court.reader.begin_visit("sse")
    assert court.take(subscribed(epoch, offset, recovered=True)) == {"unannounced": 1}


@pytest.mark.parametrize(
    "announced",
    [
        pytest.param(gap(12, 13, "slow"), id="leaves one out"),
        pytest.param(gap(10, 13, "slow"), id="names what was given"),
        pytest.param(gap(11, 10, "expired"), id="is empty"),
        pytest.param(gap(11, 13, "expired", "f"), id="is of another epoch"),
        pytest.param(gap(11, 13, "epoch"), id="is of the same epoch"),
        pytest.param(gap(2, 3, "epoch", "f"), id="does not begin where the epoch does"),
    ],
)
def test_a_gap_that_cannot_be_is_wrong(announced: Push) -> None:
    assert Court().take(announced) == {"wrong": 1}


def test_the_end_of_an_epoch_is_wrong_where_logs_are_durable() -> None:
    assert Court(is_durable=True).take(gap(1, 0, "epoch", "f")) == {"wrong": 1}
    assert Court().take(gap(1, 0, "epoch", "f")) == {}


def test_the_data_of_another_publication_is_wrong() -> None:
    court = Court()
    message = court.messages([11])[0] | {"data": court.messages([12])[0]["data"]}
    assert court.take(message) == {"wrong": 1}


@pytest.mark.parametrize("change", [{"padding": "x"}, {"sequence": 12}, {"sum": None}])
def test_mangled_data_is_wrong(change: dict[str, object]) -> None:
    court = Court()
    message = court.messages([11])[0]
    assert court.take(message | {"data": message["data"] | change}) == {"wrong": 1}


def test_data_of_another_channel_is_wrong() -> None:
    court = Court()
    data = make_data("sports", court.ledger.send(1), 5)
    assert court.take(court.messages([11])[0] | {"data": data}) == {"wrong": 1}


def test_a_channel_that_nobody_subscribed_to_is_wrong() -> None:
    court = Court()
    assert court.take(court.messages([11])[0] | {"channel": "sports"}) == {"wrong": 1}
    assert court.take(gap(1, 2, "slow") | {"channel": "sports"}) == {"wrong": 2}


def answer(offset: int, messages: list[Push], gaps: list[Push], epoch: str = "e") -> Push:
    positions = {CHANNEL: {"epoch": epoch, "offset": offset}}
    return {"cursor": "c", "positions": positions, "messages": messages, "gaps": gaps}


def test_the_gaps_of_a_poll_stand_where_their_messages_are_missing() -> None:
    court = Court()
    messages = court.messages([11, 14, 17])
    court.reader.take_answer(answer(19, messages, [gap(12, 13, "slow"), gap(15, 16, "slow")]))
    assert court.take() == {"lost": 2}  # the cursor is past 18 and 19
    assert court.reader.positions == {CHANNEL: Position("e", 19)}
    assert court.reader.cursor == "c"


def test_a_poll_whose_cursor_would_bring_something_again_is_wrong() -> None:
    court = Court()
    court.reader.take_answer(answer(12, court.messages([11, 12, 13]), []))
    assert court.take() == {"wrong": 1}


def test_a_poll_that_goes_on_in_another_epoch_must_say_so() -> None:
    court = Court()
    court.reader.take_answer(answer(0, [], [], epoch="f"))
    assert court.take() == {"unannounced": 1}
    court = Court()
    court.reader.take_answer(answer(0, [], [gap(1, 0, "epoch", "f")], epoch="f"))
    assert court.take() == {}


def test_a_first_poll_says_where_the_client_begins() -> None:
    reader = Reader("client", Tally(), Ledger(), is_durable=False)
    reader.take_answer(answer(7, [], []))
    assert reader.positions == {CHANNEL: Position("e", 7)}


def test_a_first_poll_may_bring_what_was_published_meanwhile() -> None:
    court = Court()
    court.reader.positions.clear()
    court.reader.take_answer(answer(9, court.messages([8, 9]), []))
    assert court.take() == {}
    assert court.reader.positions == {CHANNEL: Position("e", 9)}


@pytest.mark.parametrize(
    ("end", "lost"), [(Position("e", 10), 0), (Position("e", 13), 3), (Position("f", 0), 1)]
)
def test_what_a_client_has_not_got_at_the_end_is_lost(end: Position, lost: int) -> None:
    court = Court()
    court.reader.finish({CHANNEL: end})
    assert court.tally.faults["lost"] == lost


def test_the_first_faults_are_told_in_full_and_all_are_counted() -> None:
    court = Court()
    court.take(*court.messages([11] * 50))
    assert court.tally.faults["duplicated"] == 49
    assert len(court.tally.cases) == 10
    assert court.tally.cases[0] == ("duplicated: client by websocket: news: offset 11 of e at 11")
