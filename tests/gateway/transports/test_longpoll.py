"""Long-polling over real sockets: one answer each, and a cursor that loses nothing in between."""

import asyncio
import json

import pytest

from gateway.config import ChannelsConfig, LongpollConfig
from tests.gateway.clients import Account, Gateway, Socket, bounded, encode_request, serving


async def begin_poll(gateway: Gateway, query: str) -> Socket:
    """Return the connection of a poll that is sent and not answered."""
    client = await gateway.open()
    client.send(encode_request("GET", f"/poll?{query}", ["Connection: close"]))
    return client


def offsets(answer: dict) -> list[int]:
    return [push["offset"] for push in answer["messages"]]


def check_empty(answer: dict, cursor: str) -> None:
    """Fail unless answer tells nothing, and to go on from cursor."""
    assert (answer["cursor"], answer["messages"], answer["gaps"]) == (cursor, [], [])


# --- answers ------------------------------------------------------------------------------------


async def test_timeout_0_answers_at_once_which_is_how_a_client_gets_its_first_cursor(gateway):
    await gateway.publish("a", "before")
    first = await gateway.poll(channel="a", timeout=0)
    assert first["messages"] == first["gaps"] == []
    await gateway.publish("a", "after")
    second = await gateway.poll(channel="a", cursor=first["cursor"], timeout=0)
    assert second["messages"] == [{"type": "message", "channel": "a", "offset": 2, "data": "after"}]
    third = await gateway.poll(channel="a", cursor=second["cursor"], timeout=0)
    check_empty(third, second["cursor"])


async def test_the_answer_is_json_that_no_cache_keeps_on_a_connection_that_stays(gateway):
    client = await gateway.open()
    for _ in range(2):
        client.send(encode_request("GET", "/poll?channel=a&timeout=0"))
        status, headers = await client.read_head()
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert headers["Content-Type"].startswith("application/json")
        body = await client.reader.readexactly(int(headers["Content-Length"]))
        assert json.loads(body)["messages"] == []


async def test_what_is_newer_than_the_cursor_is_answered_at_once(gateway):
    cursor = (await gateway.poll(channel="a", timeout=0))["cursor"]
    await gateway.publish("a", 1, 2, 3)
    answer = await gateway.poll(channel="a", cursor=cursor)
    assert [push["data"] for push in answer["messages"]] == [1, 2, 3]


async def test_a_poll_waits_for_the_next_publication(gateway):
    poll = await begin_poll(gateway, "channel=a")
    await gateway.wait_subscriptions(1)
    await gateway.publish("a", "at last")
    reply = await poll.read_reply()
    assert [push["data"] for push in reply.json["messages"]] == ["at last"]
    await gateway.publish("a", "next")
    answer = await gateway.poll(channel="a", cursor=reply.json["cursor"])
    assert [push["data"] for push in answer["messages"]] == ["next"]


async def test_publications_of_one_request_wake_a_poll_together(gateway):
    poll = await begin_poll(gateway, "channel=a")
    await gateway.wait_subscriptions(1)
    await gateway.publish("a", *range(100))
    assert [push["data"] for push in (await poll.read_reply()).json["messages"]] == [*range(100)]


async def test_two_waiting_polls_get_the_same_publication(gateway):
    polls = [await begin_poll(gateway, "channel=a") for _ in range(2)]
    await gateway.wait_subscriptions(2)
    await gateway.publish("a", 1)
    one, other = [await poll.read_reply() for poll in polls]
    assert one.json == other.json
    assert offsets(one.json) == [1]


async def test_nothing_new_is_an_empty_answer_at_the_timeout_with_the_same_cursor(gateway):
    cursor = (await gateway.poll(channel="a", timeout=0))["cursor"]
    answer = await gateway.poll(channel="a", cursor=cursor, timeout=0.05)
    check_empty(answer, cursor)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LongpollConfig(timeout_s=0.05), {}),
        (LongpollConfig(timeout_s=0.05, max_timeout_s=0.05), {"timeout": 86_400}),
        (LongpollConfig(timeout_s=0.05, max_timeout_s=0.05), {"timeout": "inf"}),
    ],
)
async def test_the_timeout_is_the_gateways_where_none_or_too_much_is_asked(config, parameters):
    async with serving(longpoll=config) as gateway:
        assert (await gateway.poll(channel="a", **parameters))["messages"] == []


async def test_a_poll_of_several_channels_has_one_cursor_for_all(gateway):
    cursor = (await gateway.poll(channel=["a", "b", "c"], timeout=0))["cursor"]
    seen = []
    for number in range(6):
        await gateway.publish("ab"[number % 2], number)
    for _ in range(2):
        answer = await gateway.poll(channel=["a", "b", "c"], cursor=cursor, timeout=0)
        cursor = answer["cursor"]
        seen += [(push["channel"], push["data"]) for push in answer["messages"]]
        await gateway.publish("c", "last")
    assert sorted(seen[:-1]) == [("a", 0), ("a", 2), ("a", 4), ("b", 1), ("b", 3), ("b", 5)]
    assert seen[-1] == ("c", "last")


async def test_a_poll_is_woken_by_any_of_its_channels_and_moves_all_on(gateway):
    poll = await begin_poll(gateway, "channel=a&channel=b")
    await gateway.wait_subscriptions(2)
    await gateway.publish("b", 1)
    cursor = (await poll.read_reply()).json["cursor"]
    await gateway.publish("a", 2)
    answer = await gateway.poll(channel=["b", "a"], cursor=cursor)
    assert [push["data"] for push in answer["messages"]] == [2]


async def test_epoch_and_offset_are_as_good_as_a_cursor_and_told_with_it(gateway):
    (place, *_) = await gateway.publish("a", 1, 2, 3)
    answer = await gateway.poll(channel="a", epoch=place["epoch"], offset=1)
    assert offsets(answer) == [2, 3]
    assert answer["positions"] == {"a": {"epoch": place["epoch"], "offset": 3}}
    check_empty(
        await gateway.poll(channel="a", timeout=0, **answer["positions"]["a"]), answer["cursor"]
    )


async def test_binary_is_base64_key_and_tags_come_along(gateway):
    poll = await begin_poll(gateway, "channel=a")
    await gateway.wait_subscriptions(1)
    client = await gateway.websocket("gateway.v1.msgpack")
    extras = {"key": "k", "tags": {"colour": "red"}}
    await client.ask(type="publish", channel="a", data=b"\x00\xff", **extras)
    message = {"type": "message", "channel": "a", "offset": 1, "data": "AP8=", **extras}
    assert (await poll.read_reply()).json["messages"] == [{**message, "encoding": "base64"}]


async def test_data_is_carried_byte_for_byte(gateway):
    cursor = (await gateway.poll(channel="a", timeout=0))["cursor"]
    texts = ['{ "b" : 1,\r\n"a":[ 1.0, 1e3 ] }', r'"\u00e9\/ é"', "18446744073709551615"]
    for text in texts:
        body = f'{{"channel":"a","data":{text}}}'.encode()
        assert (await gateway.fetch("POST", "/publish", body=body)).status == 200
    reply = await gateway.get("/poll", channel="a", cursor=cursor)
    for text in texts:
        assert f'"data":{text}}}'.encode() in reply.body


# --- losses and limits --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "offset", "first", "reason"), [(None, 1, 2, "expired"), ("another", 9, 1, "epoch")]
)
async def test_a_loss_is_a_gap_and_told_once(epoch, offset, first, reason):
    async with serving(channels=ChannelsConfig(history_count=2)) as gateway:
        (place, *_) = await gateway.publish("a", 1, 2, 3, 4, 5)
        answer = await gateway.poll(channel="a", epoch=epoch or place["epoch"], offset=offset)
        assert answer["gaps"] == [
            {
                **{"type": "gap", "channel": "a", "epoch": place["epoch"]},
                **{"from": first, "to": 3, "reason": reason},
            }
        ]
        assert offsets(answer) == [4, 5]
        again = await gateway.poll(channel="a", cursor=answer["cursor"], timeout=0)
        assert again["messages"] == again["gaps"] == []


async def test_a_gap_alone_is_answered_at_once():
    async with serving(channels=ChannelsConfig(history_count=0)) as gateway:
        (place, *_) = await gateway.publish("a", 1, 2)
        answer = await gateway.poll(channel="a", epoch=place["epoch"], offset=0)
        assert [(gap["from"], gap["to"]) for gap in answer["gaps"]] == [(1, 2)]
        assert answer["messages"] == []


async def test_a_channel_without_history_still_wakes_a_waiting_poll():
    async with serving(channels=ChannelsConfig(history_count=0)) as gateway:
        poll = await begin_poll(gateway, "channel=a")
        await gateway.wait_subscriptions(1)
        await gateway.publish("a", 1)
        assert offsets((await poll.read_reply()).json) == [1]


@pytest.mark.parametrize("max_bytes", [256, 1000, 10_000])
async def test_what_one_answer_does_not_hold_comes_with_its_cursor(max_bytes):
    async with serving(longpoll=LongpollConfig(max_response_bytes=max_bytes)) as gateway:
        cursor = (await gateway.poll(channel=["a", "b"], timeout=0))["cursor"]
        for channel in "ab":
            await gateway.publish(channel, *["x" * 100] * 100)
        accounts = {"a": Account(), "b": Account()}
        polls_count = 0
        while any(account.offset < 100 for account in accounts.values()):
            answer = await gateway.poll(channel=["a", "b"], cursor=cursor, timeout=0)
            assert answer["messages"], "there is more, and none of it came"
            for push in answer["messages"]:
                accounts[push["channel"]].add(push)
            cursor = answer["cursor"]
            polls_count += 1
        assert polls_count > 1


async def test_one_publication_above_the_limit_still_comes():
    async with serving(longpoll=LongpollConfig(max_response_bytes=256)) as gateway:
        cursor = (await gateway.poll(channel="a", timeout=0))["cursor"]
        await gateway.publish("a", "x" * 5000, "y")
        first = await gateway.poll(channel="a", cursor=cursor)
        assert first["messages"][0]["data"] == "x" * 5000
        second = await gateway.poll(channel="a", cursor=first["cursor"], timeout=0)
        assert offsets(first) + offsets(second) == [1, 2]


async def test_a_client_that_polls_while_others_publish_misses_nothing(gateway):
    async def publish() -> None:
        for _ in range(30):
            await asyncio.gather(*(gateway.publish(name, 1, 2, 3) for name in "ab"))

    cursor = (await gateway.poll(channel=["a", "b"], timeout=0))["cursor"]
    publishing = asyncio.create_task(publish())
    accounts = {"a": Account(), "b": Account()}
    while any(account.offset < 90 for account in accounts.values()):
        answer = await gateway.poll(channel=["a", "b"], cursor=cursor)
        for push in [*answer["gaps"], *answer["messages"]]:
            accounts[push["channel"]].add(push)
        cursor = answer["cursor"]
    assert all(account.seen == list(range(1, 91)) for account in accounts.values())
    await publishing


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "invalid_field"),
        ("channel=", 400, "invalid_channel"),
        ("channel=a%00b", 400, "invalid_channel"),
        ("channel=%ff", 400, "malformed"),
        ("channel=a&channel=a", 400, "already_subscribed"),
        ("channel=a&channel=b&channel=c", 400, "invalid_field"),
        ("channel=a&cursor=nonsense", 400, "invalid_cursor"),
        ("channel=a&cursor=", 400, "invalid_cursor"),
        ("channel=a&cursor=AQ&cursor=AQ", 400, "invalid_field"),
        ("channel=a&offset=1", 400, "invalid_field"),
        ("channel=a&chanel=b", 400, "invalid_field"),
        ("channel=a&timeout=", 400, "invalid_field"),
        ("channel=a&timeout=-1", 400, "invalid_field"),
        ("channel=a&timeout=nan", 400, "invalid_field"),
        ("channel=a&timeout=soon", 400, "invalid_field"),
        ("channel=a&timeout=1&timeout=2", 400, "invalid_field"),
        ("channel=one&channel=too-many", 503, "overloaded"),
    ],
)
async def test_a_poll_with_something_wrong_is_told_what_and_leaves_nothing(query, status, code):
    sections = {
        "longpoll": LongpollConfig(max_channels=2),
        "channels": ChannelsConfig(max_channels=1),
    }
    async with serving(**sections) as gateway:
        reply = await gateway.fetch("GET", f"/poll?{query}")
        assert (reply.status, reply.json["type"], reply.json["code"]) == (status, "error", code)
        assert not gateway.node.hub.sessions
        assert not gateway.node.hub.channels


async def test_only_get_polls(gateway):
    reply = await gateway.fetch("POST", "/poll?channel=a")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")


# --- the end ------------------------------------------------------------------------------------


async def test_an_answered_poll_leaves_no_session(gateway):
    await gateway.poll(channel="a", timeout=0)
    await gateway.wait_subscriptions(0)
    assert not gateway.node.hub.sessions


async def test_a_client_that_vanishes_or_ends_its_half_leaves_no_session(gateway):
    polls = [await begin_poll(gateway, "channel=a") for _ in range(3)]
    await gateway.wait_subscriptions(3)
    polls[0].vanish()
    polls[1].writer.write_eof()
    await gateway.wait_subscriptions(1)
    await gateway.publish("a", 1)
    assert offsets((await polls[2].read_reply()).json) == [1]


async def test_a_stop_answers_waiting_polls_with_their_cursor(gateway):
    cursor = (await gateway.poll(channel="a", timeout=0))["cursor"]
    poll = await begin_poll(gateway, f"channel=a&cursor={cursor}&timeout=60")
    await gateway.wait_subscriptions(1)
    async with bounded(), asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.stop())
        reply = await poll.read_reply()
    assert reply.status == 200
    check_empty(reply.json, cursor)
