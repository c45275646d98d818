"""A connection while it speaks HTTP: requests are taken in order and answered one at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum, auto
from http import HTTPStatus
from math import inf
from typing import Any, Final, TypeAlias

from gateway.web.body.decoders import find_decoder
from gateway.web.body.decoding_reader import DecodingReader
from gateway.web.body.errors import PayloadAccessError, RequestPayloadError
from gateway.web.body.reader import StreamReader
from gateway.web.body.writer import BodyWriter
from gateway.web.flow import PeerLeft, WriteFlow, end_writing
from gateway.web.intake import Intake
from gateway.web.settings import Shared
from protocol.errors import HTTPError, StateError
from protocol.http1 import HTTP_11, ChunkEnds, EndOfRequest, RequestHead, encode_head

# Bytes behind a request that wait for its answer; of more the peer's TCP has to take care.
MAX_WAITING_BYTES: Final = 64 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

# What answers a request, given its head, its body and where the response is written. It must call
# finish() at its end, whatever happens.
Answer: TypeAlias = Callable[
    [RequestHead, StreamReader | None, BodyWriter], Coroutine[Any, Any, None]
]


class Phase(Enum):
    """What a conversation is doing."""

    IDLE = auto()  # between two requests, or before the first
    HEAD = auto()  # a head has begun to arrive
    HANDLING = auto()  # a handler runs
    DRAINING = auto()  # the request is answered; the rest of its body is dropped as it comes
    CLOSING = auto()  # nothing is sent any more; what comes is dropped
    OVER = auto()  # the socket is lost, or is somebody else's


# An attribute of an Enum class is a call in Python 3.11; these names are not.
_IDLE, _HEAD, _HANDLING, _DRAINING, _CLOSING, _OVER = Phase


class Conversation:
    """The HTTP spoken on one connection.

    expire() is due when one of deadline and write_deadline, by the loop's time, has passed.
    """

    __slots__ = (
        "_answer",
        "_asyncio_transport",
        "_awaits_continue",
        "_body",
        "_flow",
        "_intake",
        "_is_last",
        "_is_reading_paused",
        "_phase",
        "_shared",
        "_unsent_bytes",
        "_writer",
        "deadline",
        "task",
        "write_deadline",
    )

    _writer: BodyWriter

    def __init__(
        self, asyncio_transport: asyncio.Transport, shared: Shared, answer: Answer
    ) -> None:
        self._asyncio_transport = asyncio_transport
        self._shared = shared
        self._answer = answer
        self._phase = _IDLE
        self._intake = Intake(shared.head_limits)
        self._flow = WriteFlow(asyncio_transport)
        self._body: StreamReader | None = None  # of the request in hand, unless it has none
        self._awaits_continue = False  # whether the peer holds the body back until told to send it
        self._is_last = False  # whether no request will follow the one in hand
        self._is_reading_paused = False
        self.deadline = shared.now + shared.settings.head_timeout_s
        self.write_deadline = inf  # for the peer to read something, while writing is paused
        self._unsent_bytes = 0  # when write_deadline was set
        self.task: asyncio.Task[None] | None = None  # the handler of the request in hand

    @property
    def is_last(self) -> bool:
        """Whether the connection closes after the request in hand, whatever its peer wants.

        It does where the peer was not told to send the body: nobody can say whether it will.
        """
        return self._is_last or self._awaits_continue

    # What the connection passes on.

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._phase is not _CLOSING:
            self._intake.add(data)
            self._advance()

    def feed_eof(self) -> None:
        """Take the end of the peer's bytes; a head that will never be whole is answered."""
        if self._phase is _HEAD and isinstance(error := self._intake.end(), HTTPError):
            self._refuse(error)

    def lose(self) -> None:
        """Tell everyone who reads or writes here that the peer left."""
        self._phase = _OVER
        self.deadline = self.write_deadline = inf
        self._flow.lose()
        if self._body is not None:
            self._body.set_exception(PeerLeft("The peer left"))

    def pause_writing(self) -> None:
        """Let writers wait, but not for ever."""
        self._flow.pause()
        self._await_reading()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self.write_deadline = inf
        self._flow.resume()

    def check_leavable(self) -> None:
        """Raise StateError where leave() would."""
        if self._is_body_incoming:
            raise StateError("The body of a request must have arrived before its connection goes")

    def leave(self) -> tuple[bytes, bool]:
        """End HTTP on this connection; return what was not parsed, and whether writing is paused.

        The peer still has to read within the write timeout, as long as the handler runs. Raises
        StateError where the body of the request in hand has not arrived as a whole.
        """
        self.check_leavable()
        self._phase = _OVER
        self.deadline = inf
        unparsed = self._intake.take_unparsed()
        self._regulate_reading()
        return unparsed, self._flow.is_paused

    def finish(self, keep_alive: bool) -> None:
        """Go on after the handler: with the next request, the rest of the body, or the end."""
        self.task = None
        if self._phase is not _HANDLING:
            return
        body = self._body
        if body is not None:
            body.set_exception(PayloadAccessError("The request has been answered"))
        if not keep_alive or self._is_last or self._awaits_continue:
            may_get_more = self._is_body_incoming or not self._intake.is_idle
            (self._linger if may_get_more else self._close)()
        elif body is None or body.is_eof():
            self._become_idle()
        else:
            self._drain_body()

    def close_when_done(self) -> None:
        """Close now if no request is in hand, otherwise after it."""
        self._is_last = True
        if self._phase is _IDLE or self._phase is _HEAD:
            self._close()
        elif self._phase is _DRAINING:
            self._linger()

    def expire(self) -> None:
        """Act upon the deadlines that have passed."""
        now = self._shared.now
        if self.write_deadline < now:
            if self._asyncio_transport.get_write_buffer_size() >= self._unsent_bytes:
                self._abort()
                return
            self._await_reading()
        if self.deadline < now:
            _ON_EXPIRY[self._phase](self)

    # The request in hand.

    def _advance(self) -> None:
        """Take events until the next one has to wait or has not come yet."""
        intake = self._intake
        while (
            self._phase is _IDLE
            or self._phase is _HEAD
            or (self._body is not None and not self._body.is_eof() and not self._body.is_full)
        ) and (event := intake.take()) is not None:
            _ON_EVENT[type(event)](self, event)
        if self._phase is _IDLE and not intake.is_idle:
            self._phase = _HEAD
            self.deadline = self._shared.now + self._shared.settings.head_timeout_s
        if intake.unparsed_bytes or self._body is not None or self._is_reading_paused:
            self._regulate_reading()

    @property
    def _is_body_incoming(self) -> bool:
        return self._body is not None and not self._body.is_eof()

    def _begin(self, head: RequestHead) -> None:
        if head.chunked or head.content_length:
            self._open_body(head)
        else:
            self._intake.take()  # its EndOfRequest, which came with it
        self._phase = _HANDLING
        shared = self._shared
        self._writer = writer = BodyWriter(self._flow)
        # Not in the context that bytes come in: the event loop takes it over from whoever last let
        # the peer send, and that may have been the handler of another request.
        self.task = shared.loop.create_task(
            self._answer(head, self._body, writer), context=shared.context.copy()
        )

    def _open_body(self, head: RequestHead) -> None:
        settings = self._shared.settings
        decoder = find_decoder(head.headers) if settings.auto_decompress else None
        if decoder is None:
            self._body = StreamReader(settings.read_bufsize, self._go_on_with_body)
        else:
            self._body = DecodingReader(decoder, settings.read_bufsize, self._go_on_with_body)
        if head.expects_continue:
            self._awaits_continue = True
            self.deadline = inf
        else:
            self._await_body()

    def _await_body(self) -> None:
        self.deadline = self._shared.now + self._shared.settings.body_timeout_s

    def _go_on_with_body(self) -> None:
        """Let more of the body come: the handler wants it."""
        if self._awaits_continue:
            self._awaits_continue = False
            self._await_body()
            if not self._writer.bytes_sent and not self._asyncio_transport.is_closing():
                self._asyncio_transport.write(CONTINUE)
        self._advance()

    def _take_body(self, data: bytes) -> None:
        assert self._body is not None
        self._body.feed_data(data)
        if self._phase is _HANDLING:
            self._awaits_continue = False
            self._await_body()

    def _note_chunks(self, chunks: ChunkEnds) -> None:
        assert self._body is not None
        self._body.feed_chunk_ends(chunks.ends)

    def _end_body(self, _event: EndOfRequest) -> None:
        assert self._body is not None
        self.deadline = inf
        self._body.feed_eof()
        if self._phase is _DRAINING:
            self._become_idle()

    def _break_off(self, error: HTTPError) -> None:
        """Answer a broken head; let the handler see a broken body."""
        if self._body is None:
            self._refuse(error)
            return
        self._is_last = True
        self.deadline = inf
        failure = RequestPayloadError(error.message, error.status)
        failure.__cause__ = error
        self._body.set_exception(failure)
        if self._phase is _DRAINING:
            self._linger()

    # Between requests, and the end.

    def _become_idle(self) -> None:
        self._phase = _IDLE
        self._body = None
        self.deadline = self._shared.now + self._shared.settings.keepalive_timeout
        if not self._intake.is_idle:
            # In a turn of its own, not in the task of the request that is over.
            self._shared.loop.call_soon(self._advance, context=self._shared.context)

    def _drain_body(self) -> None:
        if self._shared.settings.lingering_time <= 0:
            self._close()
            return
        self._phase = _DRAINING
        self.deadline = self._shared.now + self._shared.settings.lingering_time
        self._advance()

    def _refuse(self, error: HTTPError) -> None:
        """Answer what is no request, and close."""
        phrase = HTTPStatus(error.status).phrase
        text = f"{error.status} {phrase}\n\n{error.message}\n".encode()
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Length": str(len(text)),
            "Connection": "close",
        }
        self._asyncio_transport.write(encode_head(HTTP_11, error.status, phrase, headers) + text)
        self._shared.settings.logger.debug("Refused a request: %s %s", error.status, error.message)
        self._linger()

    def _close(self) -> None:
        """Close once everything written is sent."""
        self._phase = _CLOSING
        self.deadline = self._shared.now + self._shared.settings.head_timeout_s
        if not self._asyncio_transport.is_closing():
            self._asyncio_transport.close()

    def _linger(self) -> None:
        """Close, but hear the peer out first, for the lingering time.

        RFC 9112 section 9.6: closing on a peer that is still sending resets the connection, which
        may take away an answer that it has not read. So it is told that nothing more follows.
        """
        lingering_time, transport = self._shared.settings.lingering_time, self._asyncio_transport
        if lingering_time <= 0 or transport.is_closing():
            self._close()
            return
        self._phase = _CLOSING
        self.deadline = self._shared.now + lingering_time
        self._flow.lose()  # for a task that a handler left behind
        if transport.can_write_eof():
            end_writing(transport)
        self._intake.take_unparsed()
        self._regulate_reading()

    def _await_reading(self) -> None:
        """Give the peer the write timeout to read some of what is written, though not all."""
        self._unsent_bytes = self._asyncio_transport.get_write_buffer_size()
        self.write_deadline = self._shared.now + self._shared.settings.write_timeout_s

    def _be_late(self) -> None:
        self._refuse(HTTPError(408, "The head did not arrive in time"))

    def _stall(self) -> None:
        if not self._is_body_incoming:  # the deadline is left from before the request
            self.deadline = inf
        elif self._is_reading_paused:  # it is the handler that is slow
            self._await_body()
        else:
            self._break_off(HTTPError(408, "The body did not arrive in time"))

    def _abort(self) -> None:
        self._asyncio_transport.abort()

    def _regulate_reading(self) -> None:
        """Let the peer send, unless more is waiting here than should."""
        is_full = self._intake.unparsed_bytes > MAX_WAITING_BYTES or (
            self._body is not None and self._body.is_full
        )
        if is_full is not self._is_reading_paused and not self._asyncio_transport.is_closing():
            self._is_reading_paused = is_full
            if is_full:
                self._asyncio_transport.pause_reading()
            else:
                self._asyncio_transport.resume_reading()


# Tables of the class's own methods, which only exist once it does: hence SLF001.
_ON_EVENT: Final[dict[type, Callable[[Conversation, Any], None]]] = {
    RequestHead: Conversation._begin,  # noqa: SLF001
    bytes: Conversation._take_body,  # noqa: SLF001
    ChunkEnds: Conversation._note_chunks,  # noqa: SLF001
    EndOfRequest: Conversation._end_body,  # noqa: SLF001
    HTTPError: Conversation._break_off,  # noqa: SLF001
}

_ON_EXPIRY: Final[dict[Phase, Callable[[Conversation], None]]] = {
    Phase.IDLE: Conversation._close,  # noqa: SLF001
    Phase.HEAD: Conversation._be_late,  # noqa: SLF001
    Phase.HANDLING: Conversation._stall,  # noqa: SLF001
    Phase.DRAINING: Conversation._abort,  # noqa: SLF001
    Phase.CLOSING: Conversation._abort,  # noqa: SLF001
}
