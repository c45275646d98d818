"""What tests of the console page and the browser client share: a browser, a node, open pages."""

import json
import os
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Browser, Page, async_playwright, expect

from gateway.config import Config, ServerConfig
from gateway.node import Node

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--headless",
]
NAMES = {"websocket": "WebSocket", "sse": "SSE", "longpoll": "Long-poll"}
# A browser on a busy machine takes its time; only a failing test waits for all of it.
PATIENCE_S = 30
expect.set_options(timeout=1000 * PATIENCE_S)


@pytest.fixture(scope="module")
def chromium_path() -> str:
    """Return where Chromium is; without it tests are skipped, but not in CI, which must have it."""
    if not os.path.exists(CHROMIUM):
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"there is no {CHROMIUM}")
    return CHROMIUM


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """Return a running Chromium."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
        yield chromium
        await chromium.close()


class Gateway:
    """A node that can be restarted at the same address."""

    def __init__(self) -> None:
        self.config = Config(server=ServerConfig(port=0, shutdown_timeout_s=1))

    async def start(self) -> None:
        self.node = Node(self.config)
        await self.node.start()
        self.url = self.node.url

    async def restart(self, **sections: object) -> None:
        """Stop, and start with these sections of the configuration replaced."""
        server = replace(self.config.server, port=self.node.port)
        self.config = replace(self.config, server=server, **sections)
        await self.node.stop()
        await self.start()


@pytest_asyncio.fixture(loop_scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    """Return a running gateway."""
    made = Gateway()
    await made.start()
    yield made
    await made.node.stop()


class Console:
    """One page, seen as its reader sees it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.find = page.get_by_test_id
        self.messages = page.get_by_test_id("message")
        self.interrupt = page.get_by_test_id("interrupt")

    async def subscribed(self, count: int) -> None:
        """Wait until that many channels have a position."""
        await expect(self.page.locator("[data-testid=subscription][data-position]")).to_have_count(
            count
        )
        await self.connected()

    async def connected(self) -> None:
        await expect(self.find("state")).to_have_attribute("data-state", "connected")

    async def drop(self) -> None:
        await self.interrupt.click()
        await expect(self.interrupt).to_have_text("Reconnect now")

    async def publish(self, text: str) -> None:
        await self.find("publish-data").fill(text)
        await self.find("publish").click()

    async def post(self, channel: str, *data: object) -> list[dict]:
        """Publish as a back end does, whatever the page's connection does; return the places."""
        batch = [{"channel": channel, "data": each} for each in data]
        answer = await self.page.request.post(f"{self.url}/publish", data=json.dumps(batch))
        assert answer.ok
        return await answer.json()

    async def shows(self, *data: object, channel: str = "news") -> None:
        """Wait until exactly these messages of channel are shown, oldest first."""
        texts = [json.dumps(each, separators=(",", ":")) for each in reversed(data)]
        shown = self.page.locator(f"[data-testid=message][data-channel='{channel}'] .data")
        await expect(shown).to_have_text(texts)

    async def switch(self, transport: str) -> None:
        await self.find(f"transport-{transport}").check()
        await expect(self.find("state-text")).to_have_text(f"Connected · {NAMES[transport]}")


Open = Callable[..., Awaitable[Console]]


@pytest_asyncio.fixture(loop_scope="module")
async def open_console(browser: Browser, gateway: Gateway) -> AsyncIterator[Open]:
    """Return what opens a console; the test fails if a script fails or breaks the page's policy."""
    complaints: list[str] = []
    contexts = []

    async def open_one(transport: str, *channels: str) -> Console:
        context = await browser.new_context()
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda line: complaints.append(line.text) if "Policy" in line.text else None,
        )
        console = Console(page, gateway.url)
        query = urllib.parse.urlencode(
            [("transport", transport), *(("channel", c) for c in channels)]
        )
        await page.goto(f"{gateway.url}/?{query}")
        if channels:
            await console.subscribed(len(channels))
        return console

    yield open_one
    for context in contexts:
        await context.close()
    assert complaints == []
