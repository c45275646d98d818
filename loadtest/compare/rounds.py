"""One work, given to its servers in turns, each started anew for every run."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from loadtest.compare.machine import describe_machine
from loadtest.compare.servers import SERVERS, Server
from loadtest.compare.works import Contestant, Work
from loadtest.errors import LoadError
from loadtest.progress import Progress
from loadtest.result import Comparison, Entry, Ratio, Result
from loadtest.run import Plan, run
from loadtest.serving import find_free_port, serve
from loadtest.worker import load_scenario

# Long enough for every path to have been taken, and short beside what counts.
_WARM_UP_S: Final = 0.5
_QUICK_S: Final = 0.2


class Terms(NamedTuple):
    """How a comparison is made: on which cores, how often, and how long."""

    server_cpus: list[int]
    load_cpus: list[int]
    rounds: int = 3
    seconds: float = 3.0
    workers: int = 1
    is_quick: bool = False


class Rounds:
    """The rounds of one work; what they have measured can be had at any moment."""

    def __init__(self, work: Work, terms: Terms) -> None:
        self._work = work
        self._terms = terms
        self._started_at = datetime.now(UTC)
        self._runs: dict[str, list[Result]] = {find_name(each): [] for each in work.contestants}
        self._absences: dict[str, str] = {}

    async def run(self) -> None:
        """Give the work to all in turns: A B C, A B C, ...; who fails takes part no more.

        Being cancelled ends it, with the runs that are complete.
        """
        rounds = 1 if self._terms.is_quick else self._terms.rounds
        for number in range(1, rounds + 1):
            for contestant in self._work.contestants:
                if find_name(contestant) not in self._absences:
                    await self._take_turn(contestant, f"round {number} of {rounds}")

    def comparison(self) -> Comparison:
        """Return how the servers stand, by the runs so far."""
        title = self._work.title + (
            " (quick: figures mean nothing)" if self._terms.is_quick else ""
        )
        comparison = Comparison(
            work=title,
            started_at=self._started_at.isoformat(timespec="seconds"),
            machine=describe_machine(self._terms.server_cpus, self._terms.load_cpus),
            entries=[
                Entry(name, runs, self._absences.get(name)) for name, runs in self._runs.items()
            ],
            ratios=[],
        )
        comparison.ratios.extend(self._ratios(comparison))
        return comparison

    async def _take_turn(self, contestant: Contestant, label: str) -> None:
        name = find_name(contestant)
        server = SERVERS[contestant.server]
        absence = server.find_absence()
        try:
            if absence is None:
                self._runs[name].append(await self._run(server, contestant, label))
        except LoadError as error:
            absence = " ".join(str(error).split())
        if absence is not None:
            self._absences[name] = absence

    async def _run(self, server: Server, contestant: Contestant, label: str) -> Result:
        terms, scenario = self._terms, load_scenario(self._work.scenario)
        port = find_free_port()
        with tempfile.TemporaryDirectory(prefix="loadtest-") as folder:
            command = server.command(port, Path(folder))
            async with serve(
                command, port=port, environment=scenario.GATEWAY or {}, cpus=terms.server_cpus
            ) as serving:
                plan = Plan(
                    scenario=self._work.scenario,
                    target=f"ws://{serving.host}:{serving.port}{server.path}",
                    options=self._options(contestant),
                    seconds=_QUICK_S if terms.is_quick else self._work.seconds or terms.seconds,
                    workers=terms.workers,
                    pid=serving.pid,
                    dialect=server.dialect,
                    server=find_name(contestant),
                    cpus=terms.load_cpus,
                )
                with Progress(
                    scenario.EVENTS, f"{self._work.name}: {plan.server}, {label}: "
                ) as it:
                    if self._work.is_warmed and not terms.is_quick:
                        await _run_whole(replace(plan, seconds=_WARM_UP_S), it)
                    return await _run_whole(plan, it)

    def _options(self, contestant: Contestant) -> dict[str, Any]:
        quick = self._work.quick if self._terms.is_quick else {}
        return {**self._work.options, **contestant.options, **quick}

    def _ratios(self, comparison: Comparison) -> list[Ratio]:
        """Return ours against each other, and by itself where it has such a goal."""
        ratios = []
        for measure in self._work.measures:
            others: Sequence[str | None] = [*self._runs][1:]
            if None in measure.goals:
                others = [None, *others]
            for against in others:
                goal = None if self._terms.is_quick else measure.goals.get(against)
                less = measure.is_less_better
                ratio = comparison.ratio(measure.figure, against, is_less_better=less, goal=goal)
                ratios.append(ratio)
        return ratios


@contextlib.contextmanager
def stay_on(cpus: list[int]) -> Iterator[None]:
    """Keep this process on cpus while the context lasts: it must not slow a server on others."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _run_whole(plan: Plan, progress: Progress) -> Result:
    """Run plan to its end; raise CancelledError where it was interrupted."""
    result = await run(plan, progress.show)
    if result.is_interrupted:
        raise asyncio.CancelledError
    return result


def find_name(contestant: Contestant) -> str:
    """Return what a contestant is called."""
    return contestant.name or SERVERS[contestant.server].name
