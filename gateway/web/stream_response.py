"""The response that a handler writes piece by piece, and what every response has in common."""

import asyncio
import warnings
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, TypeAlias

from gateway.web.head import Headers, ResponseHead
from gateway.web.seams import Answerable
from gateway.web.writer import BodyWriter, Framing
from protocol.http1 import encode_head

BytesLike: TypeAlias = bytes | bytearray | memoryview

BYTES: Final = (bytes, bytearray, memoryview)


class StreamResponse(ResponseHead, MutableMapping[str, Any]):
    """A response whose body the handler writes piece by piece; a mapping for the handler's state.

    Its head goes out at prepare(). One instance answers one request.
    """

    _sends_head_at_once = True

    def __init__(
        self, *, status: int = 200, reason: str | None = None, headers: Headers | None = None
    ) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self._state: dict[str, Any] = {}
        self._request: Answerable | None = None
        self._writer: BodyWriter | None = None
        self._is_ended = False

    @property
    def prepared(self) -> bool:
        """Whether the head is on its way, so that nothing in it can change any more."""
        return self._writer is not None

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task of the request being answered, None before prepare()."""
        return self._request.task if self._request is not None else None

    @property
    def body_length(self) -> int:
        """How many bytes were sent, with the head and the framing."""
        return self._writer.bytes_sent if self._writer is not None else 0

    @property
    def output_length(self) -> int:
        """As body_length; deprecated."""
        warnings.warn("output_length is deprecated", DeprecationWarning, stacklevel=2)
        return self.body_length

    def set_status(self, status: int, reason: str | None = None) -> None:
        """Change the status line; AssertionError once it is sent."""
        if self.prepared:
            raise AssertionError("Cannot change the status after the headers have been sent")
        self._change_status(status, reason)

    async def prepare(self, request: Answerable) -> BodyWriter:
        """Complete the headers and begin the response; return what its body is written to.

        A second call for the same request changes nothing. Raises RuntimeError where the response
        belongs to another request or its framing cannot be read by this peer, and ValueError for
        headers that may not be sent; nothing is sent then.
        """
        writer = request.writer
        if self._writer is None:
            self._begin(request)
        elif self._writer is not writer:
            raise RuntimeError("A response answers one request: make a new one for each")
        return writer

    def _begin(self, request: Answerable) -> None:
        framing, length = self._complete(request.method, request.version, request.keep_alive)
        self._send_head(request, framing, length)

    def _send_head(self, request: Answerable, framing: Framing, length: int) -> None:
        head = encode_head(request.version, self._status, self._reason, self._headers)
        writer = request.writer
        writer.send_head(head, framing, length)
        self._request, self._writer = request, writer
        if self._sends_head_at_once:
            writer.flush_head()

    async def write(self, data: BytesLike) -> None:
        """Write a piece of the body and wait while the peer reads too slowly.

        Raises ConnectionResetError if the peer left, RuntimeError outside of prepare() and
        write_eof(), and AssertionError for what is not bytes.
        """
        if not isinstance(data, BYTES):
            raise AssertionError(f"data must be bytes, not {type(data)!r}")
        if self._is_ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._writer is None:
            raise RuntimeError("Cannot call write() before prepare()")
        await self._writer.write(data)

    async def drain(self) -> None:
        """Wait while the peer reads too slowly; deprecated, write() does it."""
        warnings.warn("drain is deprecated, await write()", DeprecationWarning, stacklevel=2)
        if self._writer is None or self._is_ended:
            raise AssertionError("drain() has a meaning between prepare() and write_eof()")
        await self._writer.drain()

    async def write_eof(self, data: BytesLike = b"") -> None:
        """Write a last piece and end the body; a second call does nothing."""
        if not isinstance(data, BYTES):
            raise AssertionError(f"data must be bytes, not {type(data)!r}")
        if self._is_ended:
            return
        if self._writer is None:
            raise AssertionError("Cannot call write_eof() before prepare()")
        await self._writer.write_eof(bytes(data))
        self._is_ended = True

    def __repr__(self) -> str:
        if self._is_ended:
            info = "eof"
        elif self._request is not None:
            info = f"{self._request.method} {self._request.path} "
        else:
            info = "not prepared"
        return f"<{type(self).__name__} {self.reason} {info}>"

    def __getitem__(self, key: str) -> Any:
        return self._state[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._state[key] = value

    def __delitem__(self, key: str) -> None:
        del self._state[key]

    def __len__(self) -> int:
        return len(self._state)

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __bool__(self) -> bool:
        return True
