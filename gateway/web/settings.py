"""How a server treats its connections, and what they share."""

import asyncio
import logging
from contextvars import copy_context
from typing import TypedDict

import msgspec

from gateway.web.body.reader import READ_BUFFER_BYTES
from gateway.web.sweep import Sweeps
from protocol.http1 import HeadLimits


class Options(TypedDict, total=False):
    """The options of a Server that Settings explains."""

    keepalive_timeout: float
    head_timeout_s: float
    body_timeout_s: float
    write_timeout_s: float
    lingering_time: float
    timeout_ceil_threshold: float
    tcp_keepalive: bool
    logger: logging.Logger
    debug: bool
    max_line_size: int
    max_field_size: int
    max_headers: int
    max_head_bytes: int
    max_connections: int
    read_bufsize: int
    auto_decompress: bool


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one server. Times are in seconds and kept to within one, sizes in bytes.

    Raises TypeError where a time, size or count is no number, and ValueError where it is below 0.
    """

    handler_cancellation: bool = False  # whether the peer's leaving cancels the handler
    keepalive_timeout: float = 3630.0  # as aiohttp: beyond an hour, so that proxies give up first
    head_timeout_s: float = 30.0  # from a head's first byte, or from accept, to its last
    # Between two pieces of a body, which nginx waits for as long. Chunk extensions and trailers are
    # none. A body that drips has no other bound: uploads may be slow, and their handlers know how
    # slow; asyncio.timeout() around the reading is theirs, max_connections the operator's.
    body_timeout_s: float = 60.0
    # For a peer to read any of an answer, as nginx's send_timeout, or of what a WebSocketResponse
    # sends. More than it read may have been written meanwhile: it is dropped then, too.
    write_timeout_s: float = 60.0
    lingering_time: float = 10.0  # for an answered request's unread rest; 0 closes at once
    timeout_ceil_threshold: float = 5.0  # known from aiohttp, without effect here
    tcp_keepalive: bool = True
    logger: logging.Logger = logging.getLogger("gateway.web")
    debug: bool = False  # whether a 500 shows its traceback to the peer
    max_line_size: int = HeadLimits().max_line_bytes
    max_field_size: int = HeadLimits().max_field_bytes
    max_headers: int = HeadLimits().max_fields_count
    max_head_bytes: int = 0  # of a whole head, lines and fields within it; 0 leaves it to those
    max_connections: int = 0  # further ones are dropped at accept, none is evicted; 0 is no bound
    read_bufsize: int = READ_BUFFER_BYTES  # reading a body pauses above twice as much
    auto_decompress: bool = True  # whether handlers read bodies without their content coding

    def __post_init__(self) -> None:
        for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            if type(default) in (int, float):
                _check_number(name, getattr(self, name))

    @property
    def head_limits(self) -> HeadLimits:
        """The limits for a head; where longer lines or fields are allowed, the head grows, too."""
        needed_bytes = max(HeadLimits().max_head_bytes, self.max_line_size + self.max_field_size)
        max_head_bytes = self.max_head_bytes or needed_bytes
        return HeadLimits(
            min(self.max_line_size, max_head_bytes),
            min(self.max_field_size, max_head_bytes),
            self.max_headers,
            max_head_bytes,
        )


def _check_number(name: str, value: object) -> None:
    if not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, not {value!r}")


class Shared:
    """What all connections of a server share: its options, event loop, clock and sweeps."""

    __slots__ = ("context", "head_limits", "loop", "now", "settings", "sweeps")

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.head_limits = settings.head_limits
        self.loop = loop
        self.context = copy_context()  # in which requests begin
        self.now = loop.time()  # up to a second old
        self.sweeps = Sweeps(loop)
