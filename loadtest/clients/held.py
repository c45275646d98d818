"""A connection that is held: it answers pings, and nothing else is expected on it."""

from collections.abc import Callable

from loadtest.clients.connection import LoadConnection
from loadtest.clients.dialects import MASKING_KEY, Opening
from loadtest.clients.wire import ServerFrameDecoder, WireError
from protocol.frames import CLOSE, PING, PONG, encode_masked_frame


class HeldConnection(LoadConnection):
    """One connection that is open and idle; on_ping is called for every ping."""

    __slots__ = ("_frames", "_on_ping")

    def __init__(self, opening: Opening, on_ping: Callable[[], None]) -> None:
        super().__init__(opening)
        self._on_ping = on_ping
        self._frames: ServerFrameDecoder | None = None  # most never hear anything in a short run

    def take(self, nbytes: int) -> None:
        """Answer pings, with what they carry, and a close; drop the connection for what is none."""
        if self._frames is None:
            self._frames = ServerFrameDecoder()
        try:
            for opcode, payload in self._frames.feed(bytes(self.buffer[:nbytes])):
                if opcode == PING:
                    self._on_ping()
                    self.asyncio_transport.write(encode_masked_frame(PONG, payload, MASKING_KEY))
                elif opcode == CLOSE:
                    self.asyncio_transport.close()
        except WireError:
            self.asyncio_transport.abort()
