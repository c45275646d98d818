"""What a subscription of the browser client may ask for, and what it hears besides messages."""

import json

import pytest
from playwright.async_api import WebSocketRoute

from gateway.config import ChannelsConfig
from tests.gateway.client.scripts import NOTE_DELAYS, refuse_first, run_client

# One event loop for the node, Playwright and the tests, so that the browser is started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TRANSPORTS = ("websocket", "sse", "longpoll")
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@every_transport
@pytest.mark.parametrize(("count", "expected"), [(2, [3, 4]), (9, [1, 2, 3, 4])])
async def test_a_subscription_begins_with_the_last_messages_it_asks_for(
    open_console, transport, count, expected
):
    console = await open_console(transport, "news")
    await console.post("news", 1, 2, 3)
    heard = await run_client(
        console,
        f"""
        await new Gateway().publish("news", 4);
        const gateway = new Gateway({{ transport: "{transport}" }});
        const heard = [];
        gateway.subscribe("news", {{
            history: {count},
            onMessage: ({{ data }}) => heard.push(data),
            onGap: (gap) => heard.push(gap),
        }});
        gateway.subscribe("empty", {{ history: 5, onMessage: ({{ data }}) => heard.push(data) }});
        gateway.connect();
        while (!heard.includes(4)) await happens(gateway, "message");
        gateway.drop(0);
        await happens(gateway, "subscribed");
        await new Gateway().publish("empty", "live");
        while (!heard.includes("live")) await happens(gateway, "message");
        gateway.close();
        return heard;
        """,
    )
    assert heard == [*expected, "live"]


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_subscription_is_told_its_overflow_policy_and_what_is_retained(
    open_console, gateway, transport
):
    await gateway.restart(channels=ChannelsConfig(history_count=7))
    overflow, default, retention = await run_client(
        await open_console("websocket"),
        f"""
        const subscribed = async (options) => {{
            const gateway = new Gateway({{ transport: "{transport}" }});
            gateway.subscribe("news", options);
            gateway.connect();
            const detail = await happens(gateway, "subscribed");
            gateway.close();
            return detail;
        }};
        const {{ overflow }} = await subscribed({{ overflow: "disconnect" }});
        const {{ overflow: byDefault, retention }} = await subscribed({{}});
        return [overflow, byDefault, retention];
        """,
    )
    assert (overflow, default, retention["count"]) == ("disconnect", "gap", 7)


@every_transport
async def test_an_overflow_policy_that_the_channel_does_not_allow_is_refused_with_the_reason(
    open_console, gateway, transport
):
    channels = ChannelsConfig(overflow="gap", allowed_overflows=("gap",))
    await gateway.restart(channels=channels)
    channel, code = await run_client(
        await open_console("websocket"),
        f"""
        const gateway = new Gateway({{ transport: "{transport}" }});
        const refusal = new Promise((resolve) =>
            gateway.subscribe("news", {{ overflow: "latest", onError: resolve }}));
        gateway.connect();
        const {{ channel, code }} = await refusal;
        gateway.close();
        return [channel, code];
        """,
    )
    assert (channel, code) == ("news", "invalid_field")


async def test_a_policy_of_latest_skips_to_the_newest_and_tells_what_it_skipped(
    open_console, gateway
):
    await gateway.restart(channels=ChannelsConfig(history_count=2))
    console = await open_console("websocket")
    for transport in TRANSPORTS:
        (place, *_) = await console.post(transport, 1, 2, 3, 4, 5)
        heard = await run_client(
            console,
            f"""
            const gateway = new Gateway({{ transport: "{transport}" }});
            const heard = [];
            gateway.subscribe("{transport}", {{
                epoch: "{place["epoch"]}",
                offset: 1,
                overflow: "latest",
                onMessage: ({{ offset }}) => heard.push(offset),
                onGap: ({{ from, to }}) => heard.push([from, to]),
            }});
            gateway.connect();
            while (gateway.positions[0].offset < 5) await happens(gateway, "position");
            gateway.close();
            return heard;
            """,
        )
        assert heard == [[2, 4], 5]


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_who_joins_and_leaves_is_told_with_the_count(open_console, gateway, transport):
    await gateway.restart(channels=ChannelsConfig(joined_left=True))
    told = await run_client(
        await open_console("websocket"),
        f"""
        const until = async (gateway, wanted) => {{
            for (;;) if ((await happens(gateway, "presence")).count === wanted) return;
        }};
        const watcher = new Gateway({{ transport: "{transport}" }});
        const told = [];
        watcher.subscribe("room", {{
            onJoined: ({{ session, count }}) => told.push(["joined", session, count]),
            onLeft: ({{ session, count }}) => told.push(["left", session, count]),
            onPresence: ({{ channel, count }}) => told.push([channel, count]),
        }});
        watcher.connect();
        await until(watcher, 1);
        const guest = new Gateway({{ transport: "websocket" }});
        guest.subscribe("room");
        const joined = until(watcher, 2);
        guest.connect();
        await joined;
        const left = until(watcher, 1);
        guest.close();
        await left;
        watcher.close();
        return told;
        """,
    )
    (mine, guest) = told[0][1], told[2][1]
    assert mine != guest
    assert told == [
        ["joined", mine, 1],
        ["room", 1],
        ["joined", guest, 2],
        ["room", 2],
        ["left", guest, 1],
        ["room", 1],
    ]


async def test_a_count_that_names_nobody_is_told_alone(open_console):
    console = await open_console("websocket")

    def relay(page: WebSocketRoute) -> None:
        def add_a_count(text: str) -> None:
            page.send(text)
            if json.loads(text)["type"] == "subscribed":
                page.send(json.dumps({"type": "presence", "channel": "room", "count": 1234}))

        page.connect_to_server().on_message(add_a_count)

    await console.page.route_web_socket("**/ws?*", relay)
    counts = await run_client(
        console,
        """
        const gateway = new Gateway();
        const told = new Promise((resolve) => gateway.subscribe("room", { onPresence: resolve }));
        gateway.connect();
        const detail = await told;
        gateway.close();
        return detail;
        """,
    )
    assert counts == {"channel": "room", "count": 1234}


async def test_a_subscription_that_is_refused_for_haste_waits_as_long_as_it_is_told(open_console):
    console = await open_console("websocket")
    asked = await refuse_first(console, "subscribe")
    delay_ms = await run_client(
        console,
        f"""{NOTE_DELAYS}
        const gateway = new Gateway();
        gateway.subscribe("news");
        gateway.connect();
        await happens(gateway, "subscribed");
        gateway.close();
        window.setTimeout = wait;
        return delays[0];
        """,
    )
    assert [each["channel"] for each in asked] == ["news", "news"]
    assert 3000 <= delay_ms <= 4500
