"""The client protocol, version 1: commands, replies and pushes as structs, and their codecs."""

from collections.abc import Callable
from typing import Annotated, Final, Literal, cast

import msgspec
from msgspec import Meta, Raw, Struct

from protocol.codes import RETRYABLE, CloseCode, ErrorCode
from protocol.errors import MessageError
from protocol.publication import Data, Publication, data_from_json, data_from_msgpack

PROTOCOL_VERSION: Final = 1

# --- commands -----------------------------------------------------------------------------------


class Command(Struct, tag_field="type", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Something a client asks; with an id it gets exactly one reply with the same id."""

    id: Annotated[int, Meta(ge=1)] | None = None


class Auth(Command, tag="auth", frozen=True):
    """Become the user that token names."""

    token: str


class Subscribe(Command, tag="subscribe", frozen=True):
    """Receive a channel from a position (cursor, or epoch and offset), its last n, or now."""

    channel: str
    cursor: str | None = None
    epoch: str | None = None
    offset: Annotated[int, Meta(ge=0)] | None = None
    history: Annotated[int, Meta(ge=1)] | None = None


class PublishRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """One publication asked for over HTTP: a Publish command without type and id."""

    channel: str
    data: Raw
    key: str | None = None
    tags: dict[str, str] | None = None


class Unsubscribe(Command, tag="unsubscribe", frozen=True):
    """Receive a channel no longer."""

    channel: str


class Publish(Command, tag="publish", frozen=True):
    """Append one publication to a channel; data is undecoded bytes of the codec it came in."""

    channel: str
    data: Raw
    key: str | None = None
    tags: dict[str, str] | None = None


class History(Command, tag="history", frozen=True):
    """Read what is retained after the cursor, or with reverse before it, newest first."""

    channel: str
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    reverse: bool = False


class Presence(Command, tag="presence", frozen=True):
    """Ask who is subscribed to a channel now."""

    channel: str


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


class Subscribed(Push, tag="subscribed", frozen=True):
    """Pushes of channel follow from offset + 1 in epoch; recovered says that none is lost."""

    channel: str
    epoch: str
    offset: int
    recovered: bool
    cursor: str


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


class Record(Struct, omit_defaults=True, frozen=True, kw_only=True):
    """One publication; encoding is "base64" where data is binary and the codec is JSON."""

    offset: int
    data: Raw
    encoding: Literal["base64"] | None = None
    key: str | None = None
    tags: dict[str, str] | None = None


class Gap(Push, tag="gap", frozen=True, rename={"from_": "from"}):
    """The client will not see from_ to to of epoch, both missing (none is, if to < from_)."""

    channel: str
    epoch: str
    from_: int
    to: int
    reason: Literal["slow", "expired", "epoch"]


class HistoryPage(Push, tag="history", frozen=True):
    """What is retained; cursor continues in the same direction; gap is what it has missed."""

    channel: str
    epoch: str
    publications: list[Record]
    cursor: str
    gap: Gap | None = None


class Member(Struct, omit_defaults=True, frozen=True):
    """One session that is subscribed to a channel."""

    session: str
    user: str | None = None


class PresencePage(Push, tag="presence", frozen=True):
    """How many sessions are subscribed to channel, and the first of them."""

    channel: str
    count: int
    members: list[Member]


class Pong(Push, tag="pong", frozen=True):
    """The reply to ping."""


class Error(Push, tag="error", frozen=True):
    """A command could not be obeyed; retry says whether the same command may succeed later."""

    code: ErrorCode
    message: str
    retry: bool


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
    return Error(
        id=error.command_id,
        code=error.code,
        message=error.message,
        retry=error.code in RETRYABLE,
    )


# --- codecs -------------------------------------------------------------------------------------


class _Envelope(Struct):
    """What can be read of a command that is otherwise wrong."""

    id: object = None
    type: object = None


class Codec:
    """One way to write the client protocol: a subprotocol's commands, pushes and data.

    is_text tells which kind of WebSocket message carries it; encode(push) returns a push without
    framing.
    """

    __slots__ = (
        "_decode_command",
        "_decode_envelope",
        "_name",
        "_read_data",
        "_write_data",
        "encode",
        "is_text",
    )

    def __init__(
        self,
        name: str,
        *,
        is_text: bool,
        decoder: type[msgspec.json.Decoder[object]] | type[msgspec.msgpack.Decoder[object]],
        encode: Callable[[object], bytes],
        read_data: Callable[[memoryview], Data],
        write_data: Callable[[Data], bytes],
    ) -> None:
        self.is_text = is_text
        self.encode = encode
        self._name = name
        self._decode_command = decoder(AnyCommand).decode
        self._decode_envelope = decoder(_Envelope).decode
        self._read_data = read_data
        self._write_data = write_data

    def decode_command(self, message: str | bytes) -> AnyCommand:
        """Return the command in message; raise MessageError, with its id where it has one."""
        if isinstance(message, str) is not self.is_text:
            kind = "text" if self.is_text else "binary"
            text = f"this session's subprotocol is {self._name} in {kind} messages"
            raise MessageError(ErrorCode.MALFORMED, text)
        try:
            return cast(AnyCommand, self._decode_command(message))  # type: ignore[arg-type]
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise self._explain(message, error) from None

    def decode_data(self, data: Raw) -> Data:
        """Return the data of a command of this codec; raise MessageError (invalid_data)."""
        return self._read_data(memoryview(data))

    def encode_message(self, channel: str, publication: Publication) -> bytes:
        """Return the message push of publication without framing."""
        data = publication.data
        return self.encode(
            Message(
                channel=channel,
                offset=publication.offset,
                data=Raw(self._write_data(data)),
                encoding=data.encoding if self.is_text else None,
                key=publication.key,
                tags=publication.tags,
            )
        )

    def record(self, publication: Publication) -> Record:
        """Return publication for a HistoryPage that this codec will encode."""
        data = publication.data
        return Record(
            offset=publication.offset,
            data=Raw(self._write_data(data)),
            encoding=data.encoding if self.is_text else None,
            key=publication.key,
            tags=publication.tags,
        )

    def _explain(self, message: str | bytes, error: Exception) -> MessageError:
        """Return what was wrong with message, which error kept from being a command."""
        try:
            envelope = cast(_Envelope, self._decode_envelope(message))  # type: ignore[arg-type]
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as broken:
            text = f"not a {self._name} object: {broken}"
            return MessageError(ErrorCode.MALFORMED, text)
        is_id = type(envelope.id) is int and envelope.id > 0
        command_id = cast(int, envelope.id) if is_id else None
        if envelope.type in COMMAND_TYPES:
            return MessageError(ErrorCode.INVALID_FIELD, f"{envelope.type}: {error}", command_id)
        known = f"one of {', '.join(COMMAND_TYPES)} is expected"
        if envelope.type is None:
            return MessageError(ErrorCode.UNKNOWN_TYPE, f"no type is given; {known}", command_id)
        text = f"unknown type {envelope.type!r:.80}; {known}"
        return MessageError(ErrorCode.UNKNOWN_TYPE, text, command_id)


JSON: Final = Codec(
    "JSON",
    is_text=True,
    decoder=msgspec.json.Decoder,
    encode=msgspec.json.Encoder().encode,
    read_data=data_from_json,
    write_data=lambda data: data.json,
)
MSGPACK: Final = Codec(
    "MessagePack",
    is_text=False,
    decoder=msgspec.msgpack.Decoder,
    encode=msgspec.msgpack.Encoder().encode,
    read_data=data_from_msgpack,
    write_data=Data.as_msgpack,
)

SUBPROTOCOLS: Final = {"gateway.v1.json": JSON, "gateway.v1.msgpack": MSGPACK}
