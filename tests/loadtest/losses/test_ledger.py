"""What was published is told once and for all; what contradicts it is named."""

from loadtest.losses.ledger import Ledger, Place
from loadtest.losses.payload import Identity


def test_what_is_acknowledged_and_seen_at_one_place_is_fine_in_either_order() -> None:
    ledger = Ledger()
    first, second = ledger.send(1), ledger.send(1)
    assert (first, second) == (Identity(1, 1), Identity(1, 2))
    assert ledger.acknowledge(first, Place("a", "e", 1)) == ""
    assert ledger.see(first, Place("a", "e", 1)) == ""
    assert ledger.see(second, Place("a", "e", 2)) == ""
    assert ledger.acknowledge(second, Place("a", "e", 2)) == ""
    assert ledger.acknowledged_count == 2


def test_two_publications_at_one_place_are_named() -> None:
    ledger = Ledger()
    ledger.acknowledge(ledger.send(1), Place("a", "e", 1))
    assert "where Identity(publisher=1, sequence=1) was before" in ledger.see(
        ledger.send(2), Place("a", "e", 1)
    )


def test_one_publication_at_two_places_is_named() -> None:
    ledger = Ledger()
    identity = ledger.send(1)
    ledger.acknowledge(identity, Place("a", "e", 1))
    for place in (Place("a", "e", 2), Place("b", "e", 1), Place("a", "f", 1)):
        assert "as well" in ledger.see(identity, place)


def test_a_repeated_publication_may_be_in_the_next_epoch_as_well_but_not_twice_in_one() -> None:
    ledger = Ledger()
    identity = ledger.send(1)
    ledger.see(identity, Place("a", "e", 1))
    ledger.repeat(identity)
    assert ledger.acknowledge(identity, Place("a", "f", 1)) == ""
    assert "as well" in ledger.acknowledge(identity, Place("a", "e", 2))


def test_what_was_refused_or_never_sent_must_not_be_seen() -> None:
    ledger = Ledger()
    identity = ledger.send(1)
    assert ledger.refuse(identity) == ""
    assert "was refused" in ledger.see(identity, Place("a", "e", 1))
    assert "was never sent" in ledger.see(Identity(1, 2), Place("a", "e", 1))


def test_what_was_seen_must_not_be_refused_afterwards() -> None:
    ledger = Ledger()
    identity = ledger.send(1)
    ledger.see(identity, Place("a", "e", 1))
    assert "was refused, but seen" in ledger.refuse(identity)


def test_a_repetition_may_be_refused_whatever_became_of_the_first() -> None:
    ledger = Ledger()
    seen, lost = ledger.send(1), ledger.send(1)
    ledger.see(seen, Place("a", "e", 1))
    for identity in (seen, lost):
        ledger.repeat(identity)
        assert ledger.refuse(identity) == ""
    assert ledger.see(lost, Place("a", "e", 2)) == ""


def test_what_was_acknowledged_behind_the_end_has_vanished() -> None:
    ledger = Ledger()
    for offset in range(1, 6):
        ledger.acknowledge(ledger.send(1), Place("a", "e", offset))
    assert ledger.count_vanished("a", "e", 5) == 0
    assert ledger.count_vanished("a", "e", 3) == 2
    assert ledger.count_vanished("a", "f", 0) == 0


def test_a_publisher_must_find_its_publications_in_the_order_in_which_it_sent_them() -> None:
    ledger = Ledger()
    one, two, other = ledger.send(1), ledger.send(1), ledger.send(2)
    ledger.acknowledge(two, Place("a", "e", 1))
    ledger.acknowledge(other, Place("a", "e", 2))
    ledger.acknowledge(one, Place("a", "e", 3))
    (problem,) = ledger.find_misplaced()
    assert "sequence=1) is at Place(channel='a', epoch='e', offset=3)" in problem


def test_a_repeated_publication_may_come_later_than_in_its_turn() -> None:
    ledger = Ledger()
    one, two = ledger.send(1), ledger.send(1)
    ledger.acknowledge(two, Place("a", "e", 1))
    ledger.repeat(one)
    ledger.acknowledge(one, Place("a", "e", 2))
    assert ledger.find_misplaced() == []
