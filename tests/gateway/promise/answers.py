"""Connections for one request that is answered as a whole: a poll, or something published."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from protocol.cursor import Position, decode_cursor, encode_cursor
from tests.gateway.promise.judge import Push, Told, live_end
from tests.gateway.promise.ledger import Ledger
from tests.gateway.promise.links import Connect, Link, check_published, value_in


class AnswerLink(Link):
    """A connection for one request, which is answered as a whole."""

    def parse(self) -> Iterator[Callable[[], None]]:
        length = int(self.head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        if len(self._partial) == length:
            answer, self._partial = json.loads(self._partial), b""
            self.is_over = True
            yield self.judge_answer(answer)

    def judge_answer(self, answer: Any) -> Callable[[], None]:
        """Judge the answer; return what the client does when it has read it."""
        raise NotImplementedError


class PollLink(AnswerLink):
    """One poll."""

    def __init__(
        self,
        ledger: Ledger,
        connect: Connect,
        kernel_bytes: int,
        *,
        channels: list[str],
        start: dict[str, Position],
        timeout_s: int,
        overflow: str | None = None,
    ) -> None:
        super().__init__(ledger, connect, kernel_bytes)
        self.judge.is_late = True
        self._start = start
        self._overflow = overflow
        # What publications are older than the poll, by channel.
        self._ends = {name: live_end(each) for name, each in ledger.streams.items()}
        query = [("channel", each) for each in channels] + [("timeout", str(timeout_s))]
        query += [("cursor", encode_cursor(start))] if start else []
        query += [("overflow", overflow)] if overflow else []
        self.socket.send(f"GET /poll?{urlencode(query)} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())

    def judge_answer(self, answer: Any) -> Callable[[], None]:
        if self.status != 200:
            assert answer["code"] in ("overloaded", "shutting_down"), answer
            return lambda: None
        told = sorted(
            [*answer["gaps"], *answer["messages"]],
            key=lambda push: (push.get("from", push.get("offset")), push["type"] == "message"),
        )
        cursor = decode_cursor(answer["cursor"])
        for channel, end in cursor.items():
            pushes = [push for push in told if push["channel"] == channel]
            self._begin(channel, end, pushes)
            for push in pushes:
                if push["type"] == "gap":
                    self.judge.gap(push)
                else:
                    self.judge.message(push, value_in(push), b"")
        assert cursor == self.judge.positions(), "a cursor that is not what was told"
        assert answer["positions"] == {name: each._asdict() for name, each in cursor.items()}
        return self.learn(cursor)

    def _begin(self, channel: str, end: Position, pushes: list[Push]) -> None:
        """Take note of where a poll began, which only what it brought tells."""
        stream = self.judge.ledger.streams[channel]
        start, gap_due = self._start.get(channel), None
        first = pushes[0].get("from", pushes[0].get("offset")) if pushes else end.offset + 1
        reason = pushes[0].get("reason") if pushes else None
        if start is None:
            floor = self._ends.get(channel)
            assert floor is None or floor.epoch != end.epoch or first > floor.offset
            offset = first - 1
        elif reason == "epoch":
            assert start.epoch != end.epoch or start.offset > 0
            offset, gap_due = 0, "epoch"
        else:
            assert start.epoch == end.epoch, "a change of epoch that was not told"
            offset, gap_due = start.offset, reason
        overflow = self._overflow or stream.config.overflow
        self.judge.told[channel] = Told(end.epoch, offset, overflow, gap_due)


class PublisherLink(AnswerLink):
    """One POST /publish of some publications of several channels."""

    def __init__(
        self, ledger: Ledger, connect: Connect, kernel_bytes: int, *, requests: list[Push]
    ) -> None:
        super().__init__(ledger, connect, kernel_bytes)
        self._requests = requests
        body = b"[%b]" % b",".join(encode_request(each) for each in requests)
        head = f"POST /publish HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.send(head.encode() + body)

    def judge_answer(self, answer: Any) -> Callable[[], None]:
        if isinstance(answer, dict):
            assert answer["code"] in ("overloaded", "shutting_down"), answer
            return lambda: None
        assert len(answer) == len(self._requests)
        for request, place in zip(self._requests, answer, strict=True):
            if "code" in place:
                assert place["code"] in ("overloaded", "offset_conflict"), place
            else:
                check_published(self.judge, place, request)
        return lambda: None


def encode_request(request: Push) -> bytes:
    """Return a publication asked for, with its data verbatim."""
    fields = {name: each for name, each in request.items() if name != "raw"}
    return json.dumps(fields).encode()[:-1] + b', "data":' + request["raw"] + b"}"
