"""What the durable broker keeps: channels, retained publications and idempotency keys, in SQLite.

Nothing here knows an event loop; everything waits for the disk and belongs into one thread.

What a commit survives follows from SQLite's write-ahead log (sqlite.org/wal.html, and
sqlite.org/pragma.html for `synchronous`). A commit with is_synced has the log written through to
the disk before it returns, with all that was committed before it: it survives the loss of power,
as far as the disk keeps its word. One without is in the operating system's hands: it survives the
end of this process, and may be lost with the power until sync(). Either way a commit is there as a
whole or not at all, and no later one is there without it.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from gateway.brokers.data_file import FILE_NAME, new_epoch, open_file, read_boot_id, read_pragma
from gateway.config import BrokerConfig
from gateway.errors import BrokerUnavailable
from protocol.publication import Data, Publication

# A row of several publications is deleted when the last of them is, so it holds few; many more
# rows would cost more than their publications.
_ROW_BYTES: Final = 64 * 1024
_ROW_COUNT: Final = 1000


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One publication as it is kept in a row, without the names of its fields."""

    offset: int
    json: bytes
    is_binary: bool
    time: float
    key: str | None
    tags: dict[str, str] | None
    unechoed: str | None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[Row])


class Key(NamedTuple):
    """An idempotency key, the offset it was used for, and until when it is remembered."""

    key: str
    offset: int
    expires: float


class Growth(NamedTuple):
    """What one channel gains in one commit: publications up to last, oldest first, and keys.

    What is before kept_from need not be kept any more, nor any of publications after age_s;
    publications may lack those that need not be kept at all.
    """

    channel: int
    name: str
    epoch: str
    last: int
    kept_from: int
    age_s: float
    publications: list[Publication]
    keys: list[Key]


class Kept(NamedTuple):
    """What is kept of one channel: its place in the file, its end, and what is retained of it.

    publications has no holes and ends with last, if it is not empty; keys come oldest first.
    """

    channel: int
    epoch: str
    last: int
    publications: list[Publication]
    keys: list[Key]


class Database:
    """The open file of one folder; nobody else can open it meanwhile, not even to read.

    max_channels bounds the channels of which nothing is kept but the epoch and the last offset.
    """

    def __init__(
        self, config: BrokerConfig, *, max_channels: int, boot_id: str | None = None
    ) -> None:
        """Open or create the file; raises GatewayError as open_file() does."""
        self._connection = open_file(config, read_boot_id() if boot_id is None else boot_id)
        self._path = Path(config.data or "") / FILE_NAME
        self._opened = self._path.stat()
        self._is_syncing = True
        count = self._connection.execute("SELECT count(*), coalesce(max(id), 0) FROM channels")
        self._channel_count, self._newest_channel = count.fetchone()
        self._max_channels = max_channels
        self._looked_at = 0  # the last channel that was looked at for being forgotten

    @property
    def file_bytes(self) -> int:
        """How large the file is without its write-ahead log."""
        page_count = read_pragma(self._connection, "page_count")
        return page_count * read_pragma(self._connection, "page_size")

    # --- reading and writing ---

    def load(self, name: str, now: float) -> Kept:
        """Return what is kept of a channel; one without a row is empty and has the node's epoch.

        Raises BrokerUnavailable where the file cannot be read.
        """
        try:
            execute = self._connection.execute
            found = "SELECT id, epoch, last FROM channels WHERE name = ?"
            row = execute(found, (name,)).fetchone()
            if row is None:
                self._newest_channel += 1
                (epoch,) = execute("SELECT epoch FROM node").fetchone()
                return Kept(self._newest_channel, epoch, 0, [], [])
            channel, epoch, last = row
            publications = self._load_publications(channel, last, now)
            keys = execute(
                'SELECT key, "offset", expires FROM keys WHERE channel = ? AND expires > ?'
                " ORDER BY expires",
                (channel, now),
            )
            return Kept(channel, epoch, last, publications, [Key(*each) for each in keys])
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise BrokerUnavailable(f"cannot be read: {error}") from None

    def commit(self, growths: Iterable[Growth], *, is_synced: bool) -> None:
        """Have all of growths on disk, or nothing of them.

        Raises BrokerUnavailable where that fails; the same may succeed later.
        """
        self._check_place()
        try:
            self._set_synced(is_synced)
            self._connection.execute("BEGIN IMMEDIATE")
            new_count = sum(self._write(growth) for growth in growths)
            self._connection.execute("COMMIT")
            self._channel_count += new_count
        except sqlite3.Error as error:
            raise BrokerUnavailable(f"cannot be written: {error}") from None
        finally:
            self._roll_back()

    def sync(self) -> None:
        """Have all that was committed written through to the disk; raises BrokerUnavailable."""
        try:
            self._set_synced(True)
            # Any commit does it that changes something; SQLite leaves out one that does not.
            self._connection.execute("UPDATE node SET sync_count = sync_count + 1")
        except sqlite3.Error as error:
            raise BrokerUnavailable(f"cannot be written through: {error}") from None

    def sweep(self, now: float, limit: int) -> bool:
        """Delete what has expired, at most limit rows of each kind; return whether there is more.

        Raises BrokerUnavailable where that fails.
        """
        try:
            self._set_synced(False)
            self._connection.execute("BEGIN IMMEDIATE")
            counts = [self._delete_expired(table, now, limit) for table in ("runs", "keys")]
            forgotten_count = self._forget_channels(limit)
            self._connection.execute("COMMIT")
            self._channel_count -= forgotten_count
        except sqlite3.Error as error:
            raise BrokerUnavailable(f"cannot be tidied up: {error}") from None
        finally:
            self._roll_back()
        return max(*counts, forgotten_count) >= limit

    def close(self) -> None:
        """Leave one file, written through, that says that nothing was lost."""
        try:
            self._set_synced(True)
            self._connection.execute("UPDATE node SET is_clean = 1")
        except sqlite3.Error as error:
            raise BrokerUnavailable(f"cannot be written through: {error}") from None
        finally:
            self._connection.close()

    # --- the parts of reading and writing ---

    def _load_publications(self, channel: int, last: int, now: float) -> list[Publication]:
        """Return what has not expired and leads up to last without a hole, oldest first.

        There is a hole only where an older publication may be kept for longer than a newer one,
        because the configuration was changed in between.
        """
        runs: list[list[Row]] = []
        rows = self._connection.execute(
            "SELECT publications FROM runs WHERE channel = ? AND expires > ? ORDER BY last DESC",
            (channel, now),
        )
        end = last
        for (packed,) in rows:
            run = _DECODER.decode(packed)
            if run[-1].offset != end:
                break
            runs.append(run)
            end = run[0].offset - 1
        return [_unpack(row) for run in reversed(runs) for row in run]

    def _write(self, growth: Growth) -> int:
        """Write growth; return how many channels are new by it."""
        execute, channel, last = self._connection.execute, growth.channel, growth.last
        changed = execute("UPDATE channels SET last = ? WHERE id = ?", (last, channel)).rowcount
        if not changed:
            row = (channel, growth.name, growth.epoch, last)
            execute("INSERT INTO channels VALUES (?, ?, ?, ?)", row)
        for run in _split(growth.publications):
            expires = run[-1].time + growth.age_s
            execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?)",
                (channel, run[-1].offset, expires, _pack(run)),
            )
        execute("DELETE FROM runs WHERE channel = ? AND last < ?", (channel, growth.kept_from))
        if growth.keys:
            keys = [(channel, *each) for each in growth.keys]
            self._connection.executemany("INSERT INTO keys VALUES (?, ?, ?, ?)", keys)
        return 1 - changed

    def _delete_expired(self, table: str, now: float, limit: int) -> int:
        return self._connection.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE expires <= ?"
            " ORDER BY expires LIMIT ?)",
            (now, limit),
        ).rowcount

    def _forget_channels(self, limit: int) -> int:
        """Forget channels of which nothing is retained, while there are too many, in turn.

        Those that have no row then have an epoch that none of the forgotten ever had.
        """
        if self._channel_count <= self._max_channels:
            return 0
        execute = self._connection.execute
        chosen = "SELECT id FROM channels WHERE id > ? ORDER BY id LIMIT ?"
        ids = [id_ for (id_,) in execute(chosen, (self._looked_at, limit))]
        self._looked_at = ids[-1] if len(ids) == limit else 0
        if not ids:
            return 0
        forgotten = execute(
            "DELETE FROM channels WHERE id BETWEEN ? AND ?"
            " AND NOT EXISTS (SELECT 1 FROM runs WHERE channel = channels.id)"
            " AND NOT EXISTS (SELECT 1 FROM keys WHERE channel = channels.id)",
            (ids[0], ids[-1]),
        ).rowcount
        if forgotten:
            execute("UPDATE node SET epoch = ?", (new_epoch(),))
        return forgotten

    def _check_place(self) -> None:
        """Raise BrokerUnavailable where the next start would not find what is written now.

        Who removes the file or puts another in its place leaves us with one that nobody can open.
        """
        try:
            is_ours = os.path.samestat(self._path.stat(), self._opened)
        except OSError:
            is_ours = False
        if not is_ours:
            text = f"{self._path} was removed or replaced; restart the gateway"
            raise BrokerUnavailable(f"cannot be written: {text}")

    def _set_synced(self, is_synced: bool) -> None:
        """Have commits from now on written through, or not."""
        if is_synced != self._is_syncing:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
            self._is_syncing = is_synced

    def _roll_back(self) -> None:
        """Give up what was begun; does nothing after a commit."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _split(publications: list[Publication]) -> Iterator[list[Publication]]:
    """Yield publications in runs of at most _ROW_COUNT, each ended by what fills _ROW_BYTES."""
    run: list[Publication] = []
    size = 0
    for publication in publications:
        run.append(publication)
        size += len(publication.data.json)
        if size >= _ROW_BYTES or len(run) == _ROW_COUNT:
            yield run
            run, size = [], 0
    if run:
        yield run


def _pack(run: list[Publication]) -> bytes:
    return _ENCODER.encode(
        [
            (
                each.offset,
                each.data.json,
                each.data.is_binary,
                each.time,
                each.key,
                each.tags,
                each.unechoed,
            )
            for each in run
        ]
    )


def _unpack(row: Row) -> Publication:
    data = Data(row.json, row.is_binary)
    return Publication(row.offset, data, row.time, row.key, row.tags, row.unechoed)
