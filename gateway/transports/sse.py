"""Sessions over server-sent events: GET /sse."""

from asyncio import Transport as AsyncioTransport
from collections.abc import Sequence
from typing import Final
from weakref import WeakValueDictionary

from gateway.answers import refuse_error
from gateway.auth import Identify, identify_nobody
from gateway.config import Config
from gateway.hub import Hub
from gateway.query import Query
from gateway.session import Positions, Session
from gateway.stream import Stream
from gateway.transports.wanted import CHANNEL_PARAMETERS, Wanted, follow_all, read_wanted
from gateway.web.flow import count_unread_bytes, limit_backlog, set_user_timeout
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.stream_response import StreamResponse
from gateway.web.sweep import Sweep
from gateway.web.takeover import TakeoverResponse
from protocol import sse
from protocol.codec import JSON
from protocol.codes import ErrorCode
from protocol.cursor import Position, encode_cursor
from protocol.errors import MessageError
from protocol.messages import Push, closing_push, error_push
from protocol.publication import Publication

_HEADERS: Final = {
    "Content-Type": sse.CONTENT_TYPE,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or nginx would hold events back until its buffer is full
}


def encode_push(push: Push) -> bytes:
    """Return push as an event without id: it moves no position."""
    return sse.encode_event(JSON.encode(push), event=str(push.__struct_config__.tag))


class EventEncoder:
    """Publications as events whose ids are the cursor over all channels of a stream.

    All sessions with the same channels share one encoder, because all that are live stand at the
    same positions.
    """

    __slots__ = ("__weakref__", "_channels")

    def __init__(self, channels: tuple[str, ...]) -> None:
        self._channels = channels

    def __call__(
        self, stream: Stream, publications: Sequence[Publication], positions: Positions
    ) -> bytes:
        """Return publications of stream, one event each."""
        cursor = {name: positions(name) for name in self._channels}
        is_timed = stream.config.message_time
        events = []
        for publication in publications:
            cursor[stream.name] = Position(stream.epoch, publication.offset)
            data = JSON.encode_message(stream.name, publication, is_timed=is_timed)
            events.append(sse.encode_event(data, cursor=encode_cursor(cursor)))
        return b"".join(events)


class EventStreamTransport:
    """One session's event stream: what the session writes through, and what hears its end."""

    __slots__ = (
        "_asyncio_transport",
        "_endpoint",
        "_has_begun",
        "_unread_bytes",
        "session",
        "write",
    )
    encode_push = staticmethod(encode_push)

    def __init__(
        self,
        endpoint: "EventStreamEndpoint",
        request: BaseRequest,
        channels: tuple[str, ...],
        user: str | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._asyncio_transport: AsyncioTransport = request.protocol.asyncio_transport
        limit_backlog(self._asyncio_transport, endpoint.config.sse.high_water_bytes)
        self._has_begun = False
        self._unread_bytes = 0  # what the peer had not read at the last visit, while paused
        self.write = self._asyncio_transport.write
        encode = endpoint.encoder_for(channels)
        self.session = Session(self, encode, user, cursor_channels=channels)

    # --- Transport: what the session says ---

    def push(self, push: Push, positions: Positions) -> None:
        """Write one push as an event; its id is the cursor once every channel has a position."""
        cursor = encode_cursor(self.session.positions()) if self._has_begun else None
        event = push.__struct_config__.tag
        self.write(sse.encode_event(JSON.encode(push), event=str(event), cursor=cursor))

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Say `closing`, and when to come back, then close."""
        if self._asyncio_transport.is_closing():
            return
        # Falling behind gives the session the position that it has really been given, even in the
        # middle of a flush: the client comes back with it.
        self._endpoint.hub.pause(self.session)
        if retry_after_ms is not None:
            self.write(sse.encode_retry(retry_after_ms))
        self.session.push(closing_push(code, reason, retry_after_ms))
        self._endpoint.forget(self)
        self._asyncio_transport.close()

    def pause_reading(self) -> None:
        """Do nothing: an event stream brings no commands."""

    def resume_reading(self) -> None:
        """Do nothing, either."""

    def begin(self, streams: list[Stream], wanted: list[Wanted]) -> None:
        """Subscribe to all streams, tell the client from where, and begin to read on."""
        for stream, (_, start, overflow) in zip(streams, wanted, strict=True):
            subscribed, gap = self._endpoint.hub.subscribe(self.session, stream, start, overflow)
            self.session.push(subscribed)
            if gap is not None:
                self.session.push(gap)
        # Only now is the cursor whole: whoever came back with part of one would lose the rest.
        self._has_begun = True
        self.write(sse.encode_id(encode_cursor(self.session.positions())))
        self._endpoint.hub.start(self.session)

    # --- Receiver: what the connection says ---

    def data_received(self, data: bytes) -> None:
        """Drop what a client sends behind its request: an event stream has no other direction."""

    def eof_received(self) -> bool | None:
        """Take the end of the client's direction for its leaving, and have the socket closed."""
        self._endpoint.forget(self)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._endpoint.forget(self)

    def pause_writing(self) -> None:
        """The socket takes no more."""
        self._endpoint.hub.pause(self.session)

    def resume_writing(self) -> None:
        """The socket has drained."""
        self._unread_bytes = 0
        self._endpoint.hub.resume(self.session)

    def shutdown(self) -> None:
        """Close once what was written is read; the server aborts at its timeout."""
        self._asyncio_transport.close()

    # --- Peer: what the heartbeat says ---

    def beat(self) -> None:
        """Write a comment, which a vanished client fails; drop one that read nothing meanwhile."""
        if not self.session.is_paused:
            self._unread_bytes = 0
            self.write(sse.HEARTBEAT)
            return
        unread_bytes = count_unread_bytes(self._asyncio_transport)
        before_bytes, self._unread_bytes = self._unread_bytes, unread_bytes
        if 0 < before_bytes <= unread_bytes:
            self._endpoint.forget(self)
            self._asyncio_transport.abort()


class EventStreamEndpoint:
    """GET /sse: turns requests into event streams."""

    def __init__(
        self, hub: Hub, heartbeat: Sweep, config: Config, identify: Identify = identify_nobody
    ) -> None:
        self.hub = hub
        self._identify = identify
        self._heartbeat = heartbeat
        self.config = config
        self._encoders: WeakValueDictionary[tuple[str, ...], EventEncoder] = WeakValueDictionary()

    async def __call__(self, request: BaseRequest) -> StreamResponse:
        """Answer with an endless event stream, or 400 for what would be wrong at every retry."""
        try:
            query = Query(request.rel_url.raw_query_string, CHANNEL_PARAMETERS)
            if request.body_exists:
                raise MessageError(ErrorCode.MALFORMED, "an event stream is asked for without body")
            wanted = read_wanted(
                query,
                max_channels=self.config.longpoll.max_channels,
                last_event_id=request.headers.get("Last-Event-ID"),
            )
            user = await self._identify(request)
        except MessageError as error:
            return refuse_error(error)
        try:
            streams = await follow_all(self.hub, wanted)
        except MessageError as error:
            is_wrong = error.code is ErrorCode.INVALID_FIELD
            return refuse_error(error) if is_wrong else self.postpone(error)
        return await self._open(request, streams, wanted, user)

    def postpone(self, error: MessageError) -> Response:
        """Answer that the client shall come back: any status but 200 would stop an EventSource.

        The HTML standard, section 9.2.3, has it reconnect after `retry` when a 200 ends.
        """
        retry_ms = error.retry_after_ms or self.config.sse.retry_ms
        event = sse.encode_event(JSON.encode(error_push(error)), event="error")
        body = sse.encode_retry(retry_ms) + event
        response = Response(body=body, headers=_HEADERS)
        response.force_close()
        return response

    def encoder_for(self, channels: tuple[str, ...]) -> EventEncoder:
        """Return the encoder that all streams of these channels share."""
        encoder = self._encoders.get(channels)
        if encoder is None:
            encoder = self._encoders[channels] = EventEncoder(channels)
        return encoder

    def forget(self, transport: EventStreamTransport) -> None:
        """End a transport's session; does nothing the second time."""
        self._heartbeat.remove(transport)
        self.hub.detach(transport.session)

    async def _open(
        self,
        request: BaseRequest,
        streams: list[Stream],
        wanted: list[Wanted],
        user: str | None,
    ) -> StreamResponse:
        channels = tuple(each.name for each in streams)
        transport = EventStreamTransport(self, request, channels, user)
        # A vanished machine acknowledges no comment; the sweep sees no more than that it was sent.
        set_user_timeout(request.protocol.asyncio_transport, self.config.heartbeat.interval_s)
        response = TakeoverResponse(
            transport, headers=_HEADERS, first=sse.encode_retry(self.config.sse.retry_ms)
        )
        try:
            await response.prepare(request)
        except BaseException:
            for stream in streams:
                self.hub.release(stream.name)
            raise
        self.hub.attach(transport.session)
        self._heartbeat.add(transport)
        transport.begin(streams, wanted)
        return response
