"""What a client is answered where the broker is far away: it answers later, or never, or fails."""

import asyncio

import pytest

from gateway.budget import Budget, Share
from gateway.config import HubConfig
from gateway.errors import BrokerUnavailable
from gateway.hub import Hub
from gateway.transports.longpoll import PollTransport
from gateway.transports.wanted import Wanted, follow_all
from protocol.codec import JSON, MSGPACK, Codec
from protocol.codes import ErrorCode
from protocol.errors import MessageError
from tests.gateway.late import LateBroker, told
from tests.gateway.sessions import Client, Gateway, quiet_presence


@pytest.fixture
def broker() -> LateBroker:
    return LateBroker()


@pytest.fixture
async def gateway(broker: LateBroker) -> Gateway:
    return await Gateway(broker).start()


@pytest.fixture(params=[JSON, MSGPACK], ids=["json", "msgpack"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return request.param


@pytest.fixture
async def client(gateway: Gateway, codec: Codec) -> Client:
    return Client(gateway, codec)


def kinds(client: Client) -> list[str]:
    return [each["type"] for each in client.read()]


def leave(client: Client) -> None:
    client.gateway.hub.detach(client.session)
    client.read()


LATE = [
    ("subscribe", {}, "subscribed"),
    ("publish", {"data": 1}, "published"),
    ("history", {}, "history"),
]


@pytest.mark.parametrize(("type_", "fields", "reply"), LATE)
async def test_a_command_is_answered_when_the_broker_has_answered(
    client, broker, type_, fields, reply
) -> None:
    client.send(type_, id=1, channel="a", **fields)
    client.send("ping", id=2)
    assert kinds(client) == ["pong"]
    await broker.answer()
    (answer,) = client.read()
    assert (answer["type"], answer["id"]) == (reply, 1)


@pytest.mark.parametrize(
    ("type_", "fields", "number"),
    [
        *((type_, fields, 3) for type_, fields, _ in LATE),
        # Whoever reads history without an id wants no answer, so nobody is asked.
        *((type_, fields, None) for type_, fields, _ in LATE if type_ != "history"),
    ],
)
async def test_a_broker_out_of_reach_is_an_error_worth_the_same_command_again(
    client, broker, type_, fields, number
) -> None:
    client.send(type_, channel="a", **fields, **({} if number is None else {"id": number}))
    await broker.fail(BrokerUnavailable("the broker is out of reach"))
    (error,) = client.read()
    assert (error["type"], error["code"], error["retry"]) == ("error", "overloaded", True)
    assert error["message"] == "the broker is out of reach"
    assert error.get("id") == number
    assert (client.session.subscriptions, client.gateway.hub.channels) == ({}, {})
    client.send(type_, id=4, channel="a", **fields)
    await broker.answer()
    assert [each["id"] for each in client.read()] == [4]


@pytest.mark.parametrize(("type_", "fields", "_reply"), LATE)
async def test_what_the_broker_refuses_is_an_error(client, broker, type_, fields, _reply) -> None:
    client.send(type_, id=1, channel="a", **fields)
    await broker.fail(MessageError(ErrorCode.OVERLOADED, "one too many"))
    (error,) = client.read()
    assert (error["id"], error["code"], error["message"]) == (1, "overloaded", "one too many")


async def test_the_reply_precedes_what_was_published_while_it_was_awaited(client, broker) -> None:
    client.send("publish", channel="a", data=1)
    client.send("subscribe", id=1, channel="a", history=5)
    client.send("publish", channel="a", data=2)
    await broker.answer(3)
    assert kinds(client) == ["subscribed", "message", "message"]


@pytest.mark.parametrize("reason", ["success", "failure"])
@pytest.mark.parametrize(("type_", "fields", "_reply"), LATE)
async def test_a_session_gone_before_the_answer_leaves_nothing_behind(
    client, broker, type_, fields, _reply, reason
) -> None:
    client.send(type_, id=1, channel="a", **fields)
    leave(client)
    if reason == "success":
        await broker.answer()
        assert client.read() == []
        assert broker.followed == set()
    else:
        await broker.fail(BrokerUnavailable("gone"))
    hub = client.gateway.hub
    assert (hub.sessions, hub.channels, client.session.subscriptions) == (set(), {}, {})


async def test_who_leaves_before_the_answer_does_not_end_the_following_of_others(
    client, broker, gateway
) -> None:
    witness = Client(gateway, JSON)
    witness.send("subscribe", channel="a")
    await broker.answer()
    client.send("subscribe", channel="a")
    leave(client)
    await broker.answer()
    witness.send("publish", channel="a", data=1)
    await broker.answer()
    assert kinds(witness) == ["message"]


async def test_who_leaves_does_not_end_the_following_of_one_that_is_about_to_subscribe(
    client, broker, gateway
) -> None:
    late = Client(gateway, JSON)
    for each in (client, late):
        each.send("subscribe", channel="a")
    leave(client)
    await broker.answer(2)
    assert broker.followed == {"a"}
    late.send("publish", channel="a", data=1)
    await broker.answer()
    assert kinds(late) == ["message"]
    leave(late)
    assert broker.followed == set()


async def test_who_unsubscribes_does_not_end_the_following_of_one_that_is_about_to_subscribe(
    client, broker, gateway
) -> None:
    client.send("subscribe", channel="a")
    await broker.answer()
    late = Client(gateway, JSON)
    late.send("subscribe", channel="a")
    client.send("unsubscribe", channel="a")
    client.send("publish", channel="a", data=1)
    await broker.answer(2)
    assert broker.followed == {"a"}
    client.send("publish", channel="a", data=2)
    await broker.answer()
    assert [each["data"] for each in late.read()] == [1, 2]
    leave(late)
    assert broker.followed == set()


@pytest.mark.parametrize("end", ["failure", "cancelling"])
async def test_a_follow_that_comes_to_nothing_is_let_go(client, broker, gateway, end) -> None:
    client.send("subscribe", channel="a")
    await broker.answer()
    following = asyncio.ensure_future(follow_all(gateway.hub, [Wanted("a", None)]))
    await told()
    client.send("unsubscribe", channel="a")
    assert broker.followed == {"a"}
    if end == "failure":
        await broker.fail(BrokerUnavailable("gone"))
    else:
        following.cancel()
    await asyncio.wait([following])
    assert following.cancelled() or isinstance(following.exception(), MessageError)
    assert broker.followed == set()


async def test_who_leaves_in_the_turn_of_the_answer_follows_nothing(broker, gateway) -> None:
    following = asyncio.ensure_future(follow_all(gateway.hub, [Wanted("a", None)]))
    await told()
    asked, act = broker.asked.popleft()
    asked.set_result(act().result())
    following.cancel()
    await asyncio.wait([following])
    assert following.cancelled()
    assert broker.followed == set()


async def test_of_several_channels_none_is_followed_if_one_cannot_be(broker, gateway) -> None:
    wanted = [Wanted(channel, None) for channel in "abc"]
    following = asyncio.ensure_future(follow_all(gateway.hub, wanted))
    await told()
    await broker.answer()
    await told()
    assert broker.followed == {"a", "b"}
    await broker.fail(BrokerUnavailable("gone"))
    with pytest.raises(MessageError) as caught:
        await following
    assert caught.value.code == ErrorCode.OVERLOADED
    assert broker.followed == set()


async def test_a_session_that_came_while_the_broker_was_asked_takes_its_room(
    broker, gateway
) -> None:
    call_soon = gateway.turns.append
    hub = Hub(broker, HubConfig(max_sessions=1), call_soon, quiet_presence(call_soon))
    following = asyncio.ensure_future(follow_all(hub, [Wanted("a", None)]))
    await told()
    transport = PollTransport(hub, 1000, Share(Budget("answers", 1000)))
    hub.attach(transport.session)
    await broker.answer()
    with pytest.raises(MessageError) as caught:
        await following
    assert caught.value.code == ErrorCode.OVERLOADED
    assert broker.followed == set()


async def test_a_channel_asked_for_twice_at_once_is_subscribed_to_once(client, broker) -> None:
    client.send("subscribe", id=1, channel="a")
    client.send("subscribe", id=2, channel="a")
    client.send("publish", channel="a", data=1)
    await broker.answer(3)
    answers = [(each.get("id"), each["type"], each.get("code")) for each in client.read()]
    assert answers == [
        (1, "subscribed", None),
        (2, "error", "already_subscribed"),
        (None, "message", None),
    ]
    leave(client)
    assert (client.gateway.hub.channels, broker.followed) == ({}, set())


async def test_subscriptions_on_their_way_count_when_they_arrive(broker, codec) -> None:
    client = Client(await Gateway(broker, max_subscriptions=2).start(), codec)
    for number, channel in enumerate("abc", start=1):
        client.send("subscribe", id=number, channel=channel)
    await broker.answer(3)
    answers = [(each["id"], each.get("code")) for each in client.read()]
    assert answers == [(1, None), (2, None), (3, "limit_reached")]
    assert (list(client.session.subscriptions), broker.followed) == (["a", "b"], {"a", "b"})


async def test_after_unsubscribed_a_late_subscribe_begins_anew(client, broker) -> None:
    client.send("subscribe", id=1, channel="a")
    await broker.answer()
    client.send("unsubscribe", id=2, channel="a")
    client.send("subscribe", id=3, channel="a")
    client.send("publish", channel="a", data=1)
    await broker.answer(2)
    assert [each.get("id") for each in client.read()] == [1, 2, 3, None]


async def test_an_unsubscribe_waits_for_the_subscribe_before_it(client, broker) -> None:
    client.send("subscribe", id=1, channel="a")
    client.send("unsubscribe", id=2, channel="a")
    assert client.read() == []
    await broker.answer()
    assert kinds(client) == ["subscribed", "unsubscribed"]
    assert (client.session.subscriptions, broker.followed) == ({}, set())
    client.send("unsubscribe", id=3, channel="a")
    assert [each["code"] for each in client.read()] == ["not_subscribed"]


async def test_subscribing_again_at_once_is_a_subscription_anew(client, broker) -> None:
    for number, type_ in enumerate(("subscribe", "unsubscribe", "subscribe"), start=1):
        client.send(type_, id=number, channel="a")
    client.send("publish", channel="a", data=1)
    await broker.answer(3)
    assert kinds(client) == ["subscribed", "unsubscribed", "subscribed", "message"]


async def test_a_session_gone_before_its_unsubscribe_was_obeyed_leaves_nothing_behind(
    client, broker
) -> None:
    client.send("subscribe", id=1, channel="a")
    client.send("unsubscribe", id=2, channel="a")
    leave(client)
    await broker.answer()
    assert client.gateway.hub.channels == {}
    assert broker.followed == set()
