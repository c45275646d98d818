"""One GET of something in JSON, on a connection of its own."""

import asyncio
from typing import Any

import msgspec

from loadtest.wire import End, Head, ResponseDecoder, WireError


async def fetch_json(address: tuple[str, int], path: str) -> Any:
    """Return what is at path; raise OSError, or WireError for anything but 200 with JSON."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode())
        first, *rest = ResponseDecoder().feed(await reader.read(-1)) or [End()]
    finally:
        writer.close()
    body = b"".join(piece for piece in rest if isinstance(piece, bytes))
    if not isinstance(first, Head) or first.status != 200 or not rest:
        raise WireError(f"{path} was answered with {first!r} {body[:200]!r}")
    return msgspec.json.decode(body)
