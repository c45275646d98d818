"""The broker of a single node that keeps its channels in a folder: epochs, history, keys.

Durability, exactly. publish() is answered, and subscribers, history and polls see a publication,
once the commit that holds it has succeeded. With fsync `always` that commit has been written
through to the disk: it survives the loss of power. With `interval` it survives the end of this
process, `kill -9` included; the loss of power takes at most what was committed within the last
fsync_interval_s (and the time one write-through takes), always the newest, and then every channel
has a new epoch. What is not answered may be there after a crash or not, a batch as a whole or not
at all. No offset that anybody has seen is ever given to other data in the same epoch.

Channels are read from the disk when they are used and let go from memory when they no longer are;
the calls for one that is being read wait in line. What the disk keeps of a channel that retains
nothing are its epoch and last offset, so that a client that returns after months is told exactly.
"""

import asyncio
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from gateway.broker import Deliver, Draft
from gateway.brokers.database import Database, Kept
from gateway.brokers.deadlines import LOOK_AGAIN_S, STREAMS_PER_CALL, Deadlines
from gateway.brokers.pending import Log, Publishing, Waiting, group, measure
from gateway.brokers.room import check_room, log_metrics
from gateway.brokers.sequence import NO_KEYS, IdempotencyKeys, sequence
from gateway.brokers.writer import Round, Writer
from gateway.clock import steady_time
from gateway.config import BrokerConfig, ChannelsConfig
from gateway.errors import BrokerUnavailable
from gateway.metrics import Metric
from gateway.stream import LogMemory, Page, Stream
from protocol.codes import ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError

T = TypeVar("T")

# One commit, and one turn of the loop afterwards: some dozen milliseconds at most.
_ROUND_BYTES: Final = 4 * 1024 * 1024
_ROUND_READS: Final = 50  # channels, each with all that it retains


class DurableBroker:
    """All channels of one node; all but the waiting for the disk happens in the loop.

    open_database is called in the thread that waits, instead of opening what config says.
    """

    _loop: AbstractEventLoop

    def __init__(
        self,
        channels: ChannelsConfig,
        config: BrokerConfig,
        *,
        clock: Callable[[], float] = steady_time,
        open_database: Callable[[], Database] | None = None,
    ) -> None:
        self._channels = channels
        self._config = config
        self._clock = clock
        self._logs: dict[str, Log] = {}
        self._deadlines = Deadlines()
        self._memory = LogMemory()
        self._deliver: Deliver | None = None
        self.publication_count = 0
        if open_database is None:
            open_database = partial(Database, config, max_channels=channels.max_channels)
        self._writer = Writer(open_database, config, clock, self._see_round)
        self._pending_bytes = 0
        # What the next rounds read and write; the one that is on its way, which calls of publish it
        # answers, and who waits for all of them to be over.
        self._unread: deque[Log] = deque()
        self._unwritten: deque[Publishing] = deque()
        self._writing: list[Publishing] = []
        self._is_busy = self._is_scheduled = False
        self._stopping: Future[None] | None = None

    @property
    def channel_count(self) -> int:
        """How many channels are in memory."""
        return len(self._logs)

    @property
    def log_bytes(self) -> int:
        """How many bytes all logs take in memory, of at most max_log_bytes."""
        return self._memory.used_bytes

    @property
    def metrics(self) -> list[Metric]:
        """What an operator may want to know of it."""
        writer = self._writer
        return [
            *log_metrics(self.publication_count, self.channel_count, self._memory.used_bytes),
            Metric("gateway_commits_total", "counter", "Commits to disk", writer.commit_count),
            Metric("gateway_commit_seconds_total", "counter", "Time they took", writer.commit_s),
            Metric(
                "gateway_pending_bytes",
                "gauge",
                "What waits to be committed",
                self._pending_bytes,
            ),
            Metric("gateway_data_bytes", "gauge", "Size of the data file", writer.file_bytes),
        ]

    async def start(self, deliver: Deliver) -> None:
        """Open the file in the folder; raises GatewayError that says why where it cannot be."""
        self._loop = get_running_loop()
        self._deliver = deliver
        await self._writer.start()

    async def stop(self) -> None:
        """Refuse what comes, answer what is pending, and leave the file as after a clean end."""
        if self._stopping is None:
            self._stopping = self._loop.create_future()
            self._hand_over()
        await asyncio.shield(self._stopping)
        await self._writer.stop()
        self._logs.clear()
        self._deadlines.clear()
        self._memory = LogMemory()

    # --- the interface ---

    def follow(self, channel: str) -> "Future[Stream]":
        """Return the stream of channel, marked as followed up to its end, once it is read."""
        return self._when_read(channel, self._follow)

    def unfollow(self, channel: str) -> None:
        """Let channel go from memory after a while, unless it is used again before."""
        log = self._logs.get(channel)
        if log is None:
            return
        if log.waiting is None:
            self._unfollow(log)
        else:
            log.waiting.append(Waiting(self._unfollow, lambda _: None))

    def publish(self, channel: str, drafts: Sequence[Draft]) -> "Future[list[Position]]":
        """Append drafts to channel and return their places, once they are committed."""
        future: Future[list[Position]] = self._loop.create_future()
        size_bytes = measure(drafts)
        try:
            log = self._open(channel)
            if self._pending_bytes and (
                self._pending_bytes + size_bytes > self._config.max_pending_bytes
            ):
                text = f"{self._pending_bytes} bytes wait for the disk, as many as may"
                raise MessageError(ErrorCode.OVERLOADED, text)
        except (MessageError, BrokerUnavailable) as error:
            future.set_exception(error)
            return future
        self._pending_bytes += size_bytes
        publishing = Publishing(drafts, future, size_bytes)
        if log.waiting is None:
            self._sequence(publishing, log)
        else:
            go_on = partial(self._sequence, publishing)
            log.waiting.append(Waiting(go_on, partial(self._settle, publishing)))
        return future

    def history(
        self,
        channel: str,
        position: Position | None,
        *,
        limit: int,
        max_bytes: int,
        is_reverse: bool,
    ) -> "Future[Page]":
        """Return a page of what channel retains, once it is read."""

        def page(log: Log) -> Page:
            log.stream.used = self._clock()
            return log.stream.page(
                position, limit=limit, max_bytes=max_bytes, is_reverse=is_reverse
            )

        return self._when_read(channel, page)

    def forget_unused(self) -> bool:
        """Drop what has expired, and let go what is unused; return whether more is due.

        Called about once a second, and again in the next turn while more is due.
        """
        now = self._clock()
        for stream in self._deadlines.take_due(now, STREAMS_PER_CALL):
            stream.trim()
            log = self._logs[stream.name]
            if log.keys is not None:
                log.keys.expire(now)
            is_in_use = stream.delivered is not None or log.pending_count
            due = (now if is_in_use else stream.used) + self._channels.forget_after_s
            if not is_in_use and due <= now:
                self._let_go(stream)
                continue
            if not stream.is_empty:
                due = min(due, stream.expires)
            self._deadlines.book(stream, max(due, now + LOOK_AGAIN_S))
        return self._deadlines.has_due(now)

    # --- calls, once their channel is read ---

    def _when_read(self, channel: str, act: Callable[[Log], T]) -> "Future[T]":
        """Return what act makes of the log of channel."""
        future: Future[T] = self._loop.create_future()
        try:
            log = self._open(channel)
        except (MessageError, BrokerUnavailable) as error:
            future.set_exception(error)
            return future
        if log.waiting is None:
            future.set_result(act(log))
            return future

        def go_on(log: Log) -> None:
            result = act(log)
            if not future.done():
                future.set_result(result)

        def fail(error: BrokerUnavailable) -> None:
            if not future.done():
                future.set_exception(error)

        log.waiting.append(Waiting(go_on, fail))
        return future

    def _open(self, channel: str) -> Log:
        """Return the log of channel; where it is not in memory have it read."""
        if self._stopping is not None:
            raise BrokerUnavailable("the broker has stopped")
        log = self._logs.get(channel)
        if log is None:
            limit = self._channels.max_channels
            if len(self._logs) >= limit:
                text = f"this node holds {limit} channels, as many as it may"
                raise MessageError(ErrorCode.OVERLOADED, text)
            if self._memory.used_bytes >= self._channels.max_log_bytes:
                text = (
                    f"all logs in memory hold {self._memory.used_bytes} bytes, as many as they may"
                )
                raise MessageError(ErrorCode.OVERLOADED, text)
            log = self._logs[channel] = Log(channel)
            self._unread.append(log)
            self._schedule()
        return log

    def _follow(self, log: Log) -> Stream:
        if log.stream.delivered is None:
            log.stream.delivered = log.stream.last
        return log.stream

    def _unfollow(self, log: Log) -> None:
        log.stream.delivered = None
        log.stream.used = self._clock()
        log.stream.trim()
        self._forget_if_new(log)

    def _forget_if_new(self, log: Log) -> None:
        """Let a channel go that was only looked at, or readers of nothing could fill the memory."""
        if not log.sequenced and log.stream.delivered is None and log.waiting is None:
            self._let_go(log.stream)

    def _let_go(self, stream: Stream) -> None:
        """Have the disk alone keep a channel, until it is used again."""
        self._deadlines.cancel(stream)
        self._logs.pop(stream.name).clear()

    def _sequence(self, publishing: Publishing, log: Log) -> None:
        """Give drafts their offsets, and have them written."""
        stream = log.stream
        now = max(self._clock(), log.newest)
        keys = log.keys or NO_KEYS
        try:
            publications, publishing.places, used = sequence(
                publishing.drafts, stream.epoch, log.sequenced, now, keys, stream.config
            )
            if publications:
                check_room(stream, self._memory, self._channels)
        except MessageError as error:
            self._settle(publishing, error)
            return
        if not publications and not log.pending_count:
            self._settle(publishing)
            return
        publishing.log = log
        publishing.publications = publications
        log.sequenced += len(publications)
        log.pending_count += 1
        log.newest = now
        if used:
            publishing.used, publishing.expires = used, now + stream.config.idempotency_window_s
            self._keys_of(log).remember(used, publishing.expires)
        self._unwritten.append(publishing)
        self._schedule()

    def _settle(self, publishing: Publishing, error: Exception | None = None) -> None:
        """Answer one call of publish."""
        self._pending_bytes -= publishing.size_bytes
        if publishing.future.done():  # cancelled: nobody waits for the answer
            return
        if error is None:
            publishing.future.set_result(publishing.places)
        else:
            publishing.future.set_exception(error)

    # --- rounds to the disk ---

    def _schedule(self) -> None:
        """Have a round begin at the end of this turn, with all that comes until then."""
        if not self._is_busy and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._is_scheduled = False
        if self._is_busy:
            return
        size_bytes = 0
        while self._unwritten and size_bytes < _ROUND_BYTES:
            publishing = self._unwritten.popleft()
            size_bytes += publishing.size_bytes
            self._writing.append(publishing)
        unread = [self._unread.popleft() for _ in range(min(len(self._unread), _ROUND_READS))]
        if unread or self._writing:
            self._is_busy = True
            self._writer.submit(Round([log.name for log in unread], group(self._writing)))
        elif self._stopping is not None and not self._stopping.done():
            self._stopping.set_result(None)

    def _see_round(self, round_: Round) -> None:
        """Take in what was read and what was written, and begin the next round."""
        self._is_busy = False
        written, self._writing = self._writing, []
        if round_.error is None:
            for publishing in written:
                self._append(publishing)
        else:
            self._give_up([*written, *self._unwritten], round_.error)
            self._unwritten.clear()
        for name, kept in round_.kept.items():
            self._see_kept(self._logs[name], kept)
        self._hand_over()

    def _append(self, publishing: Publishing) -> None:
        log = publishing.log
        stream = log.stream
        log.pending_count -= 1
        if stream.is_empty and publishing.publications:
            self._deadlines.book(stream, self._clock() + stream.config.history_age_s)
        for publication in publishing.publications:
            stream.append(publication)
        self.publication_count += len(publishing.publications)
        self._settle(publishing)
        if publishing.publications and stream.delivered is not None and self._deliver is not None:
            self._deliver(stream)

    def _give_up(self, failed: Iterable[Publishing], error: BrokerUnavailable) -> None:
        """Take back all offsets and keys that were given and not committed.

        Those of other rounds too: they count on what has failed.
        """
        for publishing in failed:
            log = publishing.log
            log.pending_count -= 1
            log.sequenced = log.stream.last
            if log.keys is not None:
                log.keys.forget(publishing.used)
            self._settle(publishing, BrokerUnavailable("the log cannot be written now"))

    def _see_kept(self, log: Log, kept: Kept | BrokerUnavailable) -> None:
        """Let the calls go on that wait for log."""
        waiting = log.waiting or []
        if isinstance(kept, BrokerUnavailable):
            del self._logs[log.name]
            for each in waiting:
                each.fail(BrokerUnavailable("the log cannot be read now"))
            return
        config = self._channels.find(log.name)
        log.fill(kept, Stream(log.name, kept.epoch, config, self._clock, self._memory))
        for key, offset, expires in kept.keys:
            self._keys_of(log).remember({key: offset}, expires)
        self._deadlines.book(log.stream, self._clock() + LOOK_AGAIN_S)
        for each in waiting:
            each.go_on(log)
        log.waiting = None
        self._forget_if_new(log)

    def _keys_of(self, log: Log) -> IdempotencyKeys:
        if log.keys is None:
            log.keys = IdempotencyKeys(self._memory)
        return log.keys
