"""Results and comparisons as the load tool saves them, for the tests of how they are shown."""

from msgspec.structs import replace

from loadtest.result import Comparison, Entry, Figure, Point, Result

RATE = "deliveries per second"
MEMORY = "memory per connection"
WORK = "fan-out 1 to 1,000, 64 in flight"
MACHINE = "2 cores of a sample CPU, Python 3.11"


def make_result(server: str = "gateway", rate: float = 5.98e6, **changes: object) -> Result:
    """Return three seconds of fan-out with a hundred latencies around 1 ms, changed as told."""
    timeline = [
        Point(second, rate * (0.9 + second / 50), 1000, 3000, 0.45, 0.98, 40_000 + 500 * second)
        for second in range(1, 4)
    ]
    result = Result(
        scenario="fanout",
        server=server,
        target="ws://127.0.0.1:8080/ws",
        started_at="2026-11-28T22:14:05Z",
        elapsed_s=3.004,
        parameters={"subscribers": 1000, "in_flight": 64, "open_loop": False, "rate": None},
        events="deliveries",
        figures=[Figure(RATE, rate, "/s"), Figure(MEMORY, 3.05, "KiB"), Figure("closed", 7)],
        latency_us=[(900, 50), (1200, 45), (3000, 4), (9000, 1)],
        timeline=timeline,
        faults={"missing": 0, "repeated": 0},
        warnings=[],
    )
    return replace(result, **changes)


def make_comparison(gateway_rate: float = 6e6) -> Comparison:
    """Return the gateway, two peers and one that is absent; goals reached, missed and open."""
    entries = [
        Entry("gateway", [make_result("gateway", each) for each in (gateway_rate, 5.5e6)]),
        Entry("aiohttp", [make_result("aiohttp", rate) for rate in (80e3, 92e3)]),
        Entry("uWebSockets", [make_result("uWebSockets", rate) for rate in (4e5, 3.9e5)]),
        Entry("nchan", [], "nginx is not installed"),
    ]
    comparison = Comparison(WORK, "2026-11-28T22:14:05Z", MACHINE, entries, [])
    ratios = [
        comparison.ratio(RATE, "aiohttp", goal=30),
        comparison.ratio(RATE, "uWebSockets", goal=16),
        comparison.ratio(RATE, "nchan", goal=5),
        comparison.ratio(MEMORY, None, is_less_better=True, goal=4),
    ]
    return replace(comparison, ratios=ratios)
