"""The peers that are hubs: each gives a publication to the subscribers of its channel as it is."""

import pytest
from websockets.asyncio.client import connect

from tests.loadtest.peers.conftest import Start


@pytest.fixture(params=["aiohttp", "websockets", "picows", "socketify"])
async def url(request: pytest.FixtureRequest, start: Start) -> str:
    return f"ws://127.0.0.1:{await start(request.param)}"


async def test_a_publication_reaches_every_subscriber_of_its_channel_and_no_other(url: str) -> None:
    async with (
        connect(f"{url}/news") as first,
        connect(f"{url}/news") as second,
        connect(f"{url}/sports") as other,
        connect(f"{url}/") as publisher,
    ):
        await publisher.send('news "a b"')
        await publisher.send("news 2")
        await publisher.send("sports 3")
        assert [await first.recv(), await first.recv()] == ['"a b"', "2"]
        assert [await second.recv(), await second.recv()] == ['"a b"', "2"]
        assert await other.recv() == "3"


async def test_who_has_left_does_not_keep_others_from_their_publications(url: str) -> None:
    async with connect(f"{url}/news") as staying, connect(f"{url}/") as publisher:
        async with connect(f"{url}/news"):
            pass
        await publisher.send("news 1")
        assert await staying.recv() == "1"
