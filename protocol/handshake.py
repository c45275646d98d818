"""RFC 6455 section 4: the opening handshake, judged and answered as a server does."""

import re
from binascii import b2a_base64
from collections.abc import Iterable, Mapping
from hashlib import sha1
from types import MappingProxyType
from typing import Final

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy, istr

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

# RFC 6455 section 1.3: what every server appends to the key before hashing.
ACCEPT_SUFFIX: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION: Final = "13"
# What base64 makes of 16 bytes, to the last bit.
KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
# RFC 9110 section 5.6.2.
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# Ready for look-ups in headers, which fold the case of a plain str each time.
_CONNECTION: Final = istr("Connection")
_EXTENSIONS: Final = istr("Sec-WebSocket-Extensions")
_KEY: Final = istr("Sec-WebSocket-Key")
_PROTOCOL: Final = istr("Sec-WebSocket-Protocol")
_UPGRADE: Final = istr("Upgrade")
_VERSION: Final = istr("Sec-WebSocket-Version")


class Accepted(msgspec.Struct, frozen=True):
    """A request that may become a WebSocket."""

    key: str
    protocols: tuple[str, ...]  # the subprotocols the client offers, the one it likes best first
    extensions: tuple[str, ...]  # its Sec-WebSocket-Extensions headers, not parsed


class Refused(msgspec.Struct, frozen=True):
    """A request that may not, with the answer it gets; the message is for its author."""

    status: int
    message: str
    headers: Mapping[str, str] = MappingProxyType({})


def judge(method: str, version: tuple[int, int], headers: Headers) -> Accepted | Refused:
    """Return whether a request asks for a WebSocket in the way of RFC 6455 section 4.2.1.

    version is HTTP's, as (major, minor). Subprotocol names keep their case.
    """
    if method != "GET":
        return Refused(405, "a WebSocket is opened with GET", {"Allow": "GET"})
    if version < (1, 1):
        return Refused(400, "a WebSocket needs HTTP/1.1")
    if not _has_token(headers, _UPGRADE, "websocket"):
        return Refused(400, "the Upgrade header does not name websocket")
    if not _has_token(headers, _CONNECTION, "upgrade"):
        return Refused(400, "the Connection header does not name upgrade")
    if headers.getall(_VERSION, ()) != [VERSION]:
        # RFC 9110 section 15.5.22 wants the Upgrade header in every 426.
        wanted = {"Sec-WebSocket-Version": VERSION, "Upgrade": "websocket"}
        return Refused(426, "the Sec-WebSocket-Version is not 13", wanted)
    keys = headers.getall(_KEY, ())
    if len(keys) != 1 or not KEY.fullmatch(keys[0]):
        return Refused(400, "the Sec-WebSocket-Key is not 16 bytes in base64")
    protocols = tuple(_list(headers.getall(_PROTOCOL))) if _PROTOCOL in headers else ()
    if protocols and not all(map(TOKEN.fullmatch, protocols)):
        return Refused(400, "the Sec-WebSocket-Protocol is not a list of tokens")
    return Accepted(keys[0], protocols, tuple(headers.getall(_EXTENSIONS, ())))


def choose_protocol(offered: Iterable[str], supported: Iterable[str]) -> str | None:
    """Return the first subprotocol the client offers that the server supports, or None."""
    known = frozenset(supported)
    return next((protocol for protocol in offered if protocol in known), None)


def encode_accept(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers key. RFC 6455 section 4.2.2."""
    digest = sha1(key.encode() + ACCEPT_SUFFIX).digest()
    return b2a_base64(digest, newline=False).decode()


def accept_headers(
    accepted: Accepted, protocol: str | None, extension: str | None = None
) -> dict[str, str]:
    """Return the headers of the 101 that opens the WebSocket, with protocol and extension if agreed
    upon.
    """
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": encode_accept(accepted.key),
    }
    if protocol is not None:
        headers["Sec-WebSocket-Protocol"] = protocol
    if extension is not None:
        headers["Sec-WebSocket-Extensions"] = extension
    return headers


def _list(values: Iterable[str]) -> list[str]:
    """Return the elements of a comma-separated header, empty ones left out; RFC 9110 5.6.1.2."""
    elements = ",".join(values).split(",")
    return [element for each in elements if (element := each.strip(" \t"))]


def _has_token(headers: Headers, name: str, token: str) -> bool:
    """Return whether the list in header name has token, in any case."""
    text = ",".join(headers.getall(name, ())).lower()
    return text == token or token in _list((text,))  # most lists are that one token
