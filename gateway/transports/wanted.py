"""What a GET of /sse or /poll wants: which channels, each from where."""

import asyncio
from typing import Final, NamedTuple, cast, get_args

from gateway.errors import BrokerUnavailable
from gateway.hub import Hub, Start
from gateway.query import Query, read_integer
from gateway.reading import choose_overflow
from gateway.stream import Stream
from protocol.codes import ErrorCode
from protocol.cursor import MAX_OFFSET, Position, decode_cursor
from protocol.errors import MessageError
from protocol.messages import Overflow
from protocol.publication import check_channel


class Wanted(NamedTuple):
    """One channel that a request wants, and from where; None is from now.

    overflow is the policy asked for.
    """

    channel: str
    start: Start
    overflow: Overflow | None = None


# What a channel adds to a cursor besides its name: lengths, an epoch of 6 bytes, an offset.
_POSITION_BYTES: Final = 18
# In base64url 7.3 KiB, so that it fits into a header field of 8 KiB when an EventSource brings it
# back: its retry would be answered with 431 otherwise, and it would stop for ever.
_MAX_CURSOR_BYTES: Final = 5500
CHANNEL_PARAMETERS: Final = ("channel", "cursor", "epoch", "offset", "overflow")


def read_wanted(query: Query, *, max_channels: int, last_event_id: str | None) -> list[Wanted]:
    """Return what query asks for, in its order; raise MessageError for what is wrong with it.

    Positions come from last_event_id, else from `cursor`, else from `epoch` and `offset`, of which
    the i-th belong to the i-th `channel`. A channel that a cursor does not name starts from now.
    `overflow` holds for all channels.
    """
    channels = query.all("channel")
    if not channels:
        text = "no channel given; ask for ?channel=NAME, once per channel"
        raise MessageError(ErrorCode.INVALID_FIELD, text)
    if len(channels) > max_channels:
        text = f"{len(channels)} channels asked for; one request may have {max_channels}"
        raise MessageError(ErrorCode.INVALID_FIELD, text)
    for channel in channels:
        check_channel(channel)
    if sum(len(channel.encode()) + _POSITION_BYTES for channel in channels) > _MAX_CURSOR_BYTES:
        text = "the channel names are together too long for a cursor that fits into a request head"
        raise MessageError(ErrorCode.INVALID_FIELD, text)
    if len(set(channels)) < len(channels):
        raise MessageError(ErrorCode.ALREADY_SUBSCRIBED, "a channel is given twice")
    cursor = query.one("cursor")
    positions = _read_positions(query, channels)
    if cursor is not None and positions:
        text = "give cursor, or epoch and offset, not both"
        raise MessageError(ErrorCode.INVALID_FIELD, text)
    if last_event_id or cursor is not None:
        positions = decode_cursor(last_event_id or cursor or "")
    overflow = _read_overflow(query.one("overflow"))
    return [Wanted(channel, positions.get(channel), overflow) for channel in channels]


def _read_positions(query: Query, channels: list[str]) -> dict[str, Position]:
    epochs, offsets = query.all("epoch"), query.all("offset")
    if not epochs and not offsets:
        return {}
    if not len(epochs) == len(offsets) == len(channels):
        text = "epoch and offset are given for every channel, in the same order, or for none"
        raise MessageError(ErrorCode.INVALID_FIELD, text)
    return {
        channel: Position(epoch, read_integer("offset", offset, at_most=MAX_OFFSET))
        for channel, epoch, offset in zip(channels, epochs, offsets, strict=True)
    }


def _read_overflow(text: str | None) -> Overflow | None:
    for overflow in get_args(Overflow):
        if text == overflow:
            return cast(Overflow, overflow)
    if text is None:
        return None
    message = f"overflow {text[:40]!r} is none of {', '.join(get_args(Overflow))}"
    raise MessageError(ErrorCode.INVALID_FIELD, message)


async def follow_all(hub: Hub, wanted: list[Wanted]) -> list[Stream]:
    """Return the followed streams of all wanted channels.

    Raises MessageError where the broker refuses one or is out of reach, (overloaded) where the node
    has all its sessions, and (invalid_field) for an overflow policy that its channel does not
    allow; then none is followed. Whoever attaches a session with them does it in the same turn.
    """
    hub.check_room()
    streams: list[Stream] = []
    try:
        for channel, _, overflow in wanted:
            streams.append(await _follow(hub, channel))
            choose_overflow(streams[-1].config, overflow)
        hub.check_room()  # others may have come while the broker was asked
    except BaseException as error:
        for stream in streams:
            hub.release(stream.name)
        if isinstance(error, BrokerUnavailable):
            raise MessageError(ErrorCode.OVERLOADED, str(error)) from None
        raise
    return streams


async def _follow(hub: Hub, channel: str) -> Stream:
    followed = hub.follow(channel)
    try:
        return await followed
    except asyncio.CancelledError:
        # The client left in the very turn in which the broker answered.
        if not followed.cancelled() and followed.exception() is None:
            hub.release(channel)
        raise
