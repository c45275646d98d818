"""The console page, and under it the browser client, in a real browser against a real node."""

import asyncio
import json
import os
import shutil
import subprocess
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import combinations_with_replacement

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from gateway.config import AuthConfig, ChannelsConfig, Config, ServerConfig
from gateway.node import Node

# One event loop for the node, Playwright and the tests, so that the browser is started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")

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
TRANSPORTS = ("websocket", "sse", "longpoll")
NAMES = {"websocket": "WebSocket", "sse": "SSE", "longpoll": "Long-poll"}
# A browser on a busy machine takes its time; only a failing test waits for all of it.
expect.set_options(timeout=30_000)

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


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

    async def start(self, **sections: object) -> None:
        values = {name: getattr(self.config, name) for name in self.config.__struct_fields__}
        self.config = Config(**(values | sections))
        self.node = Node(self.config)
        await self.node.start()
        self.url = self.node.url
        self.config = Config(
            **(
                values
                | sections
                | {"server": ServerConfig(port=self.node.port, shutdown_timeout_s=1)}
            )
        )

    async def restart(self, **sections: object) -> None:
        await self.node.stop()
        await self.start(**sections)


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

    async def post(self, channel: str, *data: object) -> None:
        """Publish as a back end does, whatever the page's connection is doing."""
        batch = [{"channel": channel, "data": each} for each in data]
        answer = await self.page.request.post(f"{self.url}/publish", data=json.dumps(batch))
        assert answer.ok

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


# --- exchanging messages ------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other"), [*combinations_with_replacement(TRANSPORTS, 2)])
async def test_two_pages_exchange_messages_over_any_transports(open_console, one, other):
    first, second = await open_console(one, "news"), await open_console(other, "news")
    await first.publish('{"from": "first"}')
    await second.shows({"from": "first"})
    await second.publish("[1, true, null]")
    for console, transport in ((first, one), (second, other)):
        await console.shows({"from": "first"}, [1, True, None])
        newest = console.messages.first
        await expect(newest).to_contain_text("#2")
        await expect(newest).to_contain_text(NAMES[transport])


async def test_text_that_is_not_json_is_published_as_a_string_and_the_page_says_so(open_console):
    console = await open_console("websocket", "news")
    await console.find("publish-data").fill("good morning")
    await expect(console.find("publish-hint")).to_contain_text("as a JSON string")
    await console.find("publish").click()
    await console.shows("good morning")
    await expect(console.find("published")).to_contain_text(":1")


async def test_an_integer_that_no_double_holds_arrives_as_it_was_written(open_console):
    first, second = await open_console("websocket", "news"), await open_console("longpoll", "news")
    await first.publish('{"id": 12345678901234567890}')
    await second.shows({"id": 12345678901234567890})


async def test_the_command_that_an_empty_list_shows_publishes(open_console):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    console = await open_console("sse", "it's news")
    command = await console.find("curl").text_content()
    await asyncio.to_thread(subprocess.run, command, shell=True, check=True, capture_output=True)
    await expect(console.messages).to_contain_text('{"hello":"world"}')
    await expect(console.find("empty")).to_be_hidden()


# --- keeping the position -----------------------------------------------------------------------


@every_transport
async def test_a_dropped_connection_recovers_what_was_published_meanwhile(open_console, transport):
    console = await open_console(transport, "news")
    await console.post("news", 1)
    await console.shows(1)
    await console.drop()
    await console.post("news", 2, 3)
    await console.shows(1)
    await console.interrupt.click()
    await console.connected()
    await console.post("news", 4)
    await console.shows(1, 2, 3, 4)
    await expect(console.find("gap-tally")).to_have_text("0 gaps")


@every_transport
async def test_another_transport_goes_on_from_the_same_position(open_console, transport):
    console = await open_console(transport, "news", "sport")
    published = [0]
    await console.post("news", 0)
    await console.shows(0)
    others = [name for name in TRANSPORTS if name != transport]
    for number, target in enumerate([*others, transport], start=1):
        await console.drop()
        published.append(number)
        await console.post("news", number)
        await console.switch(target)
        await console.shows(*published)
        await expect(console.messages.first).to_have_attribute("data-transport", target)
    await console.post("sport", "goal")
    await console.shows("goal", channel="sport")
    await expect(console.find("gap-tally")).to_have_text("0 gaps")


@every_transport
async def test_channels_come_and_go_without_disturbing_the_others(open_console, transport):
    console = await open_console(transport, "news")
    await console.post("news", 1)
    await console.shows(1)
    await console.find("channel").fill("sport")
    await console.find("subscribe").click()
    await console.subscribed(2)
    await console.post("sport", "goal")
    await console.post("news", 2)
    await console.shows("goal", channel="sport")
    await console.shows(1, 2)
    await console.page.get_by_label("Unsubscribe from news").click()
    await console.subscribed(1)
    await console.post("news", 3)
    await console.post("sport", "foul")
    await console.shows("goal", "foul", channel="sport")
    await console.shows(1, 2)
    assert console.page.url.endswith(f"/?transport={transport}&channel=sport")


@every_transport
async def test_a_restart_of_the_gateway_is_survived_and_told_as_a_gap(
    open_console, gateway, transport
):
    console = await open_console(transport, "news")
    await console.post("news", "before")
    await console.shows("before")
    await gateway.restart()
    await console.post("news", "after")
    await console.shows("before", "after")
    await console.connected()
    await expect(console.find("gap-tally")).to_have_text("1 gap")
    await expect(console.find("gap")).to_contain_text("the channel's log began anew")


async def test_what_is_no_longer_retained_is_told_as_a_gap(open_console, gateway):
    await gateway.restart(channels=ChannelsConfig(history_count=2))
    for transport in TRANSPORTS:
        console = await open_console(transport, transport)
        await console.drop()
        await console.post(transport, 1, 2, 3, 4, 5)
        await console.interrupt.click()
        await console.shows(4, 5, channel=transport)
        await expect(console.find("gap")).to_contain_text("3 missing, #1 to #3")


async def test_a_network_that_comes_back_is_used_at_once(open_console):
    console = await open_console("websocket", "news")
    await console.drop()
    await console.page.evaluate("dispatchEvent(new Event('online'))")
    await console.connected()


async def test_the_gateway_decides_whether_a_client_comes_back(open_console, gateway):
    console = await open_console("websocket", "news")
    for session in tuple(gateway.node.hub.sessions):
        session.transport.disconnect(3001, "too slow", retry_after_ms=3)
    await expect(console.find("events")).to_contain_text("too slow, next attempt in 0.0 s")
    await console.connected()
    for session in tuple(gateway.node.hub.sessions):
        session.transport.disconnect(3500, "too many errors")
    await expect(console.find("state-text")).to_have_text("Closed · WebSocket")
    await expect(console.find("events")).to_contain_text("too many errors")
    await console.interrupt.click()
    await console.connected()


# --- mistakes -----------------------------------------------------------------------------------


async def test_broken_json_is_refused_with_the_reason_unless_meant_as_text(open_console):
    console = await open_console("websocket", "news")
    await console.publish('{"hello": ')
    await expect(console.find("publish-hint")).to_contain_text("Not valid JSON")
    await expect(console.find("publish-data")).to_be_focused()
    await console.find("publish-text").click()
    await console.shows('{"hello": ')


@every_transport
async def test_an_invalid_channel_is_refused_with_the_reason_and_the_others_stay(
    open_console, transport
):
    console = await open_console(transport, "news")
    await console.find("channel").fill("x" * 256)
    await console.find("subscribe").click()
    await expect(console.find("notice")).to_contain_text("invalid channel name")
    await console.subscribed(1)
    await console.post("news", 1)
    await console.shows(1)


@every_transport
async def test_publishing_into_an_invalid_channel_shows_the_reason(open_console, transport):
    console = await open_console(transport, "news")
    await console.find("publish-channel").fill("")
    await console.publish("1")
    await expect(console.find("notice-text")).to_contain_text("Not published: invalid channel name")


async def test_publishing_over_http_takes_the_api_key(open_console, gateway):
    await gateway.restart(auth=AuthConfig(api_key="open sesame"))
    console = await open_console("sse", "news")
    await console.publish("1")
    await expect(console.find("notice-text")).to_contain_text("API key")
    await console.page.get_by_text("API key", exact=True).click()
    await console.find("api-key").fill("open sesame")
    await console.find("publish").click()
    await console.shows(1)


# --- the page -----------------------------------------------------------------------------------


async def test_the_address_reproduces_the_page(open_console):
    console = await open_console("websocket")
    await console.find("subscribe-demo").click()
    await console.subscribed(1)
    await console.switch("longpoll")
    await console.page.reload()
    await console.subscribed(1)
    await expect(console.find("state-text")).to_have_text("Connected · Long-poll")
    await expect(console.find("subscription")).to_contain_text("demo")


async def test_without_a_channel_only_a_websocket_connects(open_console):
    console = await open_console("sse")
    await expect(console.find("state-text")).to_have_text("Waiting for a channel · SSE")
    await console.switch("websocket")


async def test_the_list_keeps_the_newest_500_messages(open_console):
    console = await open_console("websocket", "news")
    await console.post("news", *range(1000))
    await expect(console.find("message-count")).to_contain_text("1,000 received")
    await expect(console.messages).to_have_count(500)
    await expect(console.messages.first).to_contain_text("#1000")


async def test_a_paused_list_stands_still_and_catches_up(open_console):
    console = await open_console("websocket", "news")
    await console.post("news", 1)
    await console.shows(1)
    await console.find("pause").click()
    await console.post("news", 2, 3)
    await expect(console.find("pause")).to_have_text("Resume (2 new)")
    await console.shows(1)
    await console.find("pause").click()
    await console.shows(1, 2, 3)
    await console.find("clear").click()
    await expect(console.find("empty")).to_be_visible()


# --- the client alone ---------------------------------------------------------------------------


async def test_a_client_falls_back_to_the_next_transport_and_hears_each_message_once(open_console):
    console = await open_console("websocket")
    await console.page.route("**/sse?*", lambda route: route.abort())
    heard = await console.page.evaluate(
        """async () => {
            const { Gateway } = await import("/client.js");
            const gateway = new Gateway({ transport: ["sse", "longpoll", "websocket"] });
            const happens = (event) =>
                new Promise((resolve) => gateway.addEventListener(event, resolve, { once: true }));
            const heard = [];
            const onMessage = ({ transport, offset, data }) =>
                heard.push(`${transport} ${offset} ${data}`);
            gateway.subscribe("news", { onMessage });
            gateway.connect();
            await happens("subscribed");
            for (const data of ["a", "b"]) {
                const arrives = happens("message");
                await gateway.publish("news", data);
                await arrives;
            }
            gateway.close();
            return heard;
        }"""
    )
    assert heard == ["longpoll 1 a", "longpoll 2 b"]
