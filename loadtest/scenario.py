"""What a scenario is: a module that says what is loaded, how, and what the figures mean.

A scenario module has

- its first docstring line as the summary that help shows, and EXAMPLES, for the end of its help;
- Options, a frozen msgspec.Struct, and add_arguments(parser) with an option for each field, which
  may set another default for `seconds`;
- EVENTS, what its main counter counts ("deliveries");
- Share, what one worker does;
- figures(totals, options), the figures that only this scenario has;
- faults(totals, options), what must be 0 if everything came as promised, by name;
- HAS_DURATION, False where a run ends by itself, whatever --seconds would say;
- GATEWAY, the settings (environment of `gateway serve`) that a gateway for it is started with;
  None where its workers start gateways themselves: then OWN_GATEWAY is their target.
"""

import argparse
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from loadtest.histogram import Histogram
from loadtest.job import Job
from loadtest.recorder import Recorder
from loadtest.result import Figure

# The target of a run that has a gateway of its own.
OWN_GATEWAY: Final = "a gateway of its own"
# The settings of a gateway whose clients may send it as much as they like.
UNLIMITED: Final[Mapping[str, str]] = {
    "GATEWAY_SESSION__COMMANDS_PER_S": "0",
    "GATEWAY_SESSION__BYTES_PER_S": "0",
}


class ServerUse(NamedTuple):
    """What the server's process used: CPU seconds while opening and while measuring, and memory."""

    opening_cpu_s: float
    cpu_s: float
    before_rss_kib: int
    opened_rss_kib: int
    end_rss_kib: int
    peak_rss_kib: int  # since it was started


class Totals(NamedTuple):
    """What all workers together have counted and measured; server is None without its pid."""

    counts: dict[str, int]
    latency: Histogram
    elapsed_s: float
    server: ServerUse | None


class Share(Protocol):
    """One worker's share of a run. Errors are LoadError, which end the run."""

    def __init__(self, job: Job, recorder: Recorder) -> None: ...

    async def open(self) -> None:
        """Open everything that measuring needs."""

    async def run(self) -> None:
        """Measure for job.seconds, or until all is done; is cancelled when the run is to end."""

    async def close(self) -> None:
        """Close everything that was opened, also after a failure or in the middle of run()."""


class Scenario(Protocol):
    """What the attributes of a scenario module are; see above."""

    EXAMPLES: str
    EVENTS: str
    HAS_DURATION: bool
    GATEWAY: Mapping[str, str] | None

    @property
    def Options(self) -> type[msgspec.Struct]:
        """The scenario's own options, each a field with its default."""

    @property
    def Share(self) -> type[Share]:
        """What one worker does."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of this scenario to parser."""

    def figures(self, totals: Totals, options: Any) -> list[Figure]:
        """Return the figures that only this scenario has."""

    def faults(self, totals: Totals, options: Any) -> dict[str, int]:
        """Return what must be 0 if everything came as promised, by name."""
