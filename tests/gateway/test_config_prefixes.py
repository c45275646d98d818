"""What a prefix's retention means to clients: it applies, and is told, on every transport."""

from collections.abc import AsyncIterator

import pytest

from gateway.config import ChannelsConfig, PrefixConfig
from tests.gateway.clients import Gateway, Push, serving

CHANNELS = ChannelsConfig(
    history_count=5,
    prefixes=(
        PrefixConfig(prefix="few:", history_count=2),
        PrefixConfig(prefix="small:", history_bytes=6),
        PrefixConfig(prefix="brief:", history_age_s=1e-6),  # is over when anybody can ask
        PrefixConfig(prefix="none:", history_count=0),
    ),
)
# (channel, what it retains of seven publications of a byte each, what is told)
RETAINED = [
    ("other", [3, 4, 5, 6, 7], {"count": 5, "bytes": 1024 * 1024, "age_s": 300.0}),
    ("few:a", [6, 7], {"count": 2, "bytes": 1024 * 1024, "age_s": 300.0}),
    ("small:a", [2, 3, 4, 5, 6, 7], {"count": 1000, "bytes": 6, "age_s": 300.0}),
    ("brief:a", [], {"count": 1000, "bytes": 1024 * 1024, "age_s": 1e-6}),
    ("none:a", [], {"count": 0, "bytes": 1024 * 1024, "age_s": 300.0}),
]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with serving(channels=CHANNELS) as running:
        yield running


async def fill(gateway: Gateway, channel: str) -> str:
    """Publish seven times; return the epoch."""
    epoch: str = (await gateway.publish(channel, *range(1, 8)))[0]["epoch"]
    return epoch


def expect(retained: list[int]) -> tuple[tuple[int, int], list[int]]:
    """Return the gap and the offsets that a client gets which has seen nothing."""
    return (1, 7 - len(retained)), retained


def told(gap: Push, messages: list[Push]) -> tuple[tuple[int, int], list[int]]:
    assert gap["reason"] == "expired"
    return (gap["from"], gap["to"]), [each["offset"] for each in messages]


@pytest.mark.parametrize(("channel", "retained", "retention"), RETAINED)
async def test_over_websocket(gateway, channel, retained, retention):
    epoch = await fill(gateway, channel)
    client = await gateway.websocket()
    reply = await client.ask(type="subscribe", channel=channel, epoch=epoch, offset=0)
    assert reply["retention"] == retention
    gap, *messages = await client.read_many(1 + len(retained))
    assert told(gap, messages) == expect(retained)
    page = await client.ask(type="history", channel=channel)
    assert [each["offset"] for each in page["publications"]] == retained


@pytest.mark.parametrize(("channel", "retained", "retention"), RETAINED)
async def test_over_sse(gateway, channel, retained, retention):
    epoch = await fill(gateway, channel)
    stream = await gateway.event_stream(channel=channel, epoch=epoch, offset=0)
    subscribed, gap, *messages = await stream.read_many(2 + len(retained))
    assert subscribed["retention"] == retention
    assert told(gap, messages) == expect(retained)


@pytest.mark.parametrize(("channel", "retained", "retention"), RETAINED)
async def test_over_long_poll_and_http(gateway, channel, retained, retention):
    epoch = await fill(gateway, channel)
    answer = await gateway.poll(channel=channel, epoch=epoch, offset=0, timeout=0)
    assert told(answer["gaps"][0], answer["messages"]) == expect(retained)
    page = (await gateway.get(f"/channels/{channel}/history")).json
    assert [each["offset"] for each in page["publications"]] == retained
