"""The response whose body is known beforehand."""

import asyncio
import io
import json
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Final

from gateway.web.body.coding import STEP_BYTES, ContentCoding, Encoder
from gateway.web.body.payload import Payload, payload_of
from gateway.web.body.writer import BodyWriter
from gateway.web.fields import (
    CONTENT_LENGTH,
    CONTENT_TYPE,
    DEFAULT_CONTENT_TYPE,
    MAX_KEPT_CHARACTERS,
)
from gateway.web.response_head import BodyRule, Headers, body_rule
from gateway.web.seams import Answerable
from gateway.web.stream_response import BYTES, BytesLike, StreamResponse
from protocol.http1 import HTTP_11

_MISSING: Final = object()
_PLAIN_TEXT: Final = "text/plain; charset=utf-8"
_NO_TYPE: Final = " " * (MAX_KEPT_CHARACTERS + 1)  # no more plain than one that is too long


class Response(StreamResponse):
    """A response whose body is known beforehand; head and body leave in one write.

    Where it is compressed and longer than zlib_executor_size, zlib_executor does it, or the event
    loop's own.
    """

    _sends_head_at_once = False
    _body: bytes | bytearray | Payload | None = None
    _encoded_body: bytes | None = None
    _zlib_executor_size = STEP_BYTES
    _zlib_executor: Executor | None = None

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
        zlib_executor_size: int | None = None,
        zlib_executor: Executor | None = None,
    ) -> None:
        super().__init__(status=status, reason=reason, headers=headers)
        if zlib_executor_size is not None:
            self._zlib_executor_size = zlib_executor_size
        if zlib_executor is not None:
            self._zlib_executor = zlib_executor
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
        if content_type is None and charset is None:
            self._headers[CONTENT_TYPE] = _PLAIN_TEXT
            self._body = text.encode()
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
            self._headers.setdefault(CONTENT_TYPE, _PLAIN_TEXT)
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
        if not isinstance(self._body, BYTES):
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
        body = self._body if self._encoded_body is None else self._encoded_body
        if self._chunked or self._encoder is not None:
            return None
        if CONTENT_LENGTH in self._headers:
            return super().content_length
        if isinstance(body, BYTES):
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

    async def _encode_body(self, coding: ContentCoding) -> None:
        body = self._body
        if self._chunked or (body is not None and not isinstance(body, BYTES)):
            await super()._encode_body(coding)
        elif body:
            finish = Encoder(coding, self._strategy).finish
            if len(body) > self._zlib_executor_size:
                loop, data = asyncio.get_running_loop(), bytes(body)
                self._encoded_body = await loop.run_in_executor(self._zlib_executor, finish, data)
            else:
                self._encoded_body = finish(body)
            self._coding = coding
            self._headers.popall(CONTENT_LENGTH, None)

    def send_plain(self, request: Answerable) -> bool:
        """Send all of it in one write where it is plain; return whether it is sent.

        Most responses are: some bytes and their type, in answer to HTTP/1.1 that asks for them.
        This does what prepare() and write_eof() do, without their questions and coroutines.
        """
        body, headers = self._body, self._headers
        if (
            type(body) is not bytes
            or len(headers) != 1
            or len(headers.get(CONTENT_TYPE, _NO_TYPE)) > MAX_KEPT_CHARACTERS
            or self._writer is not None
            or self._keep_alive is not None
            or self._compression
            or self._chunked
            or self._cookies is not None
            or not request.keep_alive
            or request.version is not HTTP_11
            or body_rule(request.method, self._status) is not BodyRule.BODY
        ):
            return False
        writer = request.writer
        writer.send_whole(self._encode_plain(body))
        self._request, self._writer = request, writer
        self._is_ended = True
        return True

    async def write_eof(self, data: BytesLike = b"") -> None:
        """Write the body and end it; data must be empty, the body is set beforehand."""
        if data:
            raise AssertionError(f"A Response has its body already, so it takes no {data!r}")
        body = self._body if self._encoded_body is None else self._encoded_body
        if body is None or isinstance(body, BYTES):
            await super().write_eof(body or b"")
            return
        if self._writer is not None and not self._is_ended:
            await self._write_payload(body, self._writer)
        await super().write_eof()

    async def _write_payload(self, body: Payload, writer: BodyWriter) -> None:
        method = self._request.method if self._request is not None else ""
        try:
            if body_rule(method, self._status) is BodyRule.BODY:
                await body.write(writer)
        finally:
            await body.close()


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


def json_bytes_response(
    data: object = _MISSING,
    *,
    dumps: Callable[[Any], bytes],
    body: bytes | None = None,
    status: int = 200,
    reason: str | None = None,
    headers: Headers | None = None,
    content_type: str = "application/json",
) -> Response:
    """Return a Response with data as dumps encodes it, or with a body that is JSON already."""
    if data is not _MISSING:
        if body is not None:
            raise ValueError("only one of data and body may be given")
        body = dumps(data)
    return Response(
        body=body, status=status, reason=reason, headers=headers, content_type=content_type
    )
