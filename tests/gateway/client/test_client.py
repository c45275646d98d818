"""The browser client: no loss, no repeat, whatever connections go through; seen in the console.

Where the page has no means to show it, the client alone is run in the page.
"""

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Route, WebSocketRoute, expect

from gateway.config import HeartbeatConfig
from tests.gateway.client.scripts import run_client

# One event loop for the node, Playwright and the tests, so that the browser is started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TRANSPORTS = ("websocket", "sse", "longpoll")
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)

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
async def test_a_channel_added_while_the_connection_is_down_costs_the_others_nothing(
    open_console, transport
):
    console = await open_console(transport, "news")
    await console.drop()
    await console.post("news", 1)
    await console.find("channel").fill("sport")
    await console.find("subscribe").click()
    await console.subscribed(2)
    await console.post("sport", "goal")
    await console.shows("goal", channel="sport")
    await console.shows(1)


@every_transport
async def test_channels_added_while_another_is_busy_cost_it_nothing(open_console, transport):
    console = await open_console(transport, "news")
    numbers = range(60)

    async def publish() -> None:
        for number in numbers:
            await console.post("news", number)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish())
        for count, channel in enumerate(("sport", "weather"), start=2):
            await console.find("channel").fill(channel)
            await console.find("subscribe").click()
            await console.subscribed(count)
            await console.post(channel, "first")
    await console.shows(*numbers)
    for channel in ("sport", "weather"):
        await console.shows("first", channel=channel)
    await expect(console.find("gap-tally")).to_have_text("0 gaps")


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


async def test_a_close_code_tells_whether_to_come_back(open_console):
    console = await open_console("websocket", "news")
    codes = [3499, 3500]
    await console.page.route_web_socket("**/ws?*", lambda ws: ws.close(code=codes.pop(0)))
    await console.drop()
    await console.interrupt.click()
    await expect(console.find("state-text")).to_have_text("Closed · WebSocket")
    assert codes == []


async def test_what_comes_twice_is_shown_once_and_what_never_comes_is_told(open_console):
    console = await open_console("websocket", "news")

    def relay(page: WebSocketRoute) -> None:
        def repeat_all_but_the_second(text: str) -> None:
            push = json.loads(text)
            is_second = push["type"] == "message" and push["offset"] == 2
            for _ in range(0 if is_second else 2 if push["type"] == "message" else 1):
                page.send(text)

        page.connect_to_server().on_message(repeat_all_but_the_second)

    await console.page.route_web_socket("**/ws?*", relay)
    await console.drop()
    await console.interrupt.click()
    await console.connected()
    await console.post("news", 1, 2, 3)
    await console.shows(1, 3)
    await expect(console.find("gap")).to_contain_text("1 missing, #2: never arrived")


async def test_a_client_answers_pings_and_so_stays_however_quiet_it_is(open_console, gateway):
    await gateway.restart(heartbeat=HeartbeatConfig(interval_s=0.2))
    console = await open_console("websocket")
    pinged = asyncio.Semaphore(0)

    def relay(page: WebSocketRoute) -> None:
        def note(text: str) -> None:
            page.send(text)
            if json.loads(text)["type"] == "ping":
                pinged.release()

        page.connect_to_server().on_message(note)

    await console.page.route_web_socket("**/ws?*", relay)
    await console.drop()
    await console.interrupt.click()
    await console.connected()
    (session,) = gateway.node.hub.sessions
    for _ in range(5):
        await pinged.acquire()
    assert gateway.node.hub.sessions == {session}


# --- the client alone ---------------------------------------------------------------------------


async def test_a_client_falls_back_to_the_next_transport_and_hears_each_message_once(open_console):
    console = await open_console("websocket")
    await console.page.route("**/sse?*", lambda route: route.abort())
    heard = await run_client(
        console,
        """
        const gateway = new Gateway({ transport: ["sse", "longpoll", "websocket"] });
        const heard = [];
        const onMessage = ({ transport, offset, data }) =>
            heard.push(`${transport} ${offset} ${data}`);
        gateway.subscribe("news", { onMessage });
        gateway.connect();
        await happens(gateway, "subscribed");
        for (const data of ["a", "b"]) {
            const arrival = happens(gateway, "message");
            await gateway.publish("news", data);
            await arrival;
        }
        gateway.close();
        return heard;
        """,
    )
    assert heard == ["longpoll 1 a", "longpoll 2 b"]


async def test_a_network_that_comes_back_is_used_at_once(open_console):
    states = await run_client(
        await open_console("websocket"),
        """
        const gateway = new Gateway();
        const states = [];
        gateway.connect();
        await happens(gateway, "state");
        gateway.addEventListener("state", ({ detail }) => states.push(detail.state));
        gateway.drop(3_600_000);
        dispatchEvent(new Event("online"));
        while (gateway.state !== "connected") await happens(gateway, "state");
        gateway.close();
        return states;
        """,
    )
    assert states == ["reconnecting", "connecting", "connected", "closed"]


async def test_a_gateway_that_is_silent_for_longer_than_its_interval_is_left_for_a_new_connection(
    open_console,
):
    told = await run_client(
        await open_console("websocket"),
        """
        const now = performance.now.bind(performance);
        let skippedMs = 0;
        performance.now = () => now() + skippedMs;
        const gateway = new Gateway();
        const told = [];
        gateway.connect();
        while (gateway.state !== "connected") await happens(gateway, "state");
        gateway.addEventListener("state", ({ detail }) => told.push([detail.state, detail.reason]));
        skippedMs = 36_000; // of the 25 s after which it would have said something, and 10 s more
        while (gateway.state !== "connecting") await happens(gateway, "state");
        while (gateway.state !== "connected") await happens(gateway, "state");
        gateway.close();
        return told.slice(0, 3);
        """,
    )
    silent = ["reconnecting", "the gateway is silent"]
    assert told == [silent, ["connecting", None], ["connected", None]]


@every_transport
async def test_a_client_goes_on_from_a_position_that_an_earlier_page_kept(open_console, transport):
    console = await open_console(transport, "news")
    await console.post("news", "a", "b", "c")
    await console.shows("a", "b", "c")
    heard = await run_client(
        console,
        f"""
        const {{ epoch }} = await new Gateway({{ transport: "sse" }}).publish("news", "d");
        const gateway = new Gateway({{ transport: "{transport}" }});
        const heard = [];
        const onMessage = ({{ data }}) => heard.push(data);
        gateway.subscribe("news", {{ epoch, offset: 2, onMessage }});
        gateway.connect();
        while (heard.length < 2) await happens(gateway, "message");
        gateway.close();
        return [heard, gateway.positions[0].offset];
        """,
    )
    assert heard == [["c", "d"], 4]


@every_transport
async def test_a_client_that_leaves_amid_a_batch_gets_the_rest_when_it_returns(
    open_console, transport
):
    console = await open_console(transport, "news")
    await console.post("news", "a", "b", "c")
    await console.shows("a", "b", "c")
    heard = await run_client(
        console,
        f"""
        const {{ epoch }} = await new Gateway({{ transport: "sse" }}).publish("news", "d");
        const gateway = new Gateway({{ transport: "{transport}" }});
        const heard = [];
        const onMessage = ({{ data }}) => {{
            heard.push(`${{data}} ${{gateway.state}}`);
            gateway.close();
        }};
        gateway.subscribe("news", {{ epoch, offset: 0, onMessage }});
        while (heard.length < 4) {{
            const end = happens(gateway, "message");
            gateway.connect();
            await end;
        }}
        return heard;
        """,
    )
    assert heard == [f"{data} connected" for data in "abcd"]


async def test_a_poll_is_told_as_a_connection_would_tell_it_and_goes_on_from_there(open_console):
    console = await open_console("websocket")
    gap = {"type": "gap", "channel": "news", "epoch": "new"}
    answer = {
        "cursor": "c",
        "positions": {"news": {"epoch": "new", "offset": 7}},
        "messages": [
            {"type": "message", "channel": "news", "offset": n, "data": n} for n in (3, 7)
        ],
        "gaps": [
            {**gap, "from": 1, "to": 2, "reason": "epoch"},
            {**gap, "from": 4, "to": 6, "reason": "slow"},
        ],
    }
    answers = [answer, {**answer, "cursor": "the same", "messages": [], "gaps": []}]
    asked_from = []

    async def reply(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        asked_from.append((*query["epoch"], *query["offset"]))
        if len(asked_from) <= len(answers):
            await route.fulfill(json=answers[len(asked_from) - 1])

    await console.page.route("**/poll?*", reply)
    told = await run_client(
        console,
        """
        const gateway = new Gateway({ transport: "longpoll" });
        const told = [];
        gateway.subscribe("news", {
            epoch: "old",
            offset: 9,
            onSubscribed: ({ epoch, offset, recovered }) => told.push([epoch, offset, recovered]),
            onMessage: ({ offset }) => told.push(offset),
            onGap: ({ from, to, reason }) => told.push([from, to, reason]),
        });
        gateway.connect();
        while (gateway.positions[0].cursor !== "the same") await happens(gateway, "position");
        gateway.close();
        const { epoch, offset } = gateway.positions[0];
        return [...told, [epoch, offset]];
        """,
    )
    assert told == [["new", 0, False], [1, 2, "epoch"], 3, [4, 6, "slow"], 7, ["new", 7]]
    assert asked_from[:2] == [("old", "9"), ("new", "7")]
