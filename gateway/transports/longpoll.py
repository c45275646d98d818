"""Sessions of one answer: GET /poll.

A poll is a session like any other, which ends with what the first flush or the first reading on
gives it. Nothing of it outlives the answer: the cursor is the whole state.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from gateway.answers import refuse_error, send_json
from gateway.auth import Identify, identify_nobody
from gateway.budget import Budget, Share
from gateway.config import LongpollConfig
from gateway.hub import Hub
from gateway.query import Query
from gateway.session import Positions, Session
from gateway.stream import Stream
from gateway.transports.wanted import CHANNEL_PARAMETERS, Wanted, follow_all, read_wanted
from gateway.web.request import BaseRequest
from gateway.web.stream_response import StreamResponse
from protocol.codec import JSON
from protocol.codes import ErrorCode
from protocol.cursor import encode_cursor
from protocol.errors import MessageError
from protocol.messages import Gap, Push
from protocol.publication import Publication

_PARAMETERS: Final = (*CHANNEL_PARAMETERS, "timeout")
_NO_DISCONNECT: Final = (
    "a poll has no connection to end: overflow is gap or latest, for a cursor that has expired"
)


def encode_items(stream: Stream, publications: Sequence[Publication], _: Positions) -> bytes:
    """Return publications as the items of a JSON array, without its brackets."""
    name, is_timed = stream.name, stream.config.message_time
    return b",".join([JSON.encode_message(name, each, is_timed=is_timed) for each in publications])


class PollTransport:
    """Collects what one poll will be answered with, up to max_bytes, or what share may hold."""

    encode_push = None

    def __init__(self, hub: Hub, max_bytes: int, share: Share, user: str | None = None) -> None:
        self._hub = hub
        self._max_bytes = max_bytes
        self._share = share
        self._messages: list[bytes] = []
        self._gaps: list[bytes] = []
        self._size_bytes = 0
        self._is_ended = False
        self._grown: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.session = Session(self, encode_items, user)

    # --- Transport: what the session says ---

    def write(self, data: bytes) -> None:
        """Keep a batch; at max_bytes have the hub stop, as a full socket would."""
        self._messages.append(data)
        self._grow(len(data))

    def push(self, push: Push, positions: Positions) -> None:
        """Keep a gap; the other pushes say nothing that the answer does not."""
        if isinstance(push, Gap):
            self._gaps.append(JSON.encode(push))
            self._grow(len(self._gaps[-1]))

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Have the poll answered with what there is: the next one will find out."""
        self._is_ended = True
        self._grow(0)

    def pause_reading(self) -> None:
        """Do nothing: a poll brings no commands."""

    def resume_reading(self) -> None:
        """Do nothing, either."""

    # --- what the endpoint asks ---

    async def wait_grown(self) -> None:
        """Return as soon as there is something to answer, or the node wants polls to end."""
        await self._grown

    async def wait_full(self) -> None:
        """Return as soon as all that was there already is collected, or max_bytes is reached."""
        while not (self._is_ended or self.session.is_paused) and self._hub.is_behind(self.session):
            self._grown = asyncio.get_running_loop().create_future()
            await self._grown

    def take_answer(self) -> bytes:
        """Return the JSON text of the answer, end the session and forget what was collected."""
        # Falling behind gives every subscription the offset that it has really been given, even in
        # the middle of a flush.
        self._hub.pause(self.session)
        positions = self.session.positions()
        self._hub.detach(self.session)
        messages, gaps = self._messages, self._gaps
        self._messages, self._gaps = [], []
        return b'{"cursor":"%b","positions":%b,"messages":[%b],"gaps":[%b]}' % (
            encode_cursor(positions).encode(),
            msgspec.json.encode({name: each._asdict() for name, each in positions.items()}),
            b",".join(messages),
            b",".join(gaps),
        )

    def _grow(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        is_full = self._size_bytes >= self._max_bytes
        try:
            self._share.grow(size_bytes)
        except MessageError:  # what is here already may be answered, once others are
            is_full = True
        if is_full and not self.session.is_paused:
            self._hub.pause(self.session)
        if not self._grown.done():
            self._grown.set_result(None)


class PollEndpoint:
    """GET /poll: answers when something is newer than the cursor, or at the timeout."""

    def __init__(
        self,
        hub: Hub,
        config: LongpollConfig,
        unread: Budget,
        identify: Identify = identify_nobody,
    ) -> None:
        self._hub = hub
        self._unread = unread
        self._identify = identify
        self._config = config

    async def __call__(self, request: BaseRequest) -> StreamResponse:
        """Answer one poll; 400 says what is wrong with it."""
        try:
            query = Query(request.rel_url.raw_query_string, _PARAMETERS)
            timeout_s = self._read_timeout(query.one("timeout"))
            wanted = read_wanted(query, max_channels=self._config.max_channels, last_event_id=None)
            if any(each.overflow == "disconnect" for each in wanted):
                raise MessageError(ErrorCode.INVALID_FIELD, _NO_DISCONNECT)
            user = await self._identify(request)
            streams = await follow_all(self._hub, wanted)
            with Share(self._unread) as share:
                transport = PollTransport(self._hub, self._config.max_response_bytes, share, user)
                poll = self._poll(transport, streams, wanted, timeout_s)
                return await send_json(request, await poll, share)
        except MessageError as error:
            return refuse_error(error)

    async def _poll(
        self,
        transport: PollTransport,
        streams: list[Stream],
        wanted: list[Wanted],
        timeout_s: float,
    ) -> bytes:
        self._hub.attach(transport.session)
        try:
            for stream, (_, start, overflow) in zip(streams, wanted, strict=True):
                _, gap = self._hub.subscribe(transport.session, stream, start, overflow)
                if gap is not None:
                    transport.session.push(gap)
            self._hub.start(transport.session)
            if not self._hub.is_behind(transport.session):
                with suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await transport.wait_grown()
            await transport.wait_full()
            return transport.take_answer()
        finally:
            self._hub.detach(transport.session)

    def _read_timeout(self, text: str | None) -> float:
        if text is None:
            return self._config.timeout_s
        try:
            timeout_s = float(text)
        except ValueError:
            timeout_s = -1.0
        if not timeout_s >= 0:  # NaN is not, either
            message = f"timeout {text[:40]!r} is not a number of seconds, 0 or more"
            raise MessageError(ErrorCode.INVALID_FIELD, message)
        return min(timeout_s, self._config.max_timeout_s)
