"""What a client is answered that asks for history and presence, in both codecs."""

import pytest

from gateway.brokers.memory import MemoryBroker
from gateway.config import ChannelsConfig
from protocol.codec import JSON, MSGPACK, Codec
from protocol.cursor import Position, encode_cursor
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


def publish(gateway: Gateway, channel: str, count: int) -> str:
    """Publish 1, 2, ... count and return the channel's epoch."""
    publisher = Client(gateway, JSON)
    for number in range(1, count + 1):
        epoch: str = publisher.ask("publish", channel=channel, data=number)["epoch"]
    return epoch


def at(channel: str, epoch: str, offset: int) -> str:
    return encode_cursor({channel: Position(epoch, offset)})


async def test_history_is_read_in_pages_in_both_directions(client: Client) -> None:
    publish(client.gateway, "a", 5)
    for is_reverse, expected in ((False, [1, 2, 3, 4, 5]), (True, [5, 4, 3, 2, 1])):
        seen: list[int] = []
        position: dict[str, str] = {}
        while page := client.ask("history", channel="a", limit=2, reverse=is_reverse, **position):
            position = {"cursor": page["cursor"]}
            if not page["publications"]:
                break
            assert all(each["data"] == each["offset"] for each in page["publications"])
            seen += [each["offset"] for each in page["publications"]]
        assert seen == expected


async def test_a_history_that_lost_what_the_cursor_wants_says_so(codec: Codec) -> None:
    gateway = await Gateway(MemoryBroker(ChannelsConfig(history_count=2))).start()
    epoch = publish(gateway, "a", 5)
    page = Client(gateway, codec).ask("history", channel="a", cursor=at("a", epoch, 1))
    assert [each["offset"] for each in page["publications"]] == [4, 5]
    gap = page["gap"]
    assert (gap["from"], gap["to"], gap["reason"], gap["epoch"]) == (2, 3, "expired", epoch)
    assert (page["type"], page["channel"], page["epoch"]) == ("history", "a", epoch)


async def test_presence_names_who_is_subscribed_now(gateway: Gateway, codec: Codec) -> None:
    client, ann = Client(gateway, codec), Client(gateway, JSON, user="ann")
    assert client.ask("presence", channel="a") == {
        "type": "presence",
        "id": 7,
        "channel": "a",
        "count": 0,
        "members": [],
    }
    for each in (client, ann):
        each.send("subscribe", channel="a")
    reply = client.ask("presence", channel="a")
    assert reply["count"] == 2
    assert {each["session"]: each.get("user") for each in reply["members"]} == {
        client.session.id: None,
        ann.session.id: "ann",
    }
    gateway.hub.detach(ann.session)
    assert [each["session"] for each in client.ask("presence", channel="a")["members"]] == [
        client.session.id
    ]


async def test_presence_comes_in_pages_and_counts_all_in_each(
    gateway: Gateway, client: Client
) -> None:
    clients = [Client(gateway, JSON) for _ in range(7)]
    for each in clients:
        each.send("subscribe", channel="a")
    pages = [client.ask("presence", channel="a", limit=3)]
    while "cursor" in pages[-1]:
        pages.append(client.ask("presence", channel="a", limit=3, cursor=pages[-1]["cursor"]))
    assert [len(page["members"]) for page in pages] == [3, 3, 1]
    assert [page["count"] for page in pages] == [7, 7, 7]
    named = [member["session"] for page in pages for member in page["members"]]
    assert sorted(named) == sorted(each.session.id for each in clients)


async def test_presence_without_members_is_the_count_alone(
    gateway: Gateway, client: Client
) -> None:
    for count in range(2):
        page = client.ask("presence", channel="a", limit=0)
        assert page == {"type": "presence", "id": 7, "channel": "a", "count": count}
        client.send("subscribe", channel="a")


@pytest.mark.parametrize("channel", ["a", "nobody is here"])
async def test_presence_refuses_a_cursor_that_is_none_of_its_own(
    gateway: Gateway, client: Client, channel: str
) -> None:
    client.send("subscribe", channel="a")
    of_history = encode_cursor({"a": Position("E", 1)})
    for cursor in ("", "!", "AQ", of_history):
        reply = client.ask("presence", channel=channel, cursor=cursor)
        assert (reply["type"], reply["code"]) == ("error", "invalid_cursor")
