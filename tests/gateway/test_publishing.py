"""POST /publish as a back end meets it, over real sockets.

What a node over its limits answers is in test_publishing_limits.py, the order of what many publish
at once in test_publishing_order.py.
"""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from gateway.config import AuthConfig
from gateway.publishing import draft_from_value
from protocol.errors import MessageError
from tests.gateway.clients import Gateway, Reply, serving

KEY = "a key with spaces and ü"
TOO_DEEP = '{"channel": "a", "data": ' + "[" * 129 + "]" * 129 + "}"


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with serving() as running:
        yield running


async def post(gateway: Gateway, body: str | bytes, *headers: str) -> Reply:
    data = body if isinstance(body, bytes) else body.encode()
    return await gateway.fetch("POST", "/publish", headers, data)


async def history(gateway: Gateway, channel: str, query: str = "") -> Reply:
    return await gateway.fetch("GET", f"/channels/{quote(channel, safe='')}/history{query}")


def offsets(publications: list[dict[str, Any]]) -> list[int]:
    return [each["offset"] for each in publications]


def is_error(reply: Reply, status: int, code: str) -> bool:
    """Whether reply is an error of this kind in the shape that all errors have."""
    error = reply.json
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert error.keys() == {"type", "code", "message", "retry"}
    return (reply.status, error["type"], error["code"]) == (status, "error", code)


# --- publishing ---------------------------------------------------------------------------------


async def test_one_object_is_answered_with_its_place(gateway: Gateway) -> None:
    first = await post(gateway, '{"channel": "a", "data": 1}')
    second = await post(gateway, '{"channel": "a", "data": 2}')
    assert (first.status, first.headers["Content-Type"]) == (200, "application/json")
    epoch = first.json["epoch"]
    assert first.json == {"channel": "a", "epoch": epoch, "offset": 1}
    assert second.json == {"channel": "a", "epoch": epoch, "offset": 2}


async def test_an_array_is_answered_with_an_array_in_its_order(gateway: Gateway) -> None:
    channels = ["a", "b", "a", "a", "c", "b"]
    places = (
        await post(gateway, json.dumps([{"channel": each, "data": each} for each in channels]))
    ).json
    assert [(each["channel"], each["offset"]) for each in places] == [
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("a", 3),
        ("c", 1),
        ("b", 2),
    ]


@pytest.mark.parametrize(("body", "count"), [("[]", 0), ('[{"channel": "a", "data": 1}]', 1)])
async def test_an_array_of_none_or_one_is_an_array(gateway: Gateway, body, count) -> None:
    reply = await post(gateway, body)
    assert (reply.status, len(reply.json), type(reply.json)) == (200, count, list)


async def test_data_reaches_a_subscriber_byte_for_byte_with_key_and_tags(gateway) -> None:
    stream = await gateway.event_stream(channel="a")
    data = '{ "b":1.50, "a" : "\\u00e9/\\/", "a":[ ] }'
    await post(gateway, f'{{"tags": {{"t": "v"}}, "data": {data}, "key": "k", "channel": "a"}}')
    await stream.read()
    kind, text = await stream.read_event()
    push = json.loads(text)
    assert kind == "message"
    assert f'"data":{data}' in text
    assert (push["offset"], push["key"], push["tags"]) == (1, "k", {"t": "v"})


@pytest.mark.parametrize("data", ["null", "0", '""', "[]", "-1.5e300", "18446744073709551615"])
async def test_any_json_value_can_be_published(gateway: Gateway, data: str) -> None:
    await post(gateway, f'{{"channel": "a", "data": {data}}}')
    (publication,) = (await history(gateway, "a")).json["publications"]
    assert (publication["offset"], publication["data"]) == (1, json.loads(data))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Content-Type: text/plain; charset=utf-16",),
        ("Content-Type: application/x-www-form-urlencoded",),
        ("Content-Type: multipart/form-data",),
        ("Content-Type: ;;;",),
        ("Accept: text/html",),
    ],
)
async def test_the_content_type_does_not_matter(gateway: Gateway, headers) -> None:
    reply = await post(gateway, '{"channel": "a", "data": 1}', *headers)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")


MALFORMED = [
    ("", "malformed"),
    (" ", "malformed"),
    ("{", "malformed"),
    ("channel=a&data=1", "malformed"),
    ('{"channel": "a", "data": 1} {}', "malformed"),
    (b"\xff\xfe{\x00}\x00", "malformed"),
    ('{"channel": "a", "data": ' + "[" * 100_000, "malformed"),
    ("[" * 100_000, "invalid_field"),
    ("1", "invalid_field"),
    ("null", "invalid_field"),
    ('"text"', "invalid_field"),
    ("{}", "invalid_field"),
    ("[1]", "invalid_field"),
    ('{"channel": "a"}', "invalid_field"),
    ('{"data": 1}', "invalid_field"),
    ('{"channel": 1, "data": 1}', "invalid_field"),
    ('{"channel": null, "data": 1}', "invalid_field"),
    ('{"channel": "a", "data": 1, "key": 1}', "invalid_field"),
    ('{"channel": "a", "data": 1, "tags": {"t": 1}}', "invalid_field"),
    ('{"channel": "a", "data": 1, "type": "publish"}', "invalid_field"),
    ('{"channel": "", "data": 1}', "invalid_channel"),
    ('{"channel": "' + "x" * 256 + '", "data": 1}', "invalid_channel"),
    ('{"channel": "a\\u0000", "data": 1}', "invalid_channel"),
    ('{"channel": "a", "data": 18446744073709551616}', "invalid_data"),
    ('{"channel": "a", "data": "\\ud800"}', "malformed"),
    ('{"channel": "a", "data": 1e999}', "invalid_data"),
    (TOO_DEEP, "invalid_data"),
    (b'{"channel": "a", "data": "\xff"}', "invalid_data"),
    ('[{"channel": "a", "data": 1}, {"channel": "", "data": 1}]', "invalid_channel"),
    ('[{"channel": "a", "data": 1}, {"channel": "b", "data": 1e999}]', "invalid_data"),
]


@pytest.mark.parametrize(("body", "code"), MALFORMED)
async def test_what_cannot_be_published_is_refused_as_a_whole(gateway, body, code) -> None:
    reply = await post(gateway, body)
    assert is_error(reply, 400, code)
    assert reply.json["retry"] is False
    assert (await history(gateway, "a")).json["publications"] == []


async def test_an_error_says_where_in_the_body_it_is(gateway: Gateway) -> None:
    reply = await post(gateway, '[{"channel": "a", "data": 1}, {"channel": 2, "data": 1}]')
    assert "$[1].channel" in reply.json["message"] or "$[...].channel" in reply.json["message"]


@pytest.mark.parametrize("framing", ["length", "chunks", "expectation"])
async def test_a_body_above_the_limit_is_refused(gateway: Gateway, framing: str) -> None:
    limit = gateway.node.config.server.max_body_bytes
    body = b'{"channel": "a", "data": "' + b"x" * limit + b'"}'
    client = await gateway.open()
    head = "POST /publish HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
    if framing == "chunks":
        client.send(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode())
        client.send(body + b"\r\n0\r\n\r\n")
    elif framing == "length":
        client.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    else:  # the gateway need not ask for what it will not take
        client.send(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n")
    assert is_error(await client.read_reply(), 413, "too_large")


async def test_a_body_at_the_limit_is_published(gateway: Gateway) -> None:
    limit = gateway.node.config.server.max_body_bytes
    head, tail = '{"channel": "a", "data": "', '"}'
    reply = await post(gateway, head + "x" * (limit - len(head + tail)) + tail)
    assert (reply.status, reply.json["offset"]) == (200, 1)


# --- batches, expectations and repeats ----------------------------------------------------------


def item(channel: str, data: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"channel": channel, "data": data, **fields}


async def test_an_expected_offset_is_refused_with_the_end_of_the_channel(gateway) -> None:
    (place,) = await gateway.publish("a", 1)
    assert (await post(gateway, json.dumps(item("a", expected_offset=1)))).status == 200
    reply = await post(gateway, json.dumps(item("a", expected_offset=1)))
    assert reply.status == 409
    assert "Retry-After" not in reply.headers
    assert reply.json == {
        "type": "error",
        "code": "offset_conflict",
        "message": "expected offset 1, but the channel ends at 2",
        "retry": False,
        "epoch": place["epoch"],
        "offset": 2,
    }


async def test_a_repeat_is_answered_as_the_first_and_publishes_nothing(gateway) -> None:
    body = json.dumps(item("a", expected_offset=0, idempotency_key="k"))
    first = await post(gateway, body)
    await gateway.publish("a", 2)
    repeat = await post(gateway, body)
    assert (repeat.status, repeat.json) == (first.status, first.json) == (200, first.json)
    assert offsets((await history(gateway, "a")).json["publications"]) == [1, 2]


async def test_a_channel_of_an_array_is_published_as_a_whole_or_not_at_all(gateway) -> None:
    (end,) = await gateway.publish("b", 1)
    batch = [
        item("a"),
        item("b"),
        item("b", expected_offset=7),
        item("a", expected_offset=1),
        item("b", idempotency_key="k"),
    ]
    reply = await post(gateway, json.dumps(batch))
    assert reply.status == 409
    conflict = {
        "type": "error",
        "code": "offset_conflict",
        "message": "expected offset 7, but the channel ends at 1"
        " (at 2 with what is before it in this batch)",
        "retry": False,
        "epoch": end["epoch"],
        "offset": 1,
    }
    first, *refused, last = reply.json[0], *reply.json[1:3], reply.json[4], reply.json[3]
    assert refused == [conflict] * 3
    assert offsets([first, last]) == [1, 2]
    assert offsets((await history(gateway, "b")).json["publications"]) == [1]


async def test_an_array_repeated_after_a_lost_answer_is_answered_as_the_first(gateway) -> None:
    batch = json.dumps(
        [
            item(each, idempotency_key=f"{n}", expected_offset=n // 2)
            for n, each in enumerate("abab")
        ]
    )
    replies = [await post(gateway, batch) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].json == replies[1].json
    assert offsets(replies[0].json) == [1, 1, 2, 2]


async def test_the_longest_an_idempotency_key_can_be_is_128_characters(gateway) -> None:
    for key, status in (("k" * 128, 200), ("k" * 129, 400), ("", 400)):
        reply = await post(gateway, json.dumps(item("a", idempotency_key=key)))
        assert reply.status == status


@pytest.mark.parametrize(
    "fields",
    [
        {"expected_offset": -1},
        {"expected_offset": "1"},
        {"idempotency_key": 1},
        {"echo": False},  # there is no session that could hear an echo
    ],
)
async def test_conditions_of_a_wrong_kind_are_refused_by_name(gateway, fields) -> None:
    reply = await post(gateway, json.dumps(item("a", **fields)))
    assert is_error(reply, 400, "invalid_field")
    assert next(iter(fields)) in reply.json["message"]


@pytest.mark.parametrize("wrong", [item(""), {"channel": "a", "data": 2**64}])
async def test_an_error_in_an_array_says_which_item_it_is_in(gateway, wrong) -> None:
    reply = await post(gateway, json.dumps([item("a"), wrong]))
    assert reply.json["message"].endswith(" - at `$[1]`")
    reply = await post(gateway, json.dumps(wrong))
    assert "$" not in reply.json["message"]


# --- the API key --------------------------------------------------------------------------------


@pytest.fixture
async def locked() -> AsyncIterator[Gateway]:
    """Return a gateway whose publishers need a key."""
    async with serving(auth=AuthConfig(api_key=KEY)) as running:
        yield running


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Authorization: Bearer",),
        ("Authorization: Bearer wrong",),
        (f"Authorization: {KEY}",),
        (f"Authorization: Basic {KEY}",),
        (f"Authorization: Bearer {KEY[:-1]}",),
        (f"Authorization: Bearer {KEY}x",),
        ("X-API-Key:",),
        ("X-API-Key: wrong",),
        (f"X-API-Key: Bearer {KEY}",),
        (f"Cookie: X-API-Key={KEY}",),
    ],
)
async def test_without_the_key_nothing_is_published(locked: Gateway, headers) -> None:
    reply = await post(locked, '{"channel": "a", "data": 1}', *headers)
    assert is_error(reply, 401, "unauthorized")
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert KEY not in reply.body.decode()
    assert (await history(locked, "a")).json["publications"] == []


@pytest.mark.parametrize(
    "header",
    [
        f"Authorization: Bearer {KEY}",
        f"authorization: bearer {KEY}",
        f"Authorization: BEARER   {KEY}  ",
        f"X-API-Key: {KEY}",
        f"x-api-key:{KEY}",
    ],
)
async def test_with_the_key_it_is_published(locked: Gateway, header: str) -> None:
    reply = await post(locked, '{"channel": "a", "data": 1}', header)
    assert (reply.status, reply.json["offset"]) == (200, 1)


async def test_the_key_is_asked_for_before_the_body_is_looked_at(locked: Gateway) -> None:
    assert is_error(await post(locked, "{"), 401, "unauthorized")


async def test_where_no_key_is_configured_any_or_none_will_do(gateway: Gateway) -> None:
    for headers in ((), ("X-API-Key: any",), ("Authorization: Basic abc",)):
        assert (await post(gateway, '{"channel": "a", "data": 1}', *headers)).status == 200


# --- drafts of a program ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"key": 1}, "keys and tags are strings of UTF-8, not 1"),
        ({"tags": {"t": "\ud800"}}, "keys and tags are strings of UTF-8"),
        ({"idempotency_key": "\ud800"}, "keys and tags are strings of UTF-8"),
        ({"idempotency_key": ""}, "length >= 1 - at `$.idempotency_key`"),
        ({"idempotency_key": "k" * 129}, "length <= 128 - at `$.idempotency_key`"),
        ({"expected_offset": -1}, "`int` >= 0 - at `$.expected_offset`"),
        ({"expected_offset": "1"}, "got `str` - at `$.expected_offset`"),
    ],
)
def test_a_program_may_ask_for_nothing_that_a_client_may_not(fields, text) -> None:
    with pytest.raises(MessageError) as refused:
        draft_from_value(1, **fields)
    assert refused.value.code == "invalid_field"
    assert text in refused.value.message
