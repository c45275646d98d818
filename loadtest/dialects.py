"""What servers of several kinds want to hear, and what a delivery of theirs looks like.

A driver of millions of deliveries per second decodes none of them: it knows how long each is.
"""

import json
from typing import Final, NamedTuple, Protocol

from protocol.codec import JSON
from protocol.frames import TEXT, encode_frame, encode_masked_frame
from protocol.publication import Data, Publication

# RFC 6455 section 5.3 wants unpredictable keys because of proxies, which do not stand in between.
MASKING_KEY: Final = b"\0\0\0\0"

_UPGRADE: Final = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9hZHRlc3QgbG9hZHRlcw==\r\n{more}\r\n"
)


class Opening(NamedTuple):
    """How a connection is opened: bytes to send at once, and what it has read once it is open."""

    request: bytes
    marker: bytes


class Dialect(Protocol):
    """How one kind of server is spoken to over WebSocket; path is the target's."""

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return the opening of a connection that then gets what is published in channel."""

    def visitor(self, path: str, host: str) -> Opening:
        """Return the opening of a connection that is upgraded, and no more."""

    def publisher(self, path: str, host: str) -> Opening:
        """Return the opening of a connection that can publish."""

    def publish(self, channel: str, data: str) -> bytes:
        """Return what such a connection sends to publish data, a JSON text, once."""

    def delivery_bytes(self, channel: str, number: int, data: str) -> int:
        """Return how many bytes the numberth publication in channel takes, from 1 on."""


def upgrade(path: str, host: str, more: str = "") -> bytes:
    """Return the request that opens a WebSocket; more is further header lines, with CRLF each."""
    return _UPGRADE.format(path=path, host=host, more=more).encode()


def mask_text(text: str | bytes) -> bytes:
    """Return text as the text frame of a client."""
    data = text if isinstance(text, bytes) else text.encode()
    return encode_masked_frame(TEXT, data, MASKING_KEY)


class GatewayDialect:
    """This gateway: commands and pushes of its client protocol, in JSON."""

    def subscriber(self, path: str, host: str, channel: str) -> Opening:
        """Return an upgrade with a subscribe command right behind it."""
        command = {"type": "subscribe", "id": 1, "channel": channel}
        request = upgrade(path, host) + mask_text(json.dumps(command))
        return Opening(request, b'"type":"subscribed"')

    def visitor(self, path: str, host: str) -> Opening:
        """Return an upgrade alone."""
        return Opening(upgrade(path, host), b"\r\n\r\n")

    def publisher(self, path: str, host: str) -> Opening:
        """Return an upgrade with a ping right behind it."""
        return Opening(upgrade(path, host) + mask_text('{"type":"ping","id":1}'), b'"pong"')

    def publish(self, channel: str, data: str) -> bytes:
        """Return a publish command without an id, which is answered only where it fails."""
        return mask_text(f'{{"type":"publish","channel":{json.dumps(channel)},"data":{data}}}')

    def delivery_bytes(self, channel: str, number: int, data: str) -> int:
        """Return the length of a message push, which grows with the digits of its offset."""
        publication = Publication(number, Data(data.encode()), 0.0)
        return len(encode_frame(TEXT, JSON.encode_message(channel, publication)))


class PlainDialect:
    """A hub of a few lines: /CHANNEL subscribes, and "CHANNEL DATA" sent to / publishes DATA."""

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

    def delivery_bytes(self, channel: str, number: int, data: str) -> int:
        """Return the length of a text message of data alone."""
        return len(encode_frame(TEXT, data.encode()))


class NchanDialect(PlainDialect):
    """nchan as loadtest/peers/nginx.py sets it up: plain, but published by POST."""

    def publisher(self, path: str, host: str) -> Opening:
        """Return a request that is answered by what nginx says to it without nchan."""
        return Opening(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), b"ready")

    def publish(self, channel: str, data: str) -> bytes:
        """Return a request that does not wait for the answer to the one before."""
        body = data.encode()
        head = f"POST /publish/{channel} HTTP/1.1\r\nHost: n\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


DIALECTS: Final[dict[str, Dialect]] = {
    "gateway": GatewayDialect(),
    "nchan": NchanDialect(),
    "plain": PlainDialect(),
}
