"""Who is present in one channel, in an order in which pages can be read while members come and go.

Sessions stand in sorted blocks, by user where all sessions of a user are one member, then by id: a
place in that order stays a place whoever leaves, and one list entry is all that a session costs.
"""

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from itertools import chain
from typing import Final

from gateway.session import Session
from protocol.cursor import MemberKey

# Sessions of a block when it is made; at twice as many it is split. What an insertion moves then is
# a few KiB, and 100,000 sessions are 200 blocks to search.
BLOCK_COUNT: Final = 512
# Sessions of one user that are passed one by one; to go beyond more of them is a search.
NEARBY_COUNT: Final = 8
# Above every session id, which is ASCII.
_LAST: Final = "\x7f"


class Roster:
    """The sessions present in one channel; with is_by_user all those of one user are one member.

    A session without user is always a member of its own. count is how many members there are.
    """

    __slots__ = ("_blocks", "_key_of", "count", "is_by_user")

    def __init__(self, sessions: Iterable[Session], *, is_by_user: bool) -> None:
        self.is_by_user = is_by_user
        self._key_of = _key_by_user if is_by_user else _key_by_session
        ordered = sorted(sessions, key=self._key_of)
        starts = range(0, len(ordered), BLOCK_COUNT)
        self._blocks = [ordered[start : start + BLOCK_COUNT] for start in starts]  # none is empty
        self.count = len({*map(self.member_of, ordered)}) if is_by_user else len(ordered)

    def member_of(self, session: Session) -> Hashable:
        """Return what is the same for two sessions exactly if they are one member."""
        return (session.user if self.is_by_user else None) or session

    def sessions(self) -> list[Session]:
        """Return all sessions, in order."""
        return list(chain.from_iterable(self._blocks))

    def add(self, session: Session) -> bool:
        """Take in a session; return whether it brought a new member."""
        is_new = not self._has_user_of(session)
        self.count += is_new
        if not self._blocks:
            self._blocks.append([session])
            return is_new
        at, index = self._seek(self._key_of(session))
        if at == len(self._blocks):  # behind all others
            at, index = at - 1, len(self._blocks[-1])
        block = self._blocks[at]
        block.insert(index, session)
        if len(block) == 2 * BLOCK_COUNT:
            self._blocks[at : at + 1] = [block[:BLOCK_COUNT], block[BLOCK_COUNT:]]
        return is_new

    def remove(self, session: Session) -> bool:
        """Take out a session that is in; return whether its member is gone with it."""
        at, index = self._seek(self._key_of(session))
        del self._blocks[at][index]
        if not self._blocks[at]:
            del self._blocks[at]
        is_gone = not self._has_user_of(session)
        self.count -= is_gone
        return is_gone

    def read(self, after: MemberKey | None, limit: int) -> list[Session]:
        """Return one session for each of up to limit members, the first or those that follow after.

        A walk from page to page meets every member that is there all the time exactly once.
        """
        found: list[Session] = []
        at, index = (0, 0) if after is None else self._seek(_behind(after))
        while len(found) < limit and at < len(self._blocks):
            session = self._blocks[at][index]
            found.append(session)
            at, index = self._next(at, index, session)
        return found

    def key_of_member(self, session: Session) -> MemberKey:
        """Return the place of a session's member in the order, for read to go on after it."""
        user, id_ = self._key_of(session)
        return (user, "") if user else ("", id_)

    def _last_key_of(self, block: list[Session]) -> MemberKey:
        return self._key_of(block[-1])

    def _seek(self, key: MemberKey) -> tuple[int, int]:
        """Return the block, and the index in it, of the first session at key or behind it."""
        at = bisect_left(self._blocks, key, key=self._last_key_of)
        if at == len(self._blocks):
            return at, 0
        return at, bisect_left(self._blocks[at], key, key=self._key_of)

    def _next(self, at: int, index: int, session: Session) -> tuple[int, int]:
        """Return where the member behind session, which is at this place, begins."""
        for _ in range(NEARBY_COUNT):
            index += 1
            if index == len(self._blocks[at]):
                at, index = at + 1, 0
            if not self.is_by_user or not session.user or at == len(self._blocks):
                return at, index
            if self._blocks[at][index].user != session.user:
                return at, index
        return self._seek(_behind(self.key_of_member(session)))

    def _has_user_of(self, session: Session) -> bool:
        """Whether a session is in whose member is the user of session."""
        if not self.is_by_user or not session.user:
            return False
        at, index = self._seek((session.user, ""))
        return at < len(self._blocks) and self._blocks[at][index].user == session.user


def _key_by_session(session: Session) -> MemberKey:
    return "", session.id


def _key_by_user(session: Session) -> MemberKey:
    return session.user or "", session.id


def _behind(after: MemberKey) -> MemberKey:
    """Return a key between those of the member at after and those of the next."""
    user, session = after
    return (user, _LAST) if user else ("", session + "\0")
