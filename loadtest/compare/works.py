"""What is compared: each work with the servers that take part and what we want to reach."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from loadtest.scenarios import wrk


class Measure(NamedTuple):
    """A figure that is compared.

    goals has by the name of a server what ours divided by its should at least be, or at most where
    less is better; None stands for a goal that our figure has by itself.
    """

    figure: str
    is_less_better: bool = False
    goals: Mapping[str | None, float] = {}


class Contestant(NamedTuple):
    """A server that takes part: its key in SERVERS, and options that only it is loaded with.

    name is what it is called, where that is not the server's own name.
    """

    server: str
    options: Mapping[str, Any] = {}
    name: str = ""


class Work(NamedTuple):
    """One piece of work.

    The first contestant is ours. options are those of the scenario, and quick replaces some of them
    where only a look is wanted at whether everything works. Where is_warmed each server does the
    work for a moment before what counts. seconds is how long a run has to be, where that matters.
    """

    name: str
    title: str
    scenario: str
    options: Mapping[str, Any]
    quick: Mapping[str, Any]
    contestants: tuple[Contestant, ...]
    measures: tuple[Measure, ...]
    is_warmed: bool = True
    seconds: float | None = None


def _contestants(*names: str, role: str = "") -> tuple[Contestant, ...]:
    return tuple(Contestant(f"{name} {role}".strip()) for name in names)


_RATE: Final = Measure("rate")
_CPU: Final = Measure("server CPU per event", is_less_better=True)
_HUBS: Final = _contestants(
    "gateway", "aiohttp", "websockets", "picows", "socketify", "nchan", "centrifugo"
)

_WORKS: Final = (
    Work(
        "fanout",
        "fan-out 1 to 1,000, 64 bytes, one in flight",
        "fanout",
        {"channels": 1, "subscribers": 1000, "in_flight": 1, "bytes": 64},
        {"subscribers": 10},
        _HUBS,
        (_RATE._replace(goals={"aiohttp": 1.7, "uWebSockets": 1.0}), _CPU),
    ),
    Work(
        "fanout-64",
        "fan-out 1 to 1,000, 64 bytes, 64 in flight",
        "fanout",
        {"channels": 1, "subscribers": 1000, "in_flight": 64, "bytes": 64},
        {"subscribers": 10},
        _HUBS,
        (_RATE._replace(goals={"aiohttp": 30, "uWebSockets": 8}), _CPU),
    ),
    Work(
        "channels",
        "100 channels with 10 subscribers each, 64 bytes, 64 in flight",
        "fanout",
        {"channels": 100, "subscribers": 10, "in_flight": 64, "bytes": 64},
        {"channels": 5, "subscribers": 2},
        _HUBS,
        (_RATE._replace(goals={"aiohttp": 2, "uWebSockets": 1.0}), _CPU),
    ),
    *(
        Work(
            name,
            f"fan-out 1 to 1,000 with permessage-deflate, 1 KiB of JSON, {in_flight} in flight",
            "fanout",
            {"subscribers": 1000, "in_flight": in_flight, "bytes": 1024},
            {"subscribers": 10},
            (Contestant("gateway", {"deflate": True}, "gateway (deflated)"), Contestant("gateway")),
            (_CPU._replace(goals={"gateway": 1.3}), _RATE),
        )
        for name, in_flight in (("deflate", 1), ("deflate-64", 64))
    ),
    Work(
        "sse",
        "event streams 1 to 1,000, 64 bytes, 64 in flight",
        "sse",
        {"subscribers": 1000, "in_flight": 64, "bytes": 64},
        {"subscribers": 10},
        _contestants("gateway", "nchan"),
        (_RATE._replace(goals={"nchan": 5}), _CPU),
    ),
    Work(
        "memory",
        "5,000 idle subscribers",
        "idle",
        {"connections": 5000},
        {"connections": 10},
        _HUBS,
        (Measure("memory per connection", is_less_better=True, goals={None: 4}),),
        is_warmed=False,
    ),
    Work(
        "connect",
        "5,000 upgrades with a subscription each",
        "connect",
        {"connections": 5000},
        {"connections": 10},
        (
            Contestant("gateway"),
            Contestant("aiohttp echo", {"bare": True}, "aiohttp (bare)"),
            Contestant("websockets"),
            Contestant("picows"),
            Contestant("socketify"),
            Contestant("nchan"),
            Contestant("centrifugo"),
        ),
        (
            Measure(
                "server CPU per connection", is_less_better=True, goals={"aiohttp (bare)": 0.7}
            ),
            _RATE,
        ),
        is_warmed=False,
    ),
    Work(
        "echo",
        "echo by 100 clients, 64 bytes, one in flight of each",
        "echo",
        {"clients": 100, "in_flight": 1, "bytes": 64},
        {"clients": 5},
        _contestants("gateway.web", "aiohttp", "websockets", "picows", "socketify", role="echo"),
        (
            _CPU._replace(goals={"aiohttp": 0.65, "picows": 1.0}),
            _RATE,
        ),
    ),
    Work(
        "response",
        "responses of two bytes over 64 connections that are kept open",
        "wrk" if wrk.is_installed() else "response",
        {"connections": 64},
        {"connections": 5},
        _contestants("gateway.web", "aiohttp", "socketify", role="plain"),
        (_RATE._replace(goals={"aiohttp": 2}), _CPU),
    ),
    Work(
        "stalled",
        "fan-out 1 to 1,000, 16 KiB, 20 per second, 10 % of which read nothing",
        "fanout",
        {"subscribers": 1000, "bytes": 16 * 1024, "rate": 20.0},
        {"subscribers": 10},
        (Contestant("gateway", {"stalled": 10}, "gateway (stalled)"), Contestant("gateway")),
        (Measure("p99", is_less_better=True, goals={"gateway": 1.2}), _CPU),
        seconds=10.0,  # 200 publications, so that two of them are the p99
    ),
    Work(
        "idle",
        "5,000 idle sockets through one heartbeat",
        "idle",
        {"connections": 5000},
        {"connections": 10},
        (Contestant("gateway"),),
        (Measure("server CPU", is_less_better=True, goals={None: 1}),),
        is_warmed=False,
        seconds=25.0,
    ),
)
WORKS: Final[dict[str, Work]] = {work.name: work for work in _WORKS}
