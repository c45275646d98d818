"""A client of this gateway that reads gigabytes per second and still knows of every publication.

It looks only at the head of each frame: a message shows its offset at its beginning.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any, Final

from loadtest.clients.connection import LoadConnection, Target
from loadtest.clients.dialects import MASKING_KEY, Opening, mask_text, upgrade
from loadtest.clients.wire import WireError, describe_close, read_frame_head
from loadtest.errors import LoadError
from protocol.cursor import Position
from protocol.frames import CLOSE, PING, PONG, TEXT, encode_masked_frame

# How much of a message shows its offset: more than its type and the longest channel's name here.
_SHOWN_BYTES: Final = 200
# What is looked at together: many short messages, or the head of a long one.
_PIECE_BYTES: Final = 4096
_MESSAGE: Final = b'{"type":"message"'
_OFFSET: Final = re.compile(rb'"offset":(\d+)')
# RFC 6455 section 7.4.1: 1000 is a normal closure.
_CLOSE: Final = encode_masked_frame(CLOSE, (1000).to_bytes(2, "big"), MASKING_KEY)
# A reply that has not come after this long does not come; without any delivery for so long the
# target has lost something, or stands still.
_PATIENCE_S: Final = 20.0


class Subscriber(LoadConnection):
    """One client with at most one subscription.

    position is where it stands, None before it has any. gap_count gaps announced that missed_count
    publications are missing. missing_count publications are missing although none announced it,
    and repeated_count came again.
    """

    __slots__ = (
        "_arrived",
        "_expected",
        "_head",
        "_is_gap_owed",
        "_replies",
        "_skipped_bytes",
        "_why_closed",
        "gap_count",
        "missed_count",
        "missing_count",
        "position",
        "repeated_count",
        "size_bytes",
    )
    view = memoryview(LoadConnection.buffer)

    def __init__(self, target: Target, position: Position | None = None) -> None:
        super().__init__(Opening(upgrade(target.path, target.authority), b"\r\n\r\n"))
        self.position = position
        self.gap_count = self.missed_count = 0
        self.missing_count = self.repeated_count = 0
        self.size_bytes = 0
        self._is_gap_owed = False
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._head = b""  # of a frame
        self._why_closed = "no close frame"
        self._skipped_bytes = 0  # of the present message, still to come
        self._expected = 0
        self._arrived: asyncio.Future[None] | None = None

    def subscribe(self, channel: str) -> None:
        """Ask for what is published in channel, from position on where there is one."""
        command: dict[str, Any] = {"type": "subscribe", "id": 1, "channel": channel}
        if self.position is not None:
            command.update(self.position._asdict())
        self.send(command)

    def send(self, command: dict[str, Any]) -> None:
        """Send one command; raise LoadError where the connection is closed already."""
        if self.is_lost:
            raise LoadError("the target closed a connection that was open")
        self.asyncio_transport.write(mask_text(json.dumps(command)))

    async def wait_reply(self, *types: str) -> dict[str, Any]:
        """Return the next reply; raise LoadError where it is none of types, or does not come."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reply = await self._replies.get()
        except TimeoutError:
            raise LoadError(f"the target did not reply within {_PATIENCE_S:.0f} s") from None
        if reply["type"] not in types:
            raise LoadError(f"the target answered {reply}")
        return reply

    async def leave(self) -> None:
        """Close politely, and wait until the target has closed, too; raises as wait_reply does."""
        if not self.is_lost:
            self.asyncio_transport.write(_CLOSE)
            await self.wait_reply("closed")

    def expect(self, offset: int) -> "asyncio.Future[None]":
        """Return what is done once the subscriber stands at offset, or behind it."""
        self._expected = offset
        self._arrived = arrived = asyncio.get_running_loop().create_future()
        if self.position is not None:
            self.move(self.position)
        return arrived

    def begin(self, rest: bytes) -> None:
        """Look at what has come with the response to the upgrade."""
        self.walk(memoryview(rest))

    def take(self, nbytes: int) -> None:
        """Look at the frames in the buffer."""
        self.walk(self.view[:nbytes])

    def lost(self) -> None:
        """Have whoever waits for a reply know."""
        self._replies.put_nowait({"type": "closed", "why": self._why_closed})

    def arrive(self, count: int) -> None:
        """Take note of so many messages, the last of which is at position; for subclasses."""

    def move(self, position: Position) -> None:
        """Stand at position, and let whoever expects it know."""
        self.position = position
        if self._arrived is not None and position.offset >= self._expected:
            self._arrived.set_result(None)
            self._arrived = None

    def walk(self, data: memoryview) -> None:
        """Look at the frames in data, the next of all that has come.

        For what is none the connection is dropped, and whoever waits for a reply told.
        """
        self.size_bytes += len(data)
        try:
            self._walk(data)
        except (WireError, ValueError, KeyError) as error:
            self._replies.put_nowait({"type": "nothing a gateway sends", "why": repr(error)})
            self.abort()

    def _walk(self, data: memoryview) -> None:
        at = self._skip(len(data))
        while at < len(data):
            piece = data[at : at + _PIECE_BYTES]
            at += len(piece)
            self._head += piece
            self._take_heads()
            at += self._skip(len(data) - at)

    def _skip(self, nbytes: int) -> int:
        """Return how many of the next bytes belong to a message whose head was looked at."""
        skipped = min(self._skipped_bytes, nbytes)
        self._skipped_bytes -= skipped
        return skipped

    def _take_heads(self) -> None:
        """Take the frames in head, as far as they are of interest; keep one that is not there."""
        head, size, start = self._head, len(self._head), 0
        while True:
            body, length = read_frame_head(head, start, size)
            if body is None:
                break
            end = body + length
            if head.startswith(_MESSAGE, body) and size >= min(end, body + _SHOWN_BYTES):
                self._take_message(_OFFSET.search(head, body, body + _SHOWN_BYTES))
            elif size < end:
                break
            else:
                self._take_frame(head[start] & 0x0F, head[body:end])
            start = end
        self._head = head[start:]
        self._skipped_bytes = max(0, start - size)

    def _take_message(self, found: re.Match[bytes] | None) -> None:
        if found is None or self.position is None:
            raise WireError("a message without offset, or before its subscription")
        if self._is_gap_owed:
            self.missing_count += 1
            self._is_gap_owed = False
        epoch, before = self.position
        offset = int(found[1])
        if offset <= before:
            self.repeated_count += 1
            return
        self.missing_count += offset - before - 1
        self.move(Position(epoch, offset))
        self.arrive(1)

    def _take_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.asyncio_transport.write(encode_masked_frame(PONG, payload, MASKING_KEY))
        elif opcode == CLOSE:
            self._why_closed = describe_close(payload)
            self.asyncio_transport.close()
        elif opcode == TEXT:
            push = json.loads(payload)
            if push["type"] == "gap":
                self._take_gap(push)
            elif "id" in push:
                self._take_reply(push)

    def _take_reply(self, reply: dict[str, Any]) -> None:
        if reply["type"] == "subscribed":
            start = Position(reply["epoch"], reply["offset"])
            self._is_gap_owed = self.position is not None and not reply["recovered"]
            if self.position is None:
                self.move(start)
            elif reply["recovered"] and start != self.position:
                self.missing_count += 1
                self.move(start)
        self._replies.put_nowait(reply)

    def _take_gap(self, gap: dict[str, Any]) -> None:
        first, last = gap["from"], gap["to"]
        before = 0
        if self.position is not None and self.position.epoch == gap["epoch"]:
            before = self.position.offset
        self._is_gap_owed = False
        self.gap_count += 1
        self.missed_count += last + 1 - first
        self.missing_count += max(0, first - before - 1)
        self.repeated_count += max(0, before + 1 - first)
        self.move(Position(gap["epoch"], last))


async def wait_at(subscribers: Sequence[Subscriber], offset: int) -> None:
    """Return once all subscribers are at offset, or nothing arrives any more."""
    arriving = {subscriber.expect(offset) for subscriber in subscribers}
    size_bytes, before = 0, -1
    while arriving and size_bytes != before:
        before = size_bytes
        _, arriving = await asyncio.wait(arriving, timeout=_PATIENCE_S)
        size_bytes = sum(subscriber.size_bytes for subscriber in subscribers)
