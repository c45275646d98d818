"""What a worker is told to do: its share of a scenario."""

from typing import Any, TypeVar

import msgspec

_Options = TypeVar("_Options", bound=msgspec.Struct)


class Job(msgspec.Struct, frozen=True):
    """One worker's share of a run.

    worker is its number from 0 on, of workers in all. key is part of the names of channels, so that
    no two runs meet in one. options are the scenario's own, as its
    Options struct. dialect names what the target speaks. The workers of a run can agree through
    sockets, see loadtest/team.py: all but the first have leader_fd, and the first has the other
    ends in follower_fds. cpus are the cores to run on, empty for any.
    """

    scenario: str
    target: str
    dialect: str
    key: str
    seconds: float
    options: dict[str, Any]
    worker: int = 0
    workers: int = 1
    leader_fd: int | None = None
    follower_fds: list[int] = []
    cpus: list[int] = []

    def read_options(self, form: type[_Options]) -> _Options:
        """Return the options as form, a struct; raises msgspec.ValidationError for others."""
        return msgspec.convert(self.options, form)

    def share(self, total: int) -> range:
        """Return which of total things, numbered from 0 on, are this worker's."""
        return range(total * self.worker // self.workers, total * (self.worker + 1) // self.workers)


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """A worker tells that everything is open and it can begin."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """A worker tells that it has come to its end, and that its samples are complete."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A worker tells why it cannot go on."""

    reason: str
