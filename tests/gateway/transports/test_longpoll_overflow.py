"""The overflow policy of a poll: what a cursor that has expired is answered with."""

import json

import pytest

from gateway.config import ChannelsConfig
from protocol.cursor import Position, encode_cursor
from tests.gateway.clients import Gateway, serving


async def poll_from_1(gateway: Gateway, keys: str, **parameters: object) -> tuple[list, list]:
    """Publish one publication for each key; return what a poll behind the first is told."""
    batch = [{"channel": "a", "key": key, "data": 0} for key in keys]
    reply = await gateway.fetch("POST", "/publish", body=json.dumps(batch).encode())
    cursor = encode_cursor({"a": Position(reply.json[0]["epoch"], 1)})
    answer = await gateway.poll(channel="a", cursor=cursor, **parameters)
    assert answer["positions"]["a"]["offset"] == len(keys)
    gaps = [(gap["from"], gap["to"], gap["reason"]) for gap in answer["gaps"]]
    return gaps, [message["offset"] for message in answer["messages"]]


@pytest.mark.parametrize(
    ("config", "wish", "gaps", "messages"),
    [
        ("gap", {}, [(2, 4, "expired")], [5, 6, 7, 8]),
        ("gap", {"overflow": "latest"}, [(2, 5, "expired"), (7, 7, "expired")], [6, 8]),
        ("latest", {}, [(2, 5, "expired"), (7, 7, "expired")], [6, 8]),
        ("latest", {"overflow": "gap"}, [(2, 4, "expired")], [5, 6, 7, 8]),
        ("disconnect", {}, [(2, 4, "expired")], [5, 6, 7, 8]),
    ],
)
async def test_a_cursor_that_has_expired_is_answered_as_the_policy_says(
    config, wish, gaps, messages
):
    channels = ChannelsConfig(history_count=4, overflow=config)
    async with serving(channels=channels) as gateway:
        assert await poll_from_1(gateway, "xxxxabaa", **wish) == (gaps, messages)


async def test_a_cursor_that_the_log_reaches_is_answered_with_everything(gateway):
    assert await poll_from_1(gateway, "xxxx", overflow="latest") == ([], [2, 3, 4])


async def test_a_poll_cannot_ask_to_be_disconnected(gateway):
    reply = await gateway.get("/poll", channel="a", overflow="disconnect", timeout=0)
    assert (reply.status, reply.json["code"]) == (400, "invalid_field")
    assert "gap or latest" in reply.json["message"]


async def test_a_policy_that_the_channel_does_not_allow_is_refused():
    async with serving(channels=ChannelsConfig(allowed_overflows=("gap",))) as gateway:
        reply = await gateway.get("/poll", channel="a", overflow="latest", timeout=0)
        assert (reply.status, reply.json["code"]) == (400, "invalid_field")
        assert "allowed: gap" in reply.json["message"]
