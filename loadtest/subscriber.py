"""A lean subscriber that reads gigabytes per second and still knows of every publication.

It looks only at the head of each frame: a message shows its offset at its beginning. Messages are
to be longer than all other pushes.
"""

import asyncio
import json
import re
from typing import Final

from loadtest.errors import LoadError
from loadtest.wire import read_frame_head
from protocol.frames import PING, PONG, TEXT, encode_masked_frame

_REQUEST: Final = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9hZHRlc3QgbG9hZHRlcw==\r\n\r\n"
)
# RFC 6455 section 5.3 wants unpredictable keys because of proxies, which do not stand in between.
_KEY: Final = b"\0\0\0\0"
# What is longer is a message, and how much of it shows its offset.
LONG_BYTES: Final = 2_000
_SHOWN_BYTES: Final = 200
_OFFSET: Final = re.compile(rb'"offset":(\d+)')
# A reply that has not come after this long does not come.
_PATIENCE_S: Final = 20.0


class Subscriber(asyncio.BufferedProtocol):
    """One subscriber on one connection; many may read into the same buffer.

    offset is where it stands; gap_count gaps announced that missed_count publications are missing;
    is_out_of_order tells of a hole or a repetition that none announced.
    """

    asyncio_transport: asyncio.Transport

    def __init__(self, buffer: bytearray, path: str, host: str) -> None:
        self.offset = 0
        self.gap_count = 0
        self.missed_count = 0
        self.is_out_of_order = False
        self.size_bytes = 0
        self.replies: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._request = _REQUEST.format(path=path, host=host).encode()
        self._head = b""  # of a frame, or of the response before all frames
        self._is_upgraded = False
        self._skipped_bytes = 0  # of the present message, still to come
        self._expected = -1
        self._arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask for the upgrade."""
        self.asyncio_transport = transport
        transport.write(self._request)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return the buffer that all share: what it holds is looked at before the next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Look at the frames in the buffer."""
        self.size_bytes += nbytes
        at = self._skip(nbytes)
        while at < nbytes:
            piece = bytes(self._view[at : min(at + _SHOWN_BYTES, nbytes)])
            at += len(piece)
            self._head += piece
            while self._take_head():
                pass
            at += self._skip(nbytes - at)

    def connection_lost(self, exc: Exception | None) -> None:
        """Have whoever waits for a reply know."""
        self.replies.put_nowait({"type": "closed"})

    def send(self, command: dict[str, object]) -> None:
        """Send one command."""
        frame = encode_masked_frame(TEXT, json.dumps(command).encode(), _KEY)
        self.asyncio_transport.write(frame)

    def expect(self, offset: int) -> "asyncio.Future[None]":
        """Return what is done once the subscriber stands at offset."""
        self._expected = offset
        self._look_at_offset()
        return self._arrived

    async def wait_reply(self, *types: str) -> dict[str, object]:
        """Return the next reply; raise LoadError where it is none of types, or does not come."""
        async with asyncio.timeout(_PATIENCE_S):
            reply = await self.replies.get()
        if reply["type"] not in types or reply.get("code", "overloaded") != "overloaded":
            raise LoadError(f"the target answered {reply}")
        return reply

    def _skip(self, nbytes: int) -> int:
        """Return how many of the next bytes belong to a message whose head was looked at."""
        skipped = min(self._skipped_bytes, nbytes)
        self._skipped_bytes -= skipped
        return skipped

    def _take_head(self) -> bool:
        """Take what head begins with; return whether it was there as far as it is of interest."""
        head = self._head
        if not self._is_upgraded:
            _, separator, tail = head.partition(b"\r\n\r\n")
            self._is_upgraded = bool(separator)
            self._head = tail if separator else head
            return self._is_upgraded
        body, length = read_frame_head(head, 0)
        if body is None or len(head) < min(body + length, _SHOWN_BYTES):
            return False
        if length > LONG_BYTES:
            self._take_message(head)
            self._skipped_bytes = max(0, body + length - len(head))
        elif len(head) < body + length:
            return False
        else:
            self._take_push(head[0] & 0x0F, head[body : body + length])
        self._head = head[body + length :]
        return True

    def _take_message(self, head: bytes) -> None:
        found = _OFFSET.search(head)
        if found is None:
            raise LoadError(f"no offset in {head!r}")
        offset = int(found[1])
        self.is_out_of_order |= offset != self.offset + 1
        self.offset = offset
        self._look_at_offset()

    def _look_at_offset(self) -> None:
        if self.offset == self._expected and not self._arrived.done():
            self._arrived.set_result(None)

    def _take_push(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.asyncio_transport.write(encode_masked_frame(PONG, payload, _KEY))
            return
        if opcode != TEXT:
            return
        push = json.loads(payload)
        if push["type"] == "gap":
            self.gap_count += 1
            self.missed_count += push["to"] + 1 - push["from"]
            self.is_out_of_order |= push["from"] != self.offset + 1
            self.offset = push["to"]
            self._look_at_offset()
        elif "id" in push:
            self.replies.put_nowait(push)
