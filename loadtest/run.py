"""One run of a scenario: workers load the target, the parent counts, looks and tells."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from loadtest.crew import start_crew
from loadtest.errors import LoadError
from loadtest.histogram import Histogram
from loadtest.job import Job
from loadtest.process import ProcessStats
from loadtest.recorder import Sample
from loadtest.result import Figure, Point, Result
from loadtest.scenario import OWN_GATEWAY, Scenario, ServerUse, Totals
from loadtest.worker import load_scenario

# Where a worker used more than this of its core, the rate may be its own limit, not the server's.
_BUSY_SHARE: Final = 0.9
_TICK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: a scenario with its options against a target, by so many workers.

    pid is the server's process, None if unknown; server is what the result calls it.
    """

    scenario: str
    target: str
    options: dict[str, Any]
    seconds: float = 5.0
    workers: int = 1
    pid: int | None = None
    dialect: str = "gateway"
    server: str = "gateway"
    cpus: list[int] = field(default_factory=list)


async def run(plan: Plan, on_point: Callable[[Point], None] = lambda _: None) -> Result:
    """Run plan and return what came of it; on_point hears of every second as it has passed.

    Being cancelled while it measures ends the run early: the result says so, and the caller may
    ask for the task's cancelling() to tell. Raises LoadError where nothing could be measured.
    """
    scenario = load_scenario(plan.scenario)
    watch = _Watch(plan, scenario, on_point)
    job = Job(
        scenario=plan.scenario,
        target=plan.target,
        dialect=plan.dialect,
        key=secrets.token_hex(4),
        seconds=plan.seconds,
        options=plan.options,
        cpus=plan.cpus,
    )
    try:
        async with start_crew(job, plan.workers, watch.take) as crew:
            await crew.wait_opened()
            watch.begin()
            measuring = asyncio.create_task(crew.measure())
            ticking = asyncio.create_task(watch.tick())
            try:
                done, _ = await asyncio.wait(
                    (measuring, ticking), return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
            except asyncio.CancelledError:
                watch.is_interrupted = True
                measuring.cancel()
                await asyncio.wait((measuring,))
                await crew.stop_early()
            finally:
                ticking.cancel()
                measuring.cancel()
                watch.end()
    except ExceptionGroup as group:
        raise _first(group) from None
    return watch.result()


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Return the first error in group that is no group: workers fail for the same reason."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


class _Watch:
    """The parent's view of one run: samples summed up, seconds, and the server's process."""

    def __init__(self, plan: Plan, scenario: Scenario, on_point: Callable[[Point], None]) -> None:
        self._plan = plan
        self._scenario = scenario
        self._on_point = on_point
        self._server = ProcessStats(plan.pid) if plan.pid is not None else None
        self._started_at = datetime.now(UTC)
        self._counts: dict[str, int] = {}
        self._latency = Histogram()
        self._cpu_s = [0.0] * plan.workers
        self._timeline: list[Point] = []
        self._marks = [self._mark()]  # of the server: before opening, opened, at the end
        self._began = self._second = time.monotonic()
        self._lately = _Lately(self._began, self._marks[0], plan.workers)
        self._elapsed_s = 0.0
        self.is_interrupted = False

    def take(self, worker: int, sample: Sample) -> None:
        """Add a sample of a worker."""
        latency = Histogram(sample.latency_us)
        for counts in (self._counts, self._lately.counts):
            for name, count in sample.counts.items():
                counts[name] = counts.get(name, 0) + count
        self._latency.add(latency)
        self._lately.latency.add(latency)
        self._cpu_s[worker] += sample.cpu_s
        self._lately.cpu_s[worker] += sample.cpu_s

    def begin(self) -> None:
        """Note that everything is open."""
        self._marks.append(self._mark())
        self._began = time.monotonic()
        self._lately = _Lately(self._began, self._marks[-1], self._plan.workers)

    async def tick(self) -> None:
        """Make a point of each second."""
        while True:
            await asyncio.sleep(_TICK_S)
            now, mark = time.monotonic(), self._mark()
            lately, self._lately = self._lately, _Lately(now, mark, self._plan.workers)
            point = lately.point(now, mark, self._scenario.EVENTS, now - self._began)
            self._timeline.append(point)
            self._on_point(point)

    def end(self) -> None:
        """Note that measuring is over."""
        self._elapsed_s = time.monotonic() - self._began
        self._marks.append(self._mark())

    def result(self) -> Result:
        """Return what came of the run."""
        plan, scenario = self._plan, self._scenario
        totals = Totals(self._counts, self._latency, self._elapsed_s, self._server_use())
        options = msgspec.convert(plan.options, scenario.Options)
        return Result(
            scenario=plan.scenario,
            server=plan.server,
            target=plan.target,
            started_at=self._started_at.isoformat(timespec="seconds"),
            elapsed_s=round(self._elapsed_s, 3),
            parameters={**plan.options, "seconds": plan.seconds, "workers": plan.workers},
            events=scenario.EVENTS,
            figures=[*self._general_figures(totals), *scenario.figures(totals, options)],
            latency_us=self._latency.buckets(),
            timeline=self._timeline,
            faults=scenario.faults(totals, options),
            warnings=self._warnings(),
            is_interrupted=self.is_interrupted,
        )

    def _general_figures(self, totals: Totals) -> list[Figure]:
        """Return the figures that every scenario has."""
        count = totals.counts.get(self._scenario.EVENTS, 0)
        figures = [
            Figure(self._scenario.EVENTS, count),
            Figure("rate", count / totals.elapsed_s if totals.elapsed_s else None, "/s"),
        ]
        cpu_us = rss_kib = None
        if totals.server is not None:
            cpu_us = totals.server.cpu_s * 1e6 / count if count else None
            rss_kib = totals.server.end_rss_kib
        if self._plan.target != OWN_GATEWAY:
            figures.append(Figure("server CPU per event", cpu_us, "us"))
            figures.append(Figure("server memory", rss_kib, "KiB"))
        figures.append(Figure("driver CPU", self._driver_share(), "cores"))
        return figures

    def _driver_share(self) -> float:
        """Return the share of a core that the busiest worker used."""
        return max(self._cpu_s) / self._elapsed_s if self._elapsed_s else 0.0

    def _warnings(self) -> list[str]:
        warnings = []
        if self._driver_share() > _BUSY_SHARE:
            warnings.append(
                "a worker used its whole core: the server may be faster than this says;"
                " give it more with --workers where the machine has more cores"
            )
        if self._server is None and self._plan.target != OWN_GATEWAY:
            warnings.append("without --pid the server's CPU and memory are not measured")
        return warnings

    def _mark(self) -> tuple[float, int]:
        """Return the server's CPU seconds and memory in KiB, zeros where it is not known."""
        if self._server is None:
            return 0.0, 0
        try:
            return self._server.cpu_s(), self._server.rss_kib()
        except OSError as error:
            raise LoadError(f"the server of pid {self._plan.pid} is gone") from error

    def _server_use(self) -> ServerUse | None:
        if self._server is None:
            return None
        (start_s, before), (opened_s, opened), (end_s, end) = self._marks
        peak = self._server.rss_peak_kib()
        return ServerUse(opened_s - start_s, end_s - opened_s, before, opened, end, peak)


class _Lately:
    """What happened since a moment, and the server's mark then."""

    def __init__(self, since: float, mark: tuple[float, int], workers: int) -> None:
        self._since = since
        self._mark = mark
        self.counts: dict[str, int] = {}
        self.latency = Histogram()
        self.cpu_s = [0.0] * workers

    def point(self, now: float, mark: tuple[float, int], events: str, at_s: float) -> Point:
        """Return it as a point of the timeline; server figures are None where it has no memory."""
        passed_s = now - self._since
        p50, p99 = self.latency.percentiles([50.0, 99.0])
        has_server, has_latency = mark[1] > 0, self.latency.count > 0
        return Point(
            at_s=round(at_s, 3),
            events_per_s=self.counts.get(events, 0) / passed_s,
            p50_us=p50 if has_latency else None,
            p99_us=p99 if has_latency else None,
            driver_cpu_share=max(self.cpu_s) / passed_s,
            server_cpu_share=(mark[0] - self._mark[0]) / passed_s if has_server else None,
            server_rss_kib=mark[1] if has_server else None,
        )
