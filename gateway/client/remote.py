"""A gateway seen from another process: publish to it, read from it, and follow its channels.

It blocks on the standard library's HTTP client, which suits a command line and a script. It keeps
the promise of the client protocol across reconnects by handing back the last cursor it saw as
`Last-Event-ID`.
"""

import http.client
import random
import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import SplitResult, quote, urlencode, urlsplit

import msgspec

from gateway.client.event_stream import EventStreamDecoder, EventTooLarge, StreamEvent
from gateway.errors import GatewayError
from protocol.messages import Closing, HistoryPage, Overflow, PresencePage

# The gateway sends a comment at least every 25 s and proxies cut after 60 s: what is silent for
# longer is gone.
SILENCE_S: Final = 75.0
# Where the server names no `retry:`. Doubled at every failure in a row up to the limit, each time
# shortened by up to half at random, so that the clients of a restarted gateway do not come back
# together.
RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 30.0
# The most that the gateway itself may ask for, as the `retry:` that it can be configured to send.
MAX_ASKED_S: Final = 3600.0
READ_BYTES: Final = 64 * 1024

_NO_HEADERS: Final[Mapping[str, str]] = {}
_CONNECTIONS: Final[dict[str, type[http.client.HTTPConnection]]] = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}


Page = TypeVar("Page", HistoryPage, PresencePage)


class PublishOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may go along with a publication, as in protocol.messages.PublishRequest."""

    key: str | None = None
    tags: dict[str, str] | None = None
    idempotency_key: str | None = None
    expected_offset: int | None = None


class RemoteError(GatewayError):
    """The gateway did not do what was asked.

    status is that of its answer where there was one, code its name for the error, retry_after_s how
    long to wait before the same may succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class Unreachable(RemoteError):
    """No answer came, or it broke off."""


@dataclass(frozen=True, slots=True)
class CursorMoved:
    """The stream stands at cursor without an event that says so, as when it begins."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The stream ended or could not be opened; the next attempt comes after delay_s.

    reason holds what the gateway said where it announced the end with a `closing`.
    """

    reason: str
    delay_s: float


class RemoteGateway:
    """A running gateway by its URL; asks over one connection, follows over another."""

    __slots__ = ("_api_key", "_connection", "_url", "url")

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """Open nothing yet. Raises ValueError where url or api_key cannot be sent at all."""
        if not (api_key is None or (api_key.isascii() and api_key.isprintable())):
            raise ValueError("the API key has characters that no header can carry")
        self.url = url
        self._url = _parse_url(url)
        self._api_key = api_key
        self._connection: http.client.HTTPConnection | None = None

    def publish(self, channel: str, data: bytes, options: PublishOptions | None = None) -> bytes:
        """Publish data, which is JSON, and return the place it got as one line of JSON.

        Raises RemoteError where the gateway refuses or cannot be reached. Nothing is sent twice:
        after Unreachable the publication may or may not be in the channel, and only one with an
        idempotency key may be published again without becoming two.
        """
        fields = {"channel": channel, "data": msgspec.Raw(data)}
        if options is not None:
            fields |= msgspec.structs.asdict(options)
        given = {name: value for name, value in fields.items() if value is not None}
        headers = {"Content-Type": "application/json"}
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key}"
        return compact_json(self._ask("POST", "/publish", msgspec.json.encode(given), headers))

    def history(
        self, channel: str, *, limit: int, cursor: str | None, is_reverse: bool
    ) -> HistoryPage:
        """Return a page of what channel retains. Raises RemoteError."""
        wanted = {"limit": str(limit), "reverse": "true" if is_reverse else "false"}
        return self._read_page(channel, "history", wanted, cursor, HistoryPage)

    def presence(self, channel: str, *, limit: int, cursor: str | None) -> PresencePage:
        """Return a page of who is subscribed to channel. Raises RemoteError."""
        return self._read_page(channel, "presence", {"limit": str(limit)}, cursor, PresencePage)

    def _read_page(
        self, channel: str, name: str, wanted: dict[str, str], cursor: str | None, kind: type[Page]
    ) -> Page:
        query = urlencode(wanted if cursor is None else wanted | {"cursor": cursor})
        answer = self._ask("GET", f"/channels/{quote(channel, safe='')}/{name}?{query}")
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise RemoteError(f"the answer is no gateway's: {error}") from None

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> bytes:
        """Return the body of the answer; raise RemoteError where it refuses, or does not come."""
        try:
            with self._reaching():
                connection = self._connect()
                connection.request(method, self._url.path + path, body, headers)
                response = connection.getresponse()
                answer = response.read()
        except Unreachable:
            self.close()
            raise
        if not 200 <= response.status < 300:
            raise _refusal(response, answer)
        return answer

    def close(self) -> None:
        """Close the connection that is kept open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def follow(
        self,
        channels: list[str],
        cursor: str | None = None,
        pause: Callable[[float], None] = time.sleep,
        *,
        overflow: Overflow | None = None,
    ) -> Iterator[StreamEvent | CursorMoved | Reconnecting]:
        """Yield what happens in channels from cursor on, or from now, for ever.

        A stream that ends is opened again at the last cursor it gave, after pause has waited: as
        long as the gateway asked in a `closing`. Raises Unreachable where the first attempt fails,
        because then the URL may be wrong, and RemoteError where the gateway refuses for a reason
        that the next attempt would meet again, or closes and says not to come back.
        """
        path = f"{self._url.path}/sse?{_query(channels, cursor, overflow)}"
        decoder = EventStreamDecoder()
        is_known, failures = False, 0
        while True:
            closing_push: Closing | None = None
            try:
                with self._open_stream(path, decoder.last_event_id) as response:
                    is_known = True
                    for event in self._read_events(response, decoder):
                        if not _is_refusal(event):
                            failures = 0
                        closing_push = _read_closing(event) or closing_push
                        yield event
                reason = _reason_of(closing_push)
            except RemoteError as error:
                if not _is_transient(error, is_known):
                    raise
                reason = str(error) if closing_push is None else _reason_of(closing_push)
            delay_s = _asked_delay_s(closing_push) or _delay_s(decoder.retry_ms, failures)
            failures += 1
            yield Reconnecting(reason, delay_s)
            pause(delay_s)
            decoder = EventStreamDecoder(decoder.last_event_id, decoder.retry_ms)

    @contextmanager
    def _open_stream(self, path: str, last_event_id: str) -> Iterator[http.client.HTTPResponse]:
        """Give the answer to a request for a stream whose head is as it should be."""
        headers: dict[str, str | bytes] = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id.encode()
        with closing(self._open()) as connection:
            with self._reaching():
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
            with response:
                self._check_stream(response)
                yield response

    def _check_stream(self, response: http.client.HTTPResponse) -> None:
        if response.status != 200:
            with self._reaching():
                raise _refusal(response, response.read())
        if response.headers.get_content_type() != "text/event-stream":
            raise RemoteError(f"{self.url} answers, but not as a gateway does", status=200)

    def _read_events(
        self, response: http.client.HTTPResponse, decoder: EventStreamDecoder
    ) -> Iterator[StreamEvent | CursorMoved]:
        cursor = decoder.last_event_id
        while data := self._read(response):
            for event in _feed(decoder, data):
                cursor = event.last_event_id
                yield event
            if decoder.last_event_id != cursor:
                cursor = decoder.last_event_id
                yield CursorMoved(cursor)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        with self._reaching():
            return response.read1(READ_BYTES)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn what the network does to us into Unreachable."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            text = (isinstance(error, OSError) and error.strerror) or str(error)
            reason = text or type(error).__name__
            raise Unreachable(f"cannot reach {self.url}: {reason}") from error

    def _open(self) -> http.client.HTTPConnection:
        """Return a connection of its own, which connects when it is first used."""
        open_connection = _CONNECTIONS[self._url.scheme]
        return open_connection(str(self._url.hostname), self._url.port, timeout=SILENCE_S)

    def _connect(self) -> http.client.HTTPConnection:
        """Return the kept connection, or a new one where the gateway has closed it meanwhile."""
        if self._connection is not None and _is_readable(self._connection):
            self.close()
        if self._connection is None:
            self._connection = self._open()
        return self._connection


def _feed(decoder: EventStreamDecoder, data: bytes) -> list[StreamEvent]:
    try:
        return decoder.feed(data)
    except EventTooLarge as error:
        raise RemoteError(str(error)) from None


def compact_json(data: bytes) -> bytes:
    """Return what a gateway sent on one line, nothing else changed. Raises RemoteError."""
    try:
        return msgspec.json.format(data, indent=-1)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RemoteError(f"the answer is no gateway's: {error}") from None


def _parse_url(url: str) -> SplitResult:
    """Return the parts of url, the path without its final slash. Raises ValueError."""
    parts = urlsplit(url)
    is_usable = parts.scheme in _CONNECTIONS and parts.hostname and parts.port != 0
    if not is_usable or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"expected a URL as http://127.0.0.1:8080, got {url}")
    return parts._replace(path=quote(parts.path.rstrip("/"), safe="/%"))


def _query(channels: list[str], cursor: str | None, overflow: Overflow | None) -> str:
    pairs = [("channel", channel) for channel in channels]
    chosen = {"cursor": cursor, "overflow": overflow}
    return urlencode(
        [*pairs, *((name, value) for name, value in chosen.items() if value is not None)]
    )


def _refusal(response: http.client.HTTPResponse, body: bytes) -> RemoteError:
    """Return the gateway's error as an exception, or the bare status of somebody else's answer."""
    try:
        error = msgspec.json.decode(body, type=dict[str, object])
        code, message = str(error["code"]), str(error["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        return RemoteError(f"refused: {response.status} {response.reason}", status=response.status)
    return RemoteError(
        f"refused: {message} ({code})",
        status=response.status,
        code=code,
        retry_after_s=_read_retry_after(response),
    )


def _read_retry_after(response: http.client.HTTPResponse) -> float | None:
    """Return the seconds of Retry-After. RFC 9110 section 10.2.3; a date is not understood."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _is_transient(error: RemoteError, is_known: bool) -> bool:
    """Tell whether the same request may succeed later. RFC 9110 section 15: 408, 429 and 5xx."""
    if error.status is None:
        return is_known and isinstance(error, Unreachable)
    return error.status in (408, 429) or error.status >= 500


def _is_refusal(event: StreamEvent | CursorMoved) -> bool:
    """Tell whether event is all that comes of a stream: a full node answers with 200 and this."""
    return isinstance(event, StreamEvent) and event.type == "error"


def _read_closing(event: StreamEvent | CursorMoved) -> Closing | None:
    """Return the `closing` in event, if it is one that can be read."""
    if not isinstance(event, StreamEvent) or event.type != "closing":
        return None
    try:
        return msgspec.json.decode(event.data, type=Closing)
    except (msgspec.DecodeError, RecursionError):
        return None


def _reason_of(closing_push: Closing | None) -> str:
    """Return why a stream ended. Raises RemoteError where the gateway said not to come back."""
    if closing_push is None:
        return "the stream ended"
    reason = f"the gateway closed the stream: {closing_push.reason} ({closing_push.code})"
    if not closing_push.reconnect:
        raise RemoteError(f"{reason}; it asks not to reconnect")
    return reason


def _asked_delay_s(closing_push: Closing | None) -> float | None:
    """Return the wait that the gateway asked for; it is taken as it is, being random already."""
    if closing_push is None or closing_push.retry_after_ms is None:
        return None
    return min(max(closing_push.retry_after_ms / 1000, 0.0), MAX_ASKED_S)


def _delay_s(retry_ms: int | None, failures: int) -> float:
    base_s = RETRY_S if retry_ms is None else retry_ms / 1000
    full_s: float = min(base_s * 2.0 ** min(failures, 16), MAX_RETRY_S)
    return full_s * random.uniform(0.5, 1.0)


def _is_readable(connection: http.client.HTTPConnection) -> bool:
    """Tell whether something waits on an idle connection, which can only be its end."""
    if connection.sock is None:
        return False
    return bool(select.select([connection.sock], [], [], 0)[0])
