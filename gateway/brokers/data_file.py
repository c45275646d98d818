"""Opens the file of the durable broker: one node at a time, and with new epochs after a loss.

What was published under fsync `interval` may be lost with the power after it was seen, and its
offsets would be given to other data. So where the last run did not end cleanly, and the machine has
been started since, every channel begins a new epoch, which its clients are told as a gap.
"""

import os
import secrets
import sqlite3
from pathlib import Path
from typing import Final

from gateway.config import BrokerConfig
from gateway.errors import GatewayError

# 48 random bits: two lifetimes share an epoch once in 2^48, and a cursor stays short.
EPOCH_BYTES: Final = 6
FILE_NAME: Final = "gateway.db"
# So that neither a stranger's database nor a later version's is taken for ours: "RTGW".
_APPLICATION_ID: Final = 0x52544757
_SCHEMA_VERSION: Final = 1
# 16 MB of write-ahead log, then it is written back and used again: pages that change with every
# commit are written back once in a thousand, and it takes some dozen milliseconds.
_CHECKPOINT_PAGES: Final = 4000
_BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")

_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
-- One row. epoch is that of channels without a row; sync_count is there to be changed; the others
-- say how the last run ended.
CREATE TABLE node (
    epoch TEXT NOT NULL,
    fsync TEXT,
    boot_id TEXT,
    is_clean INTEGER NOT NULL,
    sync_count INTEGER NOT NULL
);
-- Every channel that was ever published to, and the offset of its last publication.
CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    last INTEGER NOT NULL
);
-- Publications that follow one another and were committed together; last is the last one's offset.
CREATE TABLE runs (
    channel INTEGER NOT NULL,
    last INTEGER NOT NULL,
    expires REAL NOT NULL,
    publications BLOB NOT NULL
);
CREATE INDEX runs_by_channel ON runs (channel, last);
CREATE INDEX runs_by_expiry ON runs (expires);
CREATE TABLE keys (
    channel INTEGER NOT NULL,
    key TEXT NOT NULL,
    "offset" INTEGER NOT NULL,
    expires REAL NOT NULL
);
CREATE INDEX keys_by_channel ON keys (channel);
CREATE INDEX keys_by_expiry ON keys (expires);
COMMIT;
"""


def open_file(config: BrokerConfig, boot_id: str | None) -> sqlite3.Connection:
    """Return a connection that has the file for itself, with `synchronous = FULL` to begin with.

    boot_id tells one start of the machine from another; without one a crash of the process counts
    as one of the machine. Raises GatewayError that says what to do where the folder or the file
    cannot be used.
    """
    if config.data is None:
        raise GatewayError("there is no data folder; see broker.data")
    folder = Path(config.data)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(folder / FILE_NAME, timeout=0, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise GatewayError(_explain(folder, error)) from None
    try:
        is_new = _check(connection, folder)
        _lock(connection, folder)
        _limit(connection, config)
        if is_new:
            connection.executescript(_SCHEMA)
        _begin_run(connection, config, boot_id)
        _sync_folder(folder)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise GatewayError(_explain(folder, error)) from None
    except GatewayError:
        connection.close()
        raise
    return connection


def read_boot_id() -> str | None:
    """Return what tells one start of this machine from another; None where nothing does."""
    try:
        return _BOOT_ID_FILE.read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        return None


def new_epoch() -> str:
    """Return an epoch that no channel has had."""
    return secrets.token_urlsafe(EPOCH_BYTES)


def read_pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return a number that SQLite tells of its file."""
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _check(connection: sqlite3.Connection, folder: Path) -> bool:
    """Return whether the file is new; raise GatewayError where it is not ours, unchanged."""
    if connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is None:
        return True
    if read_pragma(connection, "application_id") != _APPLICATION_ID:
        raise GatewayError(f"{folder / FILE_NAME} is not a gateway's; choose another folder")
    version = read_pragma(connection, "user_version")
    if version > _SCHEMA_VERSION:
        text = f"{folder / FILE_NAME} was written by a later version of the gateway"
        raise GatewayError(f"{text} (schema {version}); this one reads up to {_SCHEMA_VERSION}")
    return False


def _lock(connection: sqlite3.Connection, folder: Path) -> None:
    """Lock the file until the process ends, however it ends.

    Nobody can even read it meanwhile: a reader would keep the write-ahead log from being written
    back.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        text = "its file system cannot hold a write-ahead log; choose a local one"
        raise GatewayError(f"the data folder {folder} cannot be used: {text}")


def _limit(connection: sqlite3.Connection, config: BrokerConfig) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    # Without these macOS does not flush the disk's own cache; elsewhere they do nothing.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    page_count = config.max_data_bytes // read_pragma(connection, "page_size")
    connection.execute(f"PRAGMA max_page_count = {page_count}")


def _begin_run(connection: sqlite3.Connection, config: BrokerConfig, boot_id: str | None) -> None:
    """Take the file into use, on disk before anything else is."""
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    row = execute("SELECT fsync, boot_id, is_clean FROM node").fetchone()
    if row is None:
        execute("INSERT INTO node VALUES (?, NULL, NULL, 0, 0)", (new_epoch(),))
    elif not row[2] and row[0] == "interval" and (boot_id is None or row[1] != boot_id):
        epoch = new_epoch()
        execute("UPDATE node SET epoch = ?", (epoch,))
        execute("UPDATE channels SET epoch = ?", (epoch,))
    execute("UPDATE node SET fsync = ?, boot_id = ?, is_clean = 0", (config.fsync, boot_id))
    execute("COMMIT")


def _sync_folder(folder: Path) -> None:
    """Have folder's own entry on disk; SQLite sees to what is in it."""
    if os.name == "posix":
        descriptor = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _explain(folder: Path, error: Exception) -> str:
    """Return what is wrong with folder and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is for specialists
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        text = "is in use; stop the node that uses it, or give this one a folder of its own"
        return f"the data folder {folder} {text}"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        text = "restore a copy, or move it away to begin without history"
        return f"{folder / FILE_NAME} is damaged ({error}); {text}"
    if isinstance(error, FileExistsError):
        return f"the data folder {folder} is a file; name a folder, which may be a new one"
    return f"the data folder {folder} cannot be used: {error}"
