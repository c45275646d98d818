"""The console page, in a real browser against a real node."""

import asyncio
import subprocess
from itertools import combinations_with_replacement

import pytest
from playwright.async_api import expect

from gateway.config import AuthConfig, ChannelsConfig

# One event loop for the node, Playwright and the tests, so that the browser is started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TRANSPORTS = ("websocket", "sse", "longpoll")
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)

NAMES = {"websocket": "WebSocket", "sse": "SSE", "longpoll": "Long-poll"}

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


@pytest.mark.usefixtures("curl")
async def test_the_command_that_an_empty_list_shows_publishes(open_console):
    console = await open_console("sse", "it's news")
    command = await console.find("curl").text_content()
    await asyncio.to_thread(subprocess.run, command, shell=True, check=True, capture_output=True)
    await expect(console.messages).to_contain_text('{"hello":"world"}')
    await expect(console.find("empty")).to_be_hidden()


@every_transport
async def test_a_channels_position_is_its_epoch_and_offset_after_a_restart_too(
    open_console, gateway, transport
):
    console = await open_console(transport, "news")
    epochs = set()
    for data in ([1, 2], [3]):
        *_, last = await console.post("news", *data)
        epochs.add(last["epoch"])
        await expect(console.find("position")).to_have_text(f"{last['epoch']}:{last['offset']}")
        await gateway.restart()
    assert len(epochs) == 2


async def test_a_message_is_published_with_its_keys_and_a_repeat_of_one_publishes_nothing(
    open_console,
):
    console = await open_console("websocket", "news")
    await console.page.get_by_text("Keys of the message").click()
    await console.find("publish-key").fill("k1")
    await console.find("idempotency-key").fill("once")
    for data in ("1", "2"):
        await console.find("published").evaluate("output => output.textContent = ''")
        await console.publish(data)
        await expect(console.find("published")).to_contain_text(":1")
    await expect(console.messages).to_have_count(1)
    await expect(console.messages.locator(".data")).to_have_text("1 key k1")


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_who_is_in_a_channel_that_tells_it_is_shown(open_console, gateway, transport):
    await gateway.restart(channels=ChannelsConfig(joined_left=True))
    console = await open_console(transport, "room")
    guest = await open_console("websocket", "room")
    await expect(console.find("presence")).to_have_text("2 here")
    await guest.page.close()
    await expect(console.find("presence")).to_have_text("1 here")
    await expect(console.find("events")).to_contain_text("left room")


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
