"""One GET, on a connection of its own."""

import asyncio
from typing import Any, Final

import msgspec

from loadtest.wire import End, Head, ResponseDecoder, WireError

# An answer that has not come after this long does not come.
_PATIENCE_S: Final = 20.0


async def fetch_json(address: tuple[str, int], path: str) -> Any:
    """Return the JSON that is at path; raises as fetch does."""
    return msgspec.json.decode(await fetch(address, path))


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
