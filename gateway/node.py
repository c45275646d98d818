"""One gateway process: built from a Config, started, drained, stopped."""

import asyncio
import logging
import random
import signal
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gateway import metrics
from gateway.api import API
from gateway.auth import Identify, choose_identify
from gateway.broker import Draft
from gateway.brokers.durable import DurableBroker
from gateway.brokers.memory import MemoryBroker
from gateway.budget import Budget
from gateway.commands import Commands
from gateway.config import Config
from gateway.errors import BrokerUnavailable
from gateway.hub import Hub
from gateway.metrics import Metric
from gateway.pages import page_routes
from gateway.presence import Presence
from gateway.publishing import PublishEndpoint, draft_from_value
from gateway.router import Methods, Router
from gateway.transports.longpoll import PollEndpoint
from gateway.transports.sse import EventStreamEndpoint
from gateway.transports.websocket import WebSocketEndpoint
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.runner import ServerRunner, TCPSite
from gateway.web.server import ACCESS_LOGGER, Server
from gateway.web.stream_response import StreamResponse
from gateway.web.sweep import Sweep
from protocol.codes import CloseCode, ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError
from protocol.publication import check_channel

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("gateway")

# Clients that are sent away together come back spread over this time, or they would storm the next
# node; the first of them leave a restart time to happen.
RETRY_AFTER_MS: Final = (500, 5000)
# File descriptors for all but connections: listeners, logs, files, the event loop's own.
SPARE_DESCRIPTORS: Final = 64
# Clients told to leave per turn of the event loop.
DRAIN_COUNT: Final = 500


class Node:
    """A gateway on one address: `await start()`, serve, `await stop()`; each once."""

    def __init__(
        self, config: Config, *, identify: Identify | None = None, access_log: bool = False
    ) -> None:
        """Take what finds the user of a request; ValueError where config has another way."""
        self.config = config
        self._identify = choose_identify(config.auth, identify)
        self._access_log = access_log
        self._is_running = False

    async def start(self) -> None:
        """Listen and serve.

        Raises OSError when the address cannot be had, GatewayError when the data folder cannot.
        """
        config = self.config
        loop = asyncio.get_running_loop()
        self._broker = self._make_broker()
        presence = Presence(config.presence, loop.call_soon, loop.call_later)
        self.hub = Hub(self._broker, config.hub, loop.call_soon, presence)
        await self._broker.start(self.hub.deliver)
        try:
            await self._listen()
        except BaseException:
            await self._broker.stop()
            raise
        self._chores = loop.create_task(self._do_chores())
        self._is_running = True

    async def _listen(self) -> None:
        config = self.config
        loop = asyncio.get_running_loop()
        self._heartbeat = Sweep(loop, config.heartbeat.interval_s)
        self._router = self._build_router()
        self._server = Server(
            self._router,
            handler_cancellation=True,  # a poll whose client left would wait for nobody
            access_log=ACCESS_LOGGER if self._access_log else None,
            max_head_bytes=config.server.max_head_bytes,
            max_connections=config.server.max_connections,
            head_timeout_s=config.server.head_timeout_s,
            body_timeout_s=config.server.body_timeout_s,
            write_timeout_s=config.server.write_timeout_s,
            keepalive_timeout=config.server.keepalive_timeout_s,
        )
        # The timeout is waited for twice: for handlers to finish, then for cancelled ones to end.
        shutdown_timeout_s = config.server.shutdown_timeout_s / 2
        self._runner = ServerRunner(self._server, shutdown_timeout=shutdown_timeout_s)
        await self._runner.setup()
        listening = config.server
        self._site = TCPSite(
            self._runner, listening.host, listening.port, backlog=listening.backlog
        )
        try:
            await self._site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        except UnicodeError:  # what looking a name up says of "a..b"
            await self._runner.cleanup()
            raise OSError(f"{listening.host[:80]!r} cannot be a host name") from None

    async def stop(self) -> None:
        """Stop accepting, tell every client to come back later, and close what remains."""
        try:
            self._router.is_draining = True
            for site in self._runner.sites:
                await site.stop()
            await self._send_sessions_away()
            await self._runner.cleanup()
            self._chores.cancel()
            await asyncio.wait([self._chores])
        finally:  # also where a second Ctrl-C has cut the rest short
            self._is_running = False
            await self._broker.stop()

    async def publish(
        self,
        channel: str,
        data: object,
        *,
        key: str | None = None,
        tags: dict[str, str] | None = None,
        idempotency_key: str | None = None,
        expected_offset: int | None = None,
    ) -> Position:
        """Publish data, bytes or whatever json can write, from this program; return its place.

        As publish_batch() with one draft.
        """
        draft = draft_from_value(
            data,
            key=key,
            tags=tags,
            idempotency_key=idempotency_key,
            expected_offset=expected_offset,
        )
        (place,) = await self.publish_batch(channel, [draft])
        return place

    async def publish_batch(self, channel: str, drafts: Sequence[Draft]) -> list[Position]:
        """Publish drafts, made by draft_from_value(), from this program; return their places.

        All of them, in this order and with no other publication in between, or none: then it raises
        what clients are told: MessageError for what no client could publish either or beyond a
        limit, OffsetConflict with the end of the channel; or BrokerUnavailable. The place of a
        repeated idempotency_key is that of the first. Cancelling takes nothing back.
        """
        if not self._is_running:
            raise BrokerUnavailable("this node is not running, so it cannot publish")
        check_channel(channel)
        return await asyncio.shield(self._broker.publish(channel, drafts))

    @property
    def port(self) -> int:
        """The port that the node listens on; of interest where the configuration says 0."""
        return self._site.port

    @property
    def url(self) -> str:
        """Where the console page is."""
        host = self.config.server.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def _make_broker(self) -> MemoryBroker | DurableBroker:
        """Return the broker that the configuration asks for, not started."""
        config = self.config
        if config.broker.data is None:
            return MemoryBroker(config.channels)
        return DurableBroker(config.channels, config.broker)

    def _build_router(self) -> Router:
        config, hub, heartbeat = self.config, self.hub, self._heartbeat
        identify = self._identify
        may_publish = config.auth.api_key is None or config.auth.client_publish
        commands = Commands(hub, self._broker, config.session, may_publish=may_publish)
        unread = Budget("answers that wait for their readers", config.server.max_unread_bytes)
        api = API(hub, self._broker, unread)
        publish = PublishEndpoint(self._broker, config, asyncio.get_running_loop().time)
        event_streams = EventStreamEndpoint(hub, heartbeat, config, identify)
        operations: dict[str, Methods] = {
            "/healthz": {"GET": _answer_alive, "HEAD": _answer_alive},
            "/metrics": {"GET": self._answer_metrics, "HEAD": self._answer_metrics},
        }

        async def postpone(request: BaseRequest) -> StreamResponse:
            error = MessageError(ErrorCode.SHUTTING_DOWN, "this node is shutting down")
            return event_streams.postpone(error)

        return Router(
            routes={
                **page_routes(),
                "/ws": {"GET": WebSocketEndpoint(hub, commands, heartbeat, config, identify)},
                "/sse": {"GET": event_streams},
                "/poll": {"GET": PollEndpoint(hub, config.longpoll, unread, identify)},
                "/publish": {"POST": publish},
                "/readyz": {"GET": _answer_alive, "HEAD": _answer_alive},
                **operations,
            },
            channel_routes={"history": api.history, "presence": api.presence},
            drain_routes={"/sse": {"GET": postpone}, **operations},
        )

    async def _send_sessions_away(self) -> None:
        """Tell every session to come back later, and close it."""
        sessions = tuple(self.hub.sessions)
        logger.info("draining: %s sessions are told to come back", len(sessions))
        for count, session in enumerate(sessions, start=1):
            retry_after_ms = random.randint(*RETRY_AFTER_MS)
            try:
                session.transport.disconnect(
                    CloseCode.SERVICE_RESTART,
                    "the node is shutting down",
                    retry_after_ms=retry_after_ms,
                )
            except Exception:
                logger.exception("session %s: it cannot be told to leave", session.id)
            if count % DRAIN_COUNT == 0:
                await asyncio.sleep(0)

    async def _do_chores(self) -> None:
        while True:
            has_more = False
            try:
                has_more = self._broker.forget_unused()
            except Exception:
                logger.exception("what has expired cannot be dropped; it is tried again")
            await asyncio.sleep(0 if has_more else 1)

    async def _answer_metrics(self, request: BaseRequest) -> Response:
        hub, broker = self.hub, self._broker
        counters = {
            "gateway_deliveries_total": ("Publications handed to sessions", hub.delivery_count),
            "gateway_gaps_total": ("Gaps told to clients", hub.gap_count),
        }
        gauges = {
            "gateway_connections": ("Open sockets", len(self._server.connections)),
            "gateway_sessions": ("Sessions on all transports", len(hub.sessions)),
            "gateway_subscriptions": ("Subscriptions of all sessions", hub.subscription_count),
        }
        text = metrics.render(
            [
                *(Metric(name, "counter", *each) for name, each in counters.items()),
                *(Metric(name, "gauge", *each) for name, each in gauges.items()),
                *broker.metrics,
            ]
        )
        return Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def run(
    config: Config, *, access_log: bool = False, ready: Callable[[Node], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM, then drain; a second signal ends the wait at once.

    ready is called with the node once it listens. Raises what Node.start raises.
    """
    node = Node(_fit_to_descriptors(config), access_log=access_log)
    await node.start()
    asked_to_stop = asyncio.Event()
    _on_signals(asked_to_stop.set)
    try:
        if ready is not None:
            ready(node)
        await asked_to_stop.wait()
    finally:
        stopping = asyncio.get_running_loop().create_task(node.stop())
        _on_signals(stopping.cancel)
        await asyncio.wait([stopping])
        _on_signals(None)
    if not stopping.cancelled():
        stopping.result()


def _fit_to_descriptors(config: Config) -> Config:
    """Return config with no more connections than this process may have file descriptors.

    Beyond those a socket cannot even be accepted, to be refused: asyncio would log every attempt.
    """
    if resource is None:
        return config
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    descriptors = hard if hard != resource.RLIM_INFINITY else soft
    most = max(descriptors - SPARE_DESCRIPTORS, 1)
    if config.server.max_connections <= most:
        return config
    logger.debug("at most %s connections: this process may have %s open files", most, descriptors)
    server = msgspec.structs.replace(config.server, max_connections=most)
    return msgspec.structs.replace(config, server=server)


def _on_signals(callback: Callable[[], object] | None) -> None:
    """Have SIGINT and SIGTERM call callback, or do again what they did before."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        if callback is None:
            loop.remove_signal_handler(number)
        else:
            loop.add_signal_handler(number, callback)


async def _answer_alive(request: BaseRequest) -> Response:
    return Response(text="ok\n")
