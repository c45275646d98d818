"""Rounds: who takes part, in what order, and what becomes of those who fail."""

import asyncio
import os
from pathlib import Path

import pytest

from loadtest.compare import rounds as module
from loadtest.compare.machine import find_cpus
from loadtest.compare.rounds import Rounds, Terms, stay_on
from loadtest.compare.servers import SERVERS, Server
from loadtest.compare.works import WORKS, Contestant, Measure, Work
from loadtest.result import Ratio

SERVER_CPUS, LOAD_CPUS = find_cpus()
TERMS = Terms(SERVER_CPUS, LOAD_CPUS, rounds=2, seconds=0.1)


def build_work(*contestants: Contestant) -> Work:
    return Work(
        name="few",
        title="a few messages",
        scenario="echo",
        options={"clients": 2, "in_flight": 1, "bytes": 8},
        quick={"clients": 1},
        contestants=contestants,
        measures=(
            Measure("rate", goals={"aiohttp": 0.001}),
            Measure("server memory", is_less_better=True, goals={None: 1}),
        ),
        is_warmed=False,
    )


OURS = Contestant("gateway.web echo")
AIOHTTP = Contestant("aiohttp echo")


async def test_every_server_has_its_turn_in_every_round(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rounds = Rounds(build_work(OURS, AIOHTTP), TERMS)
    await rounds.run()
    comparison = rounds.comparison()
    turns = [line.partition(": opening")[0] for line in capsys.readouterr().err.splitlines()]
    assert turns == [
        "few: gateway.web, round 1 of 2",
        "few: aiohttp, round 1 of 2",
        "few: gateway.web, round 2 of 2",
        "few: aiohttp, round 2 of 2",
    ]
    assert [(each.server, len(each.runs)) for each in comparison.entries] == [
        ("gateway.web", 2),
        ("aiohttp", 2),
    ]
    targets = {run.target for entry in comparison.entries for run in entry.runs}
    assert len(targets) == 4  # each server was started anew, on a port of its own


async def test_ours_is_compared_with_each_and_with_goals_of_its_own() -> None:
    rounds = Rounds(build_work(OURS, AIOHTTP), TERMS._replace(rounds=1))
    await rounds.run()
    (ours,), (theirs,) = (entry.runs for entry in rounds.comparison().entries)
    rate, kib, memory = rounds.comparison().ratios
    assert (rate.against, rate.goal, rate.is_reached) == ("aiohttp", 0.001, True)
    assert rate.value == pytest.approx((ours.figure("rate") or 0) / (theirs.figure("rate") or 1))
    assert (kib.against, kib.goal, kib.is_reached) == (None, 1, False)
    assert kib.value == ours.figure("server memory")
    assert (memory.against, memory.goal) == ("aiohttp", None)


async def test_options_of_one_contestant_change_nothing_for_the_others() -> None:
    larger = Contestant("gateway.web echo", {"bytes": 4096}, "gateway.web, larger")
    rounds = Rounds(build_work(OURS, larger), TERMS._replace(rounds=1))
    await rounds.run()
    first, second = rounds.comparison().entries
    assert (first.server, first.runs[0].parameters["bytes"]) == ("gateway.web", 8)
    assert (second.server, second.runs[0].parameters["bytes"]) == ("gateway.web, larger", 4096)


async def test_a_quick_look_is_one_round_of_less_without_goals() -> None:
    rounds = Rounds(build_work(OURS, AIOHTTP), TERMS._replace(is_quick=True))
    await rounds.run()
    comparison = rounds.comparison()
    assert [[run.parameters["clients"] for run in each.runs] for each in comparison.entries] == [
        [1],
        [1],
    ]
    assert {ratio.goal for ratio in comparison.ratios} == {None}
    assert "figures mean nothing" in comparison.work


def build_failing(port: int, folder: Path) -> list[str]:
    return ["sh", "-c", "echo one; echo two; exit 3"]


async def test_who_is_missing_or_does_not_start_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = Server("missing", build_failing, lambda: "it is not installed")
    failing = Server("failing", build_failing, lambda: None)
    monkeypatch.setitem(SERVERS, "missing", missing)
    monkeypatch.setitem(SERVERS, "failing", failing)
    work = build_work(OURS, Contestant("missing"), Contestant("failing"), AIOHTTP)
    rounds = Rounds(work, TERMS)
    await rounds.run()
    absences = {each.server: each.absence for each in rounds.comparison().entries}
    assert absences["missing"] == "it is not installed"
    assert str(absences["failing"]).startswith("a server ended at its start with status 3: ")
    assert str(absences["failing"]).endswith("one two")
    assert (absences["gateway.web"], absences["aiohttp"]) == (None, None)
    assert rounds.comparison().ratios[0] == Ratio("rate", "missing", None, False)


async def test_cancelling_keeps_the_runs_that_are_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Second(module.Progress):
        """Cancels the rounds once the second server is being loaded."""

        count = 0

        def __enter__(self) -> "Second":
            Second.count += 1
            if Second.count == 2:
                asyncio.get_running_loop().call_soon(running.cancel)
            return super().__enter__()

    monkeypatch.setattr(module, "Progress", Second)
    rounds = Rounds(build_work(OURS, AIOHTTP), TERMS)
    running = asyncio.ensure_future(rounds.run())
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [len(each.runs) for each in rounds.comparison().entries] == [1, 0]


def test_the_tool_itself_stays_on_the_cores_of_the_load_only_meanwhile() -> None:
    before = os.sched_getaffinity(0)
    with stay_on(LOAD_CPUS):
        assert os.sched_getaffinity(0) == set(LOAD_CPUS)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
def test_goals_are_set_against_servers_that_take_part(work: Work) -> None:
    names = {module.find_name(each) for each in work.contestants[1:]}
    assert len(names) == len(work.contestants) - 1
    for measure in work.measures:
        assert set(measure.goals) <= names | {None}
