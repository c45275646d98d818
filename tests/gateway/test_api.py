"""What reads are answered with where there is nothing to be had; the rest: test_api_reading.py."""

import pytest

from gateway.brokers.memory import MemoryBroker
from gateway.budget import Share
from gateway.config import ChannelsConfig
from tests.gateway.clients import Gateway, serving
from tests.gateway.late import Front, UnreachableBroker


async def test_reading_a_channel_makes_none_so_the_bound_does_not_matter() -> None:
    async with serving(channels=ChannelsConfig(max_channels=1)) as gateway:
        await gateway.publish("a", 1)
        assert (await gateway.get("/channels/b/history")).json["publications"] == []


async def test_a_broker_out_of_reach_is_told_as_a_reason_to_read_again_later() -> None:
    front = Front(UnreachableBroker())
    await front.start()
    gateway = Gateway(front)
    reply = await gateway.get("/channels/a/history")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json == {
        "type": "error",
        "code": "overloaded",
        "message": "the broker is out of reach",
        "retry": True,
    }
    await gateway.close()


@pytest.mark.parametrize("what", ["history", "presence"])
async def test_while_others_do_not_read_theirs_an_answer_is_503(what) -> None:
    broker = MemoryBroker(ChannelsConfig())
    await broker.start(lambda _: None)
    front = Front(broker)
    await front.start()
    gateway = Gateway(front)
    with Share(front.unread) as share:
        share.grow(front.unread.limit_bytes)
        reply = await gateway.get(f"/channels/a/{what}")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        assert reply.json == {
            "type": "error",
            "code": "overloaded",
            "message": f"answers hold as many bytes as they may, {front.unread.limit_bytes}",
            "retry": True,
        }
    assert (await gateway.get(f"/channels/a/{what}")).status == 200
    assert front.unread.held_bytes == 0
    await gateway.close()
