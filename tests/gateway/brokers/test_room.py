"""What all logs of a node may take together, and what is told of it."""

import pytest

from gateway.brokers.room import check_room, log_metrics
from gateway.config import ChannelsConfig
from gateway.stream import LogMemory, Stream
from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.publication import Data, Publication


def test_a_node_whose_logs_take_as_much_as_they_may_takes_no_more_and_says_so(caplog):
    config, memory = ChannelsConfig(max_log_bytes=256), LogMemory()
    stream = Stream("a", "E", config, lambda: 0.0, memory)
    check_room(stream, memory, config)
    stream.append(Publication(1, Data(b"1" * 100), 0.0))
    with pytest.raises(
        MessageError, match="'a': all logs of this node together hold 256 bytes"
    ) as caught:
        check_room(stream, memory, config)
    assert caught.value.code == ErrorCode.OVERLOADED
    assert [each.levelname for each in caplog.records] == ["WARNING"]


def test_a_stream_that_waits_for_its_subscribers_takes_no_more():
    config, memory = ChannelsConfig(history_count=0, lag_count=0), LogMemory()
    stream = Stream("a", "E", config, lambda: 0.0, memory)
    stream.delivered = 0
    for offset in range(1, 1001):
        stream.append(Publication(offset, Data(b"1"), 0.0))
    check_room(stream, memory, config)
    stream.append(Publication(1001, Data(b"1"), 0.0))
    with pytest.raises(MessageError, match="its subscribers cannot be given"):
        check_room(stream, memory, config)


def test_metrics_tell_the_three_counts():
    found = {each.name: (each.kind, each.value) for each in log_metrics(1, 2, 3)}
    assert found == {
        "gateway_publications_total": ("counter", 1),
        "gateway_channels": ("gauge", 2),
        "gateway_log_bytes": ("gauge", 3),
    }
