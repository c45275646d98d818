"""What every test can count on: the event loop of `--uvloop`, and the installed command line."""

import asyncio
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, not about the code.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For searching by hand, with `--hypothesis-profile=long`. Hypothesis remembers what it has tried:
# ten times as much would take gigabytes.
settings.register_profile("long", settings.get_profile("house"), max_examples=1000)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --uvloop."""
    parser.addoption(
        "--uvloop", action="store_true", help="run the asynchronous tests on uvloop's event loop"
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the one kind of event loop of this run."""
    if not config.getoption("uvloop"):
        return {"asyncio": asyncio.new_event_loop}
    import uvloop  # only here, because it does not exist for Windows and PyPy

    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would run as it does without --uvloop: the tests that are not asynchronous."""
    if config.getoption("uvloop"):
        others = [item for item in items if item.get_closest_marker("asyncio") is None]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item.get_closest_marker("asyncio") is not None]


@pytest.fixture
def curl() -> str:
    """Return where curl is; without it tests are skipped, but not in CI, which must have it."""
    found = shutil.which("curl")
    if found is None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("there is no curl")
    return str(found)


# --- the command line ---------------------------------------------------------------------------

# Longer than anything here takes; only a broken command waits for it.
PATIENCE_S = 30
GATEWAY = str(Path(sys.executable).with_name("gateway"))


def _hear_interrupts() -> None:
    """Let Ctrl-C be heard, which a shell takes from what it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Started:
    """One running command; its lines come as they are written."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        inherited = {name: text for name, text in os.environ.items() if "GATEWAY" not in name}
        self.process = subprocess.Popen(
            [GATEWAY, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=inherited | environment,
            preexec_fn=_hear_interrupts,
        )
        self._tails = {"stdout": b"", "stderr": b""}

    def read_line(self, name: str = "stdout") -> str:
        """Return the next line; fail where none comes."""
        stream = getattr(self.process, name)
        while b"\n" not in self._tails[name]:
            readable, _, _ = select.select([stream], [], [], PATIENCE_S)
            data = os.read(stream.fileno(), 65536) if readable else b""
            assert data, f"no further line on {name} after {self._tails[name]!r}"
            self._tails[name] += data
        line, _, self._tails[name] = self._tails[name].partition(b"\n")
        return line.decode()

    def read_until(self, pattern: str, name: str = "stdout") -> re.Match[str]:
        """Return the match in the first line that has one; fail where it does not come."""
        lines = []
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            lines.append(self.read_line(name))
            if match := re.search(pattern, lines[-1]):
                return match
        raise AssertionError(f"no {pattern!r} among {lines}")

    def finish(self, stdin: str = "") -> tuple[int, str, str]:
        """Return the exit status and the rest of stdout and stderr."""
        stdout, stderr = self.process.communicate(stdin.encode(), timeout=PATIENCE_S)
        stdout, stderr = self._tails["stdout"] + stdout, self._tails["stderr"] + stderr
        return self.process.returncode, stdout.decode(), stderr.decode()

    def interrupt(self) -> tuple[int, str, str]:
        """Press Ctrl-C and return as finish does."""
        self.process.send_signal(signal.SIGINT)
        return self.finish()


class Commands:
    """Starts commands and ends those that a test leaves."""

    def __init__(self) -> None:
        self._started: list[Started] = []

    def start(self, *arguments: str, **environment: str) -> Started:
        started = Started(*arguments, **environment)
        self._started.append(started)
        return started

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> tuple[int, str, str]:
        return self.start(*arguments, **environment).finish(stdin)

    def serve(self, *arguments: str, port: int = 0, **environment: str) -> tuple[Started, str]:
        """Return a gateway that has said it is ready, and its URL."""
        started = self.start("serve", "--port", str(port), *arguments, **environment)
        url = started.read_until(r"console +(http://\S+)/")[1]
        started.read_until("/publish")
        return started, url

    def subscribe(self, url: str, *arguments: str) -> Started:
        """Return a subscriber that has said it is connected."""
        started = self.start("subscribe", "--url", url, *arguments)
        started.read_until("gateway: connected: ", "stderr")
        return started

    def end(self) -> None:
        for started in self._started:
            started.process.kill()
            started.process.communicate()


@pytest.fixture
def commands() -> Iterator[Commands]:
    """Return what starts commands; all have ended when the test has."""
    made = Commands()
    yield made
    made.end()


@pytest.fixture
def url(commands: Commands) -> str:
    """Return the URL of a gateway that runs as a process of its own."""
    return commands.serve()[1]
