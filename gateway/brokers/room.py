"""How much all logs of a node take, and when they take no more."""

import logging

from gateway.config import ChannelsConfig
from gateway.metrics import Metric
from gateway.stream import LogMemory, Stream
from protocol.codes import ErrorCode
from protocol.errors import MessageError

logger = logging.getLogger("gateway.broker")


def check_room(stream: Stream, memory: LogMemory, config: ChannelsConfig) -> None:
    """Raise MessageError (overloaded) unless stream and its node can take more publications."""
    if stream.is_overfull:  # never without subscribers: the bounds apply
        text = f"channel {stream.name!r}: its subscribers cannot be given what is published"
        raise MessageError(ErrorCode.OVERLOADED, text)
    limit = config.max_log_bytes
    if memory.used_bytes >= limit:
        logger.warning("publications are refused: all logs together hold %s bytes", limit)
        text = f"channel {stream.name!r}: all logs of this node together hold {limit} bytes"
        raise MessageError(ErrorCode.OVERLOADED, f"{text}, as many as they may")


def log_metrics(publication_count: int, channel_count: int, log_bytes: int) -> list[Metric]:
    """Return what an operator may want to know of any broker."""
    return [
        Metric("gateway_publications_total", "counter", "Publications accepted", publication_count),
        Metric("gateway_channels", "gauge", "Channels in memory", channel_count),
        Metric("gateway_log_bytes", "gauge", "Memory that all logs take", log_bytes),
    ]
