"""What of some calls of publish goes to the disk in one commit."""

from gateway.broker import Draft
from gateway.brokers.database import Key
from gateway.brokers.pending import Log, Publishing, group, measure
from gateway.config import ChannelConfig
from gateway.stream import Stream
from protocol.publication import Data, Publication


def make_log(name, **bounds):
    log = Log(name)
    log.id = len(name)
    log.stream = Stream(name, "E", ChannelConfig(**bounds), lambda: 0.0)
    return log


def publishing(log, first, last, used=()):
    made = Publishing([Draft(Data(b"1"))], None, 1)
    made.log, made.expires = log, 7.0
    made.publications = [Publication(each, Data(b"1"), 0.0) for each in range(first, last + 1)]
    made.used = dict(used)
    return made


def offsets(growth):
    return [each.offset for each in growth.publications]


def test_each_channel_grows_once_by_all_its_publications_in_order():
    a, b = make_log("a"), make_log("bb")
    calls = [publishing(a, 1, 2), publishing(b, 5, 5, {"k": 5}), publishing(a, 3, 3)]
    first, second = group(calls)
    assert (first.name, first.channel, first.last, offsets(first)) == ("a", 1, 3, [1, 2, 3])
    assert (second.name, second.channel, second.last, offsets(second)) == ("bb", 2, 5, [5])
    assert (first.keys, second.keys) == ([], [Key("k", 5, 7.0)])


def test_everything_that_waits_is_counted():
    few = measure([Draft(Data(b"1"))])
    assert measure([Draft(Data(b"1" * 1001))]) == few + 1000
    assert measure([Draft(Data(b"1"), "k" * 1000)]) == few + 1000
    assert measure([Draft(Data(b"1"), None, {"t" * 500: "u" * 500})]) > few + 1000
    assert few < measure([Draft(Data(b"1"))] * 2) < 2 * few


def test_repeats_alone_are_no_growth():
    log = make_log("a")
    assert group([publishing(log, 1, 0)]) == []


def test_what_the_history_would_not_keep_is_not_written():
    log = make_log("a", history_count=2)
    (growth,) = group([publishing(log, 1, 5)])
    assert (growth.last, offsets(growth), growth.kept_from) == (5, [4, 5], 4)
    for bound in ("history_count", "history_bytes", "history_age_s"):
        (growth,) = group([publishing(make_log("a", **{bound: 0}), 1, 5)])
        assert (growth.last, offsets(growth)) == (5, [])
    assert growth.name == "a"


def test_what_left_the_stream_may_leave_the_disk():
    log = make_log("a", history_bytes=3)
    for offset in range(1, 6):
        log.stream.append(Publication(offset, Data(b"1"), 0.0))
    (growth,) = group([publishing(log, 6, 6)])
    assert growth.kept_from == 3
