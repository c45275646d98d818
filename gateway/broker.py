"""What a broker must do: the interface between a node and whatever carries publications.

A broker owns the offsets, the epochs and the history of every channel. A node talks to exactly one.
Its methods return futures because a broker may have to ask another machine; one that knows the
answer at once returns a future that is done, and then the answer is used in the same turn.
"""

from asyncio import Future
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.stream import Page, Stream
from protocol.cursor import Position
from protocol.publication import Data

# Called whenever a followed stream has grown; not called for others.
Deliver = Callable[[Stream], None]


class Draft(NamedTuple):
    """What a publisher hands in: a publication that has no place in a log yet.

    The fields are those of protocol.messages.Publish; unechoed is the session that published it and
    does not want to receive it.
    """

    data: Data
    key: str | None = None
    tags: dict[str, str] | None = None
    idempotency_key: str | None = None
    expected_offset: int | None = None
    unechoed: str | None = None


class Broker(Protocol):
    """Carries publications; every failure is BrokerUnavailable or a MessageError, in the future.

    Order: publications of one channel are appended in the order in which publish was called on a
    node, and every node's stream of a channel grows in the order of offsets without a hole.
    """

    async def start(self, deliver: Deliver) -> None:
        """Become usable; call deliver(stream) after every growth of a followed stream."""

    async def stop(self) -> None:
        """Give up everything that is held, once what is pending has been answered or has failed."""

    def follow(self, channel: str) -> "Future[Stream]":
        """Return this node's stream of channel, which from now on grows with every publication.

        Following twice returns the same stream and is undone by one unfollow. Fails with
        MessageError (overloaded) when the node has as many channels as it may.
        """

    def unfollow(self, channel: str) -> None:
        """Let the stream of channel go; whoever follows it again within its retention finds it.

        Does nothing where it is not followed.
        """

    def publish(self, channel: str, drafts: Sequence[Draft]) -> "Future[list[Position]]":
        """Append drafts to channel and return their places, once they are as durable as promised.

        All of them are appended, without another publication in between, or none is. One whose
        idempotency_key was used within the channel's window is not appended again and has the place
        of the first. Fails with OffsetConflict when the channel, with the drafts before, does not
        end at an expected_offset; with MessageError (overloaded) when it would open one channel too
        many, when the log can take no more now, or the channel remember no more keys; (unsupported)
        for a key where it remembers none. Whoever waits shields the future: what was handed in
        cannot be taken back.
        """

    def history(
        self,
        channel: str,
        position: Position | None,
        *,
        limit: int,
        max_bytes: int,
        is_reverse: bool,
    ) -> "Future[Page]":
        """Return a page of what channel retains, as Stream.page describes it."""
