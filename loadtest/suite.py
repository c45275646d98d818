"""Say in half a minute how fast the gateway is on this machine: a few scenarios, one table.

The gateway is started anew for each, on one core, and the load comes from another.
"""

import argparse
import asyncio
from collections.abc import Iterator
from typing import Final

from loadtest.compare.machine import describe_machine, find_cpus
from loadtest.compare.rounds import Rounds, Terms, stay_on
from loadtest.compare.works import WORKS, Contestant, Work
from loadtest.errors import LoadError
from loadtest.options import read_number
from loadtest.report import output
from loadtest.report.quantity import format_quantity
from loadtest.report.table import align
from loadtest.result import Result, is_percentile

EXAMPLES: Final = """\
examples:
  gateway bench
  python -m loadtest suite --seconds 10 --html bench.html
"""

_COMMAND: Final = Work(
    "command",
    "request and reply, 100 clients",
    "command",
    {"clients": 100, "in_flight": 1},
    {"clients": 5},
    (Contestant("gateway"),),
    measures=(),
)
_WORKS: Final = (*(WORKS[name] for name in ("fanout", "fanout-64", "connect", "memory")), _COMMAND)

# The columns of the table: each the name of a figure, and what stands above it.
_COLUMNS: Final = {
    "rate": "rate",
    "server CPU per event": "CPU each",
    "p50": "p50",
    "p99": "p99",
    "memory per connection": "memory each",
}
_UNITS: Final = {name: "us" for name in _COLUMNS if is_percentile(name)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to parser."""
    add = parser.add_argument
    add("--seconds", type=read_number, default=3.0, help="of each; default: %(default)s")
    add("--quick", action="store_true", help="a smoke run, whose figures mean nothing")
    output.add_arguments(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Run all, print the table, and return 1 where something was not as promised, else 0."""
    server_cpus, load_cpus = find_cpus()
    terms = Terms(
        server_cpus, load_cpus, rounds=1, seconds=arguments.seconds, is_quick=arguments.quick
    )
    results: dict[str, Result] = {}
    is_interrupted = False
    try:
        with stay_on(load_cpus):
            for work in _WORKS:
                results[work.title] = await _measure(work, terms)
    except asyncio.CancelledError:
        is_interrupted = True
    print(describe_machine(server_cpus, load_cpus))
    print("\n".join(_format(results)))
    output.write([*results.values()], arguments)
    return 130 if is_interrupted else int(any(each.fault_count for each in results.values()))


async def _measure(work: Work, terms: Terms) -> Result:
    """Return what the gateway did of work; raise LoadError where it could not."""
    rounds = Rounds(work._replace(contestants=work.contestants[:1]), terms)
    await rounds.run()
    (entry,) = rounds.comparison().entries
    if entry.absence is not None:
        raise LoadError(f"{work.title}: {entry.absence}")
    return entry.runs[0]


def _format(results: dict[str, Result]) -> Iterator[str]:
    rows = [["", *_COLUMNS.values()]]
    for title, result in results.items():
        units = {figure.name: figure.unit for figure in result.figures} | _UNITS
        values = [(result.figure(name), units.get(name, "")) for name in _COLUMNS]
        rows.append([title, *(format_quantity(*each) if each[0] else "" for each in values)])
    yield from align(rows, indent="")
    for title, result in results.items():
        if result.fault_count:
            faults = ", ".join(f"{count:,} {name}" for name, count in result.faults.items())
            yield f"FAULTS of {title}: {faults}"
