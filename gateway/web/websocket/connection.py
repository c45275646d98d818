"""A WebSocket over asyncio by callbacks: no task, no queue, nothing awaited.

Over 400 lines, so that all that can hold, fail or end a connection is read together.
"""

import asyncio
from typing import Final, Protocol

from gateway.web.connection import Connection
from gateway.web.flow import end_writing
from protocol.codes import CloseCode
from protocol.deflate import Agreement
from protocol.errors import WebSocketError
from protocol.frames import BINARY, PING, PONG, encode_frame
from protocol.websocket import CLOSE_SENT, Event, State, WebSocket

# Above this many bytes in the write buffer reading pauses until writing resumes. It is four times
# asyncio's high-water mark: a peer that asks faster than it reads has to stop asking.
MAX_BACKLOG_BYTES: Final = 256 * 1024
# Events acted on before others get the event loop: a read may bring 40,000 of them, and 64 of the
# most expensive commands take some milliseconds.
MESSAGES_PER_TURN: Final = 64
# How long a peer may take for its part of the closing handshake before the socket is dropped: long
# enough for a slow mobile network, and what aiohttp and websockets give.
CLOSE_TIMEOUT_S: Final = 10.0

# Why reading pauses, as bits.
BACKLOG: Final = 1  # the peer does not read
OWNER: Final = 2  # the listener asked for it; events wait, too
TURN: Final = 4  # events wait for the next turn of the event loop


class Listener(Protocol):
    """What a WebSocketConnection tells its owner.

    A class that inherits from it may leave out what it never hears: on_ping and on_pong, on_close
    and on_error.
    """

    __slots__ = ()

    def on_message(self, opcode: int, data: str | bytes) -> None:
        """Take one whole message: TEXT with str, or BINARY with bytes."""

    def on_ping(self, payload: bytes) -> None:
        """Take a ping that nobody has answered; only where autoping is off."""
        return

    def on_pong(self, payload: bytes) -> None:
        """Take a pong; only where autoping is off."""
        return

    def on_close(self, code: int, reason: str) -> None:
        """Take the peer's close frame, to be answered with close(); only where autoclose is off."""
        return

    def on_error(self, error: WebSocketError) -> None:
        """Take what the peer did wrong, to be told with close(); only where autoclose is off."""
        return

    def on_pause_writing(self) -> None:
        """Hear that the write buffer is above its high-water mark."""

    def on_resume_writing(self) -> None:
        """Hear that the write buffer has drained."""

    def on_closed(self, code: int, reason: str, exc: Exception | None) -> None:
        """Hear, exactly once and as the last call, that nothing is received any more.

        The code is that of the peer's close frame, or the one sent to a peer that broke the
        protocol, with the WebSocketError as exc; otherwise 1006, with exc where one ended it.
        """


class WebSocketConnection:
    """One upgraded connection that speaks WebSocket: the receiver of a Connection.

    Pings, close frames and errors of the peer are answered here, unless autoping and autoclose are
    off. With autoclose off the listener has close_timeout_s to answer what came before; then it is
    done here after all.
    The agreement is what the 101 said about compression.
    """

    __slots__ = (
        "_autoclose",
        "_autoping",
        "_close_timeout_s",
        "_close_timer",
        "_connection",
        "_end_cause",
        "_holds",
        "_listener",
        "_pong",
        "_waiting",
        "_websocket",
        "asyncio_transport",
        "close_code",
        "close_reason",
        "is_writing_paused",
    )

    def __init__(
        self,
        connection: Connection,
        listener: Listener,
        *,
        max_message_bytes: int,
        agreement: Agreement | None = None,
        autoping: bool = True,
        autoclose: bool = True,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
    ) -> None:
        self.asyncio_transport = connection.asyncio_transport
        self.close_code: int | None = None  # None until the end is known
        self.close_reason = ""
        self.is_writing_paused = False
        # Let go at the end: the connection holds this object, too, and a cycle waits for the
        # collector.
        self._connection: Connection | None = connection
        self._listener: Listener | None = listener  # None once it has heard on_closed
        self._websocket = WebSocket(max_message_bytes=max_message_bytes, agreement=agreement)
        self._autoping = autoping
        self._autoclose = autoclose
        self._close_timeout_s = close_timeout_s
        self._close_timer: asyncio.TimerHandle | None = None
        self._end_cause: Exception | None = None
        self._holds = 0
        self._pong = b""  # the newest pong that waits for the peer to read, as a frame
        # Events not acted on yet, latest first: one of BACKLOG and TURN tells what for.
        self._waiting: list[Event] | tuple[()] = ()

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._websocket.state >= CLOSE_SENT

    @property
    def is_sendable(self) -> bool:
        """Whether what is sent now may reach the peer: we are not closing, and it has not left."""
        return self._websocket.state < CLOSE_SENT and not self.asyncio_transport.is_closing()

    @property
    def heard(self) -> bool:
        """Whether the peer gave a sign of life since this was last set to False.

        Reading enough of much that is written is one. A peer whose bytes are left unread on our
        side's account counts as alive, unless it is time that it reads.
        """
        connection = self._connection
        if connection is None:
            return False
        is_unread = self._holds & (OWNER | TURN) != 0 and not self.is_writing_paused
        return connection.heard or is_unread

    @heard.setter
    def heard(self, heard: bool) -> None:
        """Wait for the next sign, after False; take something for one, after True."""
        if self._connection is not None:
            self._connection.heard = heard

    @property
    def write_buffer_bytes(self) -> int:
        """How much of what was written the socket has not taken yet."""
        return self.asyncio_transport.get_write_buffer_size()

    def write(self, frames: bytes) -> None:
        """Write frames as they are, in one piece; do nothing once closing."""
        if self.is_sendable:  # asyncio logs what is written when the peer has left
            self.asyncio_transport.write(frames)

    def send(self, opcode: int, payload: str | bytes) -> bool:
        """Encode and write one message, ping or pong; return False, and do nothing, once closing.

        Raises ValueError for a ping or pong above 125 bytes.
        """
        # What is_sendable and send_frame do, without their calls: an echo is made of these lines.
        asyncio_transport = self.asyncio_transport
        if self._websocket.state >= CLOSE_SENT or asyncio_transport.is_closing():
            return False
        data = payload.encode() if isinstance(payload, str) else payload
        asyncio_transport.write(encode_frame(opcode, data))
        return True

    def send_deflated(self, opcode: int, payload: bytes) -> int:
        """Compress and write one message; return how long the frame is, 0 once closing.

        Raises StateError where no compression was agreed upon.
        """
        if not self.is_sendable:
            return 0
        frame = self._websocket.send_deflated(opcode, payload)
        self.asyncio_transport.write(frame)
        return len(frame)

    def write_deflated(self, frame: bytes) -> None:
        """Write a frame of what deflate_message gave, for this connection or for many; do nothing
        once closing.
        """
        if self.is_sendable:
            self._websocket.forget_sent()
            self.asyncio_transport.write(frame)

    def close(self, code: int = CloseCode.OK, reason: str = "") -> None:
        """Begin the closing handshake, or answer the peer's close frame; do nothing once closing.

        Messages that still arrive are dropped. A reason above 123 bytes is cut. A peer that broke
        the protocol is told so instead. Raises ValueError for a code that must not be sent.
        """
        if self.is_closing:
            return
        if self._websocket.state is State.FAILED:
            self._tell_error()
            return
        frame = self._websocket.send_close(code, reason)
        if not self.asyncio_transport.is_closing():  # uvloop refuses to write to a failed socket
            self.asyncio_transport.write(frame)
        if self.close_code is not None:
            self._finish()
            return
        self._start_close_timer()
        self._release(self._holds)
        # The peer's close frame may be among what waits.
        if self._waiting or self._websocket.is_behind:
            asyncio.get_running_loop().call_soon(self._go_on)

    def shutdown(self) -> None:
        """Close because the server goes away."""
        self.close(CloseCode.GOING_AWAY)

    def abort(self, exc: Exception | None = None) -> None:
        """Drop the socket now, and what was not acted on; on_closed follows in the next turn of the
        loop, with exc.
        """
        self._waiting = ()
        self._end_cause = self._end_cause or exc
        self._websocket.lose()
        self.asyncio_transport.abort()

    def pause_reading(self) -> None:
        """Act on nothing more, and leave what comes in the socket, until resume_reading; not once
        closing.
        """
        self._hold(OWNER)

    def resume_reading(self) -> None:
        """Take back pause_reading."""
        is_behind = bool(self._waiting) or self._websocket.is_behind
        if self._holds == OWNER and is_behind:  # which comes before what is still in the socket
            self._holds |= TURN
            asyncio.get_running_loop().call_soon(self._go_on)
        self._release(OWNER)

    def data_received(self, data: bytes) -> None:
        """Act on what data completes: messages to the listener, control frames answered.

        What exceeds a turn, or the backlog of a peer that does not read, waits; so does reading.
        """
        websocket = self._websocket
        events = websocket.feed(data)
        if self._waiting:
            self._waiting = [*reversed(events), *self._waiting]
        elif len(events) == 1 and not (
            self._holds or self.is_writing_paused or websocket.is_behind
        ):
            self._receive(events[0])  # nothing can wait behind it: most reads are one message
        elif events:
            events.reverse()
            self._waiting = events
            self._act()

    def eof_received(self) -> bool | None:
        """Close the socket: a peer that went without a close frame is not waited for."""
        if self._websocket.state is State.FAILED:
            self._tell_error()
        self._websocket.lose()
        self._act()  # drops messages, but finds a close frame
        self._close_socket()
        self._tell_closed(self._end_cause)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener that it is over, unless it knows."""
        self._websocket.lose()
        self._connection = None
        self._waiting = ()
        self._holds = 0
        self._stop_close_timer()
        self._tell_closed(self._end_cause or exc)

    def pause_writing(self) -> None:
        """Tell the listener that the peer reads too slowly."""
        self.is_writing_paused = True
        if self._listener is not None:
            self._listener.on_pause_writing()

    def resume_writing(self) -> None:
        """Send the pong that waited, tell the listener, and go on with the events that waited."""
        self.is_writing_paused = False
        self.heard = True
        if self._pong:
            pong, self._pong = self._pong, b""
            self.write(pong)
        if self._listener is not None:
            self._listener.on_resume_writing()
        if self._holds & BACKLOG:
            # No longer BACKLOG: what is written from here on may make asyncio call this again.
            self._holds = self._holds & ~BACKLOG | TURN
            self._go_on()

    def _act(self) -> None:
        """Act on the events that wait, as far as this turn and the peer's reading allow."""
        count = why = 0
        while self._waiting and not why:
            self._receive(self._waiting.pop())
            count += 1
            if self._websocket.state >= CLOSE_SENT:
                continue  # the rest is dropped, unless it is the peer's close frame
            if self.is_writing_paused and self.write_buffer_bytes > MAX_BACKLOG_BYTES:
                why = BACKLOG
            elif self._holds & OWNER:
                break
            elif count == MESSAGES_PER_TURN and self._waiting:
                why = TURN
                asyncio.get_running_loop().call_soon(self._go_on)
        if not self._waiting:
            self._waiting = ()
            if self._websocket.is_behind and not why:
                why = TURN
                asyncio.get_running_loop().call_soon(self._go_on)
        if why:
            self._hold(why)
        if self._holds:
            self._release((BACKLOG | TURN) & ~why)

    def _go_on(self) -> None:
        """Act on events that waited; not while the peer does not read, or the listener pauses."""
        if self._holds & (BACKLOG | OWNER):
            self._holds &= ~TURN
            return
        try:
            if self._websocket.is_behind and not self._waiting:
                self._waiting = self._websocket.feed(b"")[::-1]
            self._act()
        except BaseException as error:  # as asyncio does where data_received raises
            self.abort(error if isinstance(error, Exception) else None)
            raise

    def _receive(self, event: Event) -> None:
        """Act on one event; messages, pings and pongs are dropped once closing."""
        if not isinstance(event, tuple):
            self._fail(event)
            return
        opcode, payload = event
        if isinstance(payload, tuple):
            self._receive_close(*payload)
        elif self._listener is None or self._websocket.state >= CLOSE_SENT:
            return
        elif opcode <= BINARY:
            self._listener.on_message(opcode, payload)
        elif isinstance(payload, bytes):
            self._receive_control(self._listener, opcode, payload)

    def _receive_close(self, code: int, reason: str) -> None:
        """Answer a close frame, or leave that to the listener, or see that it is the answer."""
        self.close_code, self.close_reason = code, reason
        if self.is_closing:
            self._finish()
        elif self._autoclose or self._listener is None:
            self.close(code)
        else:
            self._start_close_timer()
            self._listener.on_close(code, reason)

    def _receive_control(self, listener: Listener, opcode: int, payload: bytes) -> None:
        """Answer a ping; while the peer does not read, only its newest: RFC 6455 section 5.5.3."""
        if not self._autoping:
            (listener.on_ping if opcode == PING else listener.on_pong)(payload)
        elif opcode == PING:
            pong = self._websocket.send_frame(PONG, payload)
            if self.is_writing_paused:
                self._pong = pong
            else:
                self.write(pong)

    def _fail(self, error: WebSocketError) -> None:
        """Tell the peer what it did wrong, or leave that to the listener."""
        if self.is_closing:
            self._close_socket()
            self._tell_closed(error)
            return
        self.close_code, self.close_reason = error.close_code, error.message
        self._end_cause = error
        if self._autoclose or self._listener is None:
            self._tell_error()
        else:
            self._start_close_timer()
            self._listener.on_error(error)

    def _tell_error(self) -> None:
        """Send what the peer did wrong, and see that it has a chance to read it."""
        code = self.close_code or CloseCode.PROTOCOL_ERROR
        self.asyncio_transport.write(self._websocket.send_close(code, self.close_reason))
        self._close_our_half()
        self._tell_closed(self._end_cause)

    def _close_our_half(self) -> None:
        """Send no more, and read and drop what comes until the peer ends it: RFC 6455 section
        7.1.1.

        Closing a socket with unread bytes resets it, and a reset can overtake the close frame.
        """
        if not self.asyncio_transport.can_write_eof():
            self._close_socket()
            return
        end_writing(self.asyncio_transport)
        self._start_close_timer()
        self._release(self._holds)

    def _finish(self) -> None:
        """Close the socket after the last close frame; a server is the one to do it first."""
        self._close_socket()
        self._tell_closed(None)

    def _close_socket(self) -> None:
        """Close the socket once it has taken what was written, within the close timeout."""
        if not self.asyncio_transport.is_closing():
            self.asyncio_transport.close()  # asyncio's with TLS is of no use once closed twice
        if self.write_buffer_bytes:
            self._start_close_timer()
        else:
            self._stop_close_timer()

    def _tell_closed(self, exc: Exception | None) -> None:
        """Call on_closed, the first time."""
        if self.close_code is None:
            self.close_code = CloseCode.ABNORMAL_CLOSURE
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_closed(self.close_code, self.close_reason, exc)

    def _start_close_timer(self) -> None:
        """Give the peer, from now on, the close timeout."""
        self._stop_close_timer()
        loop = asyncio.get_running_loop()
        self._close_timer = loop.call_later(self._close_timeout_s, self._on_close_timeout)

    def _stop_close_timer(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None

    def _on_close_timeout(self) -> None:
        """Answer in the listener's place, or drop a peer that does not do its part."""
        self._close_timer = None
        if self._websocket.state in (State.CLOSE_RECEIVED, State.FAILED):
            self.close(self.close_code or CloseCode.OK)
        else:
            self.abort(TimeoutError(f"no end of the handshake within {self._close_timeout_s} s"))

    def _hold(self, why: int) -> None:
        """Stop reading for one more reason; not for long once closing, or the peer's answer is
        missed.
        """
        if not self._holds and (not self.is_closing or why == TURN):
            self.asyncio_transport.pause_reading()
            self._holds = why
        elif self._holds:
            self._holds |= why

    def _release(self, why: int) -> None:
        """Drop reasons to stop reading; read on if none is left."""
        if self._holds and not self._holds & ~why:
            self.asyncio_transport.resume_reading()
        self._holds &= ~why
