"""What WebSocket clients are sent, as frames: one encoding for each codec, plain and compressed.

Only publications are ever compressed. They are what is large, and one compression serves everybody:
no message refers to an earlier one. Replies and all other pushes are short, or for one client.
"""

from collections.abc import Sequence
from typing import Final

from gateway.session import Encode, EncodePush, Positions
from gateway.stream import Stream
from protocol.codec import JSON, MSGPACK, Codec
from protocol.deflate import deflate_message
from protocol.frames import BINARY, TEXT, encode_frame
from protocol.messages import Push
from protocol.publication import Publication

# A message above this goes as it is. Compressing holds the event loop: 64 KiB of JSON for 0.7 ms,
# of noise in base64 for 2 ms, this for four times that, as long as hub.turn_deliveries last.
MAX_DEFLATED_BYTES: Final = 256 * 1024


def encode_json(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Return publications as JSON text frames, one each."""
    name, is_timed, encode = stream.name, stream.config.message_time, JSON.encode_message
    return b"".join(
        [encode_frame(TEXT, encode(name, each, is_timed=is_timed)) for each in publications]
    )


def encode_msgpack(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Return publications as MessagePack binary frames, one each."""
    name, is_timed, encode = stream.name, stream.config.message_time, MSGPACK.encode_message
    return b"".join(
        [encode_frame(BINARY, encode(name, each, is_timed=is_timed)) for each in publications]
    )


def encode_json_push(push: Push) -> bytes:
    """Return push as one JSON text frame."""
    return encode_frame(TEXT, JSON.encode(push))


def encode_msgpack_push(push: Push) -> bytes:
    """Return push as one MessagePack binary frame."""
    return encode_frame(BINARY, MSGPACK.encode(push))


ENCODERS: Final[dict[Codec, tuple[Encode, EncodePush]]] = {
    JSON: (encode_json, encode_json_push),
    MSGPACK: (encode_msgpack, encode_msgpack_push),
}


class DeflatingEncoder:
    """The compressed encoding of one codec, for messages of at least min_bytes: an Encode.

    All sessions of a node that have agreed on compression share one, and with it what it returns.
    """

    __slots__ = ("_encode_message", "_min_bytes", "_opcode")

    def __init__(self, codec: Codec, *, min_bytes: int) -> None:
        self._encode_message = codec.encode_message
        self._opcode = TEXT if codec.is_text else BINARY
        self._min_bytes = min_bytes

    def __call__(self, stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
        """Return publications as frames, one each, compressed where that makes them shorter."""
        name, is_timed, encode = stream.name, stream.config.message_time, self._encode_message
        return b"".join(
            [self._frame(encode(name, each, is_timed=is_timed)) for each in publications]
        )

    def _frame(self, payload: bytes) -> bytes:
        if self._min_bytes <= len(payload) <= MAX_DEFLATED_BYTES:
            deflated = deflate_message(payload)
            if len(deflated) < len(payload):
                return encode_frame(self._opcode, deflated, rsv1=True)
        return encode_frame(self._opcode, payload)
