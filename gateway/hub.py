"""Who is subscribed to what, and the one way publications reach sessions: the end-of-turn flush.

Publications only mark their channel dirty. At the end of the event-loop turn each dirty channel's
new publications are encoded once per encoding and written to every live subscription. One whose
socket takes no more is lagging: it is read on from the stream, in chunks, when the socket drains,
until it has reached what the live ones were given. Subscribing, resuming from a cursor and
recovering from a stall are that same reading on.

A turn has a budget. What is left goes on in the next turn, so no fan-out holds the loop.
"""

import logging
from asyncio import Future
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.broker import Broker
from gateway.channel import Channel
from gateway.config import HubConfig
from gateway.presence import Presence
from gateway.reading import Reader, TurnBudget, lagging
from gateway.session import Latest, Session, Subscription
from gateway.stream import Missing, Stream
from protocol.codes import CloseCode, ErrorCode
from protocol.cursor import Position, encode_cursor
from protocol.errors import MessageError
from protocol.messages import Gap, Overflow, Subscribed

logger = logging.getLogger("gateway")

# What a session is told that cannot be served, which is our fault.
_FAILURE: Final = (CloseCode.INTERNAL_ERROR, "internal error")

# When to try a full node again: not so soon that those who are refused are a load of their own.
FULL_RETRY_AFTER_MS: Final = 5000

# So much to encode counts as another delivery: compressing it takes as long.
_WORK_BYTES: Final = 128

CallSoon = Callable[[Callable[[], None]], object]
# Where a subscription begins: at a position, with the last n publications, or now.
Start = Position | int | None


class Hub:
    """All sessions and channels of one node; nothing here waits, and all runs in the loop."""

    def __init__(
        self, broker: Broker, config: HubConfig, call_soon: CallSoon, presence: Presence
    ) -> None:
        self.presence = presence
        self.sessions: set[Session] = set()
        self.channels: dict[str, Channel] = {}
        self.delivery_count = 0
        self.subscription_count = 0
        self._by_id: dict[str, Session] = {}
        self._reader = Reader(config)
        self._broker = broker
        self._config = config
        self._call_soon = call_soon
        # Follows by channel that have become neither a subscription nor a release yet.
        self._following: dict[str, int] = {}
        self._dirty: deque[Channel] = deque()
        self._catching_up: OrderedDict[Session, None] = OrderedDict()  # next first
        self._is_turn_scheduled = False

    @property
    def gap_count(self) -> int:
        """How many gaps clients were told of."""
        return self._reader.gap_count

    # --- what brokers and transports tell ---

    def deliver(self, stream: Stream) -> None:
        """Have the growth of stream flushed at the end of this turn."""
        channel = self.channels.get(stream.name)
        if channel is not None and not channel.is_dirty:
            channel.is_dirty = True
            self._dirty.append(channel)
            self._schedule_turn()

    def check_room(self) -> None:
        """Raise MessageError, worth a later try, where the node has all the sessions it may."""
        if len(self.sessions) >= self._config.max_sessions:
            text = f"this node has {self._config.max_sessions} sessions and takes no more now"
            raise MessageError(ErrorCode.OVERLOADED, text, retry_after_ms=FULL_RETRY_AFTER_MS)

    def attach(self, session: Session) -> None:
        """Take a new session in; it has no subscriptions yet."""
        self.sessions.add(session)
        self._by_id[session.id] = session

    def detach(self, session: Session) -> None:
        """Forget a session and its subscriptions; does nothing for one already forgotten."""
        self.sessions.discard(session)
        self._by_id.pop(session.id, None)
        self._catching_up.pop(session, None)
        for channel in tuple(session.subscriptions):
            self.unsubscribe(session, channel)

    def pause(self, session: Session) -> None:
        """Have a session whose socket takes no more fall behind."""
        session.is_paused = True
        self._catching_up.pop(session, None)
        for name, subscription in session.subscriptions.items():
            if subscription.is_live:
                self.channels[name].fall_behind(subscription)

    def resume(self, session: Session) -> None:
        """Read on for a session whose socket takes more again."""
        session.is_paused = False
        self.presence.resumed(session)
        if session in self.sessions:
            self.start(session)

    # --- subscriptions ---

    def follow(self, channel: str) -> "Future[Stream]":
        """Return the stream of channel, for one subscribe or release; fails as Broker.follow does.

        Until then the channel is followed, whoever else unsubscribes from it meanwhile.
        """
        self._following[channel] = self._following.get(channel, 0) + 1
        followed = self._broker.follow(channel)
        if followed.done():
            self._see_follow(channel, followed)
        else:
            followed.add_done_callback(partial(self._see_follow, channel))
        return followed

    def release(self, channel: str) -> None:
        """Undo a follow that no subscription came of."""
        self._end_follow(channel)
        self._let_go(channel)

    def subscribe(
        self, session: Session, stream: Stream, start: Start, overflow: Overflow | None = None
    ) -> tuple[Subscribed, Gap | None]:
        """Subscribe session to a followed stream; return what to tell it before `start` begins.

        Without overflow the channel's default applies. To a position that has left the log already
        `latest` applies as to one that lags, but `disconnect` as `gap`: whoever was sent away would
        come back with the same position.
        """
        self._end_follow(stream.name)
        channel = self.channels.get(stream.name)
        if channel is None:
            channel = self.channels[stream.name] = Channel(stream)
            if stream.last != stream.delivered:
                self.deliver(stream)
        offset, missing = _resolve(stream, start)
        subscription = Subscription(session, stream, offset, overflow or stream.config.overflow)
        if missing and missing.reason == "expired" and subscription.overflow == "latest":
            subscription.offset = missing.first - 1
            subscription.latest = Latest(stream.delivered or 0, missing.reason)
        session.subscriptions[stream.name] = subscription
        self.subscription_count += 1
        channel.add_lagging(subscription)
        self.presence.joined(channel, session)
        before = Position(stream.epoch, offset if missing is None else missing.first - 1)
        subscribed = Subscribed(
            channel=stream.name,
            epoch=stream.epoch,
            offset=before.offset,
            recovered=isinstance(start, Position) and missing is None,
            cursor=encode_cursor({stream.name: before}),
            overflow=subscription.overflow,
            retention=stream.retention,
        )
        if missing is None or subscription.latest is not None:
            return subscribed, None
        return subscribed, self._reader.gap(stream, missing)

    def start(self, session: Session) -> None:
        """Go live with what stands at the end of its stream, and read on with the rest."""
        if not session.is_paused and not self._go_live(session):
            self._catching_up[session] = None
            self._schedule_turn()

    def unsubscribe(self, session: Session, channel: str) -> None:
        """End one subscription; raises KeyError where there is none."""
        subscription = session.subscriptions.pop(channel)
        self.subscription_count -= 1
        self.channels[channel].remove(subscription)
        self.presence.left(self.channels[channel], session)
        if self.channels[channel].is_empty:
            del self.channels[channel]
            self._let_go(channel)

    def is_behind(self, session: Session) -> bool:
        """Whether publications that live subscribers have been given wait for session."""
        return any(
            not each.is_live and each.offset < (each.stream.delivered or 0)
            for each in session.subscriptions.values()
        )

    def _see_follow(self, channel: str, followed: "Future[Stream]") -> None:
        if followed.cancelled() or followed.exception() is not None:
            self.release(channel)

    def _end_follow(self, channel: str) -> None:
        count = self._following.pop(channel) - 1
        if count:
            self._following[channel] = count

    def _let_go(self, channel: str) -> None:
        """Unfollow a channel that nobody is subscribed to or about to be."""
        if channel not in self.channels and channel not in self._following:
            self._broker.unfollow(channel)

    # --- the turn ---

    def position_of(self, channel: str) -> Position:
        """Return where the live subscriptions of a channel stand."""
        stream = self.channels[channel].stream
        return Position(stream.epoch, stream.delivered or 0)

    def _schedule_turn(self) -> None:
        if not self._is_turn_scheduled:
            self._is_turn_scheduled = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        """Flush dirty channels, then read on for lagging sessions, within the budget of a turn."""
        self._is_turn_scheduled = False
        try:
            self._flush(self._config.turn_deliveries)
            self._catch_up(TurnBudget(self._config))
        finally:
            if self._dirty or self._catching_up:
                self._schedule_turn()
            if not self._catching_up:
                self._reader.forget()

    def _flush(self, budget: int) -> None:
        """Flush dirty channels in turn, a slice of each.

        A slice is finished before another channel's begins: an SSE cursor counts on no two flushes
        being under way.
        """
        while self._dirty and budget > 0:
            channel = self._dirty[0]
            stream = channel.stream
            if self.channels.get(stream.name) is not channel:
                self._dirty.popleft()
                continue
            work_bytes = 0
            if not channel.batches:
                channel.begin_flush(max_bytes=self._config.catch_up_bytes)
                work_bytes = channel.work_bytes
                self._leave_out(channel)
            written = self._write_batches(channel, budget)
            self.delivery_count += written * len(channel.slice)
            budget -= max(written, 1) + work_bytes // _WORK_BYTES
            if channel.batches:
                continue
            self._dirty.popleft()
            stream.trim()
            channel.is_dirty = stream.delivered != stream.last
            if channel.is_dirty:
                self._dirty.append(channel)

    def _write_batches(self, channel: Channel, budget: int) -> int:
        """Write to waiting subscriptions; end the sessions for which nothing can be encoded."""
        try:
            return channel.write_batches(self.position_of, budget)
        except Exception:
            logger.exception("channel %r: a batch cannot be encoded", channel.stream.name)
            for subscription in channel.give_up_batch():
                subscription.session.transport.disconnect(*_FAILURE)
            return 0

    def _leave_out(self, channel: Channel) -> None:
        """Have sessions that want no echo read what the others are given without their own."""
        for session_id in channel.unechoed:
            session = self._by_id.get(session_id)
            if session is None:
                continue
            subscription = session.subscriptions.get(channel.stream.name)
            if subscription is not None and subscription.is_live:
                channel.fall_behind(subscription)
                self._catching_up[session] = None

    def _catch_up(self, budget: TurnBudget) -> None:
        for _ in range(len(self._catching_up)):
            if budget.is_spent:
                break
            session, _ = self._catching_up.popitem(last=False)
            try:
                self.delivery_count += self._reader.read_on(session, budget)
            except Exception:
                logger.exception("session %s: it cannot be read on for", session.id)
                session.transport.disconnect(*_FAILURE)
            if not session.is_paused and session in self.sessions and not self._go_live(session):
                self._catching_up[session] = None

    def _go_live(self, session: Session) -> bool:
        """Have all of a session's subscriptions live, if each has reached the live ones.

        All or none: the cursor of an SSE event names every channel's position.
        """
        behind = lagging(session)
        if any(each.offset != each.stream.delivered for each in behind):
            return False
        for subscription in behind:
            self.channels[subscription.stream.name].go_live(subscription)
        return True


def _resolve(stream: Stream, start: Start) -> tuple[int, Missing | None]:
    """Return the offset after which a new subscription reads, and what it has missed."""
    stream.trim()
    if isinstance(start, Position):
        return stream.resume(start)
    end = stream.delivered or 0
    if start is None:
        return end, None
    return max(end - start, stream.first - 1), None
