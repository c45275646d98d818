"""Polls whose answers nobody reads: how much they hold together, and who is told."""

import json

import pytest

from gateway.budget import Budget, Share
from gateway.config import ChannelsConfig, LongpollConfig, ServerConfig
from gateway.transports.longpoll import PollTransport
from protocol.cursor import Position
from tests.gateway.clients import LITTLE_BYTES, PADDING, bounded, encode_request, serving
from tests.gateway.laggards import publish
from tests.gateway.world import World

# More than the kernel takes of one; and three of them leave too little for a fourth.
ANSWER_BYTES = 6 << 20
SECTIONS = {
    "server": ServerConfig(port=0, max_unread_bytes=4 * ANSWER_BYTES),
    "channels": ChannelsConfig(history_count=100_000, history_bytes=2 * ANSWER_BYTES),
    "longpoll": LongpollConfig(max_response_bytes=ANSWER_BYTES),
}


@pytest.mark.parametrize("end", ["reads", "vanishes"])
async def test_a_poll_is_503_while_others_do_not_read_theirs(end):
    async with serving(**SECTIONS) as gateway:
        (first,) = await gateway.publish("a", 0)
        for _ in range(8):
            await gateway.publish("a", *[PADDING] * 900)
        start = {"channel": "a", "epoch": first["epoch"], "offset": 1, "timeout": 0}
        target = "/poll?" + "&".join(f"{name}={each}" for name, each in start.items())
        clients = [await gateway.open(receive_bytes=LITTLE_BYTES) for _ in range(4)]
        statuses = []
        for client in clients:
            client.send(encode_request("GET", target, ["Connection: close"]))
            statuses.append((await client.read_head())[0])
        assert statuses == [200, 200, 200, 503]
        reply = await gateway.get("/poll", **start)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        message = "answers that wait for their readers hold as many bytes as they may, 25165824"
        assert reply.json == {
            "type": "error",
            "code": "overloaded",
            "message": message,
            "retry": True,
        }
        assert (await gateway.get("/poll", channel="a", timeout=0)).status == 200
        if end == "reads":
            await clients[0].read_end()
        else:
            clients[0].vanish()
        async with bounded():
            while (reply := await gateway.get("/poll", **start)).status != 200:
                pass
        assert reply.json["messages"][0]["offset"] == 2


def test_a_poll_collects_no_more_than_may_be_held() -> None:
    world = World()
    place = publish(world, *[None] * 2000, text="x" * 500)
    budget = Budget("answers", 100_000)

    async def poll() -> PollTransport:
        return PollTransport(world.hub, 1 << 30, Share(budget))

    polls = [world.run(poll()) for _ in range(3)]
    for each in polls:
        world.hub.attach(each.session)
        world.begin(each.session, {"a": Position(place.epoch, 0)})
    while world.turn():
        assert budget.held_bytes <= budget.limit_bytes
    sizes = [len(each.take_answer()) for each in polls]
    assert sum(sizes) < budget.limit_bytes + 3 * 64 * 600
    assert min(sizes) > 0


def test_what_a_poll_has_collected_is_forgotten_with_its_answer() -> None:
    world = World()
    place = publish(world, None)

    async def poll() -> PollTransport:
        return PollTransport(world.hub, 1 << 30, Share(Budget("answers", 1 << 30)))

    transport = world.run(poll())
    world.hub.attach(transport.session)
    world.begin(transport.session, {"a": Position(place.epoch, 0)})
    world.settle()
    assert [each["offset"] for each in json.loads(transport.take_answer())["messages"]] == [1]
    assert json.loads(transport.take_answer())["messages"] == []
