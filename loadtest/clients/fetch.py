"""One GET, on a connection of its own."""

import asyncio
from typing import Any, Final

import msgspec

from loadtest.clients.wire import End, Head, ResponseDecoder, WireError
from loadtest.errors import LoadError
from protocol.cursor import Position

# An answer that has not come after this long does not come.
_PATIENCE_S: Final = 20.0


async def fetch_json(address: tuple[str, int], path: str) -> Any:
    """Return the JSON that is at path; raises as fetch does."""
    return msgspec.json.decode(await fetch(address, path))


async def fetch_end(address: tuple[str, int], channel: str) -> Position:
    """Return where a gateway's log of channel ends.

    Raises LoadError where a gateway is not what answers, or nobody does.
    """
    try:
        answer = await fetch_json(address, f"/poll?channel={channel}&timeout=0")
    except OSError as error:  # a TimeoutError says nothing
        raise LoadError(f"the target does not answer: {error or 'too late'}") from error
    except WireError as error:
        raise LoadError(f"the target does not answer as a gateway: {error}") from None
    place = answer["positions"][channel]
    return Position(place["epoch"], place["offset"])


async def fetch(address: tuple[str, int], path: str) -> bytes:
    """Return what is at path.

    Raises OSError, TimeoutError among them, and WireError for anything but 200.
    """
    async with asyncio.timeout(_PATIENCE_S):
        answer = await _exchange(address, path)
    first, *rest = ResponseDecoder().feed(answer) or [End()]
    body = b"".join(piece for piece in rest if isinstance(piece, bytes))
    if not isinstance(first, Head) or first.status != 200 or not rest:
        raise WireError(f"{path} was answered with {first!r} {body[:200]!r}")
    return body


async def _exchange(address: tuple[str, int], path: str) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    try:
        lines = f"GET {path} HTTP/1.1", f"Host: {address[0]}:{address[1]}", "Connection: close"
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return await reader.read(-1)
    finally:
        writer.close()
