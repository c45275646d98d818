"""Responses: what a handler returns, and when which bytes of it go to the socket."""

import asyncio
import io
import json
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final, TypeAlias

from gateway.web.body import BodyWriter, Framing
from gateway.web.fields import DEFAULT_CONTENT_TYPE
from gateway.web.head import (
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    TRANSFER_ENCODING,
    BodyRule,
    Headers,
    ResponseHead,
    body_rule,
)
from gateway.web.payload import Payload, payload_of
from gateway.web.seams import Answerable, Receiver
from protocol.http1 import HttpVersion, encode_head

BytesLike: TypeAlias = bytes | bytearray | memoryview

_BYTES: Final = (bytes, bytearray, memoryview)
_MISSING: Final = object()


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
        if not isinstance(data, _BYTES):
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
        if not isinstance(data, _BYTES):
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


class Response(StreamResponse):
    """A response whose body is known beforehand; head and body leave in one write."""

    _sends_head_at_once = False

    def __init__(
        self,
        *,
        body: object = None,
        status: int = 200,
        reason: str | None = None,
        text: str | None = None,
        headers: Headers | None = None,
        content_type: str | None = None,
        charset: str | None = None,
    ) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        self._body: bytes | bytearray | Payload | None = None
        if body is not None and text is not None:
            raise ValueError("body and text are not allowed together")
        if content_type is not None or charset is not None:
            self._check_content_type(content_type)
        if text is not None:
            self._set_first_text(text, content_type, charset)
            return
        if content_type is not None:
            suffix = f"; charset={charset}" if charset is not None else ""
            self._headers[CONTENT_TYPE] = content_type + suffix
        if body is not None:
            self.body = body

    def _check_content_type(self, content_type: str | None) -> None:
        if content_type is not None and "charset" in content_type:
            raise ValueError("charset must not be in content_type: it is an argument of its own")
        if CONTENT_TYPE in self._headers:
            raise ValueError("A Content-Type header forbids the arguments content_type and charset")

    def _set_first_text(self, text: str, content_type: str | None, charset: str | None) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text)!r}")
        if CONTENT_TYPE in self._headers:
            self.text = text
            return
        charset = charset or "utf-8"
        self._headers[CONTENT_TYPE] = f"{content_type or 'text/plain'}; charset={charset}"
        self._body = text.encode(charset)

    @property
    def body(self) -> bytes | bytearray | Payload | None:
        """The body; set it from bytes, str, an open file or an asynchronous iterable of bytes.

        What is set brings its content type along unless there is one. ValueError for other types.
        """
        return self._body

    @body.setter
    def body(self, body: object) -> None:
        if isinstance(body, io.StringIO):
            body = body.read()
        if body is None or isinstance(body, bytes | bytearray):
            self._body = body
        elif isinstance(body, str):
            self._body = body.encode()
            self._headers.setdefault(CONTENT_TYPE, "text/plain; charset=utf-8")
        elif isinstance(body, memoryview | io.BytesIO):
            self._body = body.read() if isinstance(body, io.BytesIO) else bytes(body)
            self._headers.setdefault(CONTENT_TYPE, DEFAULT_CONTENT_TYPE)
        else:
            self._body = payload = payload_of(body)
            for name, value in payload.headers.items():
                self._headers.setdefault(name, value)

    @property
    def text(self) -> str | None:
        """The body as text in its charset; setting it makes the type text/plain, utf-8 if unset.

        Raises TypeError where text is no str, and where the body is a stream, read only once.
        """
        if self._body is None:
            return None
        if not isinstance(self._body, _BYTES):
            raise TypeError("The body is read while it is sent: it has no text")
        return self._body.decode(self.charset or "utf-8")

    @text.setter
    def text(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text must be str, not {type(text)!r}")
        if self.content_type == DEFAULT_CONTENT_TYPE:
            self.content_type = "text/plain"
        if self.charset is None:
            self.charset = "utf-8"
        self._body = text.encode(self.charset or "utf-8")

    @property
    def content_length(self) -> int | None:
        """The body's length in bytes, None for a body in chunks; RuntimeError when set."""
        body = self._body
        if self._chunked:
            return None
        if CONTENT_LENGTH in self._headers:
            return super().content_length
        if isinstance(body, _BYTES):
            return len(body)
        return body.size if body is not None else 0

    @content_length.setter
    def content_length(self, value: int | None) -> None:
        raise RuntimeError("Content length is set automatically")

    def _state_length(self, rule: BodyRule) -> int | None:
        length = self.content_length
        # An unset body says nothing about the length that GET would get: RFC 9110 section 8.6.
        if length or (length is not None and rule is BodyRule.BODY):
            self._headers[CONTENT_LENGTH] = str(length)
        return length

    async def write_eof(self, data: BytesLike = b"") -> None:
        """Write the body and end it; data must be empty, the body is set beforehand."""
        if data:
            raise AssertionError(f"A Response has its body already, so it takes no {data!r}")
        body = self._body
        if body is None or isinstance(body, _BYTES):
            await super().write_eof(body or b"")
        elif self._writer is not None and not self._is_ended:
            await self._write_payload(body, self._writer)
            await super().write_eof()

    async def _write_payload(self, body: Payload, writer: BodyWriter) -> None:
        method = self._request.method if self._request is not None else ""
        try:
            if body_rule(method, self._status) is BodyRule.BODY:
                await body.write(writer)
        finally:
            await body.close()


class TakeoverResponse(StreamResponse):
    """A response after whose head the connection belongs to receiver: no more HTTP, no task.

    With status 101 exactly the given headers are sent; with any other status the body ends with the
    connection, so an answer that has no body (to HEAD, or with status 204) is refused. So is one to
    a request whose body has not arrived, with StateError: nothing is sent then. The bytes in first
    leave with the head, in one write and before the receiver hears anything.
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

    def _begin(self, request: Answerable) -> None:
        request.protocol.check_upgradable()
        if self._status == 101:
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


def json_response(
    data: object = _MISSING,
    *,
    text: str | None = None,
    body: object = None,
    status: int = 200,
    reason: str | None = None,
    headers: Headers | None = None,
    content_type: str = "application/json",
    dumps: Callable[[Any], str] = json.dumps,
) -> Response:
    """Return a Response with data as JSON, or with a text or body that is JSON already."""
    if data is not _MISSING:
        if text or body:
            raise ValueError("only one of data, text and body may be given")
        text = dumps(data)
    return Response(
        text=text,
        body=body,
        status=status,
        reason=reason,
        headers=headers,
        content_type=content_type,
    )
