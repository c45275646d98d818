"""What a client is answered, in both codecs, by the real hub and the memory broker.

What a broker far away changes is in test_commands_late.py.
"""

from typing import Any

import pytest

from gateway.brokers.memory import MemoryBroker
from gateway.commands import HANDLERS
from gateway.config import ChannelsConfig
from protocol.codec import JSON, MSGPACK, Codec
from protocol.codes import Disconnect
from protocol.cursor import Position, decode_cursor, encode_cursor
from protocol.messages import AnyCommand
from tests.gateway.clients import untimed
from tests.gateway.sessions import Client, Gateway


@pytest.fixture
async def gateway() -> Gateway:
    return await Gateway().start()


@pytest.fixture(params=[JSON, MSGPACK], ids=["json", "msgpack"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return request.param


@pytest.fixture
async def client(gateway: Gateway, codec: Codec) -> Client:
    return Client(gateway, codec)


Reply = dict[str, Any]


def publish(gateway: Gateway, channel: str, count: int) -> str:
    """Publish 1, 2, ... count and return the channel's epoch."""
    publisher = Client(gateway, JSON)
    for number in range(1, count + 1):
        epoch: str = publisher.ask("publish", channel=channel, data=number)["epoch"]
    return epoch


def offsets(pushes: list[Reply]) -> list[int]:
    return [each["offset"] for each in pushes if each["type"] == "message"]


def at(channel: str, epoch: str, offset: int) -> str:
    return encode_cursor({channel: Position(epoch, offset)})


# --- replies ------------------------------------------------------------------------------------

# A session that is subscribed to "b" sends each of these.
COMMANDS = [
    ("subscribe", {"channel": "a"}, "subscribed"),
    ("unsubscribe", {"channel": "b"}, "unsubscribed"),
    ("publish", {"channel": "a", "data": 1}, "published"),
    ("history", {"channel": "a"}, "history"),
    ("presence", {"channel": "a"}, "presence"),
    ("ping", {}, "pong"),
]


def test_every_command_of_the_protocol_has_a_handler() -> None:
    assert set(HANDLERS) == set(AnyCommand.__args__)


@pytest.mark.parametrize(("type_", "fields", "reply"), COMMANDS)
async def test_a_command_with_an_id_gets_one_reply_with_it(client, type_, fields, reply) -> None:
    client.send("subscribe", channel="b")
    client.send(type_, id=2**53 - 1, **fields)
    (answer,) = client.read()
    assert (answer["type"], answer["id"]) == (reply, 2**53 - 1)
    assert answer.get("channel") == fields.get("channel")


@pytest.mark.parametrize(("type_", "fields", "_reply"), COMMANDS)
async def test_a_command_without_an_id_is_obeyed_in_silence(client, type_, fields, _reply) -> None:
    client.send("subscribe", channel="b")
    client.send(type_, **fields)
    assert client.read() == []
    subscribed = {"subscribe": ["b", "a"], "unsubscribe": []}
    assert list(client.session.subscriptions) == subscribed.get(type_, ["b"])
    assert client.gateway.broker.publication_count == (type_ == "publish")


async def test_ids_may_repeat_and_replies_come_in_the_order_of_commands(client: Client) -> None:
    for number in (3, 3, 1):
        client.send("ping", id=number)
    assert [each["id"] for each in client.read()] == [3, 3, 1]


# --- errors -------------------------------------------------------------------------------------

BAD_CHANNELS = ["", "x" * 256, "line\nfeed", "\x7f"]
# A session that is subscribed to "b" sends each of these; all are well-formed.
REFUSED = [
    ("auth", {"token": "t"}, "unsupported"),
    ("subscribe", {"channel": "b"}, "already_subscribed"),
    ("unsubscribe", {"channel": "a"}, "not_subscribed"),
    ("unsubscribe", {"channel": "x" * 100_000}, "not_subscribed"),
    *[(t, {"channel": c}, "invalid_channel") for c in BAD_CHANNELS for t in ("subscribe",)],
    *[("history", {"channel": c}, "invalid_channel") for c in BAD_CHANNELS],
    *[("presence", {"channel": c}, "invalid_channel") for c in BAD_CHANNELS],
    *[("publish", {"channel": c, "data": 1}, "invalid_channel") for c in BAD_CHANNELS],
    ("subscribe", {"channel": "a", "cursor": "mangled"}, "invalid_cursor"),
    ("subscribe", {"channel": "a", "cursor": at("b", "e", 1)}, "invalid_cursor"),
    ("history", {"channel": "a", "cursor": ""}, "invalid_cursor"),
    ("history", {"channel": "a", "cursor": at("b", "e", 1)}, "invalid_cursor"),
    ("subscribe", {"channel": "a", "epoch": "e"}, "invalid_field"),
    ("subscribe", {"channel": "a", "offset": 1}, "invalid_field"),
    ("subscribe", {"channel": "a", "epoch": "e", "offset": 1, "history": 1}, "invalid_field"),
    ("subscribe", {"channel": "a", "offset": 1, "history": 1}, "invalid_field"),
    ("subscribe", {"channel": "a", "cursor": at("a", "e", 1), "history": 1}, "invalid_field"),
    (
        "subscribe",
        {"channel": "a", "cursor": at("a", "e", 1), "epoch": "e", "offset": 1},
        "invalid_field",
    ),
    ("publish", {"channel": "a", "data": [[]] * 2 + [{"x": "y"}], "key": 1}, "invalid_field"),
    ("nonsense", {}, "unknown_type"),
    ("subscribe", {}, "invalid_field"),
    ("subscribe", {"channel": 5}, "invalid_field"),
    ("subscribe", {"channel": "a", "history": 0}, "invalid_field"),
    ("history", {"channel": "a", "limit": 1001}, "invalid_field"),
    ("ping", {"unknown": 1}, "invalid_field"),
]


@pytest.mark.parametrize("number", [None, 5])
@pytest.mark.parametrize(("type_", "fields", "code"), REFUSED)
async def test_what_cannot_be_obeyed_is_an_error_with_the_id_it_came_with(
    client, type_, fields, code, number
) -> None:
    client.send("subscribe", channel="b")
    client.send(type_, **({} if number is None else {"id": number}), **fields)
    (error,) = client.read()
    assert (error["type"], error["code"], error["retry"]) == ("error", code, False)
    assert error.get("id") == number
    assert 0 < len(error["message"]) < 1000
    assert list(client.session.subscriptions) == ["b"]
    assert list(client.gateway.hub.channels) == ["b"]
    assert client.gateway.broker.channel_count == 1


@pytest.mark.parametrize("number", [0, -1, "1", 1.5, True, [1]])
async def test_an_id_that_is_not_a_positive_integer_is_an_error_without_one(client, number) -> None:
    client.send("ping", id=number)
    (error,) = client.read()
    assert (error["type"], error["code"]) == ("error", "invalid_field")
    assert "id" not in error


async def test_data_that_one_codec_could_not_carry_is_refused(gateway: Gateway) -> None:
    for codec, data in ((JSON, 2**64), (MSGPACK, [b"binary inside"]), (MSGPACK, {1: "key"})):
        reply = Client(gateway, codec).ask("publish", channel="a", data=data)
        assert (reply["type"], reply["code"]) == ("error", "invalid_data")
    assert gateway.broker.publication_count == 0


@pytest.mark.parametrize("message", [b"\xc1", "\ud800", "{", "[]", "", "1", b"", '{"id":', b"\x80"])
async def test_what_is_no_command_at_all_is_an_error_and_the_session_lives(client, message) -> None:
    client.send_bytes(message)
    (error,) = client.read()
    assert error["type"] == "error"
    assert error["code"] in ("malformed", "unknown_type")
    assert client.ask("ping")["type"] == "pong"


# --- limits -------------------------------------------------------------------------------------


async def test_a_session_has_so_many_subscriptions_and_another_has_its_own(codec: Codec) -> None:
    gateway = await Gateway(max_subscriptions=2).start()
    client, other = Client(gateway, codec), Client(gateway, codec)
    assert [client.ask("subscribe", channel=each)["type"] for each in "ab"] == ["subscribed"] * 2
    assert client.ask("subscribe", channel="c")["code"] == "limit_reached"
    assert client.ask("subscribe", channel="a")["code"] == "already_subscribed"
    assert other.ask("subscribe", channel="c")["type"] == "subscribed"
    client.send("unsubscribe", channel="a")
    assert client.ask("subscribe", channel="c")["type"] == "subscribed"


async def test_one_channel_too_many_is_refused_and_leaves_nothing(codec: Codec) -> None:
    gateway = await Gateway(MemoryBroker(ChannelsConfig(max_channels=1))).start()
    client = Client(gateway, codec)
    client.send("subscribe", channel="a")
    for type_, fields in (("subscribe", {}), ("publish", {"data": 1})):
        assert client.ask(type_, channel="b", **fields)["code"] == "overloaded"
    assert (list(gateway.hub.channels), list(client.session.subscriptions)) == (["a"], ["a"])


async def test_too_many_malformed_commands_in_a_row_end_the_session(codec: Codec) -> None:
    gateway = await Gateway(max_errors=3).start()
    client, witness = Client(gateway, codec), Client(gateway, codec)
    for each in (client, witness):
        each.send("subscribe", channel="a")
    for _ in range(3):
        client.send("nonsense")
    assert client.disconnects == []
    client.send("nonsense")
    assert [each["code"] for each in client.read()] == ["unknown_type"] * 4
    assert client.disconnects == [Disconnect.TOO_MANY_ERRORS] == [3500]
    assert client.session not in gateway.hub.sessions
    assert witness.ask("presence", channel="a")["count"] == 1


@pytest.mark.parametrize("good", ["ping", "unsubscribe"])
async def test_a_well_formed_command_forgives_the_malformed_ones_before(codec, good) -> None:
    client = Client(await Gateway(max_errors=3).start(), codec)
    for _ in range(5):
        for _ in range(3):
            client.send("nonsense")
        client.send(good, **({} if good == "ping" else {"channel": "never subscribed"}))
    assert client.disconnects == []
    assert client.ask("ping")["type"] == "pong"


# --- subscribe and unsubscribe ------------------------------------------------------------------


async def test_without_a_position_a_subscription_begins_now(client: Client) -> None:
    epoch = publish(client.gateway, "a", 2)
    reply = client.ask("subscribe", channel="a")
    assert (reply["epoch"], reply["offset"], reply["recovered"]) == (epoch, 2, False)
    assert decode_cursor(reply["cursor"]) == {"a": (epoch, 2)}
    publish(client.gateway, "a", 1)
    (message,) = client.read()
    assert message == {"type": "message", "channel": "a", "offset": 3, "data": 1}


@pytest.mark.parametrize("form", ["cursor", "epoch and offset"])
async def test_from_a_position_everything_later_follows_the_reply(client: Client, form) -> None:
    epoch = publish(client.gateway, "a", 3)
    position = {"epoch": epoch, "offset": 1}
    if form == "cursor":
        position = {"cursor": encode_cursor({"b": Position("e", 9), "a": Position(epoch, 1)})}
    client.send("subscribe", id=1, channel="a", **position)
    reply, *messages = client.read()
    assert (reply["type"], reply["offset"], reply["recovered"]) == ("subscribed", 1, True)
    assert offsets(messages) == [2, 3]


async def test_the_last_n_come_first_and_are_no_recovery(client: Client) -> None:
    publish(client.gateway, "a", 5)
    client.send("subscribe", id=1, channel="a", history=2)
    reply, *messages = client.read()
    assert (reply["offset"], reply["recovered"]) == (3, False)
    assert offsets(messages) == [4, 5]


async def test_a_position_of_another_log_is_answered_with_a_gap_behind_the_reply(client) -> None:
    epoch = publish(client.gateway, "a", 2)
    client.send("subscribe", id=1, channel="a", epoch="gone", offset=7)
    reply, gap, *messages = client.read()
    assert (reply["epoch"], reply["offset"], reply["recovered"]) == (epoch, 0, False)
    assert gap == {
        "type": "gap",
        "channel": "a",
        "epoch": epoch,
        "from": 1,
        "to": 0,
        "reason": "epoch",
    }
    assert offsets(messages) == [1, 2]


async def test_the_reply_precedes_every_push_of_its_channel(client: Client) -> None:
    publish(client.gateway, "a", 1)
    client.send("publish", id=1, channel="a", data=2)
    client.send("subscribe", id=2, channel="a", history=9)
    client.send("publish", id=3, channel="a", data=3)
    kinds = [(each["type"], each["offset"]) for each in client.read()]
    assert kinds == [
        ("published", 2),
        ("subscribed", 0),
        ("published", 3),
        ("message", 1),
        ("message", 2),
        ("message", 3),
    ]


async def test_nothing_of_a_channel_follows_unsubscribed(client: Client) -> None:
    client.send("subscribe", channel="a")
    client.send("subscribe", channel="b")
    client.send("publish", channel="a", data=1)
    client.send("unsubscribe", id=1, channel="a")
    client.send("publish", channel="a", data=2)
    client.send("publish", channel="b", data=3)
    reply, *rest = client.read()
    assert reply == {"type": "unsubscribed", "id": 1, "channel": "a"}
    assert [each["channel"] for each in rest] == ["b"]
    publish(client.gateway, "a", 1)
    assert client.read() == []


async def test_who_comes_back_in_the_same_turn_misses_and_repeats_nothing(client: Client) -> None:
    client.send("subscribe", channel="a")
    client.send("publish", channel="a", data=1)
    client.send("unsubscribe", channel="a")
    client.send("subscribe", id=1, channel="a")
    client.send("publish", channel="a", data=2)
    reply, *messages = client.read()
    assert offsets(messages) == list(range(reply["offset"] + 1, 3))


async def test_the_last_to_unsubscribe_leaves_no_channel_behind(client: Client) -> None:
    other = Client(client.gateway, JSON)
    for each in (client, other):
        each.send("subscribe", channel="a")
    client.send("unsubscribe", channel="a")
    assert list(client.gateway.hub.channels) == ["a"]
    other.send("unsubscribe", channel="a")
    assert client.gateway.hub.channels == {}


# --- publish ------------------------------------------------------------------------------------


@pytest.mark.parametrize("receiving", [JSON, MSGPACK])
async def test_what_one_codec_publishes_the_other_receives(client, receiving) -> None:
    subscriber = Client(client.gateway, receiving)
    subscriber.send("subscribe", channel="a")
    data = {"n": [1, -2.5, None, True, 2**63], "text": "é\u2028\n"}
    place = client.ask("publish", channel="a", data=data, key="k", tags={"t": "v"})
    (message,) = subscriber.read()
    assert (place["type"], place["channel"], place["offset"]) == ("published", "a", 1)
    expected = {"channel": "a", "offset": 1, "data": data, "key": "k", "tags": {"t": "v"}}
    assert message == {"type": "message", **expected}


async def test_binary_data_reaches_json_clients_as_base64(gateway: Gateway) -> None:
    publisher, subscriber = Client(gateway, MSGPACK), Client(gateway, JSON)
    for each in (publisher, subscriber):
        each.send("subscribe", channel="a")
    publisher.send("publish", channel="a", data=b"\x00\xff")
    (message,), (packed,) = subscriber.read(), publisher.read()
    assert (message["data"], message["encoding"]) == ("AP8=", "base64")
    assert packed == {"type": "message", "channel": "a", "offset": 1, "data": b"\x00\xff"}
    page = subscriber.ask("history", channel="a")
    assert untimed(page) == [{"offset": 1, "data": "AP8=", "encoding": "base64"}]
