"""What a session may ask when it publishes, in both codecs, and what everybody then sees."""

from typing import Any

import pytest

from protocol.codec import JSON, MSGPACK, Codec
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


@pytest.fixture
async def reader(gateway: Gateway) -> Client:
    """Return another session, which is subscribed to channel a."""
    subscribed = Client(gateway, JSON)
    subscribed.ask("subscribe", channel="a")
    return subscribed


def publish(client: Client, data: Any = 1, **fields: Any) -> dict[str, Any]:
    return client.ask("publish", channel="a", data=data, **fields)


def messages(client: Client) -> list[tuple[int, Any]]:
    return [(each["offset"], each["data"]) for each in client.read() if each["type"] == "message"]


async def test_an_expected_offset_is_refused_with_the_end_of_the_channel(client, reader) -> None:
    first = publish(client, 1, expected_offset=0)
    assert publish(client, 2, expected_offset=0) == {
        "type": "error",
        "id": 7,
        "code": "offset_conflict",
        "message": "expected offset 0, but the channel ends at 1",
        "retry": False,
        "epoch": first["epoch"],
        "offset": 1,
    }
    assert publish(client, 3, expected_offset=1)["offset"] == 2
    assert messages(reader) == [(1, 1), (2, 3)]


async def test_a_conflict_of_a_command_without_an_id_is_told_without_one(client, reader) -> None:
    client.send("publish", channel="a", data=1, expected_offset=5)
    (error,) = client.read()
    assert (error["code"], error["offset"], "id" in error) == ("offset_conflict", 0, False)
    assert messages(reader) == []


async def test_a_repeat_is_answered_as_the_first_and_seen_once(client, reader) -> None:
    first = publish(client, 1, idempotency_key="k", expected_offset=0)
    publish(client, 2)
    assert publish(client, 1, idempotency_key="k", expected_offset=0) == first
    assert messages(reader) == [(1, 1), (2, 2)]


async def test_a_repeat_by_another_session_in_another_codec_is_one_too(gateway, reader) -> None:
    places = [publish(Client(gateway, each), idempotency_key="k") for each in (JSON, MSGPACK)]
    assert places[0] == places[1]
    assert messages(reader) == [(1, 1)]


async def test_without_echo_everybody_but_the_publishers_own_session_hears_it(
    gateway, client, reader
) -> None:
    client.ask("subscribe", channel="a")
    publish(client, 1, echo=False)
    publish(client, 2, echo=True)
    publish(client, 3)
    other = Client(gateway, JSON)
    other.ask("subscribe", channel="a")
    publish(client, 4, echo=False)
    assert messages(reader) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert messages(other) == [(4, 4)]


async def test_the_publisher_without_echo_is_told_the_place_and_no_gap(client) -> None:
    client.ask("subscribe", channel="a")
    client.send("publish", id=1, channel="a", data=1, echo=False)
    client.send("publish", id=2, channel="a", data=2)
    client.send("publish", id=3, channel="a", data=3, echo=False)
    pushes = client.read()
    assert [each["offset"] for each in pushes if each["type"] == "published"] == [1, 2, 3]
    assert [each["offset"] for each in pushes if each["type"] == "message"] == [2]
    assert len(pushes) == 4


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"expected_offset": -1}, "expected_offset"),
        ({"expected_offset": 1.5}, "expected_offset"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 129}, "idempotency_key"),
        ({"idempotency_key": 1}, "idempotency_key"),
        ({"echo": 1}, "echo"),
    ],
)
async def test_conditions_of_a_wrong_kind_are_refused_by_name(
    client, reader, fields, where
) -> None:
    error = publish(client, **fields)
    assert (error["code"], error["id"]) == ("invalid_field", 7)
    assert where in error["message"]
    assert messages(reader) == []
