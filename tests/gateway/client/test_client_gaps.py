"""What a browser client cannot get is told, once, whatever it changes to afterwards."""

import pytest
from playwright.async_api import expect

from gateway.config import ChannelsConfig

# One event loop for the node, Playwright and the tests, so that the browser is started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TRANSPORTS = ("websocket", "sse", "longpoll")
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


async def test_what_is_no_longer_retained_is_told_as_a_gap(open_console, gateway):
    await gateway.restart(channels=ChannelsConfig(history_count=2))
    for transport in TRANSPORTS:
        console = await open_console(transport, transport)
        await console.drop()
        await console.post(transport, 1, 2, 3, 4, 5)
        await console.interrupt.click()
        await console.shows(4, 5, channel=transport)
        await expect(console.find("gap")).to_contain_text("3 missing, #1 to #3")


@every_transport
async def test_gaps_are_told_once_before_and_after_a_change_of_transport(
    open_console, gateway, transport
):
    await gateway.restart(channels=ChannelsConfig(history_count=2))
    console = await open_console(transport, "news")
    first, second = (name for name in TRANSPORTS if name != transport)
    await console.drop()
    await console.post("news", 1, 2, 3, 4, 5)
    await console.switch(first)
    await console.shows(4, 5)
    await expect(console.find("gap").first).to_contain_text("3 missing, #1 to #3")
    await console.switch(second)
    await console.post("news", 6)
    await console.shows(4, 5, 6)
    await console.drop()
    await gateway.restart()
    await console.post("news", "anew")
    await console.switch(transport)
    await console.shows(4, 5, 6, "anew")
    await expect(console.find("gap").first).to_contain_text("the channel's log began anew")
    await console.switch(first)
    await console.post("news", "on")
    await console.shows(4, 5, 6, "anew", "on")
    await expect(console.find("gap-tally")).to_have_text("2 gaps")
