"""What a comparison says of the runs of its servers."""

import pytest

from loadtest.result import Comparison, Entry, Figure, Ratio, Result

RATE = "deliveries per second"
MEMORY = "memory per connection"


def make_run(server: str, **figures: float | None) -> Result:
    return Result(
        scenario="fanout",
        server=server,
        target="ws://127.0.0.1:8080/ws",
        started_at="2026-11-28T22:00:00Z",
        elapsed_s=5.0,
        parameters={},
        events="deliveries",
        figures=[Figure(name.replace("_", " "), value) for name, value in figures.items()],
        latency_us=[(3, 1), (5, 2)],
        timeline=[],
        faults={"missing": 2, "repeated": 1},
        warnings=[],
    )


def make_comparison() -> Comparison:
    rates = {"gateway": [50.0, 60.0, 40.0], "aiohttp": [2.0, 3.0]}
    entries = [
        Entry(
            server, [make_run(server, **{RATE: rate, MEMORY: 3 + 100 / rate}) for rate in measured]
        )
        for server, measured in rates.items()
    ]
    absent = Entry("nchan", [], "nginx is not installed")
    return Comparison("fan-out", "2026-11-28T22:00:00Z", "2 cores", [*entries, absent], [])


def test_a_run_knows_its_figures_by_name() -> None:
    run = make_run("gateway", rate=7.0, memory=None)
    assert [run.figure(name) for name in ("rate", "memory", "none of it")] == [7.0, None, None]


def test_a_run_gives_its_latencies_and_all_its_faults() -> None:
    run = make_run("gateway")
    assert run.histogram().percentile(50) == 5
    assert run.fault_count == 3


def test_the_best_run_is_the_one_with_most_or_with_least() -> None:
    entry = make_comparison().entries[0]
    assert entry.values(RATE) == [50, 60, 40]
    assert entry.best(RATE, is_less_better=False) == 60
    assert entry.best(RATE, is_less_better=True) == 40
    assert entry.best("none of it", is_less_better=True) is None
    assert entry.best_run(RATE, is_less_better=False) is entry.runs[1]


def test_a_ratio_is_of_the_best_run_of_each() -> None:
    comparison = make_comparison()
    assert comparison.ratio(RATE, "aiohttp").value == 20
    less = comparison.ratio(MEMORY, "aiohttp", is_less_better=True, goal=0.5)
    assert less.value == (3 + 100 / 60) / (3 + 100 / 3)
    assert less.is_reached


def test_a_ratio_against_nothing_is_the_figure_itself() -> None:
    assert make_comparison().ratio(RATE, None).value == 60


@pytest.mark.parametrize("against", ["nchan", "never heard of"])
def test_there_is_no_ratio_against_a_server_that_did_not_run(against: str) -> None:
    ratio = make_comparison().ratio(RATE, against, goal=5)
    assert (ratio.value, ratio.is_reached) == (None, None)


@pytest.mark.parametrize(
    ("value", "is_less_better", "goal", "is_reached"),
    [
        (1.7, False, 1.7, True),
        (1.6, False, 1.7, False),
        (0.65, True, 0.65, True),
        (0.66, True, 0.65, False),
        (1.6, False, None, None),
        (None, False, 1.7, None),
    ],
)
def test_a_goal_is_reached_by_what_is_as_good(
    value: float | None, is_less_better: bool, goal: float | None, is_reached: bool | None
) -> None:
    assert Ratio(RATE, "aiohttp", value, is_less_better, goal).is_reached is is_reached
