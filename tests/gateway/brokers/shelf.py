"""A folder with the database of a durable broker in it, for tests.

A crash of the process is a copy of the files as they are; the loss of power is a copy whose
write-ahead log ends early, on a machine with another boot id.
"""

import os
import shutil

from gateway.brokers.data_file import FILE_NAME
from gateway.brokers.database import Database, Growth
from gateway.config import BrokerConfig
from protocol.publication import Data, Publication

NOW = 1_000_000.0
AGE_S = 100.0


def publications(first, last, *, time=NOW, size=1):
    return [Publication(each, Data(b"1" * size), time) for each in range(first, last + 1)]


def offsets(kept):
    return [each.offset for each in kept.publications]


class Shelf:
    """A folder, and the database that is open in it."""

    def __init__(self, folder, **config):
        self.folder = folder
        self.config = {"max_channels": 1000, "boot_id": "boot"} | {
            name: config.pop(name) for name in ("max_channels",) if name in config
        }
        self.broker = BrokerConfig(data=str(folder), **config)
        self.database = None

    def open(self, **changes):
        self.database = Database(self.broker, **(self.config | changes))
        return self.database

    def close(self):
        self.database.close()
        self.database = None

    def write(self, name, new, *, kept_from=1, age_s=AGE_S, keys=(), is_synced=False):
        """Append publications; return what was kept of the channel before."""
        kept = self.database.load(name, NOW)
        growth = Growth(
            kept.channel, name, kept.epoch, new[-1].offset, kept_from, age_s, new, list(keys)
        )
        self.database.commit([growth], is_synced=is_synced)
        return kept

    def load(self, name, now=NOW):
        return self.database.load(name, now)

    def crash(self, folder):
        """Return a shelf with the files as a crash would leave them now."""
        shutil.copytree(self.folder, folder)
        copy = Shelf(folder)
        copy.broker, copy.config = BrokerConfig(data=str(folder)), self.config
        return copy

    @property
    def log_bytes(self):
        return os.path.getsize(self.folder / f"{FILE_NAME}-wal")

    def lose_power(self, folder, log_bytes):
        """Return the same where only the first bytes of the log had reached the disk."""
        copy = self.crash(folder)
        os.truncate(folder / f"{FILE_NAME}-wal", log_bytes)
        copy.config = self.config | {"boot_id": "another boot"}
        return copy
