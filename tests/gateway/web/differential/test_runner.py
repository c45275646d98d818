"""Runners, sites and servers do step by step what aiohttp's do, but for what is listed here."""

import asyncio
import inspect
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web as aiohttp_web

from gateway import web
from tests.gateway.web.differential.peers import MODULES, name_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Steps = dict[str, Callable[[], object]]


async def handle(request: Any) -> Any:
    raise NotImplementedError


async def take(steps: Steps) -> dict[str, str]:
    """Take each step in its turn; return what it gives, or the name of what it raises."""
    outcomes: dict[str, str] = {}
    for name, step in steps.items():
        try:
            took = step()
            outcomes[name] = repr(await took if inspect.isawaitable(took) else took)
        except Exception as error:
            outcomes[name] = name_of(error)
    return outcomes


def before_and_after(module: ModuleType) -> Steps:
    server = module.Server(handle, access_log=None)
    runner = module.ServerRunner(server)
    return {
        "before setup": lambda: (runner.server, runner.addresses, runner.sites),
        "a site before setup": lambda: module.TCPSite(runner),
        "cleanup before setup": runner.cleanup,
        "shutdown is a hook": runner.shutdown,
        "setup": runner.setup,
        "the server is the one given": lambda: runner.server is server,
        "setup again": runner.setup,
        "cleanup": runner.cleanup,
        "after cleanup": lambda: (runner.server, runner.addresses, runner.sites),
        "cleanup again": runner.cleanup,
        "a site after cleanup": lambda: module.TCPSite(runner),
        "no server": lambda: module.ServerRunner(),
        "an option by position": lambda: module.ServerRunner(server, True),
        "an unknown option": lambda: bool(module.ServerRunner(server, bogus=1)),
        "a base class": lambda: module.BaseRunner(),
        "another base class": lambda: module.BaseSite(runner),
    }


def of_server(module: ModuleType) -> Steps:
    server = module.Server(handle)
    return {
        "attributes": lambda: (
            *(server.request_handler is handle, server.handler_cancellation),
            *(server.connections, server.requests_count, callable(server.request_factory)),
        ),
        "cancelling": lambda: module.Server(handle, handler_cancellation=True).handler_cancellation,
        "no handler": lambda: module.Server(),
        "an option by position": lambda: module.Server(handle, None),
        "an unknown option": lambda: bool(module.Server(handle, bogus=1)),
        "a protocol": lambda: isinstance(server(), asyncio.Protocol),
        "pre_shutdown": server.pre_shutdown,
        "shutdown": lambda: server.shutdown(1),
        "shutdown without limit": server.shutdown,
        "GracefulExit": lambda: (module.GracefulExit().code, module.GracefulExit.__mro__[1]),
    }


def names(module: ModuleType, runner: Any) -> Steps:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    arguments: dict[str, dict[str, Any]] = {
        "nothing": {},
        "port": {"port": 1},
        "host": {"host": "localhost"},
        "host and port": {"host": "a.example", "port": 80},
        "IPv6": {"host": "::1", "port": 5},
        "all of IPv6": {"host": "::"},
        "TLS": {"ssl_context": context},
        "TLS and port": {"ssl_context": context, "port": 1},
        "TLS and its port": {"host": "a.example", "ssl_context": context, "port": 443},
        "empty host": {"host": ""},
        "options": {"backlog": 1, "reuse_address": True, "reuse_port": True},
        "unknown option": {"bogus": 1},
    }
    return {
        **{
            name: lambda given=given: module.TCPSite(runner, **given).name
            for name, given in arguments.items()
        },
        "by position": lambda: module.TCPSite(runner, "h", 9).name,
        "Unix": lambda: module.UnixSite(runner, "/a/b").name,
        "Unix with TLS": lambda: module.UnixSite(runner, "/a/b", ssl_context=context).name,
    }


def listening(module: ModuleType, runner: Any, folder: Path) -> Steps:
    site = module.TCPSite(runner, "127.0.0.1", 0)
    return {
        "stop before start": site.stop,
        "start": site.start,
        "start again": site.start,
        "sites": lambda: (type(runner.sites), len(runner.sites), site in runner.sites),
        "addresses": lambda: [address[0] for address in runner.addresses],
        "a copy": lambda: (runner.sites.clear(), len(runner.sites)),
        "Unix": module.UnixSite(runner, str(folder / module.__name__)).start,
        "both addresses": lambda: [type(address) for address in runner.addresses],
        "stop": site.stop,
        "stop again": site.stop,
        "one left": lambda: len(runner.sites),
        "start once more": site.start,
        "a taken port": lambda: module.TCPSite(
            runner, "127.0.0.1", runner.addresses[-1][1]
        ).start(),
        "sites that listen": lambda: len(runner.sites),
    }


# What differs on purpose, as it is here, and why.
DIFFERENCES: dict[str, tuple[str, str]] = {
    "an unknown option": ("TypeError", "a misspelt option would have no effect"),
    "sites that listen": ("2", "a site that could not start has not started"),
}


def compare(ours: dict[str, str], theirs: dict[str, str]) -> None:
    assert ours.keys() == theirs.keys()
    for name, outcome in ours.items():
        if name in DIFFERENCES:
            assert outcome == DIFFERENCES[name][0] != theirs[name], name
        else:
            assert outcome == theirs[name], name


async def test_a_runner_goes_through_the_same_states() -> None:
    compare(*[await take(before_and_after(module)) for module in MODULES])


async def test_a_server_is_made_of_the_same() -> None:
    compare(*[await take(of_server(module)) for module in MODULES])


async def set_up(module: ModuleType) -> Any:
    runner = module.ServerRunner(module.Server(handle, access_log=None))
    await runner.setup()
    return runner


async def test_sites_have_the_same_names() -> None:
    runners = [await set_up(module) for module in MODULES]
    outcomes = [
        await take(names(module, runner)) for module, runner in zip(MODULES, runners, strict=True)
    ]

    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET6, ("::1", 0)), (socket.AF_UNIX, "")],
)
async def test_a_site_has_the_name_of_its_socket(family: int, address: Any) -> None:
    runners = [await set_up(module) for module in MODULES]
    with socket.socket(family) as bound:
        bound.bind(address)
        ours, theirs = [
            module.SockSite(runner, bound).name
            for module, runner in zip(MODULES, runners, strict=True)
        ]

    assert ours == theirs


async def test_sites_start_and_stop_the_same(tmp_path: Path) -> None:
    runners = [await set_up(module) for module in MODULES]
    outcomes = [
        await take(listening(module, runner, tmp_path))
        for module, runner in zip(MODULES, runners, strict=True)
    ]
    for runner in runners:
        await runner.cleanup()

    compare(*outcomes)


async def test_a_limit_of_a_site_is_its_runner_s() -> None:
    for module in MODULES:
        runner = await set_up(module)
        with pytest.warns(DeprecationWarning, match="shutdown_timeout"):
            module.TCPSite(runner, shutdown_timeout=5)


def signature(module: ModuleType, name: str) -> dict[str, object]:
    parameters = inspect.signature(getattr(module, name)).parameters
    return {
        name: (parameter.kind, parameter.default)
        for name, parameter in parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


@pytest.mark.parametrize("name", ["TCPSite", "UnixSite", "SockSite", "ServerRunner", "BaseRunner"])
def test_the_arguments_are_the_same_and_have_the_same_defaults(name: str) -> None:
    ours, theirs = signature(web, name), signature(aiohttp_web, name)

    assert theirs.items() <= ours.items()
