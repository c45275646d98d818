"""Brokers that answer later or never, and the HTTP endpoints before them."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from gateway.api import API
from gateway.broker import Deliver, Draft
from gateway.brokers.memory import MemoryBroker
from gateway.budget import Budget
from gateway.config import ChannelsConfig, Config, HubConfig
from gateway.errors import BrokerUnavailable
from gateway.hub import Hub
from gateway.publishing import PublishEndpoint
from gateway.router import Router
from gateway.stream import Page, Stream
from gateway.web.server import Server
from protocol.cursor import Position
from tests.gateway.clients import bounded
from tests.gateway.sessions import quiet_presence

Act = Callable[[], asyncio.Future[Any]]


class LateBroker:
    """A broker behind a wire: it does what it is asked, in order, when the test lets it.

    followed holds the channels it was told to follow and not to unfollow since, asked what it has
    not done yet.
    """

    def __init__(self) -> None:
        self.near = MemoryBroker(ChannelsConfig())
        self.followed: set[str] = set()
        self.asked: deque[tuple[asyncio.Future[Any], Act]] = deque()
        self._has_grown = asyncio.Event()

    async def start(self, deliver: Deliver) -> None:
        await self.near.start(deliver)

    async def stop(self) -> None:
        """Not needed here."""

    def follow(self, channel: str) -> asyncio.Future[Stream]:
        self.followed.add(channel)
        return self._ask(lambda: self.near.follow(channel))

    def unfollow(self, channel: str) -> None:
        self.followed.discard(channel)
        last = self.asked[-1][0] if self.asked else None
        if last is None:
            self.near.unfollow(channel)
        else:  # it is on the wire behind what was asked before
            last.add_done_callback(lambda _: self.near.unfollow(channel))

    def publish(self, channel: str, drafts: Sequence[Draft]) -> asyncio.Future[list[Position]]:
        return self._ask(lambda: self.near.publish(channel, drafts))

    def history(
        self,
        channel: str,
        position: Position | None,
        *,
        limit: int,
        max_bytes: int,
        is_reverse: bool,
    ) -> asyncio.Future[Page]:
        return self._ask(
            lambda: self.near.history(
                channel, position, limit=limit, max_bytes=max_bytes, is_reverse=is_reverse
            )
        )

    async def wait_asked(self, count: int) -> None:
        """Return when it has been asked for so much that it has not done."""
        async with bounded():
            while len(self.asked) < count:
                self._has_grown.clear()
                await self._has_grown.wait()

    async def answer(self, count: int = 1) -> None:
        """Do the oldest count things that were asked, and have their askers told."""
        for _ in range(count):
            future, act = self.asked.popleft()
            future.set_result(act().result())
        await told()

    async def fail(self, error: Exception) -> None:
        """Fail the oldest thing that was asked."""
        self.asked.popleft()[0].set_exception(error)
        await told()

    def _ask(self, act: Callable[[], asyncio.Future[Any]]) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        self.asked.append((future, act))
        self._has_grown.set()
        return future


async def told() -> None:
    """Return when whoever waits for a future that is done has heard of it."""
    marker = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(marker.set_result, None)
    await marker


class UnreachableBroker:
    """A broker that can do nothing now."""

    def _fail(self, *_: Any, **__: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(BrokerUnavailable("the broker is out of reach"))
        return future

    follow = publish = history = _fail


class Front:
    """The endpoints before such a broker, where clients expect a node; now is their time."""

    def __init__(self, broker: Any, **sections: Any) -> None:
        self._broker = broker
        self.config = Config(**sections)
        self.unread = Budget("answers", 1 << 20)
        self.now = 0.0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        hub = Hub(self._broker, HubConfig(), loop.call_soon, quiet_presence(loop.call_soon))
        api = API(hub, self._broker, self.unread)
        publish = PublishEndpoint(self._broker, self.config, lambda: self.now)
        routes = {"/publish": {"POST": publish}}
        router = Router(routes, {"history": api.history, "presence": api.presence}, {})
        self._server = Server(router, handler_cancellation=True, access_log=None)
        self._listener = await loop.create_server(self._server, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._listener.close()
        await self._server.shutdown(0)
