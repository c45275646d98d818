"""Compare this gateway with its peers: the same work in turns, as ratios.

The tool starts every server anew for each run, pins it to one core and the load to another, and
compares the best run of each. A peer that is not installed is left out, and named.
"""

import argparse
import asyncio
import os
from collections.abc import Iterator
from typing import Final

from loadtest.compare.machine import find_cpus
from loadtest.compare.rounds import Rounds, Terms, find_name, stay_on
from loadtest.compare.works import WORKS, Work
from loadtest.options import read_count, read_number
from loadtest.report import output
from loadtest.report.standing import format_goal
from loadtest.report.table import format_comparison
from loadtest.result import Comparison, Ratio

EXAMPLES: Final = """\
examples:
  python -m loadtest compare
      everything, which takes a quarter of an hour
  python -m loadtest compare fanout fanout-64 --rounds 5 --json ratios.json --html ratios.html
  python -m loadtest compare --quick
      whether everything works; its figures mean nothing
  python -m loadtest compare --list
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to parser."""
    server_cpus, load_cpus = find_cpus()
    add = parser.add_argument
    add(
        "works", nargs="*", type=_read_work, metavar="WORK", help="see --list; default: all of them"
    )
    add("--list", action="store_true", help="list the works with who takes part, and end")
    add("--quick", action="store_true", help="a smoke run: one short round of little load")
    add("--rounds", type=read_count, default=3, help="default: %(default)s")
    add("--seconds", type=read_number, default=3.0, help="of each run; default: %(default)s")
    add("--workers", type=read_count, default=1, help="processes that load; default: %(default)s")
    for name, cpus in (("server", server_cpus), ("load", load_cpus)):
        add(
            f"--{name}-cpus",
            type=_read_cpus,
            default=cpus,
            metavar="N,...",
            help=f"cores of the {name}; default: {cpus[0]}",
        )
    output.add_arguments(parser)


async def run(arguments: argparse.Namespace) -> int:
    """Compare as the options say and print the tables; return the exit status.

    It is 1 where this gateway could not be measured or did not keep its promise. Ratios that miss
    their goals are shown, and no failure.
    """
    if arguments.list:
        print("\n".join(_list_works()))
        return 0
    terms = Terms(
        server_cpus=arguments.server_cpus,
        load_cpus=arguments.load_cpus,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        workers=arguments.workers,
        is_quick=arguments.quick,
    )
    comparisons: list[Comparison] = []
    with stay_on(terms.load_cpus):
        is_interrupted = await _compare_all(arguments.works or [*WORKS], terms, comparisons)
    output.write(comparisons, arguments)
    return 130 if is_interrupted else int(any(_has_failed(each) for each in comparisons))


async def _compare_all(works: list[str], terms: Terms, comparisons: list[Comparison]) -> bool:
    """Add a comparison of each work, and print it; return whether it was interrupted."""
    for name in works:
        rounds = Rounds(WORKS[name], terms)
        is_interrupted = False
        try:
            await rounds.run()
        except asyncio.CancelledError:
            is_interrupted = True
        comparison = rounds.comparison()
        comparisons.append(comparison)
        print(format_comparison(comparison), end="\n\n", flush=True)
        if is_interrupted:
            return True
    return False


def _has_failed(comparison: Comparison) -> bool:
    ours = comparison.entries[0]
    return ours.absence is not None or any(result.fault_count for result in ours.runs)


def _list_works() -> list[str]:
    lines = []
    for work in WORKS.values():
        lines.append(f"{work.name:12}{work.title}")
        options = " ".join(f"{name}={value}" for name, value in work.options.items())
        lines.append(f"{'':12}{work.scenario} {options}")
        lines.append(f"{'':12}{', '.join(find_name(each) for each in work.contestants)}")
        lines += [f"{'':12}goal: {goal}" for goal in _list_goals(work)]
    return lines


def _list_goals(work: Work) -> Iterator[str]:
    for measure in work.measures:
        for against, goal in measure.goals.items():
            ratio = Ratio(measure.figure, against, None, measure.is_less_better, goal)
            yield f"{measure.figure} {format_goal(ratio, '')} {against or ''}".rstrip()


def _read_work(text: str) -> str:
    if text not in WORKS:
        raise argparse.ArgumentTypeError(f"there is no {text!r}; there are {', '.join(WORKS)}")
    return text


def _read_cpus(text: str) -> list[int]:
    numbers = text.split(",")
    cpus = [int(number) for number in numbers if number.isascii() and number.isdecimal()]
    known = sorted(os.sched_getaffinity(0))
    if len(cpus) < len(numbers) or not set(cpus) <= set(known):
        raise argparse.ArgumentTypeError(f"expected cores among {known}, got {text!r}")
    return cpus
