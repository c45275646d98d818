"""What a handler receives from a WebSocket, with the names of aiohttp."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

from protocol.codes import CloseCode

WSCloseCode = CloseCode


class WSMsgType(IntEnum):
    """The kinds of WSMessage: the opcodes of RFC 6455, and above them what no frame says."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10
    CLOSING = 0x100
    CLOSED = 0x101
    ERROR = 0x102

    text = TEXT
    binary = BINARY
    close = CLOSE
    ping = PING
    pong = PONG
    closing = CLOSING
    closed = CLOSED
    error = ERROR


class WSMessage(NamedTuple):
    """One received message, or the end of them.

    data is str for TEXT, bytes for BINARY, PING and PONG, the code for CLOSE (0 if the peer gave
    none) with the reason as extra, the exception for ERROR, and None for CLOSING and CLOSED.
    """

    type: WSMsgType
    data: Any
    extra: str | None

    def json(self, *, loads: Callable[[Any], Any] = json.loads) -> Any:
        """Return data read as JSON."""
        return loads(self.data)


class WSMessageTypeError(TypeError):
    """The message is not of the type that the handler asked for."""


@dataclass(frozen=True, slots=True)
class WebSocketReady:
    """Whether a request can become a WebSocket, and the subprotocol it would speak; true if ok."""

    ok: bool
    protocol: str | None

    def __bool__(self) -> bool:
        return self.ok


CLOSING_MESSAGE: Final = WSMessage(WSMsgType.CLOSING, None, None)
CLOSED_MESSAGE: Final = WSMessage(WSMsgType.CLOSED, None, None)
