"""Who is subscribed to a channel now: read in pages, and told to its subscribers by changes.

Where a channel's configuration asks for `joined` and `left`, the first change is told at the end of
its turn, encoded once per encoding. Then the channel rests, and what changes meanwhile is told
together: by names while they are few, else by the count alone. Every such push carries the count,
so that none depends on another, and nothing is kept for a session whose output is paused: it is
told the count when it goes on.

Polls are not members, and hear nothing: their sessions last for one answer.
"""

from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Final

from gateway.channel import Channel
from gateway.config import PresenceConfig
from gateway.roster import Roster
from gateway.session import EncodePush, Session
from protocol.codes import ErrorCode
from protocol.cursor import decode_member_cursor, encode_member_cursor
from protocol.errors import MessageError
from protocol.messages import Joined, Left, Member, PresencePage, Push

# Subscriptions above which a channel keeps its members in order, for some ten bytes each; up to
# there they are sorted for every question anew, which takes a millisecond.
SORTED_COUNT: Final = 500

CallSoon = Callable[[Callable[[], None]], object]
CallLater = Callable[[float, Callable[[], None]], object]


class News:
    """What the subscribers of one channel have not been told, and who of them is being told.

    changes are the members that came (True) or went (False), each with one of its sessions, and
    none of those that did both. has_more says that there were more than will be named, so that none
    are kept. was_read says that somebody may have met one of changes in an answer: it is then
    taken back by its opposite, not by silence.
    """

    __slots__ = (
        "_encoded",
        "_pushes",
        "changes",
        "channel",
        "delivery_count",
        "has_more",
        "is_busy",
        "roster",
        "waiting",
        "was_read",
    )

    def __init__(self, channel: Channel, roster: Roster) -> None:
        self.channel = channel
        self.roster = roster
        self.changes: dict[Hashable, tuple[Session, bool]] = {}
        self.has_more = False
        self.was_read = False
        self.is_busy = False  # waits for its turn, is being told, or rests
        self.waiting: list[Session] = []
        self.delivery_count = 0  # pushes to all who waited
        self._pushes: list[Push] = []
        self._encoded: dict[EncodePush, bytes] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.changes and not self.has_more

    def change(self, session: Session, has_come: bool, *, max_count: int) -> None:
        """Take note that the member of session came, or went."""
        member = self.roster.member_of(session)
        if member in self.changes and not self.was_read:
            del self.changes[member]
        elif not self.has_more:
            self.changes[member] = session, has_come
        if len(self.changes) > max_count:
            self.changes.clear()
            self.has_more = True

    def read(self) -> None:
        """Take note that somebody was told who is there, or how many."""
        self.was_read = not self.is_empty

    def begin(self, *, max_deliveries: int) -> None:
        """Have all who are there wait to be told what has changed, or only the count."""
        name, count = self.channel.stream.name, self.roster.count
        self.waiting = self.roster.sessions()
        if self.has_more or len(self.changes) * len(self.waiting) > max_deliveries:
            self._pushes = [PresencePage(channel=name, count=count)]
        else:
            self._pushes = [
                (Joined if has_come else Left)(
                    channel=name, count=count, session=session.id, user=session.user
                )
                for session, has_come in self.changes.values()
            ]
        self.delivery_count = len(self._pushes) * len(self.waiting)
        self._encoded.clear()
        self.changes.clear()
        self.has_more = self.was_read = False

    def give_up(self) -> None:
        """Tell nothing more: all have left, and who comes back is told of another channel."""
        self.waiting.clear()
        self.changes.clear()
        self.has_more = False

    def encode(self, encode_push: EncodePush) -> bytes:
        """Return what has changed in one encoding, made when it is first asked for."""
        data = self._encoded.get(encode_push)
        if data is None:
            data = self._encoded[encode_push] = b"".join(map(encode_push, self._pushes))
        return data


class Presence:
    """Who is subscribed to what on this node, for those who ask and those who want to be told."""

    def __init__(self, config: PresenceConfig, call_soon: CallSoon, call_later: CallLater) -> None:
        self._config = config
        self._call_soon = call_soon
        self._call_later = call_later
        self._rosters: dict[Channel, Roster] = {}
        self._news: dict[Channel, News] = {}
        # Channels by name whose counts paused sessions have to be told.
        self._missed: dict[Session, dict[str, Channel]] = {}
        self._due: deque[News] = deque()
        self._is_turn_scheduled = False

    # --- what the hub tells ---

    def joined(self, channel: Channel, session: Session) -> None:
        """Count in a session that has just been subscribed to channel."""
        roster = self._rosters.get(channel) or self._keep_roster(channel, without=session)
        if roster is None or not _is_member(session):
            return
        if roster.add(session):
            self._change(channel, session, has_come=True)

    def left(self, channel: Channel, session: Session) -> None:
        """Count out a session that has just ceased to be subscribed to channel."""
        if session in self._missed:
            self._missed[session].pop(channel.stream.name, None)
            if not self._missed[session]:
                del self._missed[session]
        roster = self._rosters.get(channel)
        if roster is None:
            return
        if _is_member(session) and roster.remove(session):
            self._change(channel, session, has_come=False)
        if channel.is_empty:
            del self._rosters[channel]
            if channel in self._news:
                self._news.pop(channel).give_up()

    def resumed(self, session: Session) -> None:
        """Tell a session that takes more again the counts of which it has missed changes."""
        missed = self._missed.get(session)
        while missed and not session.is_paused:
            name, channel = missed.popitem()
            self._news[channel].read()
            count = PresencePage(channel=name, count=self._rosters[channel].count)
            session.push(count)
        if missed is not None and not missed:
            del self._missed[session]

    # --- what clients ask ---

    def page(
        self, name: str, channel: Channel | None, *, limit: int, cursor: str | None
    ) -> PresencePage:
        """Return how many are in the channel of that name, and up to limit of those behind cursor.

        Raises MessageError (invalid_cursor) for a cursor that is none of that channel's.
        """
        after = None if cursor is None else decode_member_cursor(cursor)
        if channel is None:
            return PresencePage(channel=name, count=0, members=[] if limit else None)
        roster = self._rosters.get(channel) or self._keep_roster(channel) or _sort(channel)
        if after is not None and after[0] and not roster.is_by_user:
            text = f"invalid cursor: it holds a user, and the members of {name!r} are sessions"
            raise MessageError(ErrorCode.INVALID_CURSOR, text)
        if channel in self._news:
            self._news[channel].read()
        if not limit:
            return PresencePage(channel=name, count=roster.count)
        found = roster.read(after, limit + 1)
        sessions = found[:limit]
        has_more = len(found) > limit
        return PresencePage(
            channel=name,
            count=roster.count,
            members=[Member(each.id, each.user) for each in sessions],
            cursor=encode_member_cursor(roster.key_of_member(sessions[-1])) if has_more else None,
        )

    def _keep_roster(self, channel: Channel, without: Session | None = None) -> Roster | None:
        """Return a roster that is kept from now on, or None where the channel needs none."""
        has_news = channel.stream.config.joined_left
        if not has_news and channel.subscriber_count <= SORTED_COUNT:
            return None
        roster = self._rosters[channel] = _sort(channel, without)
        if has_news:
            self._news[channel] = News(channel, roster)
        return roster

    # --- the turn ---

    def _change(self, channel: Channel, session: Session, *, has_come: bool) -> None:
        news = self._news.get(channel)
        if news is None:
            return
        news.change(session, has_come, max_count=self._config.max_names)
        if not news.is_busy:
            self._make_due(news)

    def _make_due(self, news: News) -> None:
        news.is_busy = True
        self._due.append(news)
        self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._is_turn_scheduled:
            self._is_turn_scheduled = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        """Tell what is due, channel after channel, within the writes of a turn."""
        self._is_turn_scheduled = False
        budget = self._config.turn_writes
        try:
            while self._due and budget > 0:
                budget -= max(self._tell(self._due[0], budget), 1)
        finally:
            if self._due:
                self._schedule_turn()

    def _tell(self, news: News, budget: int) -> int:
        """Tell up to budget of those who wait; return how many that were."""
        if not news.waiting:
            if news.is_empty:  # whoever came has gone, or the other way round
                news.is_busy = False
                self._due.popleft()
                return 0
            news.begin(max_deliveries=self._config.max_deliveries)
        told = news.waiting[-budget:]
        del news.waiting[-budget:]
        if not news.waiting:
            self._due.popleft()
            self._call_later(self._rest_s(news), partial(self._rested, news))
        name = news.channel.stream.name
        for session in told:
            encode_push = session.transport.encode_push
            if encode_push is None or name not in session.subscriptions:
                continue
            if session.is_paused:
                self._missed.setdefault(session, {})[name] = news.channel
                continue
            # uvloop refuses to write between a socket's failure and its connection_lost, which then
            # removes the session.
            with suppress(RuntimeError):
                session.transport.write(news.encode(encode_push))
        return len(told)

    def _rest_s(self, news: News) -> float:
        """Return how long a channel rests, longer where so many were told that it costs much."""
        fraction = news.delivery_count / self._config.max_deliveries
        return self._config.interval_s * max(1.0, fraction)

    def _rested(self, news: News) -> None:
        news.is_busy = False
        if not news.is_empty:
            self._make_due(news)


def _is_member(session: Session) -> bool:
    return session.transport.encode_push is not None


def _sort(channel: Channel, without: Session | None = None) -> Roster:
    """Return who is in channel now, perhaps without one."""
    sessions = {each.session for each in channel if _is_member(each.session)} - {without}
    return Roster(sessions, is_by_user=channel.stream.config.presence == "user")
