"""The client protocol, version 1: commands, replies and pushes as structs."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct

from protocol.codes import RETRYABLE, CloseCode, ErrorCode
from protocol.errors import MessageError, OffsetConflict

PROTOCOL_VERSION: Final = 1

# What happens to a subscription whose position has left the log: it is told the gap and goes on
# with all that is left, or with the newest of each key; or its session is ended.
Overflow = Literal["gap", "latest", "disconnect"]

# How many publications, or members, a page has where the request does not say, and at most.
DEFAULT_PAGE_COUNT: Final = 100
MAX_PAGE_COUNT: Final = 1000

# Longer than a UUID or a hash in hexadecimal; a broker keeps it for each publication.
IdempotencyKey = Annotated[str, Meta(min_length=1, max_length=128)]
ExpectedOffset = Annotated[int, Meta(ge=0)]

# --- commands -----------------------------------------------------------------------------------


class Command(Struct, tag_field="type", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Something a client asks; with an id it gets exactly one reply with the same id."""

    id: Annotated[int, Meta(ge=1)] | None = None


class Auth(Command, tag="auth", frozen=True):
    """Become the user that token names."""

    token: str


class Subscribe(Command, tag="subscribe", frozen=True):
    """Receive a channel from a position (cursor, or epoch and offset), its last n, or now.

    overflow is the channel's default where it is not given.
    """

    channel: str
    cursor: str | None = None
    epoch: str | None = None
    offset: Annotated[int, Meta(ge=0)] | None = None
    history: Annotated[int, Meta(ge=1)] | None = None
    overflow: Overflow | None = None


class PublishRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """One publication asked for over HTTP: a Publish command without type, id and echo."""

    channel: str
    data: Raw
    key: str | None = None
    tags: dict[str, str] | None = None
    idempotency_key: IdempotencyKey | None = None
    expected_offset: ExpectedOffset | None = None


class Unsubscribe(Command, tag="unsubscribe", frozen=True):
    """Receive a channel no longer."""

    channel: str


class Publish(Command, tag="publish", frozen=True):
    """Append one publication to a channel; data is undecoded bytes of the codec it came in.

    A repeat of idempotency_key within its window publishes nothing and returns the first place.
    With expected_offset nothing is published unless the channel ends there. Without echo the
    publisher's own session does not receive it.
    """

    channel: str
    data: Raw
    key: str | None = None
    tags: dict[str, str] | None = None
    idempotency_key: IdempotencyKey | None = None
    expected_offset: ExpectedOffset | None = None
    echo: bool = True


class History(Command, tag="history", frozen=True):
    """Read what is retained after the cursor, or with reverse before it, newest first."""

    channel: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_COUNT)] = DEFAULT_PAGE_COUNT
    reverse: bool = False


class Presence(Command, tag="presence", frozen=True):
    """Ask who is subscribed to a channel now; limit 0 asks only how many, cursor for the rest."""

    channel: str
    limit: Annotated[int, Meta(ge=0, le=MAX_PAGE_COUNT)] = DEFAULT_PAGE_COUNT
    cursor: str | None = None


class Ping(Command, tag="ping", frozen=True):
    """Ask for a pong."""


AnyCommand = Auth | Subscribe | Unsubscribe | Publish | History | Presence | Ping
COMMAND_TYPES: Final = (
    "auth",
    "subscribe",
    "unsubscribe",
    "publish",
    "history",
    "presence",
    "ping",
)


# --- replies and pushes -------------------------------------------------------------------------


class Push(Struct, tag_field="type", omit_defaults=True, frozen=True, kw_only=True):
    """Something the gateway sends: a reply where id is set, otherwise unasked."""

    id: int | None = None


class Welcome(Push, tag="welcome", frozen=True):
    """The first message of a session; ping_interval is in seconds."""

    session: str
    ping_interval: float
    user: str | None
    protocol: int


class Retention(Struct, frozen=True):
    """How much of a channel is kept: at most so many publications, bytes and seconds."""

    count: int
    bytes: int
    age_s: float


class Subscribed(Push, tag="subscribed", frozen=True):
    """Pushes of channel follow from offset + 1 in epoch; recovered says that none is lost."""

    channel: str
    epoch: str
    offset: int
    recovered: bool
    cursor: str
    overflow: Overflow
    retention: Retention


class Unsubscribed(Push, tag="unsubscribed", frozen=True):
    """No more pushes of channel follow; code and reason are set where nobody asked for it."""

    channel: str
    code: int | None = None
    reason: str | None = None


class Published(Push, tag="published", frozen=True):
    """The publication has this place in its channel."""

    channel: str
    epoch: str
    offset: int


class Message(Push, tag="message", frozen=True):
    """One publication of a subscribed channel, as a Record with its channel."""

    channel: str
    offset: int
    data: Raw
    encoding: Literal["base64"] | None = None
    key: str | None = None
    tags: dict[str, str] | None = None
    time: float | None = None


class Record(Struct, omit_defaults=True, frozen=True, kw_only=True):
    """One publication; encoding is "base64" where data is binary and the codec is JSON.

    time is when it was published, in seconds since 1970, to the millisecond.
    """

    offset: int
    data: Raw
    encoding: Literal["base64"] | None = None
    key: str | None = None
    tags: dict[str, str] | None = None
    time: float | None = None


class Gap(Push, tag="gap", frozen=True, rename={"from_": "from"}):
    """The client will not see from_ to to of epoch, both missing (none is, if to < from_)."""

    channel: str
    epoch: str
    from_: int
    to: int
    reason: Literal["slow", "expired", "epoch"]


class HistoryPage(Push, tag="history", frozen=True):
    """What is retained; cursor continues in the same direction; gap is what it has missed.

    more says that more is retained in that direction now.
    """

    channel: str
    epoch: str
    publications: list[Record]
    cursor: str
    gap: Gap | None = None
    more: bool = False


class Member(Struct, omit_defaults=True, frozen=True):
    """One member of a channel: a session, or a user with one of its sessions."""

    session: str
    user: str | None = None


class PresencePage(Push, tag="presence", frozen=True):
    """How many are subscribed to channel, and some of them; cursor continues, None at the end.

    Unasked, with the count alone: others came and went than were told by `joined` and `left`.
    """

    channel: str
    count: int
    members: list[Member] | None = None
    cursor: str | None = None


class Joined(Push, tag="joined", frozen=True):
    """Somebody subscribed to channel: a session, or a user with the first of its sessions.

    count is how many are subscribed now. Whoever knows the member already has nothing to add.
    """

    channel: str
    count: int
    session: str
    user: str | None = None


class Left(Push, tag="left", frozen=True):
    """Somebody is subscribed to channel no longer: a session, or a user with its last session.

    count is how many are subscribed now. Whoever does not know the member has nothing to remove.
    """

    channel: str
    count: int
    session: str
    user: str | None = None


class Pong(Push, tag="pong", frozen=True):
    """The reply to ping."""


class PingPush(Push, tag="ping", frozen=True):
    """A sign of life for clients that cannot see WebSocket pings; whatever they send answers it."""


class Error(Push, tag="error", frozen=True):
    """A command could not be obeyed; retry says whether the same command may succeed later.

    retry_after_ms is how long to wait before that, where it is known. epoch and offset are where
    the channel ends, where that is not what a publisher expected.
    """

    code: ErrorCode
    message: str
    retry: bool
    retry_after_ms: int | None = None
    epoch: str | None = None
    offset: int | None = None


class Closing(Push, tag="closing", frozen=True):
    """The connection is about to close; retry_after_ms is how long to wait before the next."""

    code: int
    reason: str
    reconnect: bool
    retry_after_ms: int | None = None


# RFC 6455 says nothing of reconnecting; after these a server may be back, or well again.
_RECONNECT_CODES: Final = frozenset(
    {
        CloseCode.GOING_AWAY,
        CloseCode.INTERNAL_ERROR,
        CloseCode.SERVICE_RESTART,
        CloseCode.TRY_AGAIN_LATER,
    }
)


def closing_push(code: int, reason: str, retry_after_ms: int | None = None) -> Closing:
    """Return the push that announces a close with code, and whether it is worth to come back."""
    return Closing(
        code=code,
        reason=reason,
        reconnect=code in _RECONNECT_CODES or 3000 <= code < 3500,
        retry_after_ms=retry_after_ms,
    )


def error_push(error: MessageError) -> Error:
    """Return the error push that tells a client about error."""
    conflict = error if isinstance(error, OffsetConflict) else None
    return Error(
        id=error.command_id,
        code=error.code,
        message=error.message,
        retry=error.code in RETRYABLE,
        retry_after_ms=error.retry_after_ms,
        epoch=None if conflict is None else conflict.epoch,
        offset=None if conflict is None else conflict.offset,
    )
