"""A client of this gateway that publishes, and waits for what it is answered."""

from loadtest.clients.subscriber import Subscriber
from loadtest.errors import RATE_LIMITED, LoadError


class Publisher(Subscriber):
    """One client that publishes."""

    __slots__ = ()

    async def publish(self, channel: str, data: object, count: int = 1) -> int:
        """Publish data so many times in channel, all at once; return how many were refused for now.

        Raises LoadError where the target refuses for good, or does not answer.
        """
        for _ in range(count):
            self.send({"type": "publish", "id": 1, "channel": channel, "data": data})
        refused_count = 0
        for _ in range(count):
            reply = await self.wait_reply("published", "error")
            code = reply.get("code")
            if code == "rate_limited":
                raise LoadError(RATE_LIMITED)
            if code not in (None, "overloaded"):
                raise LoadError(f"the target refused to publish: {code}: {reply.get('message')}")
            refused_count += code is not None
        return refused_count
