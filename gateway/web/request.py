"""A request as its handler sees it."""

import asyncio
import json
import warnings
from collections.abc import Callable
from typing import Any, Final, Self

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy
from yarl import URL

from gateway.web.addressing import address_of, host_of, parse_absolute, parse_target
from gateway.web.body.reader import StreamReader
from gateway.web.body.writer import BodyWriter
from gateway.web.charset import decode_text
from gateway.web.connection import Connection
from gateway.web.exceptions import HTTPRequestEntityTooLarge
from gateway.web.fields import CONTENT_LENGTH, HOST
from gateway.web.forms.form import BodyPieces, Form, read_form
from gateway.web.forms.parts import MultipartReader
from gateway.web.forms.urlencoded import read_urlencoded
from gateway.web.request_fields import RequestFields
from gateway.web.response_head import Headers
from gateway.web.state import Key, Stateful
from protocol.http1 import HttpVersion, RequestHead

_UNCHANGED: Final = -1
CLIENT_MAX_SIZE: Final = 1024**2  # bytes that read() takes, as aiohttp


class BaseRequest(RequestFields, Stateful):
    """One request; a mapping for what handlers want to remember of it.

    Nothing is computed before it is asked for: most handlers look at the method and the path.
    """

    POST_METHODS = frozenset({"DELETE", "PATCH", "POST", "PUT", "TRACE"})  # that have forms

    __slots__ = (
        "_body",
        "_client_max_size",
        "_content",
        "_form",
        "_head",
        "_host",
        "_protocol",
        "_rel_url",
        "_remote",
        "_scheme",
        "_state",
        "_task",
        "_writer",
    )

    _form: Form  # once post() was called

    def __init__(
        self,
        message: RequestHead,
        payload: StreamReader | None,
        protocol: Connection,
        payload_writer: BodyWriter,
        task: "asyncio.Task[None]",
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        client_max_size: int | None = CLIENT_MAX_SIZE,
        state: dict[Key, Any] | None = None,
        scheme: str | None = None,
        host: str | None = None,
        remote: str | None = None,
    ) -> None:
        self._head = message
        self._content = payload
        self._protocol = protocol
        self._writer = payload_writer
        self._task = task
        self._client_max_size = client_max_size
        self._state = state
        self._scheme = scheme
        self._host = host
        self._remote = remote
        self._rel_url: URL | None = None
        self._body: bytes | None = None  # once read

    # The request line.

    @property
    def method(self) -> str:
        """The method, in upper case."""
        return self._head.method

    @property
    def version(self) -> HttpVersion:
        """The version of HTTP."""
        return self._head.version

    @property
    def raw_path(self) -> str:
        """The target as it was sent."""
        return self._head.target

    @property
    def rel_url(self) -> URL:
        """The target as a URL without scheme and host, also where the target has them."""
        if self._rel_url is None:
            self._rel_url = parse_target(self._head.target)
        return self._rel_url

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return self.rel_url.path

    @property
    def path_qs(self) -> str:
        """The path with its query, as they were sent."""
        return self.rel_url.raw_path_qs

    @property
    def query(self) -> "MultiDictProxy[str]":
        """The parameters of the query, decoded."""
        return self.rel_url.query

    @property
    def query_string(self) -> str:
        """The query, percent-decoded as a whole."""
        return self.rel_url.query_string

    @property
    def url(self) -> URL:
        """The absolute URL; an absolute target as it is, whatever the connection."""
        target = self._head.target  # most are a path: no call for those
        is_changed = self._scheme is not None or self._host is not None
        if target[0] != "/" and not is_changed and (absolute := parse_absolute(target)) is not None:
            return absolute
        # Not by joining: the path //other/ would name another host then.
        return URL.build(
            scheme=self.scheme,
            authority=self.host.lower(),
            path=self.rel_url.raw_path if self._tunnel_authority is None else "",
            query_string=self.rel_url.raw_query_string,
            encoded=True,
        )

    @property
    def scheme(self) -> str:
        """`https` where the connection is encrypted, unless clone() was told otherwise."""
        return self._scheme or ("https" if self.get_extra_info("sslcontext") else "http")

    @property
    def secure(self) -> bool:
        """Whether scheme is `https`."""
        return self.scheme == "https"

    @property
    def host(self) -> str:
        """The host with its port as the target names it, or Host; else the local address."""
        if self._host is not None:
            return self._host
        target = self._head.target
        if target[0] != "/" and (absolute := parse_absolute(target)) is not None:
            return absolute.host_port_subcomponent or ""
        if self._tunnel_authority is not None:
            return self._tunnel_authority
        host = self._head.headers.get(HOST)
        return host_of(self.get_extra_info("sockname")) if host is None else host

    @property
    def _tunnel_authority(self) -> str | None:
        """The target of CONNECT, which is no path but a host. RFC 9112 section 3.3."""
        target = self._head.target
        return target if self._head.method == "CONNECT" and target[0] != "/" else None

    @property
    def remote(self) -> str:
        """The peer's address without its port, empty where it has none."""
        if self._remote is None:
            self._remote = address_of(self.get_extra_info("peername"))
        return self._remote

    # The header fields.

    @property
    def headers(self) -> "CIMultiDictProxy[str]":
        """The header fields."""
        return self._head.headers

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The header fields as bytes, in their order."""
        return self._head.raw_headers

    @property
    def content_length(self) -> int | None:
        """The length of the body as it was stated, None where it was not: in chunks, or none."""
        length = self._head.headers.get(CONTENT_LENGTH)
        return int(length) if length is not None else None

    # The body.

    @property
    def content(self) -> StreamReader:
        """The body as it arrives; client_max_size does not limit it."""
        if self._content is None:
            self._content = StreamReader()
            self._content.feed_eof()
        return self._content

    @property
    def body_exists(self) -> bool:
        """Whether the request has a body, read or not."""
        return self._head.has_body

    @property
    def can_read_body(self) -> bool:
        """Whether some of the body is still to be read."""
        return self._content is not None and not self._content.at_eof()

    @property
    def has_body(self) -> bool:
        """As can_read_body; deprecated."""
        warnings.warn("has_body is deprecated, use can_read_body", DeprecationWarning, stacklevel=2)
        return self.can_read_body

    @property
    def client_max_size(self) -> int | None:
        """How many bytes read() takes before it gives up; no limit where it is 0 or None."""
        return self._client_max_size

    async def read(self) -> bytes:
        """Return the body, the same again in later calls; raise HTTPRequestEntityTooLarge.

        What a call had read that was cancelled is read again by the next one.
        """
        if self._body is None:
            self._check_length()
            self._body = await self._read_all(self._content) if self._content is not None else b""
        return self._body

    async def _read_all(self, content: StreamReader) -> bytes:
        body = bytearray()
        try:
            while piece := await content.readany():
                body += piece
                self._check_size(len(body))
        except BaseException:
            content.put_back(body)
            raise
        return bytes(body)

    def _check_length(self) -> None:
        if self._content is not None and not self._content.is_coded:
            self._check_size(self._head.content_length or 0)

    def _check_size(self, size_bytes: int) -> None:
        if self._client_max_size and size_bytes >= self._client_max_size:
            raise HTTPRequestEntityTooLarge(self._client_max_size, size_bytes)

    async def text(self) -> str:
        """Return the body as text in its charset, utf-8 where none is given."""
        return decode_text(await self.read(), self.charset or "utf-8")

    async def json(self, *, loads: Callable[[str], Any] = json.loads) -> Any:
        """Return what loads makes of the body's text."""
        return loads(await self.text())

    async def multipart(self) -> MultipartReader:
        """Return what reads the body part by part; of one part client_max_size limits read()."""
        return self._read_parts()

    async def post(self) -> Form:
        """Return the form that the body is, the same again in later calls.

        It is empty where the method or the content type is not a form's. Files are closed when the
        request is over. Raises HTTPRequestEntityTooLarge, and MalformedBodyError, a ValueError.
        """
        if not hasattr(self, "_form"):
            self._form = await self._read_form()
        return self._form

    async def _read_form(self) -> Form:
        content_type = self.content_type if self.method in self.POST_METHODS else ""
        if content_type == "multipart/form-data":
            self._check_length()
            return await read_form(self._read_parts(self._check_size), self._task)
        if content_type == "application/x-www-form-urlencoded":
            body = await self.read()
            return MultiDictProxy(MultiDict(await read_urlencoded(body, self.charset or "utf-8")))
        return MultiDictProxy(MultiDict())

    def _read_parts(self, check: Callable[[int], None] | None = None) -> MultipartReader:
        pieces = BodyPieces(self.content if self._body is None else self._body, check)
        return MultipartReader(self.headers, pieces, max_part_bytes=self._client_max_size)

    async def release(self) -> None:
        """Read the rest of the body and forget it."""
        if self._content is not None:
            await self._content.skip()

    # The connection.

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may serve another request after this one."""
        return self._head.keep_alive and not self._protocol.is_last

    @property
    def protocol(self) -> Connection:
        """The connection."""
        return self._protocol

    @property
    def transport(self) -> asyncio.Transport | None:
        """The asyncio transport, None once the peer left."""
        return None if self._protocol.is_lost else self._protocol.asyncio_transport

    @property
    def writer(self) -> BodyWriter:
        """Where the response is written."""
        return self._writer

    @property
    def task(self) -> "asyncio.Task[None]":
        """The task that handles this request."""
        return self._task

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop; deprecated."""
        warnings.warn("request.loop is deprecated", DeprecationWarning, stacklevel=2)
        return self._task.get_loop()

    @property
    def message(self) -> RequestHead:
        """The head; deprecated."""
        warnings.warn("request.message is deprecated", DeprecationWarning, stacklevel=2)
        return self._head

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the asyncio transport knows under name."""
        return self._protocol.get_extra_info(name, default)

    def clone(
        self,
        *,
        method: str | None = None,
        rel_url: URL | str | None = None,
        headers: Headers | None = None,
        scheme: str | None = None,
        host: str | None = None,
        remote: str | None = None,
        client_max_size: int | None = _UNCHANGED,
    ) -> Self:
        """Return a request that differs in what is given, with a copy of the state.

        Raises RuntimeError once the body has been read.
        """
        if self._body is not None:
            raise RuntimeError("Cannot clone request after reading its content")
        changes: dict[str, Any] = {}
        if method is not None:
            changes["method"] = method
        if rel_url is not None:
            changes["target"] = str(URL(rel_url)) or "/"
        if headers is not None:
            changes["headers"] = CIMultiDictProxy(CIMultiDict(headers))
        if client_max_size == _UNCHANGED:
            client_max_size = self._client_max_size
        return type(self)(
            msgspec.structs.replace(self._head, **changes),
            self._content,
            self._protocol,
            self._writer,
            self._task,
            client_max_size=client_max_size,
            state=dict(self._state or {}),
            scheme=scheme or self._scheme,
            host=host or self._host,
            remote=remote or self._remote,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {ascii(self.path)[1:-1]} >"
