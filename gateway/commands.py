"""What each command of the client protocol does: one handler per command, in one table."""

from asyncio import Future
from collections.abc import Callable
from functools import partial
from math import ceil
from time import monotonic
from typing import Any, Final, TypeVar

import msgspec

from gateway.allowance import Allowance
from gateway.broker import Broker, Draft
from gateway.config import SessionConfig
from gateway.errors import BrokerUnavailable
from gateway.hub import Hub, Start
from gateway.reading import choose_overflow, gap_push
from gateway.session import Session
from gateway.stream import Page, Stream
from protocol.codec import Codec
from protocol.codes import Disconnect, ErrorCode
from protocol.cursor import Position, decode_cursor, encode_cursor
from protocol.errors import MessageError
from protocol.messages import (
    Auth,
    Command,
    History,
    HistoryPage,
    Ping,
    Pong,
    Presence,
    PresencePage,
    Publish,
    Published,
    Push,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
    error_push,
)
from protocol.publication import MAX_CHANNEL_BYTES, check_channel

T = TypeVar("T")

# What a client is told to wait that was ended for its haste: longer than a session's burst takes to
# be there again, so that a new session is no way around it.
HASTY_RETRY_AFTER_MS: Final = 5000
# How much data one history reply holds at most; its cursor leads to the rest.
HISTORY_BYTES: Final = 1024 * 1024


class Commands:
    """Obeys the commands of sessions; every failure becomes an `error` and harms nobody else."""

    def __init__(
        self,
        hub: Hub,
        broker: Broker,
        config: SessionConfig,
        *,
        may_publish: bool = True,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._may_publish = may_publish
        self._hub = hub
        self._broker = broker
        self._config = config
        # Subscriptions that wait for the broker; the newest where a channel is asked for twice.
        self._following: dict[tuple[Session, str], Future[Stream]] = {}

    def receive(self, session: Session, codec: Codec, message: str | bytes) -> None:
        """Obey the command that message holds, or tell the client what is wrong with it."""
        allowance = session.allowance
        if allowance is None:
            allowance = session.allowance = Allowance(self._config)
        wait_s = allowance.take(len(message), self._clock())
        try:
            command = codec.decode_command(message)
            session.error_count = 0
        except MessageError as error:
            self._refuse_malformed(session, error)
            return
        try:
            if wait_s:
                self._refuse_hasty(session, allowance, wait_s)
            else:
                HANDLERS[type(command)](self, session, codec, command)
        except MessageError as error:
            error.command_id = command.id
            self._refuse(session, error)

    # --- one method per command ---

    def auth(self, session: Session, codec: Codec, command: Auth) -> None:
        """Refuse: there is no token authentication."""
        raise MessageError(ErrorCode.UNSUPPORTED, "this gateway has no token authentication")

    def subscribe(self, session: Session, codec: Codec, command: Subscribe) -> None:
        """Reply `subscribed`, then have the hub give what was missed and what comes."""
        check_channel(command.channel)
        start = _start_of(command)
        self._check_room(session, command.channel)

        def subscribed(stream: Stream) -> None:
            if session not in self._hub.sessions:
                self._hub.release(stream.name)
                return
            try:
                self._check_room(session, stream.name)  # others may have been on their way
                overflow = choose_overflow(stream.config, command.overflow)
            except MessageError:
                self._hub.release(stream.name)
                raise
            reply, gap = self._hub.subscribe(session, stream, start, overflow)
            self._reply(session, command, reply)
            if gap is not None:
                session.push(gap)
            self._hub.start(session)

        followed = self._hub.follow(command.channel)
        if not followed.done():
            key = session, command.channel
            self._following[key] = followed
            followed.add_done_callback(partial(self._end_following, key))
        self._when_done(followed, session, command, subscribed)

    def unsubscribe(self, session: Session, codec: Codec, command: Unsubscribe) -> None:
        """Reply `unsubscribed`, after a subscribe on its way; nothing of that channel follows."""

        def unsubscribe(_: Stream | None) -> None:
            if command.channel not in session.subscriptions:
                text = f"not subscribed to {command.channel[:MAX_CHANNEL_BYTES]!r}"
                raise MessageError(ErrorCode.NOT_SUBSCRIBED, text)
            self._hub.unsubscribe(session, command.channel)
            self._reply(session, command, Unsubscribed(channel=command.channel))

        following = self._following.get((session, command.channel))
        if following is None:
            unsubscribe(None)
        else:
            self._when_done(following, session, command, unsubscribe)

    def publish(self, session: Session, codec: Codec, command: Publish) -> None:
        """Append to the channel and reply `published`."""
        if not self._may_publish:
            text = "publishing needs the API key: use POST /publish"
            raise MessageError(ErrorCode.UNAUTHORIZED, text)
        check_channel(command.channel)
        draft = Draft(
            codec.decode_data(command.data),
            command.key,
            command.tags,
            command.idempotency_key,
            command.expected_offset,
            None if command.echo else session.id,
        )

        def published(places: list[Position]) -> None:
            ((epoch, offset),) = places
            reply = Published(channel=command.channel, epoch=epoch, offset=offset)
            self._reply(session, command, reply)

        publishing = self._broker.publish(command.channel, [draft])
        self._when_done(publishing, session, command, published)

    def history(self, session: Session, codec: Codec, command: History) -> None:
        """Reply with a page of what the channel retains."""
        check_channel(command.channel)
        position = None
        if command.cursor is not None:
            position = position_in(command.cursor, command.channel)
        if command.id is None:
            return  # whoever wants no reply wants no work done, either

        def read(page: Page) -> None:
            self._reply(session, command, history_page(codec, command.channel, page))

        reading = self._broker.history(
            command.channel,
            position,
            limit=command.limit,
            max_bytes=HISTORY_BYTES,
            is_reverse=command.reverse,
        )
        # A page may be a megabyte: many that wait together would be written together.
        self._when_done(reading, session, command, read, weight=self._config.max_pending)

    def presence(self, session: Session, codec: Codec, command: Presence) -> None:
        """Reply with who is subscribed to the channel."""
        check_channel(command.channel)
        if command.id is None:
            return
        page = presence_page(self._hub, command.channel, limit=command.limit, cursor=command.cursor)
        self._reply(session, command, page)

    def ping(self, session: Session, codec: Codec, command: Ping) -> None:
        """Reply `pong`."""
        self._reply(session, command, Pong())

    # --- outcomes ---

    def _end_following(self, key: tuple[Session, str], followed: "Future[Stream]") -> None:
        if self._following.get(key) is followed:
            del self._following[key]

    def _refuse_malformed(self, session: Session, error: MessageError) -> None:
        self._refuse(session, error)
        session.error_count += 1
        if session.error_count > self._config.max_errors:
            session.transport.disconnect(
                Disconnect.TOO_MANY_ERRORS,
                f"more than {self._config.max_errors} malformed commands in a row",
            )

    def _refuse_hasty(self, session: Session, allowance: Allowance, wait_s: float) -> None:
        """Raise MessageError for a command above the rates, or end the session of many."""
        if allowance.refused_count > self._config.max_rate_errors:
            text = f"more than {self._config.max_rate_errors} commands above the rate"
            session.transport.disconnect(
                Disconnect.RATE_LIMITED, text, retry_after_ms=HASTY_RETRY_AFTER_MS
            )
            return
        text = "more commands, or bytes of them, than a session may send"
        retry_after_ms = ceil(wait_s * 1000)
        raise MessageError(ErrorCode.RATE_LIMITED, text, retry_after_ms=retry_after_ms)

    def _check_room(self, session: Session, channel: str) -> None:
        """Raise MessageError unless session may subscribe to channel."""
        if channel in session.subscriptions:
            raise MessageError(ErrorCode.ALREADY_SUBSCRIBED, f"already subscribed to {channel!r}")
        limit = self._config.max_subscriptions
        if len(session.subscriptions) >= limit:
            text = f"a session may have {limit} subscriptions"
            raise MessageError(ErrorCode.LIMIT_REACHED, text)

    def _when_done(
        self,
        future: "Future[T]",
        session: Session,
        command: Command,
        then: Callable[[T], None],
        *,
        weight: int = 1,
    ) -> None:
        """Call then with the result of future, in this turn if it is there; or refuse command.

        While it is not, command counts as weight of those that may wait.
        """

        if future.done():
            self._finish(future, session, command, then)
        else:
            self._finish_late(future, session, command, then, weight)

    def _finish(
        self, finished: "Future[T]", session: Session, command: Command, then: Callable[[T], None]
    ) -> None:
        try:
            then(finished.result())
        except MessageError as error:
            error.command_id = command.id
            self._refuse(session, error)
        except BrokerUnavailable as error:
            self._refuse(session, MessageError(ErrorCode.OVERLOADED, str(error), command.id))

    def _finish_late(
        self,
        future: "Future[T]",
        session: Session,
        command: Command,
        then: Callable[[T], None],
        weight: int,
    ) -> None:
        """Finish command once future is done, and read no further while too much waits."""
        allowance = session.allowance
        assert allowance is not None  # it came with the first command
        allowance.pending_count += weight
        if allowance.pending_count >= self._config.max_pending:
            session.transport.pause_reading()

        def finish(finished: "Future[T]") -> None:
            allowance.pending_count -= weight
            room = self._config.max_pending // 2 - allowance.pending_count
            if 0 <= room < weight:  # not before, and not for each of the others
                session.transport.resume_reading()
            self._finish(finished, session, command, then)

        future.add_done_callback(finish)

    def _reply(self, session: Session, command: Command, reply: Push) -> None:
        """Answer a command that has an id, unless its session has ended meanwhile."""
        if command.id is not None and session in self._hub.sessions:
            session.push(msgspec.structs.replace(reply, id=command.id))

    def _refuse(self, session: Session, error: MessageError) -> None:
        session.push(error_push(error))


# mypy cannot see that each handler gets the type it stands under, hence Any.
HANDLERS: Final[dict[type[Command], Callable[[Commands, Session, Codec, Any], None]]] = {
    Auth: Commands.auth,
    Subscribe: Commands.subscribe,
    Unsubscribe: Commands.unsubscribe,
    Publish: Commands.publish,
    History: Commands.history,
    Presence: Commands.presence,
    Ping: Commands.ping,
}


def position_in(cursor: str, channel: str) -> Position:
    """Return the position in channel that cursor holds; raise MessageError where it has none."""
    try:
        return decode_cursor(cursor)[channel]
    except KeyError:
        text = f"invalid cursor: it holds no position in channel {channel!r}"
        raise MessageError(ErrorCode.INVALID_CURSOR, text) from None


def history_page(codec: Codec, channel: str, page: Page) -> HistoryPage:
    """Return page of channel as the reply that codec will encode."""
    epoch = page.position.epoch
    return HistoryPage(
        channel=channel,
        epoch=epoch,
        publications=[codec.record(each) for each in page.publications],
        cursor=encode_cursor({channel: page.position}),
        gap=None if page.missing is None else gap_push(channel, epoch, page.missing),
        more=page.has_more,
    )


def presence_page(hub: Hub, channel: str, *, limit: int, cursor: str | None) -> PresencePage:
    """Return how many are subscribed to channel on this node, and up to limit of them."""
    return hub.presence.page(channel, hub.channels.get(channel), limit=limit, cursor=cursor)


def _start_of(command: Subscribe) -> Start:
    """Return where a subscription is to begin; raise MessageError for contradicting fields."""
    has_epoch, has_offset = command.epoch is not None, command.offset is not None
    if has_epoch is not has_offset:
        raise MessageError(ErrorCode.INVALID_FIELD, "subscribe: epoch and offset go together")
    if (command.cursor is not None) + has_epoch + (command.history is not None) > 1:
        text = "subscribe: give one of cursor, epoch with offset, or history"
        raise MessageError(ErrorCode.INVALID_FIELD, text)
    if command.cursor is not None:
        return position_in(command.cursor, command.channel)
    if command.epoch is not None and command.offset is not None:
        return Position(command.epoch, command.offset)
    return command.history
