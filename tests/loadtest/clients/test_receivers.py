"""Subscribers under load, fed with bytes at every split: what they count, and what they notice."""

import asyncio
from collections.abc import Iterator

import pytest

from loadtest.clients.connection import LoadConnection
from loadtest.clients.dialects import EVENT_DIALECTS, Opening, upgrade
from loadtest.clients.receivers import EventReceiver, PublishingConnection, Receiver
from loadtest.clients.wire import EventWalker, FrameWalker
from loadtest.deliveries import Deliveries, Log
from loadtest.errors import LoadError
from loadtest.recorder import Recorder

DELIVERIES = [b"\x81\x06" + b"data %d" % number for number in range(10)]
PING = b"\x89\x02hi"
PONG = b"\x8a\x82\0\0\0\0hi"


class Sink(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


def feed(connection: LoadConnection, *pieces: bytes) -> None:
    for piece in filter(None, pieces):
        connection.buffer[: len(piece)] = piece
        connection.buffer_updated(len(piece))


class Bench:
    """One receiver whose channel has so many publications."""

    def __init__(self, count: int, is_deflated: bool = False) -> None:
        self.recorder = Recorder()
        self.books = Deliveries(self.recorder)
        self.log = Log(lambda number: DELIVERIES[number])
        self.publish(count)
        self.receiver = Receiver(
            Opening(b"", b""),
            self.books,
            self.log,
            FrameWalker(),
            gap=b"gap!",
            is_measured=not is_deflated,
        )
        self.sink = Sink()
        self.receiver.connection_made(self.sink)

    def publish(self, count: int) -> None:
        for _ in range(count):
            self.log.add(1)
        self.books.owe(count)

    def feed(self, *pieces: bytes) -> "Bench":
        feed(self.receiver, *pieces)
        return self

    @property
    def counts(self) -> dict[str, int]:
        return self.recorder.counts


def splits(wire: bytes) -> Iterator[tuple[bytes, ...]]:
    for at in range(len(wire) + 1):
        yield wire[:at], wire[at:]
    yield tuple(wire[at : at + 1] for at in range(len(wire)))


@pytest.mark.parametrize("is_deflated", [False, True])
async def test_deliveries_are_counted_however_they_are_cut(is_deflated: bool) -> None:
    for pieces in splits(b"".join(DELIVERIES[1:5])):
        bench = Bench(4, is_deflated).feed(*pieces)
        assert bench.counts == {"deliveries": 4}
        assert bench.recorder.latency.count == 4
        assert bench.books.owed_count == 0


@pytest.mark.parametrize("is_deflated", [False, True])
async def test_pings_anywhere_between_them_are_answered(is_deflated: bool) -> None:
    for place in range(4):
        wire = [*DELIVERIES[1:4]]
        wire.insert(place, PING)
        for pieces in splits(b"".join(wire)):
            bench = Bench(3, is_deflated).feed(*pieces)
            assert bench.counts == {"deliveries": 3}
            assert bench.sink.written == PONG
            bench.publish(1)
            assert bench.feed(DELIVERIES[4]).counts == {"deliveries": 4}


async def test_one_that_does_not_come_stays_owed() -> None:
    bench = Bench(3).feed(DELIVERIES[1], DELIVERIES[3])
    assert bench.counts == {"deliveries": 2}
    assert bench.books.owed_count == 1


async def test_one_that_comes_twice_is_surplus() -> None:
    for pieces in splits(DELIVERIES[1] + DELIVERIES[1]):
        bench = Bench(1).feed(*pieces)
        assert bench.counts == {"deliveries": 1, "surplus": 1}
        assert bench.books.owed_count == 0
        bench.publish(1)
        assert bench.feed(DELIVERIES[2]).counts == {"deliveries": 2, "surplus": 1}


async def test_a_gap_is_no_delivery() -> None:
    for wire in (b"\x81\x04gap!" + DELIVERIES[2], DELIVERIES[1] + b"\x81\x04gap!"):
        bench = Bench(2).feed(wire)
        assert bench.counts == {"deliveries": 1, "gaps": 1}
        assert bench.books.owed_count == 1


async def test_behind_a_gap_there_are_no_latencies_of_other_publications() -> None:
    bench = Bench(5).feed(DELIVERIES[1], b"\x81\x04gap!", DELIVERIES[4], DELIVERIES[5])
    assert bench.counts == {"deliveries": 3, "gaps": 1}
    assert bench.recorder.latency.count == 1


async def test_what_others_have_published_is_asked_for_when_it_arrives() -> None:
    for is_deflated in (False, True):
        bench = Bench(0, is_deflated)
        bench.books.hear = lambda bench=bench: bench.publish(2)
        assert bench.feed(DELIVERIES[1] + DELIVERIES[2]).counts == {"deliveries": 2}


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"\x88\x07\x0b\xb9slow!", "closed a subscriber: 3001 slow!"),
        (b"HTTP", "something else than frames"),
    ],
)
async def test_a_close_and_what_is_no_frame_end_the_run(wire: bytes, reason: str) -> None:
    bench = Bench(1).feed(wire)
    with pytest.raises(LoadError, match=reason):
        bench.books.check()


async def test_a_connection_that_is_lost_ends_the_run() -> None:
    bench = Bench(1)
    bench.receiver.connection_lost(None)
    with pytest.raises(LoadError, match="closed a subscriber's connection"):
        bench.books.check()


async def test_a_publisher_answers_pings_and_hears_refusals() -> None:
    for wire, reason in (
        (b'\x81\x0e"rate_limited"', "GATEWAY_SESSION__COMMANDS_PER_S=0"),
        (b'\x81\x07"error"', "refused to publish: b'\"error\"'"),
        (b"\x88\x00", "closed the publisher: without a code"),
        (b"\x81\x05Hello", None),
    ):
        books = Deliveries(Recorder())
        opening = Opening(upgrade("/", "host"), b"\r\n\r\n")
        publisher, sink = PublishingConnection(opening, books), Sink()
        publisher.connection_made(sink)
        feed(publisher, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", PING, wire)
        assert sink.written == opening.request + PONG
        if reason is None:
            books.check()
        else:
            with pytest.raises(LoadError, match=reason):
                books.check()


async def test_a_publisher_by_requests_hears_refusals_too() -> None:
    books = Deliveries(Recorder())
    publisher = PublishingConnection(Opening(b"GET / HTTP/1.1\r\n\r\n", b"ready"), books)
    publisher.connection_made(Sink())
    feed(publisher, b"HTTP/1.1 200 OK\r\n\r\nready", b"HTTP/1.1 201 Created\r\n\r\nqueued")
    books.check()
    feed(publisher, b"HTTP/1.1 404 Not Found\r\n")
    with pytest.raises(LoadError, match=r"refused to publish: HTTP/1\.1 404 Not Found"):
        books.check()


async def test_deliveries_that_share_a_frame_are_counted_by_what_each_has_once() -> None:
    shared = b"\x81\x0d" + b"\n".join(delivery[2:] for delivery in DELIVERIES[1:3])
    for pieces in splits(shared + DELIVERIES[3]):
        recorder = Recorder()
        log = Log(lambda number: DELIVERIES[number])
        for _ in range(3):
            log.add(1)
        receiver = Receiver(
            *(Opening(b"", b""), Deliveries(recorder), log, EventWalker(b"data ")),
            gap=b"",
            is_measured=False,
        )
        receiver.connection_made(Sink())
        feed(receiver, *pieces)
        assert recorder.counts == {"deliveries": 3}


async def test_what_a_server_wants_second_is_sent_once_it_has_answered() -> None:
    opening = Opening(upgrade("/", "host"), b"subscribed", second=b"subscribe")
    connection, sink = LoadConnection(opening), Sink()
    connection.connection_made(sink)
    feed(connection, b"HTTP/1.1 101 Switching\r\n\r")
    assert sink.written == opening.request
    feed(connection, b"\n")
    feed(connection, b"connected")
    assert sink.written == opening.request + b"subscribe"
    assert connection.opened is not None
    feed(connection, b"subscribed")
    assert connection.opened is None


EPOCH = "n5kmcueb"
BEGINNING = (
    b"HTTP/1.1 200 OK\r\n\r\nretry: 2000\n\nevent: subscribed\n"
    b'data: {"type":"subscribed","channel":"a","epoch":"n5kmcueb","offset":0}\n\nid: BAFhDJ\n\n'
)


def follow_events(*pieces: bytes, name: str = "gateway") -> tuple[dict[str, int], list[str]]:
    """Return what a subscriber to two publications counts, and the epochs that it hears of."""
    dialect = EVENT_DIALECTS[name]
    recorder = Recorder()
    log = Log(lambda number: dialect.delivery("a", EPOCH, number, '"x"'))
    for _ in range(2):
        log.add(1)
    epochs: list[str] = []
    receiver = EventReceiver(
        dialect.subscriber("/ws", "host", "a"),
        Deliveries(recorder),
        log,
        dialect=dialect,
        on_epoch=epochs.append,
    )
    receiver.connection_made(Sink())
    feed(receiver, *pieces)
    return recorder.counts, epochs


async def test_events_are_counted_however_they_are_cut() -> None:
    events = EVENT_DIALECTS["gateway"]
    first, second = (events.delivery("a", EPOCH, number, '"x"') for number in (1, 2))
    for between in (b"", b":\n\n"):  # a heartbeat
        for pieces in splits(BEGINNING + first + between + second):
            assert follow_events(*pieces) == ({"deliveries": 2}, [EPOCH])


async def test_an_event_that_tells_of_a_loss_is_no_delivery() -> None:
    gap = b'event: gap\ndata: {"type":"gap","channel":"a","from":1,"to":1}\n\n'
    second = EVENT_DIALECTS["gateway"].delivery("a", EPOCH, 2, '"x"')
    counts, _ = follow_events(BEGINNING, gap + second)
    assert counts == {"deliveries": 1, "gaps": 1}


async def test_events_of_nchan_are_counted_however_long_their_ids_are() -> None:
    wire = b': hi\n\nid: 1795908336:9\ndata: "x"\n\nid: 1795908336:10\ndata: "x"\n\n'
    for pieces in splits(b"HTTP/1.1 200 OK\r\n\r\n" + wire):
        assert follow_events(*pieces, name="nchan") == ({"deliveries": 2}, [])
