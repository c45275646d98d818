"""The browser client publishes exactly once, whatever becomes of the answers; reads in pages."""

import asyncio
import json

import pytest
from playwright.async_api import Route, WebSocketRoute

from gateway.config import ChannelsConfig
from tests.gateway.client.scripts import NOTE_DELAYS, refuse_first, run_client

# One event loop for the node, Playwright and the tests, so that the browser is started once.
pytestmark = pytest.mark.asyncio(loop_scope="module")

both_ways = pytest.mark.parametrize("transport", ["websocket", "longpoll"])

CONNECTED = """
    const connected = async (options) => {
        const gateway = new Gateway(options);
        const heard = [];
        gateway.subscribe("news", {
            onMessage: ({ offset, data }) => heard.push([offset, data]),
            onGap: ({ from, to, reason }) => heard.push([from, to, reason]),
        });
        gateway.connect();
        await happens(gateway, "subscribed");
        return [gateway, heard];
    };
    const reached = async (gateway, offset) => {
        while (gateway.positions[0].offset < offset) await happens(gateway, "position");
    };
"""


async def retained(console, channel: str = "news") -> list[dict]:
    """Return what the channel holds, without what differs from run to run."""
    answer = await console.page.request.get(f"{console.url}/channels/{channel}/history")
    page = await answer.json()
    return [{k: v for k, v in each.items() if k != "time"} for each in page["publications"]]


@both_ways
async def test_a_publication_carries_its_options_and_is_answered_with_its_place(
    open_console, transport
):
    console = await open_console("websocket")
    place, repeat = await run_client(
        console,
        f"""{CONNECTED}
        const [gateway] = await connected({{ transport: "{transport}" }});
        const options = {{ key: "k", tags: {{ a: "b" }}, idempotencyKey: "one" }};
        const place = await gateway.publish("news", 1, {{ ...options, expectedOffset: 0 }});
        const repeat = await gateway.publish("news", 2, options);
        gateway.close();
        return [place, repeat];
        """,
    )
    assert set(place) == {"channel", "epoch", "offset"}
    assert (place["channel"], place["offset"]) == ("news", 1)
    assert repeat == place
    assert await retained(console) == [{"offset": 1, "data": 1, "key": "k", "tags": {"a": "b"}}]


@both_ways
async def test_a_conflict_tells_where_the_channel_ends(open_console, transport):
    console = await open_console("websocket")
    ((place,), error) = (
        await console.post("news", 0),
        await run_client(
            console,
            f"""{CONNECTED}
            const [gateway] = await connected({{ transport: "{transport}" }});
            const publishing = gateway.publish("news", 1, {{ expectedOffset: 7 }});
            const error = await publishing.catch((reason) => reason);
            gateway.close();
            const {{ code, retry, epoch, offset }} = error;
            return {{ code, retry, epoch, offset }};
            """,
        ),
    )
    assert error == {
        "code": "offset_conflict",
        "retry": False,
        "epoch": place["epoch"],
        "offset": 1,
    }


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_publications_whose_answers_are_lost_with_the_connection_are_published_once(
    open_console, number
):
    console = await open_console("websocket")
    closings: list[asyncio.Task] = []

    def relay(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        is_first = not closings

        def cut_instead_of_an_answer(text: str) -> None:
            push = json.loads(text)
            is_lost = push["type"] == "published" and push["offset"] == number
            if is_first and not closings and is_lost:
                closings.append(asyncio.ensure_future(page.close(code=3000)))
            if not (is_first and closings):
                page.send(text)

        server.on_message(cut_instead_of_an_answer)

    await console.page.route_web_socket("**/ws?*", relay)
    offsets, heard = await run_client(
        console,
        f"""{CONNECTED}
        const [gateway, heard] = await connected({{ transport: "websocket" }});
        const places = await Promise.all([1, 2, 3].map((data) => gateway.publish("news", data)));
        await reached(gateway, 3);
        gateway.close();
        return [places.map(({{ offset }}) => offset), heard];
        """,
    )
    assert [await each for each in closings] == [None]
    assert offsets == [1, 2, 3]
    assert heard == [[1, 1], [2, 2], [3, 3]]
    assert [each["data"] for each in await retained(console)] == [1, 2, 3]


async def test_a_publication_whose_answer_over_http_is_lost_is_published_once(open_console):
    console = await open_console("websocket")
    answers = []

    async def lose_the_first_answer(route: Route) -> None:
        answers.append(await (await route.fetch()).json())
        if len(answers) == 1:
            await route.abort()
        else:
            await route.fulfill(json=answers[-1])

    await console.page.route("**/publish", lose_the_first_answer)
    place = await run_client(
        console, 'return await new Gateway({ transport: "sse" }).publish("news", 1);'
    )
    assert answers == [place, place]
    assert len(await retained(console)) == 1


async def test_without_retry_a_lost_answer_is_told_and_nothing_sent_twice(open_console):
    console = await open_console("websocket")
    bodies = []

    async def lose(route: Route) -> None:
        bodies.append(route.request.post_data_json)
        await route.abort()

    await console.page.route("**/publish", lose)
    code, retry = await run_client(
        console,
        """
        const publishing = new Gateway().publish("news", 1, { retry: false });
        const { code, retry } = await publishing.catch((error) => error);
        return [code, retry];
        """,
    )
    assert (code, retry) == ("unreachable", True)
    assert bodies == [{"channel": "news", "data": 1}]


async def test_a_channel_that_remembers_no_keys_is_published_into_without_one(
    open_console, gateway
):
    await gateway.restart(channels=ChannelsConfig(idempotency_window_s=0))
    console = await open_console("websocket")
    place, code = await run_client(
        console,
        """
        const gateway = new Gateway();
        const place = await gateway.publish("news", 1);
        const publishing = gateway.publish("news", 2, { idempotencyKey: "mine" });
        const { code } = await publishing.catch((error) => error);
        return [place, code];
        """,
    )
    assert (place["offset"], code) == (1, "unsupported")
    assert [each["data"] for each in await retained(console)] == [1]


async def test_a_publication_that_is_refused_for_haste_waits_as_long_as_it_is_told(open_console):
    console = await open_console("websocket")
    asked = await refuse_first(console, "publish")
    delay_ms, offset = await run_client(
        console,
        f"""{CONNECTED}{NOTE_DELAYS}
        const [gateway] = await connected({{ transport: "websocket" }});
        const {{ offset }} = await gateway.publish("news", 1);
        gateway.close();
        window.setTimeout = wait;
        return [delays[0], offset];
        """,
    )
    first, second = asked
    assert first["idempotency_key"] == second["idempotency_key"]
    assert (3000 <= delay_ms <= 4500, offset) == (True, 1)


async def test_a_page_may_have_a_thousand_publications_under_way(open_console):
    console = await open_console("websocket")
    places, codes = await run_client(
        console,
        f"""{CONNECTED}
        const [gateway] = await connected({{ transport: "websocket" }});
        const all = Array.from({{ length: 1001 }}, (_, data) => gateway.publish("news", data));
        const results = await Promise.allSettled(all);
        gateway.close();
        const failed = results.filter(({{ status }}) => status === "rejected");
        return [results.length - failed.length, failed.map(({{ reason }}) => reason.code)];
        """,
    )
    assert (places, codes) == (1000, ["overloaded"])


async def test_without_echo_others_hear_it_and_the_publisher_neither_it_nor_a_gap(open_console):
    console = await open_console("websocket", "news")
    heard = await run_client(
        console,
        f"""{CONNECTED}
        const [gateway, heard] = await connected({{ transport: "websocket" }});
        await Promise.all([
            gateway.publish("news", 1, {{ echo: false }}),
            gateway.publish("news", 2),
            gateway.publish("news", 3, {{ echo: false }}),
            gateway.publish("news", 4, {{ echo: false }}),
        ]);
        await reached(gateway, 4);
        gateway.drop(0);
        await happens(gateway, "subscribed");
        await gateway.publish("news", 5);
        await reached(gateway, 5);
        gateway.close();
        return heard;
        """,
    )
    assert heard == [[2, 2], [5, 5]]
    await console.shows(1, 2, 3, 4, 5)


async def test_the_answer_to_one_without_echo_may_come_after_what_follows_it(open_console):
    console = await open_console("websocket")

    def relay(page: WebSocketRoute) -> None:
        late = []

        def hold_the_first_answer(text: str) -> None:
            push = json.loads(text)
            if push["type"] == "published" and push["offset"] == 1:
                late.append(text)
                return
            page.send(text)
            if push["type"] == "message":
                while late:
                    page.send(late.pop())

        page.connect_to_server().on_message(hold_the_first_answer)

    await console.page.route_web_socket("**/ws?*", relay)
    heard = await run_client(
        console,
        f"""{CONNECTED}
        const [gateway, heard] = await connected({{ transport: "websocket" }});
        const first = gateway.publish("news", 1, {{ echo: false }});
        await gateway.publish("news", 2);
        await first;
        await gateway.publish("news", 3);
        await reached(gateway, 3);
        gateway.close();
        return heard;
        """,
    )
    assert heard == [[2, 2], [3, 3]]


@both_ways
async def test_history_and_presence_are_read_in_pages(open_console, transport):
    console = await open_console("websocket", "news")
    await console.post("news", "a", "b", "c")
    pages, back, members, count = await run_client(
        console,
        f"""
        const gateway = new Gateway({{ transport: "{transport}" }});
        gateway.connect();
        if ("{transport}" === "websocket")
            while (gateway.state !== "connected") await happens(gateway, "state");
        const first = await gateway.history("news", {{ limit: 2 }});
        const rest = await gateway.history("news", {{ cursor: first.cursor }});
        const back = await gateway.history("news", {{ limit: 1, reverse: true }});
        const members = await gateway.presence("news");
        const count = await gateway.presence("news", {{ limit: 0 }});
        gateway.close();
        return [[first, rest], back, members, count];
        """,
    )
    data = [[each["data"] for each in page["publications"]] for page in (*pages, back)]
    assert data == [["a", "b"], ["c"], ["c"]]
    assert len(members["members"]) == members["count"] == 1
    assert count == {"channel": "news", "count": 1}


async def test_a_refused_read_says_why(open_console):
    code = await run_client(
        await open_console("websocket"),
        """
        const reading = new Gateway().history("news", { cursor: "mangled" });
        return (await reading.catch((error) => error)).code;
        """,
    )
    assert code == "invalid_cursor"
