"""When a message was published, where the channel's configuration has it told."""

from gateway.config import ChannelsConfig, PrefixConfig
from tests.gateway.clients import serving

TIMED = ChannelsConfig(prefixes=(PrefixConfig(prefix="timed-", message_time=True),))


async def test_messages_say_when_they_were_published_on_every_transport_where_that_is_configured():
    async with serving(channels=TIMED) as gateway:
        cursor = (await gateway.poll(channel=["a", "timed-a"], timeout=0))["cursor"]
        clients = [
            await gateway.websocket(codec) for codec in ("gateway.v1.json", "gateway.v1.msgpack")
        ]
        stream = await gateway.event_stream(channel=["a", "timed-a"])
        await stream.read_many(2)
        for client in clients:
            for channel in ("a", "timed-a"):
                await client.ask(type="subscribe", channel=channel)
        for channel in ("a", "timed-a"):
            await gateway.publish(channel, 1)
        (record,) = (await gateway.get("/channels/timed-a/history")).json["publications"]
        messages = [await client.read_many(2) for client in clients]
        messages.append(await stream.read_many(2))
        messages.append((await gateway.poll(channel=["a", "timed-a"], cursor=cursor))["messages"])
        for untimed, timed in messages:
            assert "time" not in untimed
            assert timed["time"] == record["time"]
