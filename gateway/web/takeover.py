"""The response after which the connection speaks another protocol."""

from gateway.web.body.writer import Framing
from gateway.web.fields import CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING
from gateway.web.response_head import BodyRule, Headers, body_rule
from gateway.web.seams import Answerable, Receiver
from gateway.web.stream_response import BytesLike, StreamResponse
from protocol.http1 import HttpVersion


class TakeoverResponse(StreamResponse):
    """A response after whose head the connection belongs to receiver: no more HTTP, no task.

    With status 101, and 2xx in answer to CONNECT, exactly the given headers are sent; with any
    other status the body ends with the connection, so an answer that has no body (to HEAD, or with
    status 204) is refused. So is one to a request whose body has not arrived, with StateError:
    nothing is sent then. The bytes in first leave with the head, in one write and before the
    receiver hears anything.
    """

    _sends_head_at_once = False

    def __init__(
        self,
        receiver: Receiver,
        *,
        status: int = 200,
        reason: str | None = None,
        headers: Headers | None = None,
        first: bytes = b"",
    ) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self._receiver = receiver
        self._first = first

    async def _start_coding(self, request: Answerable) -> None:
        """Change nothing: what the receiver writes goes out as it is."""

    def _begin(self, request: Answerable) -> None:
        request.protocol.check_upgradable()
        is_tunnel = request.method == "CONNECT" and 200 <= self._status < 300
        if is_tunnel or self._status == 101:
            self._send_head(request, Framing.EMPTY, 0)
        else:
            self._headers[CONNECTION] = "close"
            super()._begin(request)
        self._keep_alive = False
        request.writer.flush_head(self._first)
        request.protocol.upgrade(self._receiver)

    def _frame(self, method: str, version: HttpVersion) -> tuple[Framing, int]:
        if body_rule(method, self._status) is not BodyRule.BODY:
            raise RuntimeError(f"No body may follow {self._status} in answer to {method}")
        for name in (CONTENT_LENGTH, TRANSFER_ENCODING):
            self._headers.popall(name, None)
        return Framing.CLOSE, 0

    async def write(self, data: BytesLike) -> None:
        """Raise RuntimeError: the receiver writes."""
        raise RuntimeError("The connection belongs to the receiver of this response")

    async def write_eof(self, data: BytesLike = b"") -> None:
        """Leave the connection to the receiver."""
        self._is_ended = True
