"""WebSocketResponse: a WebSocket for a handler that awaits, with the names of aiohttp.

Over 400 lines, as one class has all those names; most of its methods are a few lines.
"""

# ruff: noqa: ASYNC109 - the timeout parameters are aiohttp's.

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from gateway.web.body.writer import Framing
from gateway.web.exceptions import (
    HTTPBadRequest,
    HTTPException,
    HTTPMethodNotAllowed,
    HTTPUpgradeRequired,
)
from gateway.web.flow import WRITES_PER_TURN, PeerLeft
from gateway.web.request import BaseRequest
from gateway.web.seams import Answerable
from gateway.web.stream_response import BytesLike, StreamResponse
from gateway.web.websocket.connection import CLOSE_TIMEOUT_S, WebSocketConnection
from gateway.web.websocket.inbox import MAX_INBOX_BYTES, Inbox
from gateway.web.websocket.message import (
    CLOSED_MESSAGE,
    CLOSING_MESSAGE,
    WebSocketReady,
    WSCloseCode,
    WSMessage,
    WSMessageTypeError,
    WSMsgType,
)
from gateway.web.websocket.outbox import HEAD_BYTES, Outbox
from protocol.deflate import negotiate
from protocol.frames import BINARY, MAX_64_BYTES, PING, PONG, TEXT
from protocol.handshake import Refused, accept_headers, choose_protocol, judge

__all__ = [
    "WSCloseCode",
    "WSMessage",
    "WSMessageTypeError",
    "WSMsgType",
    "WebSocketConnection",
    "WebSocketReady",
    "WebSocketResponse",
]

DEFAULT_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
DEFAULT_WRITER_LIMIT_BYTES: Final = 64 * 1024
# So often receive() says CLOSED; a loop that still asks would never end otherwise.
MAX_CLOSED_COUNT: Final = 4

# Where a loop over messages ends; an ERROR is one more message to it.
LAST_TYPES: Final = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED})
END_TYPES: Final = LAST_TYPES | {WSMsgType.ERROR}
# Every message is compared with this one: Python 3.11 takes 400 ns to look a member up in a set.
BINARY_TYPE: Final = WSMsgType.BINARY
# What send_frame takes: there is no fragment to continue, and close() sends close frames.
SENDABLE_TYPES: Final = frozenset({TEXT, BINARY, PING, PONG})


class WebSocketResponse(StreamResponse):
    """The answer that makes a request a WebSocket, and then that WebSocket.

    One task may receive at a time; any number may send. It is closed when the handler returns.

    The peer waits while more than max_inbox_bytes have come that were not received.

    Messages are compressed if compress is true and the client offers it, but for those sent with
    compress=0. Other values of the sends' compress change nothing: the window is the connection's.
    """

    def __init__(
        self,
        *,
        timeout: float = CLOSE_TIMEOUT_S,
        receive_timeout: float | None = None,
        autoclose: bool = True,
        autoping: bool = True,
        heartbeat: float | None = None,
        protocols: Iterable[str] = (),
        compress: bool = True,
        max_msg_size: int = DEFAULT_MAX_MESSAGE_BYTES,
        writer_limit: int = DEFAULT_WRITER_LIMIT_BYTES,
        decode_text: bool = True,
        max_inbox_bytes: int = MAX_INBOX_BYTES,
    ) -> None:
        super().__init__(status=101)
        self._close_timeout_s = timeout
        self._receive_timeout_s = receive_timeout
        self._autoclose = autoclose
        self._autoping = autoping
        self._heartbeat_s = heartbeat
        self._protocols = tuple(protocols)
        self._may_compress = bool(compress)
        self._max_message_bytes = int(max_msg_size) or MAX_64_BYTES  # 4e6 is a float
        self._writer_limit_bytes = writer_limit
        self._inbox = Inbox(decode_text=decode_text, max_bytes=max_inbox_bytes)
        self._connection: WebSocketConnection | None = None
        self._protocol: str | None = None
        self._outbox: Outbox | None = None  # where compression was agreed upon
        self._is_closed = False
        # Before prepare(), once closed, and once the peer's close frame was received.
        self._is_over = True
        self._closed_count = 0
        self._undrained_bytes = 0
        self._sent_count = 0  # since others last had a turn

    @property
    def closed(self) -> bool:
        """Whether close() was called or the handler has received that it is over."""
        return self._is_closed

    @property
    def close_code(self) -> int | None:
        """The code of the peer's close frame, 1005 if it had none; None while open.

        The code of the peer's error if that ended it, 1006 if the connection broke.
        """
        return self._connection.close_code if self._connection is not None else None

    @property
    def ws_protocol(self) -> str | None:
        """The subprotocol both sides speak, if they agreed on one."""
        return self._protocol

    @property
    def compress(self) -> int:
        """The window bits agreed upon for what is sent compressed; 0 if nothing is."""
        return self._outbox.window_bits if self._outbox is not None else 0

    def exception(self) -> BaseException | None:
        """Return what ended the connection, if an exception did."""
        return self._inbox.exception

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the asyncio transport knows by that name; default before prepare()."""
        if self._connection is None:
            return default
        return self._connection.asyncio_transport.get_extra_info(name, default)

    def can_prepare(self, request: BaseRequest) -> WebSocketReady:
        """Return whether prepare() would accept request, and with which subprotocol.

        Raises RuntimeError after prepare().
        """
        if self.prepared:
            raise RuntimeError("Already started")
        verdict = judge(request.method, request.version, request.headers)
        if isinstance(verdict, Refused):
            return WebSocketReady(False, None)
        return WebSocketReady(True, choose_protocol(verdict.protocols, self._protocols))

    def _begin(self, request: Answerable) -> None:
        """Make the connection a WebSocket, or raise the HTTPException that says why not."""
        if not isinstance(request, BaseRequest):
            raise TypeError(f"Only a BaseRequest can become a WebSocket, not {type(request)!r}")
        verdict = judge(request.method, request.version, request.headers)
        if isinstance(verdict, Refused):
            raise _refusal(request.method, verdict)
        if not request.content.is_eof():
            raise HTTPBadRequest(text="The body of a WebSocket handshake has not arrived")
        self._protocol = choose_protocol(verdict.protocols, self._protocols)
        agreement = negotiate(verdict.extensions) if self._may_compress else None
        extension = agreement.extension if agreement is not None else None
        self._headers.update(accept_headers(verdict, self._protocol, extension))
        self._complete(request.method, request.version, keep_alive=True)
        connection = WebSocketConnection(
            request.protocol,
            self._inbox,
            max_message_bytes=self._max_message_bytes,
            agreement=agreement,
            autoping=self._autoping,
            autoclose=False,  # receive() comes to a close frame after the messages before it
            close_timeout_s=self._close_timeout_s,
        )
        self._inbox.attach(connection)
        try:
            self._send_head(request, Framing.EMPTY, 0)
            request.protocol.upgrade(connection)
        except ConnectionResetError as error:
            connection.connection_lost(error)  # nobody else will tell it
            raise
        finally:
            if self.prepared:
                self._connection = connection
                self._is_over = False
                if agreement is not None:
                    self._outbox = Outbox(connection, agreement.server_window_bits)
        if self._heartbeat_s:
            self._inbox.start_heartbeat(request.protocol.sweeps.find(self._heartbeat_s / 2))
        request.task.add_done_callback(self._on_handler_end)

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """Return the next message, or CLOSE, CLOSING, CLOSED or ERROR at the end.

        Raises TimeoutError after timeout or receive_timeout seconds, with nothing lost, and
        RuntimeError before prepare(), while another receive() waits, and when it has said four
        times that the connection is closed. Cancelling it loses no message.
        """
        inbox = self._inbox
        if self._is_over or inbox.waiter is not None:
            return self._receive_nothing()
        timeout_s = timeout or self._receive_timeout_s
        if timeout_s and inbox.is_empty:
            async with asyncio.timeout(timeout_s):
                message = await inbox.get()
        else:
            message = await inbox.get()
        if message.type > BINARY_TYPE and message.type in END_TYPES:
            self._receive_end(message)
        return message

    async def receive_str(self, *, timeout: float | None = None) -> str:
        """Return the next message; raise WSMessageTypeError unless it is TEXT.

        It is bytes, in UTF-8, if decode_text is false.
        """
        text: str = await self._receive_data(WSMsgType.TEXT, timeout)
        return text

    async def receive_bytes(self, *, timeout: float | None = None) -> bytes:
        """Return the next message; raise WSMessageTypeError unless it is BINARY."""
        return bytes(await self._receive_data(WSMsgType.BINARY, timeout))

    async def receive_json(
        self, *, loads: Callable[[str], Any] = json.loads, timeout: float | None = None
    ) -> Any:
        """Return the next message read as JSON; raise WSMessageTypeError unless it is TEXT."""
        return loads(await self.receive_str(timeout=timeout))

    def __aiter__(self) -> "WebSocketResponse":
        return self

    async def __anext__(self) -> WSMessage:
        if self._is_over or self._inbox.waiter is not None or self._receive_timeout_s:
            message = await self.receive()
        else:  # what receive() does, with one coroutine less
            message = await self._inbox.get()
        if message.type > BINARY_TYPE and message.type in END_TYPES:
            if not self._is_over:
                self._receive_end(message)
            if message.type in LAST_TYPES:
                raise StopAsyncIteration
        return message

    async def send_str(self, data: str, compress: int | None = None) -> None:
        """Send a text message; every send raises ConnectionResetError once closing."""
        if not isinstance(data, str):
            self._require_connection()
            raise TypeError(f"data argument must be str, not {type(data)!r}")
        if self._outbox is not None:
            await self._send(TEXT, data.encode(), compress)
        elif self._write(TEXT, data.encode()):  # without a coroutine more, as it seldom waits
            await self._give_way()

    async def send_bytes(
        self, data: bytes | bytearray | memoryview, compress: int | None = None
    ) -> None:
        """Send a binary message."""
        if not isinstance(data, bytes | bytearray | memoryview):
            self._require_connection()
            raise TypeError(f"data argument must be byte-ish, not {type(data)!r}")
        if self._outbox is not None:
            await self._send(BINARY, bytes(data), compress)
        elif self._write(BINARY, bytes(data)):
            await self._give_way()

    async def send_json(
        self, data: Any, compress: int | None = None, *, dumps: Callable[[Any], str] = json.dumps
    ) -> None:
        """Send data as JSON in a text message."""
        await self.send_str(dumps(data), compress)

    async def send_json_bytes(
        self, data: Any, compress: int | None = None, *, dumps: Callable[[Any], bytes]
    ) -> None:
        """Send data as JSON in a text message; dumps gives it in UTF-8."""
        await self._send(TEXT, dumps(data), compress)

    async def send_frame(
        self, message: BytesLike, opcode: WSMsgType, compress: int | None = None
    ) -> None:
        """Send message, encoded already, as TEXT, BINARY, PING or PONG; ValueError for others."""
        if opcode not in SENDABLE_TYPES:
            raise ValueError(f"{opcode!r} cannot be sent as a frame of its own")
        if isinstance(message, str):
            raise TypeError("a frame is sent as bytes")
        await self._send(opcode, message, compress)

    async def ping(self, message: BytesLike | str = b"") -> None:
        """Send a ping; ValueError above 125 bytes."""
        await self._send(PING, message.encode() if isinstance(message, str) else message)

    async def pong(self, message: BytesLike | str = b"") -> None:
        """Send a pong; ValueError above 125 bytes."""
        await self._send(PONG, message.encode() if isinstance(message, str) else message)

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes | str = b"", drain: bool = True
    ) -> bool:
        """Close, wait for the peer to close too, and return True; False if closed already.

        The waiting, also that for what was sent to leave, ends after the timeout of this response:
        the connection is dropped then, close_code is 1006 and exception() a TimeoutError. Messages
        not received yet are dropped. Raises ValueError for a code that must not be sent.
        """
        connection = self._require_connection()
        if self._is_closed:
            return False
        connection.close(code, message if isinstance(message, str) else message.decode())
        self._is_closed = self._is_over = True
        self._inbox.shut()
        await self._inbox.wait_ended()
        return True

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Raise RuntimeError: a WebSocket has messages."""
        raise RuntimeError("Cannot call .write() for websocket")

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """Close, as the end of the handler does."""
        if not self._is_ended:
            await self.close()
            self._is_ended = True

    def _on_handler_end(self, task: "asyncio.Task[None]") -> None:
        """Close what a handler left open that raised, was cancelled or returned something else."""
        connection = self._require_connection()
        if not connection.is_closing:
            self._is_closed = self._is_over = True
            self._inbox.shut()
            code = WSCloseCode.GOING_AWAY if task.cancelled() else WSCloseCode.INTERNAL_ERROR
            connection.close(code)

    def _require_connection(self) -> WebSocketConnection:
        if self._connection is None:
            raise RuntimeError("Call .prepare() first")
        return self._connection

    async def _send(self, opcode: int, payload: BytesLike, compress: int | None = 0) -> None:
        """Send one frame, in its place among those that are compressed."""
        if not isinstance(payload, bytes):  # which compiled frames insist on
            payload = bytes(memoryview(payload))
        if self._outbox is not None and opcode <= BINARY:
            sending = self._outbox.send(opcode, payload, is_deflated=compress != 0)
            self._undrained_bytes += await sending
            self._sent_count += 1
            await self._give_way()
        elif self._write(opcode, payload):
            await self._give_way()

    def _write(self, opcode: int, payload: bytes) -> bool:
        """Write one frame that is not compressed; return whether to give way before the next."""
        connection = self._connection or self._require_connection()
        if not connection.send(opcode, payload):
            raise PeerLeft("Cannot write to closing transport")
        self._sent_count = sent_count = self._sent_count + 1
        self._undrained_bytes = undrained_bytes = self._undrained_bytes + len(payload) + HEAD_BYTES
        return sent_count >= WRITES_PER_TURN or undrained_bytes > self._writer_limit_bytes

    async def _give_way(self) -> None:
        """Wait while the peer reads too slowly, once in writer_limit bytes; and now and then let
        others go first: a peer that reads as fast would never let go.
        """
        if self._undrained_bytes > self._writer_limit_bytes:
            self._undrained_bytes = 0
            await self._inbox.drain()
        if self._sent_count >= WRITES_PER_TURN:
            self._sent_count = 0
            await asyncio.sleep(0)

    async def _receive_data(self, expected: WSMsgType, timeout: float | None) -> Any:
        message = await self.receive(timeout)
        if message.type is not expected:
            raise WSMessageTypeError(
                f"Received message {message.type!r}:{message.data!r} is not {expected!r}"
            )
        return message.data

    def _receive_nothing(self) -> WSMessage:
        """Return that it is over, or nearly; raise RuntimeError for who may not ask, or does not
        stop.
        """
        self._require_connection()
        if self._inbox.waiter is not None:
            raise RuntimeError("Concurrent call to receive() is not allowed")
        if not self._is_closed:
            return CLOSING_MESSAGE
        self._closed_count += 1
        if self._closed_count > MAX_CLOSED_COUNT:
            raise RuntimeError("WebSocket connection is closed.")
        return CLOSED_MESSAGE

    def _receive_end(self, message: WSMessage) -> None:
        """Take note of a message that is none; answer the peer's close frame if that is wanted,
        and its errors.
        """
        self._is_over = True
        if message.type is WSMsgType.CLOSE:
            if not self._autoclose:
                return
            self._require_connection().close(message.data or WSCloseCode.NO_STATUS_RECEIVED)
        elif message.type is WSMsgType.ERROR:
            self._require_connection().close()  # with the code of the error
        self._is_closed = True


def _refusal(method: str, refused: Refused) -> HTTPException:
    """Return the answer to a request that cannot become a WebSocket."""
    if refused.status == 405:
        return HTTPMethodNotAllowed(method, ["GET"], text=refused.message)
    refusal = HTTPUpgradeRequired if refused.status == 426 else HTTPBadRequest
    return refusal(text=refused.message, headers=refused.headers)
