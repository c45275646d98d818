"""The response that a handler writes piece by piece, and what every response has in common."""

import asyncio
import warnings
from typing import Any, Final, TypeAlias

from gateway.web.body.coding import ContentCoding, Encoder, choose_coding
from gateway.web.body.writer import BodyWriter, Framing
from gateway.web.fields import (
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    VARY,
)
from gateway.web.response_head import BodyRule, ResponseHead, body_rule
from gateway.web.seams import Answerable
from gateway.web.state import Key, Stateful
from protocol.http1 import encode_head

BytesLike: TypeAlias = bytes | bytearray | memoryview

BYTES: Final = (bytes, bytearray, memoryview)


class StreamResponse(ResponseHead, Stateful):
    """A response whose body the handler writes piece by piece; a mapping for the handler's state.

    Its head goes out at prepare(). One instance answers one request.
    """

    _sends_head_at_once = True
    _state: dict[Key, Any] | None = None
    _request: Answerable | None = None
    _writer: BodyWriter | None = None
    _is_ended = False
    _compression = False
    _forced_coding: ContentCoding | None = None
    _strategy: int | None = None  # of zlib
    _encoder: Encoder | None = None  # where the body is encoded while it is written

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

    @property
    def compression(self) -> bool:
        """Whether enable_compression() was called."""
        return self._compression

    def enable_compression(
        self, force: bool | ContentCoding | None = None, strategy: int | None = None
    ) -> None:
        """Send the body in a content coding: the one forced, or what the request accepts.

        A body that has a Content-Encoding header or is a part of another stays as it is. What is
        forced is sent whatever the request accepts; a bool is deprecated. strategy is zlib's.
        """
        if isinstance(force, bool):
            message = "A bool for force is deprecated, use a ContentCoding"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            force = ContentCoding.deflate if force else ContentCoding.identity
        elif not isinstance(force, ContentCoding | None):
            raise AssertionError(f"force must be a ContentCoding or None, not {force!r}")
        self._compression = True
        self._forced_coding = force
        self._strategy = strategy

    def set_status(self, status: int, reason: str | None = None) -> None:
        """Change the status line; AssertionError once it is sent."""
        if self.prepared:
            raise AssertionError("Cannot change the status after the headers have been sent")
        self._change_status(status, reason)

    # Any, for what is an Answerable: a program's own class may ask for a BaseRequest here.
    async def prepare(self, request: Any) -> BodyWriter:
        """Complete the headers and begin the response; return what its body is written to.

        A second call for the same request changes nothing. Raises RuntimeError where the response
        belongs to another request or its framing cannot be read by this peer, and ValueError for
        headers that may not be sent; nothing is sent then.
        """
        writer: BodyWriter = request.writer
        if self._writer is None:
            if self._compression:
                await self._start_coding(request)
            self._begin(request)
        elif self._writer is not writer:
            raise RuntimeError("A response answers one request: make a new one for each")
        return writer

    def _begin(self, request: Answerable) -> None:
        framing, length = self._complete(request.method, request.version, request.keep_alive)
        self._send_head(request, framing, length)

    async def _start_coding(self, request: Answerable) -> None:
        """Choose the body's coding and get ready for it."""
        rule = body_rule(request.method, self._status)
        if rule is BodyRule.NOTHING and self._status != 304:
            return
        if CONTENT_ENCODING in self._headers or CONTENT_RANGE in self._headers:
            return
        coding = self._forced_coding or self._negotiate_coding(request)
        if rule is not BodyRule.NOTHING and coding is not ContentCoding.identity:
            await self._encode_body(coding)

    def _negotiate_coding(self, request: Answerable) -> ContentCoding:
        """Return what the request likes best; let the headers tell that others may get another."""
        headers = self._headers
        self._vary_by_coding()
        coding = choose_coding(",".join(request.headers.getall(ACCEPT_ENCODING, ())))
        etag = headers.get(ETAG, "")
        if coding is not ContentCoding.identity and etag.startswith('"'):
            # RFC 9110 section 8.8.3.3: representations in different codings have different strong
            # tags, and all may have the same weak one.
            headers[ETAG] = f"W/{etag}"
        return coding

    def _vary_by_coding(self) -> None:
        """Say that another Accept-Encoding may get another body: RFC 9110 section 12.5.5."""
        headers = self._headers
        varies = ",".join(headers.getall(VARY, ())).lower().replace(" ", "").split(",")
        if "*" not in varies and "accept-encoding" not in varies:
            headers.add(VARY, ACCEPT_ENCODING)

    async def _encode_body(self, coding: ContentCoding) -> None:
        """Have the body encoded while it is written; nobody knows then how long it will be."""
        self._coding = coding
        self._encoder = Encoder(coding, self._strategy)
        self._headers.popall(CONTENT_LENGTH, None)

    def _send_head(self, request: Answerable, framing: Framing, length: int) -> None:
        head = encode_head(request.version, self._status, self._reason, self._headers)
        writer = request.writer
        writer.send_head(head, framing, length, self._encoder)
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
        await self._writer.write_eof(data)
        self._is_ended = True

    def __repr__(self) -> str:
        if self._is_ended:
            info = "eof"
        elif self._request is not None:
            info = f"{self._request.method} {self._request.path} "
        else:
            info = "not prepared"
        return f"<{type(self).__name__} {self.reason} {info}>"
