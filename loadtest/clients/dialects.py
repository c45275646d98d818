"""What servers of several kinds want to hear, and what a delivery of theirs looks like.

A driver of millions of deliveries per second decodes none of them: it knows what each looks like.
"""

import json
import re
from typing import Final, NamedTuple, Protocol

from protocol import sse
from protocol.codec import JSON, SUBPROTOCOLS
from protocol.cursor import Position, encode_cursor
from protocol.frames import BINARY, TEXT, encode_frame, encode_masked_frame
from protocol.publication import Data, Publication

# RFC 6455 section 5.3 wants unpredictable keys because of proxies, which do not stand in between.
MASKING_KEY: Final = b"\0\0\0\0"

_UPGRADE: Final = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9hZHRlc3QgbG9hZHRlcw==\r\n{more}\r\n"
)


class Opening(NamedTuple):
    """How a connection is opened: bytes to send at once, and what it has read once it is open.

    By then it must have read the agreement, too, whatever its case. What comes second is sent when
    the request is answered, to servers that take nothing earlier.
    """

    request: bytes
    marker: bytes
    agreement: bytes = b""
    second: bytes = b""

    @property
    def is_upgrade(self) -> bool:
        """Whether the request asks for a WebSocket."""
        return b"\r\nUpgrade: websocket\r\n" in self.request


class Dialect(Protocol):
    """How one kind of server is spoken to, over WebSocket where it can be; path is the target's.

    gap is what it says instead of deliveries that are lost, empty where it says nothing. mark is
    what every delivery has once, where several of them may share a frame; else empty.
    """

    gap: bytes
    mark: bytes

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return the opening of a connection that then gets what is published in channel."""

    def visitor(self, path: str, host: str) -> Opening:
        """Return the opening of a connection that is upgraded, and no more."""

    def publisher(self, path: str, host: str) -> Opening:
        """Return the opening of a connection that can publish."""

    def publish(self, channel: str, data: str) -> bytes:
        """Return what such a connection sends to publish data, a JSON text, once."""

    def delivery(self, channel: str, number: int, data: str) -> bytes:
        """Return what a subscriber reads of the numberth publication in channel, from 1 on."""


def upgrade(path: str, host: str, more: str = "") -> bytes:
    """Return the request that opens a WebSocket; more is further header lines, with CRLF each."""
    return _UPGRADE.format(path=path, host=host, more=more).encode()


def mask_text(text: str | bytes) -> bytes:
    """Return text as the text frame of a client."""
    data = text if isinstance(text, bytes) else text.encode()
    return encode_masked_frame(TEXT, data, MASKING_KEY)


def offer_deflate(opening: Opening) -> Opening:
    """Return opening with an offer of permessage-deflate (RFC 7692), which must be agreed to."""
    line, offer = b" HTTP/1.1\r\n", b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    request = opening.request.replace(line, line + offer, 1)
    return opening._replace(request=request, agreement=b"permessage-deflate")


def post(path: str, text: str) -> bytes:
    """Return an HTTP request that posts text to path."""
    body = text.encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class GatewayDialect:
    """This gateway: commands and pushes of its client protocol, in one of its subprotocols."""

    mark = b""

    def __init__(self, subprotocol: str = "gateway.v1.json") -> None:
        self._codec = SUBPROTOCOLS[subprotocol]
        self._opcode = TEXT if self._codec.is_text else BINARY
        self._header = f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        self.gap = self._tag("gap")

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return an upgrade with a subscribe command right behind it."""
        command = self._command(type="subscribe", id=1, channel=channel)
        return Opening(self._upgrade(path, host) + command, self._tag("subscribed"))

    def visitor(self, path: str, host: str) -> Opening:
        """Return an upgrade alone."""
        return Opening(self._upgrade(path, host), b"\r\n\r\n")

    def publisher(self, path: str, host: str) -> Opening:
        """Return an upgrade with a ping right behind it."""
        command = self._command(type="ping", id=1)
        return Opening(self._upgrade(path, host) + command, self._tag("pong"))

    def publish(self, channel: str, data: str) -> bytes:
        """Return a publish command without an id, which is answered only where it fails."""
        if self._codec.is_text:
            return mask_text(f'{{"type":"publish","channel":{json.dumps(channel)},"data":{data}}}')
        return self._command(type="publish", channel=channel, data=json.loads(data))

    def delivery(self, channel: str, number: int, data: str) -> bytes:
        """Return a message push."""
        publication = Publication(number, Data(data.encode()), 0.0)
        return encode_frame(self._opcode, self._codec.encode_message(channel, publication))

    def _upgrade(self, path: str, host: str) -> bytes:
        return upgrade(path, host, self._header)

    def _command(self, **fields: object) -> bytes:
        return encode_masked_frame(self._opcode, self._codec.encode(fields), MASKING_KEY)

    def _tag(self, name: str) -> bytes:
        """Return the field by which a push of that type is known."""
        text = self._codec.encode({"type": name})
        return text[1:-1] if self._codec.is_text else text[1:]


class PlainDialect:
    """A hub of a few lines: /CHANNEL subscribes, and "CHANNEL DATA" sent to / publishes DATA."""

    gap = b""
    mark = b""

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return an upgrade of the channel's own path."""
        return Opening(upgrade(f"/{channel}", host), b"\r\n\r\n")

    def visitor(self, path: str, host: str) -> Opening:
        """Return what opens a publisher, which is nothing but an upgrade."""
        return self.publisher(path, host)

    def publisher(self, path: str, host: str) -> Opening:
        """Return an upgrade of the path without a channel."""
        return Opening(upgrade("/", host), b"\r\n\r\n")

    def publish(self, channel: str, data: str) -> bytes:
        """Return the channel and the data in one text message."""
        return mask_text(f"{channel} {data}")

    def delivery(self, channel: str, number: int, data: str) -> bytes:
        """Return a text message of data alone."""
        return encode_frame(TEXT, data.encode())


class NchanDialect(PlainDialect):
    """nchan as loadtest/peers/nginx.py sets it up: plain, but published by POST."""

    def publisher(self, path: str, host: str) -> Opening:
        """Return a request that is answered by what nginx says to it without nchan."""
        return Opening(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), b"ready")

    def publish(self, channel: str, data: str) -> bytes:
        """Return a request that does not wait for the answer to the one before."""
        return post(f"/publish/{channel}", data)


class CentrifugoDialect:
    """Centrifugo: JSON commands over WebSocket to subscribe, its HTTP API to publish."""

    gap = b""
    mark = b'"pub":{'

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return an upgrade, and then two commands in one message."""
        subscribe = json.dumps({"id": 2, "subscribe": {"channel": channel}})
        commands = mask_text(f'{{"id":1,"connect":{{}}}}\n{subscribe}')
        return Opening(upgrade(path, host), b'{"id":2,"subscribe":{', second=commands)

    def visitor(self, path: str, host: str) -> Opening:
        """Return an upgrade alone."""
        return Opening(upgrade(path, host), b"\r\n\r\n")

    def publisher(self, path: str, host: str) -> Opening:
        """Return a request of the HTTP API that changes nothing."""
        return Opening(post("/api/info", "{}"), b'{"result":')

    def publish(self, channel: str, data: str) -> bytes:
        """Return a request that does not wait for the answer to the one before."""
        return post("/api/publish", f'{{"channel":{json.dumps(channel)},"data":{data}}}')

    def delivery(self, channel: str, number: int, data: str) -> bytes:
        """Return a push; with others that are due it shares a frame, with line ends in between."""
        push = f'{{"push":{{"channel":{json.dumps(channel)},"pub":{{"data":{data}}}}}}}'
        return encode_frame(TEXT, push.encode())


class EventDialect(Protocol):
    """How one kind of server is asked for an event stream, and what it sends.

    A stream begins with what matches beginning, behind the opening's marker; a group in it is the
    channel's epoch. end is where each delivery ends, and gap what tells of a loss, empty where
    nothing does. Where is_measured is False, nobody can know how long a delivery is.
    """

    beginning: re.Pattern[bytes]
    end: bytes
    gap: bytes
    is_measured: bool

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return the opening of a connection that then gets what is published in channel."""

    def delivery(self, channel: str, epoch: str, number: int, data: str) -> bytes:
        """Return what a subscriber reads of the numberth publication in channel, from 1 on."""


class GatewayEvents:
    """This gateway's event streams; path is that of any of its endpoints."""

    beginning = re.compile(rb'[^\n]*"epoch":"([^"]+)"[^\n]*\n\nid: [^\n]+\n\n')
    end = b"}\n\n"
    gap = b"event: gap\n"
    is_measured = True

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return a request; what begins the stream tells the epoch."""
        url = f"{path.partition('?')[0].rpartition('/')[0]}/sse?channel={channel}"
        return Opening(_ask_for_events(url, host), b"\nevent: subscribed\n")

    def delivery(self, channel: str, epoch: str, number: int, data: str) -> bytes:
        """Return an event whose id is the cursor behind the publication."""
        publication = Publication(number, Data(data.encode()), 0.0)
        cursor = encode_cursor({channel: Position(epoch, number)})
        return sse.encode_event(JSON.encode_message(channel, publication), cursor=cursor)


class NchanEvents:
    """nchan's event streams: their ids are times, so nobody knows how long they are."""

    beginning = re.compile(b"")
    end = b'"\n\n'
    gap = b""
    is_measured = False

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return a request, which is answered with a comment."""
        return Opening(_ask_for_events(f"/{channel}", host), b": hi\n\n")

    def delivery(self, channel: str, epoch: str, number: int, data: str) -> bytes:
        """Return nothing: nobody knows."""
        return b""


def _ask_for_events(url: str, host: str) -> bytes:
    head = f"GET {url} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n"
    return head.encode()


DIALECTS: Final[dict[str, Dialect]] = {
    "centrifugo": CentrifugoDialect(),
    "gateway": GatewayDialect(),
    "gateway-msgpack": GatewayDialect("gateway.v1.msgpack"),
    "nchan": NchanDialect(),
    "plain": PlainDialect(),
}
EVENT_DIALECTS: Final[dict[str, EventDialect]] = {
    "gateway": GatewayEvents(),
    "nchan": NchanEvents(),
}
