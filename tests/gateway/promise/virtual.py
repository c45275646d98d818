"""An event loop in which time and turns pass only when told to, with scripted sockets.

Everything above the asyncio transports is the gateway's own; nothing here touches the kernel.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

# More turns than anything here takes; only what never comes to rest meets it.
MAX_TURNS = 20_000


class Listener:
    """What create_server returns; nobody but the test connects."""

    sockets = ()

    def close(self) -> None:
        """Accept nobody any more."""

    async def wait_closed(self) -> None:
        """Return at once."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The scheduling of asyncio's loops over a clock and sockets of our own."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self.now = 1_000_000.0
        self._clock_resolution = 1e-6  # more than the last bit of now, or timers would be missed
        self.accept: Callable[[], asyncio.Protocol] | None = None
        self.failures: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    # --- what BaseEventLoop asks ---

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    async def create_server(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        self.accept = protocol_factory
        return Listener()

    # --- what the test says ---

    @property
    def is_idle(self) -> bool:
        """Whether nothing happens before time passes."""
        return not self._ready

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """What will happen when time passes."""
        return [each for each in self._scheduled if not each.cancelled()]

    def turn(self) -> None:
        """Run one turn: what is due now, and not what that causes."""
        self.stop()
        self.run_forever()

    def settle(self) -> None:
        """Run turns until nothing is due."""
        for _ in range(MAX_TURNS):
            if self.is_idle:
                return
            self.turn()
        raise AssertionError("the loop never comes to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything that is due meanwhile happen when it is."""
        end = self.now + seconds
        self.settle()
        while (timer := self._next_timer()) is not None and timer <= end:
            self.now = max(self.now, timer)
            self.turn()
            self.settle()
        self.now = end

    def finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run coroutine to its end, however much time that takes; return its result."""
        task = self.create_task(coroutine)
        for _ in range(MAX_TURNS):
            if task.done():
                return task.result()
            if self.is_idle:
                timer = self._next_timer()
                assert timer is not None, f"{coroutine} waits for nothing"
                self.now = max(self.now, timer)
            self.turn()
        raise AssertionError(f"{coroutine} never ends")

    def _next_timer(self) -> float | None:
        return min((each.when() for each in self.timers), default=None)


class ScriptedSocket(asyncio.Transport):
    """An asyncio transport and the kernel behind it, whose peer reads and sends when told to.

    kernel_bytes is what the kernel takes before the rest waits in this process. on_write hears
    what the gateway writes at the moment it does. is_strict makes it refuse, as uvloop does, what
    is written after the socket failed and before the protocol is told.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        on_write: Callable[[bytes], None],
        *,
        kernel_bytes: int,
        segment_bytes: int,
        is_strict: bool,
    ) -> None:
        super().__init__()
        assert loop.accept is not None
        self.kernel_bytes = kernel_bytes
        self.is_paused = False  # the protocol was told to write no more
        self.is_lost = False  # the protocol was told that the connection is lost, or will be
        self.is_muted = False  # the process was killed: nothing reaches the peer any more
        self._loop = loop
        self._on_write = on_write
        self._segment_bytes = segment_bytes
        self._is_strict = is_strict
        self._high, self._low = 64 * 1024, 16 * 1024
        self._waiting = bytearray()
        self._kernel = bytearray()
        self._inbound = bytearray()
        self._is_reading = True
        self._is_closing = False
        self._has_ended_writing = False
        self._has_peer_ended = False
        self._protocol = loop.accept()
        loop.call_soon(self._protocol.connection_made, self)

    # --- what the gateway calls ---

    def write(self, data: bytes) -> None:
        if self.is_lost:
            if self._is_strict:
                raise RuntimeError("the handler is closed")
            return
        assert not self._is_closing, "written after close"
        assert not self._has_ended_writing, "written after write_eof"
        if not self.is_muted:
            self._on_write(bytes(data))
        self._waiting += data
        self._fill_kernel()
        self._maybe_pause()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low
        self._maybe_pause()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._has_ended_writing = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._lose_when_written()

    def abort(self) -> None:
        self._fail(None)

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._loop.call_soon(self._deliver)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 9), "sockname": ("127.0.0.1", 80)}.get(name, default)

    # --- what the peer does ---

    @property
    def has_ended(self) -> bool:
        """Whether the peer has read all that it will ever get."""
        is_over = self.is_lost or self._has_ended_writing
        return is_over and not self._kernel and (self.is_lost or not self._waiting)

    @property
    def has_unheard(self) -> bool:
        """Whether the gateway has not taken all that the peer sent."""
        return bool(self._inbound)

    def read(self, count: int | None = None) -> bytes:
        """Return up to count bytes that have come, all by default."""
        taken = bytes(self._kernel[:count])
        del self._kernel[: len(taken)]
        if taken and not self.is_lost:
            self._loop.call_soon(self._drain)
        return taken

    def widen(self) -> None:
        """Have the kernel take everything."""
        self.kernel_bytes = 1 << 30
        self._loop.call_soon(self._drain)

    def send(self, data: bytes) -> None:
        """Send data; it arrives in segments, as long as the gateway reads."""
        self._inbound += data
        self._loop.call_soon(self._deliver)

    def end(self) -> None:
        """Send nothing more."""
        self._has_peer_ended = True
        self._loop.call_soon(self._deliver)

    def reset(self, exc: Exception | None = None) -> None:
        """Leave without a word; what was not read is lost."""
        self._kernel.clear()
        self._loop.call_soon(self._fail, exc)

    # --- the kernel and the loop ---

    def _deliver(self) -> None:
        if not self.is_reading():
            return
        if self._inbound:
            data = bytes(self._inbound[: self._segment_bytes])
            del self._inbound[: len(data)]
            self._protocol.data_received(data)
            self._loop.call_soon(self._deliver)
        elif self._has_peer_ended and not self._protocol.eof_received():
            self.close()

    def _drain(self) -> None:
        if self.is_lost:
            return
        self._fill_kernel()
        if self.is_paused and len(self._waiting) <= self._low:
            self.is_paused = False
            self._protocol.resume_writing()
        if self._is_closing:
            self._lose_when_written()

    def _fill_kernel(self) -> None:
        room = max(self.kernel_bytes - len(self._kernel), 0)
        if self.is_muted:
            room = len(self._waiting)
        else:
            self._kernel += self._waiting[:room]
        del self._waiting[:room]

    def _maybe_pause(self) -> None:
        if len(self._waiting) > self._high and not self.is_paused:
            self.is_paused = True
            self._protocol.pause_writing()

    def _lose_when_written(self) -> None:
        if not self._waiting and not self.is_lost:
            self.is_lost = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def _fail(self, exc: Exception | None) -> None:
        if self.is_lost:
            return
        self.is_lost = self._is_closing = True
        self._waiting.clear()
        self._kernel.clear()
        self._loop.call_soon(self._protocol.connection_lost, exc)
