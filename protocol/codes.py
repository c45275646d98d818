"""Every code that travels to a client, each with its meaning, in one table each."""

from enum import IntEnum, StrEnum
from typing import Final


class CloseCode(IntEnum):
    """The close codes that RFC 6455 section 7.4.1 and its IANA registry define."""

    OK = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


# RFC 6455 section 7.4.1: these three describe an end that no frame announced, so none may be sent.
UNSENDABLE_CLOSE_CODES: Final = frozenset(
    {CloseCode.NO_STATUS_RECEIVED, CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE}
)


class Disconnect(IntEnum):
    """Why the gateway ends a session: 3000-3499 asks the client to reconnect, 3500-3999 not to."""

    NO_HEARTBEAT = 3000
    SLOW = 3001
    RATE_LIMITED = 3002
    TOO_MANY_ERRORS = 3500


class ErrorCode(StrEnum):
    """The `code` of an `error`; RETRYABLE tells which are worth the same command again."""

    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_FIELD = "invalid_field"
    INVALID_CHANNEL = "invalid_channel"
    INVALID_CURSOR = "invalid_cursor"
    INVALID_DATA = "invalid_data"
    NOT_SUBSCRIBED = "not_subscribed"
    ALREADY_SUBSCRIBED = "already_subscribed"
    OFFSET_CONFLICT = "offset_conflict"
    UNAUTHORIZED = "unauthorized"
    UNSUPPORTED = "unsupported"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    LIMIT_REACHED = "limit_reached"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


RETRYABLE: Final = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.OVERLOADED,
        ErrorCode.SHUTTING_DOWN,
        ErrorCode.INTERNAL,
    }
)
