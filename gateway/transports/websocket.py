"""Sessions over WebSocket: the opening handshake, messages in and out, the end."""

import logging
from typing import Final

from gateway.answers import refuse, refuse_error
from gateway.auth import Identify, identify_nobody
from gateway.commands import Commands
from gateway.config import Config
from gateway.hub import Hub
from gateway.origin import is_allowed_origin
from gateway.query import Query
from gateway.session import Positions, Session
from gateway.transports.encoders import ENCODERS, DeflatingEncoder
from gateway.web.flow import count_unread_bytes, limit_backlog
from gateway.web.request import BaseRequest
from gateway.web.stream_response import StreamResponse
from gateway.web.sweep import Sweep
from gateway.web.takeover import TakeoverResponse
from gateway.web.websocket.connection import Listener, WebSocketConnection
from protocol.codec import JSON, SUBPROTOCOLS, Codec
from protocol.codes import CloseCode, Disconnect, ErrorCode
from protocol.deflate import Agreement, negotiate
from protocol.errors import MessageError
from protocol.frames import PING, encode_frame
from protocol.handshake import Refused, accept_headers, choose_protocol, judge
from protocol.messages import PROTOCOL_VERSION, PingPush, Push, Welcome, closing_push

logger = logging.getLogger("gateway")


# What a client is pinged with: a frame that libraries and browsers answer by themselves, or a push
# for those who cannot see that frame, such as scripts in browsers.
_PING_FRAME: Final = encode_frame(PING, b"")
_PING_PUSHES: Final = {
    codec: encode_push(PingPush()) for codec, (_, encode_push) in ENCODERS.items()
}


class WebSocketTransport(Listener):
    """One session's WebSocket: what the session writes through, and what hears the connection."""

    __slots__ = (
        "_codec",
        "_connection",
        "_endpoint",
        "_ping",
        "_unread_bytes",
        "encode_push",
        "session",
        "write",
    )

    def __init__(
        self,
        endpoint: "WebSocketEndpoint",
        request: BaseRequest,
        codec: Codec,
        ping: bytes,
        user: str | None,
        agreement: Agreement | None,
    ) -> None:
        self._endpoint = endpoint
        self._ping = ping
        self._codec = codec
        encode, self.encode_push = ENCODERS[codec]
        if agreement is not None:
            encode = endpoint.deflating[codec]
        self._unread_bytes = 0  # what the peer had not read at the last visit, while paused
        self._connection = WebSocketConnection(
            request.protocol,
            self,
            max_message_bytes=endpoint.config.websocket.max_message_bytes,
            agreement=agreement,
            close_timeout_s=endpoint.config.websocket.close_timeout_s,
        )
        asyncio_transport = request.protocol.asyncio_transport
        limit_backlog(asyncio_transport, endpoint.config.websocket.high_water_bytes)
        # A batch goes straight to the socket: this is the call that fan-out consists of.
        self.write = asyncio_transport.write
        self.session = Session(self, encode, user)

    @property
    def connection(self) -> WebSocketConnection:
        """What the connection's bytes go to after the upgrade."""
        return self._connection

    # --- Transport: what the session says ---

    def push(self, push: Push, positions: Positions) -> None:
        """Write one push or reply."""
        self._connection.write(self.encode_push(push))

    def disconnect(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Say `closing`, then start the closing handshake; the session ends now."""
        self.session.push(closing_push(code, reason, retry_after_ms))
        self._endpoint.forget(self)
        self._connection.close(code, reason)

    def pause_reading(self) -> None:
        """Obey nothing more, and leave what comes in the socket, until resume_reading."""
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Take back pause_reading."""
        self._connection.resume_reading()

    # --- Listener: what the connection says ---

    def on_message(self, opcode: int, data: str | bytes) -> None:
        """Obey the command in a message."""
        try:
            self._endpoint.commands.receive(self.session, self._codec, data)
        except Exception:
            logger.exception("session %s: a command failed", self.session.id)
            self.disconnect(CloseCode.INTERNAL_ERROR, "internal error")

    def on_pause_writing(self) -> None:
        """The socket takes no more."""
        self._endpoint.hub.pause(self.session)

    def on_resume_writing(self) -> None:
        """The socket has drained."""
        self._unread_bytes = 0
        self._endpoint.hub.resume(self.session)

    def on_closed(self, code: int, reason: str, exc: Exception | None) -> None:
        """The connection is gone."""
        self._endpoint.forget(self)

    # --- Peer: what the heartbeat says ---

    def beat(self) -> None:
        """Ping the peer, unless nothing was heard since the last visit: end the session then.

        It is pinged whatever else it was sent: it hears from the gateway at every interval, and can
        tell by its silence that it is gone.
        While it does not keep up, reading is the sign of life: a ping would wait behind the rest.
        """
        if self.session.is_paused:
            unread_bytes = count_unread_bytes(self._connection.asyncio_transport)
            before_bytes, self._unread_bytes = self._unread_bytes, unread_bytes
            if 0 < before_bytes <= unread_bytes:
                self.disconnect(Disconnect.SLOW, "nothing was read for a whole interval")
        elif self._connection.heard:
            self._unread_bytes = 0
            self._connection.heard = False
            self._connection.write(self._ping)
        else:
            self.disconnect(Disconnect.NO_HEARTBEAT, "nothing was heard for a whole interval")


class WebSocketEndpoint:
    """GET /ws: upgrades requests into sessions."""

    def __init__(
        self,
        hub: Hub,
        commands: Commands,
        heartbeat: Sweep,
        config: Config,
        identify: Identify = identify_nobody,
    ) -> None:
        self.hub = hub
        self._identify = identify
        self.commands = commands
        self.config = config
        self._heartbeat = heartbeat
        min_bytes = config.websocket.compression_min_bytes
        # Once for all sessions: those of one encoding have one function.
        self.deflating = {
            codec: DeflatingEncoder(codec, min_bytes=min_bytes) for codec in SUBPROTOCOLS.values()
        }

    async def __call__(self, request: BaseRequest) -> StreamResponse:
        """Answer an upgrade request: 101 with the welcome behind it, or a refusal."""
        verdict = judge(request.method, request.version, request.headers)
        if isinstance(verdict, Refused):
            return refuse(
                verdict.status, ErrorCode.MALFORMED, verdict.message, headers=verdict.headers
            )
        if request.body_exists:
            return refuse(400, ErrorCode.MALFORMED, "a WebSocket is opened without a body")
        if not is_allowed_origin(request, self.config.websocket.allowed_origins):
            origin = request.headers["Origin"][:200]
            text = f"origin {origin!r} may not connect; see websocket.allowed_origins"
            return refuse(403, ErrorCode.UNAUTHORIZED, text)
        name = choose_protocol(verdict.protocols, SUBPROTOCOLS)
        if name is None and verdict.protocols:
            text = f"none of the offered subprotocols is one of {', '.join(SUBPROTOCOLS)}"
            return refuse(400, ErrorCode.UNSUPPORTED, text)
        codec = JSON if name is None else SUBPROTOCOLS[name]
        try:
            ping = _choose_ping(request, codec)
            user = await self._identify(request)
            self.hub.check_room()
        except MessageError as error:
            return refuse_error(error)
        offers = verdict.extensions if self.config.websocket.compression else ()
        agreement = negotiate(offers, keeps_context=False)
        transport = WebSocketTransport(self, request, codec, ping, user, agreement)
        extension = None if agreement is None else agreement.extension
        return await self._open(request, transport, accept_headers(verdict, name, extension))

    async def _open(
        self, request: BaseRequest, transport: WebSocketTransport, headers: dict[str, str]
    ) -> StreamResponse:
        self.hub.attach(transport.session)
        self._heartbeat.add(transport)
        welcome = Welcome(
            session=transport.session.id,
            ping_interval=self.config.heartbeat.interval_s,
            user=transport.session.user,
            protocol=PROTOCOL_VERSION,
        )
        response = TakeoverResponse(
            transport.connection, status=101, headers=headers, first=transport.encode_push(welcome)
        )
        try:
            await response.prepare(request)
        except BaseException:
            self.forget(transport)
            raise
        return response

    def forget(self, transport: WebSocketTransport) -> None:
        """End a transport's session; does nothing the second time."""
        self._heartbeat.remove(transport)
        self.hub.detach(transport.session)


def _choose_ping(request: BaseRequest, codec: Codec) -> bytes:
    """Return what the client of request is pinged with; raise MessageError for a wrong query."""
    if "?" not in request.raw_path or not request.rel_url.raw_query_string:
        return _PING_FRAME
    wish = Query(request.rel_url.raw_query_string, ("ping",)).one("ping")
    if wish == "message":
        return _PING_PUSHES[codec]
    text = f"ping {(wish or '')[:40]!r} is not `message`, the only choice there is to make"
    raise MessageError(ErrorCode.INVALID_FIELD, text)
