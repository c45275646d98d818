"""One GET, from a real gateway."""

from urllib.parse import urlsplit

import pytest

from loadtest.clients.fetch import fetch, fetch_json
from loadtest.clients.wire import WireError


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


async def test_what_is_there_is_returned(url: str) -> None:
    assert await fetch(address_of(url), "/healthz") == b"ok\n"
    page = await fetch_json(address_of(url), "/channels/news/history")
    assert page["publications"] == []


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/poll", 400)])
async def test_an_error_is_told_with_its_status(url: str, path: str, status: int) -> None:
    with pytest.raises(WireError, match=f"status={status}"):
        await fetch_json(address_of(url), path)
