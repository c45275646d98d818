"""The servers that a comparison can start, each with how it is started, spoken to, and missed."""

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from loadtest.peers import centrifugo, nginx


class Server(NamedTuple):
    """One server in one role.

    command(port, folder) returns what has it listen on port of loopback; folder is an empty one for
    its files. dialect and path are how, and where, it is spoken to. find_absence() returns why it
    cannot be started here, None where it can.
    """

    name: str
    command: Callable[[int, Path], list[str]]
    find_absence: Callable[[], str | None]
    dialect: str = "plain"
    path: str = "/"


def _start_gateway(port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "gateway", "serve", "--port", str(port)]


def _start_program(module: str, port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", module, "--port", str(port)]


def _start_python(module: str, role: str, port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", module, role, "--port", str(port)]


def _program(module: str) -> Server:
    """Return a server of a few lines on gateway.web."""
    return Server("gateway.web", partial(_start_program, module), _miss_nothing)


def _python(name: str, role: str) -> Server:
    """Return a peer whose library is called as its module is."""
    command = partial(_start_python, f"loadtest.peers.{name}_server", role)
    return Server(name, command, partial(_miss_module, name))


def _miss_nothing() -> None:
    return None


def _miss_module(name: str) -> str | None:
    if importlib.util.find_spec(name) is not None:
        return None
    return f"it is not installed: pip install {name}, or -e '.[peers]' for all"


SERVERS: Final[dict[str, Server]] = {
    "gateway": Server("gateway", _start_gateway, _miss_nothing, "gateway", "/ws"),
    "aiohttp": _python("aiohttp", "hub"),
    "websockets": _python("websockets", "hub"),
    "picows": _python("picows", "hub"),
    "socketify": _python("socketify", "hub")._replace(name="uWebSockets"),
    "gateway.web echo": _program("loadtest.servers.echo"),
    "aiohttp echo": _python("aiohttp", "echo"),
    "websockets echo": _python("websockets", "echo"),
    "picows echo": _python("picows", "echo"),
    "socketify echo": _python("socketify", "echo")._replace(name="uWebSockets"),
    "gateway.web plain": _program("loadtest.servers.plain"),
    "aiohttp plain": _python("aiohttp", "plain"),
    "socketify plain": _python("socketify", "plain")._replace(name="uWebSockets"),
    "centrifugo": Server(
        "centrifugo",
        centrifugo.prepare,
        centrifugo.find_absence,
        "centrifugo",
        "/connection/websocket",
    ),
    "nchan": Server("nchan", nginx.prepare, nginx.find_absence, "nchan"),
}
