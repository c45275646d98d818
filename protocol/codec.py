"""How the client protocol is written: JSON and MessagePack, one codec each."""

from collections.abc import Callable
from operator import attrgetter
from typing import Final, cast, get_args

import msgspec
from msgspec import Raw, Struct

from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.messages import COMMAND_TYPES, AnyCommand, Message, Overflow, Record
from protocol.publication import Data, Publication, data_from_json, data_from_msgpack


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

    def encode_message(
        self, channel: str, publication: Publication, *, is_timed: bool = False
    ) -> bytes:
        """Return the message push of publication without framing; is_timed has it say when."""
        data = publication.data
        return self.encode(
            Message(
                channel=channel,
                offset=publication.offset,
                data=Raw(self._write_data(data)),
                encoding=data.encoding if self.is_text else None,
                key=publication.key,
                tags=publication.tags,
                time=_round_time(publication) if is_timed else None,
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
            time=_round_time(publication),
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
            text = f"{envelope.type}: {error}"
            if "Invalid enum value" in text:  # the only one there is
                text += f"; overflow is one of {', '.join(get_args(Overflow))}"
            return MessageError(ErrorCode.INVALID_FIELD, text, command_id)
        known = f"one of {', '.join(COMMAND_TYPES)} is expected"
        if envelope.type is None:
            return MessageError(ErrorCode.UNKNOWN_TYPE, f"no type is given; {known}", command_id)
        text = f"unknown type {envelope.type!r:.80}; {known}"
        return MessageError(ErrorCode.UNKNOWN_TYPE, text, command_id)


def _round_time(publication: Publication) -> float:
    """Return when publication was made, to the millisecond."""
    return round(publication.time, 3)


JSON: Final = Codec(
    "JSON",
    is_text=True,
    decoder=msgspec.json.Decoder,
    encode=msgspec.json.Encoder().encode,
    read_data=data_from_json,
    write_data=attrgetter("json"),
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
