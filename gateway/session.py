"""One client as the hub sees it: who it is, what it is subscribed to, and how to reach it."""

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from gateway.allowance import Allowance
from gateway.stream import GapReason, Stream
from protocol.cursor import Position
from protocol.messages import Overflow, Push
from protocol.publication import Publication

# Random bytes of a session's id: a billion sessions share one with a chance of one to ten thousand.
# A multiple of three, so that its base64 has no padding.
_ID_BYTES: Final = 9

# Where some reader stands in the channel of that name.
Positions = Callable[[str], Position]

# Publications of a stream, oldest first, as bytes for one kind of client. The hub calls it once per
# batch for all subscribers that share it: the function's identity is the key.
Encode = Callable[[Stream, Sequence[Publication], Positions], bytes]

# A push as bytes for one kind of client; made once for all subscribers that share the function.
EncodePush = Callable[[Push], bytes]


class Transport(Protocol):
    """How a session reaches its client: WebSocket, SSE or long-poll."""

    @property
    def encode_push(self) -> EncodePush | None:
        """How pushes that many sessions get are encoded; None for a session of one answer.

        Such a session is not present in its channels, and is not told who is.
        """

    def write(self, data: bytes) -> None:
        """Write a batch that the session's encode returned; data is shared, and never copied."""

    def push(self, push: Push, positions: Positions) -> None:
        """Write one push or reply; positions are the session's, this push included."""

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Tell the client why (`closing`), then close politely."""

    def pause_reading(self) -> None:
        """Take no more commands until resume_reading; nothing where a transport takes none."""

    def resume_reading(self) -> None:
        """Take back pause_reading; does nothing where there was none."""


class Latest(NamedTuple):
    """Up to this offset only the newest publication of each key is given, and for what reason.

    Publications without key count as those of one more key.
    """

    until: int
    reason: GapReason


class Subscription:
    """One session's interest in one channel, and its position in that channel's stream.

    A live subscription is at stream.delivered with all other live ones and has no offset of its
    own; a lagging one owns nothing but its offset, and what its overflow policy made of it.
    """

    __slots__ = (
        "has_been_live",
        "is_live",
        "latest",
        "offset",
        "overflow",
        "session",
        "stream",
        "write",
    )

    def __init__(
        self, session: "Session", stream: Stream, offset: int, overflow: Overflow = "gap"
    ) -> None:
        self.session = session
        self.stream = stream
        self.offset = offset
        self.overflow = overflow
        self.latest: Latest | None = None
        self.is_live = False
        self.has_been_live = False
        self.write = session.transport.write  # looked up once: the flush calls it per delivery

    @property
    def position(self) -> Position:
        """What the client has been given."""
        delivered = self.stream.delivered if self.is_live else None
        return Position(self.stream.epoch, self.offset if delivered is None else delivered)

    @property
    def has_left_log(self) -> bool:
        """Whether the next publication of a lagging subscription is not kept any more."""
        return self.offset < self.stream.first - 1


class Session:
    """One client: its identity, its subscriptions by channel, and whether its socket takes more.

    cursor_channels are those whose positions encode asks for.
    """

    __slots__ = (
        "allowance",
        "cursor_channels",
        "encode",
        "error_count",
        "id",
        "is_paused",
        "subscriptions",
        "transport",
        "user",
    )

    def __init__(
        self,
        transport: Transport,
        encode: Encode,
        user: str | None = None,
        *,
        cursor_channels: tuple[str, ...] = (),
    ) -> None:
        self.id = urlsafe_b64encode(os.urandom(_ID_BYTES)).decode()
        self.user = user
        self.transport = transport
        self.encode = encode
        self.cursor_channels = cursor_channels
        self.subscriptions: dict[str, Subscription] = {}
        self.is_paused = False
        self.error_count = 0
        self.allowance: Allowance | None = None  # None until the first command

    def position_of(self, channel: str) -> Position:
        """Return where this session stands in a channel that it is subscribed to."""
        return self.subscriptions[channel].position

    def positions(self) -> dict[str, Position]:
        """Return where this session stands in each of its channels, in the order of subscribing."""
        return {name: each.position for name, each in self.subscriptions.items()}

    def push(self, push: Push) -> None:
        """Write one push or reply to the client."""
        self.transport.push(push, self.position_of)
