"""A publisher, and subscribers: they know by bytes which deliveries have come, and decode none."""

import asyncio
import re
import socket
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, Protocol

from loadtest.clients.connection import STALLED_RECEIVE_BYTES, LoadConnection
from loadtest.clients.dialects import MASKING_KEY, EventDialect, Opening
from loadtest.clients.wire import (
    EventWalker,
    ServerFrame,
    ServerFrameDecoder,
    WireError,
    describe_close,
)
from loadtest.deliveries import Deliveries, Log
from loadtest.errors import RATE_LIMITED
from protocol.frames import CLOSE, PING, PONG, encode_masked_frame

_FAILED_REQUEST: Final = re.compile(rb"HTTP/1\.1 [45][^\r]+")


class Walker(Protocol):
    """Counts deliveries without taking them out of the buffer that they are in."""

    @property
    def is_between(self) -> bool:
        """Whether nothing of a next delivery has arrived."""

    def feed(self, buffer: bytearray, size: int) -> tuple[int, list[ServerFrame]]:
        """Return how many the first size bytes of buffer complete, and control frames."""


class Receiver(LoadConnection):
    """A subscriber.

    What ends where a delivery should, with the bytes that the last one should have, is counted at a
    glance; anything else by a walker, and all where is_measured is False, as the log does not know
    what deliveries look like. gap is what tells of a loss instead of a delivery, which looks like
    one to the walker; it is empty where nothing tells. Behind a gap deliveries have no latency, as
    nobody knows then which publications they are of.
    """

    __slots__ = (
        "_arrived_count",
        "_deliveries",
        "_gap",
        "_has_gap",
        "_is_measurable",
        "_is_measured",
        "_log",
        "_walker",
    )

    def __init__(
        self,
        opening: Opening,
        deliveries: Deliveries,
        log: Log,
        walker: Walker,
        *,
        gap: bytes,
        is_measured: bool = True,
    ) -> None:
        super().__init__(opening)
        self._deliveries = deliveries
        self._log = log
        self._walker = walker
        self._gap = gap
        self._has_gap = False
        self._is_measured = is_measured
        self._is_measurable = is_measured  # and nothing of a next delivery has arrived
        self._arrived_count = 0

    def take(self, nbytes: int) -> None:
        """Count what has arrived."""
        log, before = self._log, self._arrived_count
        end = log.ends[before] + nbytes
        if end > log.ends[-1]:
            self._deliveries.hear()
        last = self._measure(end) if self._is_measurable else 0
        if not last:
            last = before + self._walk(nbytes)
            if last > log.count:
                self._deliveries.hear()
            if last > log.count:
                self._deliveries.add("surplus", last - log.count)
                last = log.count
        if last > before:
            self._arrived_count = last
            if self._has_gap:
                self._deliveries.count(last - before)
            else:
                self._deliveries.take(log, before, last)

    def lost(self) -> None:
        """Tell that this subscriber will get nothing more."""
        self._deliveries.fail("the target closed a subscriber's connection")

    def _measure(self, end: int) -> int:
        """Return the number of the delivery that ends there, 0 where that is not sure."""
        ends, before = self._log.ends, self._arrived_count
        last = len(ends) - 1 if end == ends[-1] else bisect_right(ends, end, before) - 1
        if ends[last] != end or last == before:
            return 0
        begin = self._log.last
        if last < len(ends) - 1:
            begin = begin[:1]
        return last if self.buffer.startswith(begin, ends[last - 1] - ends[before]) else 0

    def _walk(self, nbytes: int) -> int:
        """Return how many deliveries are completed; answer pings."""
        try:
            count, controls = self._walker.feed(self.buffer, nbytes)
        except WireError as error:
            self._deliveries.fail(f"the target sent something else than frames: {error}")
            return 0
        for opcode, payload in controls:
            if opcode == PING:
                self.asyncio_transport.write(encode_masked_frame(PONG, payload, MASKING_KEY))
            elif opcode == CLOSE:
                self._deliveries.fail(f"the target closed a subscriber: {describe_close(payload)}")
        self._is_measurable = self._walker.is_between and self._is_measured
        gap_count = self.buffer.count(self._gap, 0, nbytes) if self._gap else 0
        if gap_count:
            self._has_gap = True
            self._deliveries.add("gaps", gap_count)
        return max(0, count - gap_count)


class EventReceiver(Receiver):
    """A subscriber to an event stream, which begins with what is no delivery.

    on_epoch is called with the epoch that it names there, if it does.
    """

    __slots__ = ("_beginning", "_dialect", "_on_epoch")

    def __init__(
        self,
        opening: Opening,
        deliveries: Deliveries,
        log: Log,
        *,
        dialect: EventDialect,
        on_epoch: Callable[[str], None],
    ) -> None:
        walker = EventWalker(dialect.end)
        super().__init__(
            opening, deliveries, log, walker, gap=dialect.gap, is_measured=dialect.is_measured
        )
        self._dialect = dialect
        self._on_epoch = on_epoch
        self._beginning: bytes | None = b""  # None once it has passed

    def begin(self, rest: bytes) -> None:
        """Look for the end of the beginning."""
        assert self._beginning is not None
        self._beginning += rest
        found = self._dialect.beginning.match(self._beginning)
        if found is None:
            return
        for epoch in found.groups():
            self._on_epoch(epoch.decode())
        rest, self._beginning = self._beginning[found.end() :], None
        if rest:
            self.buffer[: len(rest)] = rest
            super().take(len(rest))

    def take(self, nbytes: int) -> None:
        """Count what has arrived behind the beginning."""
        if self._beginning is None:
            super().take(nbytes)
        else:
            self.begin(bytes(self.buffer[:nbytes]))


class StalledReceiver(LoadConnection):
    """A subscriber that reads nothing any more, and so lets everything wait at the server."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the kernel take as little as it can."""
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_RECEIVE_BYTES)
        super().connection_made(transport)

    def take(self, nbytes: int) -> None:
        """Stop reading."""
        self.asyncio_transport.pause_reading()


class PublishingConnection(LoadConnection):
    """Publishes, and hears only what goes wrong.

    It does so over WebSocket, or, where its opening is no upgrade, by requests.
    """

    __slots__ = ("_decoder", "_deliveries", "_is_upgraded")

    def __init__(self, opening: Opening, deliveries: Deliveries) -> None:
        super().__init__(opening)
        self._deliveries = deliveries
        self._decoder = ServerFrameDecoder()
        self._is_upgraded = opening.is_upgrade

    def take(self, nbytes: int) -> None:
        """Answer pings; fail the run for anything else that is no reply of success."""
        heard = bytes(self.buffer[:nbytes])
        if not self._is_upgraded:
            if failure := _FAILED_REQUEST.search(heard):
                self._deliveries.fail(f"the target refused to publish: {failure[0].decode()}")
            return
        try:
            frames = self._decoder.feed(heard)
        except WireError as error:
            self._deliveries.fail(f"the target sent the publisher something else: {error}")
            return
        for frame in frames:
            self._take_frame(frame)

    def lost(self) -> None:
        """Tell that nothing can be published any more."""
        self._deliveries.fail("the target closed the publisher's connection")

    def _take_frame(self, frame: ServerFrame) -> None:
        opcode, payload = frame
        if opcode == PING:
            self.asyncio_transport.write(encode_masked_frame(PONG, payload, MASKING_KEY))
        elif opcode == CLOSE:
            self._deliveries.fail(f"the target closed the publisher: {describe_close(payload)}")
        elif b"rate_limited" in payload:
            self._deliveries.fail(RATE_LIMITED)
        elif b"error" in payload or b"closing" in payload:
            self._deliveries.fail(f"the target refused to publish: {payload[:200]!r}")
