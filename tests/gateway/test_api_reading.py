"""GET of history and presence, over real sockets."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from gateway.config import ChannelsConfig
from protocol.cursor import Position, decode_cursor, encode_cursor
from tests.gateway.clients import Gateway, Reply, encode_request, serving, untimed


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with serving() as running:
        yield running


async def history(gateway: Gateway, channel: str = "a", **parameters: Any) -> dict[str, Any]:
    reply = await gateway.get(f"/channels/{quote(channel, safe='')}/history", **parameters)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json"), reply.body
    return reply.json


def offsets(page: dict[str, Any]) -> list[int]:
    return [each["offset"] for each in page["publications"]]


def at(channel: str, epoch: str, offset: int) -> str:
    return encode_cursor({channel: Position(epoch, offset)})


def is_refusal(reply: Reply, code: str) -> bool:
    error = reply.json
    return (reply.status, error["type"], error["code"]) == (400, "error", code)


async def test_a_history_has_what_was_published_and_the_cursor_after_it(gateway) -> None:
    epoch = (await gateway.publish("a", "x", {"y": [1]}))[0]["epoch"]
    page = await history(gateway)
    assert untimed(page) == [{"offset": 1, "data": "x"}, {"offset": 2, "data": {"y": [1]}}]
    del page["publications"]
    cursor = at("a", epoch, 2)
    assert page == {"type": "history", "channel": "a", "epoch": epoch, "cursor": cursor}


async def test_a_channel_never_published_to_has_an_empty_history(gateway: Gateway) -> None:
    page = await history(gateway)
    assert page["publications"] == []
    assert decode_cursor(page["cursor"])["a"].offset == 0


@pytest.mark.parametrize(
    ("reverse", "pages"),
    [("false", [[1, 2], [3, 4], [5], []]), ("true", [[5, 4], [3, 2], [1], []])],
)
async def test_pages_follow_one_another_by_cursor(gateway, reverse, pages) -> None:
    await gateway.publish("a", *"12345")
    seen, more, position = [], [], {}
    for _ in pages:
        page = await history(gateway, limit=2, reverse=reverse, **position)
        position = {"cursor": page["cursor"]}
        seen.append(offsets(page))
        more.append(page.get("more", False))
    assert seen == pages
    assert more == [True, True, False, False]


async def test_a_page_has_a_hundred_publications_unless_more_are_asked_for(gateway) -> None:
    await gateway.publish("a", *range(1000))
    assert offsets(await history(gateway)) == list(range(1, 101))
    assert offsets(await history(gateway, limit=1000)) == list(range(1, 1001))


async def test_a_cursor_of_any_transport_will_do(gateway: Gateway) -> None:
    answer = await gateway.poll(channel=["a", "b"], timeout=0)
    await gateway.publish("a", 1)
    assert offsets(await history(gateway, cursor=answer["cursor"])) == [1]


async def test_what_the_history_has_lost_since_the_cursor_is_a_gap() -> None:
    async with serving(channels=ChannelsConfig(history_count=2)) as gateway:
        epoch = (await gateway.publish("a", *range(5)))[0]["epoch"]
        expired = await history(gateway, cursor=at("a", epoch, 1))
        strange = await history(gateway, cursor=at("a", "another", 4))
        current = await history(gateway, cursor=at("a", epoch, 4))
    assert (offsets(expired), offsets(strange), offsets(current)) == ([4, 5], [4, 5], [5])
    gap = {"type": "gap", "channel": "a", "epoch": epoch, "from": 2, "to": 3, "reason": "expired"}
    assert expired["gap"] == gap
    assert strange["gap"] == gap | {"from": 1, "reason": "epoch"}
    assert "gap" not in current


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_field"),
        ("limit=1001", "invalid_field"),
        ("limit=-1", "invalid_field"),
        ("limit=1.0", "invalid_field"),
        ("limit=", "invalid_field"),
        ("limit=1&limit=1", "invalid_field"),
        ("reverse=1", "invalid_field"),
        ("reverse=", "invalid_field"),
        ("limti=1", "invalid_field"),
        ("cursor=", "invalid_cursor"),
        ("cursor=mangled", "invalid_cursor"),
        (f"cursor={at('b', 'e', 1)}", "invalid_cursor"),
        ("limit=%ff", "malformed"),
    ],
)
async def test_a_parameter_that_cannot_be_understood_is_refused(gateway, query, code) -> None:
    assert is_refusal(await gateway.fetch("GET", f"/channels/a/history?{query}"), code)


NAMES = ["a/b", "a b", "a+b", "é", "%2F", "a?b#c", "100%", "..", ".", "日本" * 40, "history"]


@pytest.mark.parametrize("channel", NAMES)
async def test_any_channel_can_be_named_in_a_path(gateway: Gateway, channel: str) -> None:
    await gateway.publish(channel, 1)
    stream = await gateway.event_stream(channel=channel)
    await stream.read()
    everything_quoted = "".join(f"%{byte:02x}" for byte in channel.encode())
    for name in (quote(channel, safe=""), everything_quoted):
        page = (await gateway.fetch("GET", f"/channels/{name}/history")).json
        assert (page["channel"], offsets(page)) == (channel, [1])
        present = (await gateway.fetch("GET", f"/channels/{name}/presence")).json
        assert (present["channel"], present["count"]) == (channel, 1)


@pytest.mark.parametrize("what", ["history", "presence"])
@pytest.mark.parametrize("name", ["", "%ff", "%c3", "%00", "a%0a", "%ed%a0%80", "x" * 256])
async def test_what_names_no_channel_is_refused(gateway: Gateway, name: str, what: str) -> None:
    assert is_refusal(await gateway.fetch("GET", f"/channels/{name}/{what}"), "invalid_channel")


async def test_presence_tells_who_is_subscribed_now_on_any_transport(gateway: Gateway) -> None:
    empty = (await gateway.get("/channels/a/presence")).json
    assert empty == {"type": "presence", "channel": "a", "count": 0, "members": []}
    client = await gateway.websocket()
    await client.ask(type="subscribe", channel="a")
    stream = await gateway.event_stream(channel="a")
    await stream.read()
    present = (await gateway.get("/channels/a/presence")).json
    assert (present["count"], len(present["members"])) == (2, 2)
    assert client.welcome["session"] in {each["session"] for each in present["members"]}
    await client.ask(type="unsubscribe", channel="a")
    stream.vanish()
    await gateway.wait_presence("a", 0)


async def test_presence_comes_in_pages(gateway: Gateway) -> None:
    for _ in range(3):
        await (await gateway.websocket()).ask(type="subscribe", channel="a")
    assert (await gateway.get("/channels/a/presence", limit=0)).json == {
        "type": "presence",
        "channel": "a",
        "count": 3,
    }
    first = (await gateway.get("/channels/a/presence", limit=2)).json
    last = (await gateway.get("/channels/a/presence", limit=2, cursor=first["cursor"])).json
    assert (first["count"], last["count"]) == (3, 3)
    assert "cursor" not in last
    sessions = [each["session"] for each in first["members"] + last["members"]]
    assert len(set(sessions)) == 3


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"limit": 1001}, "invalid_field"),
        ({"limit": -1}, "invalid_field"),
        ({"limit": ["1", "2"]}, "invalid_field"),
        ({"reverse": "true"}, "invalid_field"),
        ({"cursor": "AQ"}, "invalid_cursor"),
        ({"cursor": ""}, "invalid_cursor"),
    ],
)
async def test_presence_refuses_what_it_does_not_know(
    gateway: Gateway, parameters: dict[str, Any], code: str
) -> None:
    assert is_refusal(await gateway.get("/channels/a/presence", **parameters), code)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("what", ["history", "presence"])
async def test_history_and_presence_are_only_read(gateway: Gateway, method, what) -> None:
    reply = await gateway.fetch(method, f"/channels/a/{what}")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    assert reply.json["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path",
    ["/", "/client.js", "/healthz", "/readyz", "/channels/a/history", "/channels/a/presence"],
)
async def test_head_tells_what_get_would_and_sends_no_body(gateway: Gateway, path: str) -> None:
    client = await gateway.open()
    client.send(encode_request("HEAD", path) + encode_request("GET", path, ["Connection: close"]))
    head_status, head = await client.read_head()
    status, headers = await client.read_head()  # straight behind it: there was no body
    assert head_status == status == 200
    assert head["Content-Length"] == headers["Content-Length"] != "0"
    assert head["Content-Type"] == headers["Content-Type"]
