"""What GET of history says where there is no history to be had; the rest: test_api_reading.py."""

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
