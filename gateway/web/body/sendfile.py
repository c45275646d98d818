"""Files that the kernel copies to a socket, beneath the asyncio transport that owns it."""

import io
import os
from asyncio import get_running_loop
from typing import Final, Self

from gateway.web.flow import PeerLeft, WriteFlow
from gateway.web.threads import run_to_end

# So much per call: a socket's buffer rarely takes more, and a call that has begun cannot be ended.
PIECE_BYTES: Final = 1024 * 1024

_CAN_SEND_FILES: Final = hasattr(os, "sendfile")  # not on Windows


class FileSender:
    """The way past one asyncio transport; close() it before anything else is written there.

    The calls are made in threads, because they wait for the disk. The socket's descriptor is
    duplicated: event loops do not watch one that belongs to an asyncio transport, and its number
    may be another connection's as soon as the asyncio transport has closed it.
    """

    __slots__ = ("_descriptor", "_flow", "_is_full")

    def __init__(self, flow: WriteFlow, descriptor: int) -> None:
        self._flow = flow
        self._descriptor = descriptor
        self._is_full = False

    @classmethod
    async def open(cls, flow: WriteFlow) -> Self | None:
        """Return a sender once all that was written has left; None where the kernel cannot help.

        Raises PeerLeft if the peer left or leaves meanwhile.
        """
        transport = flow.asyncio_transport
        socket = transport.get_extra_info("socket")
        if not _CAN_SEND_FILES or socket is None or transport.get_extra_info("sslcontext"):
            return None
        await flow.flush()
        try:
            return cls(flow, os.dup(socket.fileno()))
        except OSError:  # there are too many; reading needs none
            return None

    def close(self) -> None:
        """Give the socket back to the asyncio transport."""
        os.close(self._descriptor)

    async def send(self, file: io.FileIO, offset: int, count: int) -> int:
        """Return how many of count bytes from offset on the socket took; 0 at the file's end.

        Waits while the socket is full. Raises PeerLeft if the peer left, and another
        OSError where the kernel cannot send this file.
        """
        count = min(count, PIECE_BYTES)
        while True:
            self._flow.check()
            if self._is_full:
                await self._wait_until_writable()
                continue
            try:
                sent = await run_to_end(os.sendfile, self._descriptor, file.fileno(), offset, count)
            except BlockingIOError:
                self._is_full = True
                continue
            except ConnectionError:
                self._flow.asyncio_transport.abort()
                raise PeerLeft("The peer left") from None
            self._is_full = sent < count
            return sent

    async def _wait_until_writable(self) -> None:
        """Wait as for an asyncio transport that is full: the protocol is told, as if it were."""
        loop, protocol = get_running_loop(), self._flow.asyncio_transport.get_protocol()
        protocol.pause_writing()
        loop.add_writer(self._descriptor, protocol.resume_writing)
        try:
            await self._flow.drain()
        finally:
            loop.remove_writer(self._descriptor)
            if self._flow.is_paused:
                protocol.resume_writing()
        self._is_full = False
