"""Runs the Autobahn test-suite against an echo server made of gateway.web's WebSocketResponse.

    python tests/autobahn/run.py                all 517 cases, which take about twenty minutes
    python tests/autobahn/run.py --fast         373 of them, without long streams of messages
    python tests/autobahn/run.py --cases '6.*'  those that match; several patterns with commas

It exits with 1 if a case is FAILED or NON-STRICT, or did not run. The suite needs Python 2.7; where
there is none, nothing is checked, and it exits with 0.
"""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
SUITE = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv<20.22"  # the last that can make an environment for Python 2.7

AGENT = "gateway.web"
# 1,000 messages each, of 16 KiB and more, or in fragments: 18 minutes for two thirds of 12 and 13.
LONG_CASES = [
    f"{group}.{kind}.{size}"
    for group, kinds in ((12, 5), (13, 7))
    for kind in range(1, kinds + 1)
    for size in range(7, 19)
]
# Above the 16 MiB of the largest message in 9.*.
MAX_MESSAGE_BYTES = 64 << 20
# Three times what all cases take; then they hang.
PATIENCE_S = 60 * 60

# What the suite may say of a case and of its closing; anything else is bad.
GOOD_BEHAVIORS = {"OK", "INFORMATIONAL"}
GOOD_CLOSINGS = {"OK", "INFORMATIONAL", "UNCLEAN"}


class Verdict(NamedTuple):
    """What the suite says of one case."""

    case: str
    behavior: str
    closing: str
    report: Path

    @property
    def is_good(self) -> bool:
        """Whether the case leaves nothing to mend."""
        return self.behavior in GOOD_BEHAVIORS and self.closing in GOOD_CLOSINGS


def find_python27(path: str, home: Path) -> str | None:
    """Return a Python 2.7 of path, or else of pyenv's versions; None if none runs."""
    candidates = [shutil.which("python2.7", path=path)]
    root = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    candidates += map(str, sorted(root.glob("versions/2.7*/bin/python2.7"), reverse=True))
    return next((python for python in candidates if python and _is_python27(python)), None)


def _is_python27(python: str) -> bool:
    """Return whether python runs; pyenv puts one into the path that may not."""
    command = [python, "-c", "import sys; sys.exit(sys.version_info[:2] != (2, 7))"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def find_cache() -> Path:
    """Return the folder of what is kept between runs; of another set of requirements, another."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + SUITE.encode()).hexdigest()[:12]
    return cache / "realtime-gateway" / f"autobahn-{key}"


def install(python27: str, cache: Path) -> Path:
    """Return wstest, installed for python27 in cache, unless it has been before."""
    environment, done = cache / "py27", cache / "installed"
    if not done.exists():
        print(f"installing the Autobahn test-suite in {cache}", flush=True)
        shutil.rmtree(cache, ignore_errors=True)
        venv.create(cache / "virtualenv", with_pip=True)
        tools = cache / "virtualenv" / "bin"
        _run(tools / "pip", "install", VIRTUALENV)
        _run(tools / "virtualenv", "--python", python27, environment)
        pip = environment / "bin" / "pip"
        _run(pip, "install", "-r", REQUIREMENTS)
        _run(pip, "install", "--no-deps", SUITE)
        done.touch()
    return environment / "bin" / "wstest"


def _run(*command: object) -> None:
    """Run a command that prints only where it fails; exit there."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        print(done.stdout + done.stderr)
        sys.exit(f"this failed: {' '.join(words)}")


def make_spec(port: int, cases: list[str], excluded: list[str], reports: Path) -> dict[str, object]:
    """Return what wstest reads."""
    return {
        "outdir": str(reports),
        "servers": [{"agent": AGENT, "url": f"ws://127.0.0.1:{port}"}],
        "cases": cases,
        "exclude-cases": excluded,
        "exclude-agent-cases": {},
    }


def read_verdicts(reports: Path) -> list[Verdict]:
    """Return what wstest has written to reports, in the order of the cases."""
    index = json.loads((reports / "index.json").read_text())[AGENT]
    return [
        Verdict(
            case,
            index[case]["behavior"],
            index[case]["behaviorClose"],
            reports / index[case]["reportfile"].replace(".json", ".html"),
        )
        for case in sorted(index, key=lambda case: [int(part) for part in case.split(".")])
    ]


def summarize(verdicts: Iterable[Verdict]) -> str:
    """Return a table with a line for each outcome, and a line for each case that was not good."""
    verdicts = list(verdicts)
    counts = Counter({"OK": 0, "NON-STRICT": 0, "INFORMATIONAL": 0, "UNCLEAN": 0, "FAILED": 0})
    for verdict in verdicts:
        counts[verdict.behavior] += 1
        if verdict.closing not in (verdict.behavior, *GOOD_BEHAVIORS):
            counts[verdict.closing] += 1
    lines = [f"{outcome:<14}{count:>5}" for outcome, count in counts.items()]
    lines += [
        f"{verdict.case}: {verdict.behavior}, closing {verdict.closing}: {verdict.report}"
        for verdict in verdicts
        if not verdict.is_good or verdict.closing == "UNCLEAN"
    ]
    return "\n".join([f"{'cases':<14}{len(verdicts):>5}", *lines])


async def run_cases(wstest: Path, cases: list[str], excluded: list[str], reports: Path) -> int:
    """Serve, let wstest run cases, and return its exit status."""
    from gateway import web  # here, so that a machine without Python 2.7 needs nothing

    async def echo(request: web.BaseRequest) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES)
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is web.WSMsgType.TEXT:
                await websocket.send_str(message.data)
            elif message.type is web.WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
        return websocket

    server = web.Server(echo, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    with closing(listener):
        port = listener.sockets[0].getsockname()[1]
        spec = reports / "spec.json"
        spec.write_text(json.dumps(make_spec(port, cases, excluded, reports)))
        with (reports / "wstest.log").open("wb") as log:
            command = (wstest, "-m", "fuzzingclient", "-s", spec)
            status = await _wait_for(*map(str, command), output=log)
    await server.shutdown(1)
    return status


async def _wait_for(*command: str, output: IO[bytes]) -> int:
    """Run a command to its end, or until patience ends; return its exit status."""
    process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--cases", default="*", help="patterns such as 6.*,9.1.1")
    parser.add_argument("--uvloop", action="store_true", help="serve on uvloop's event loop")
    return parser.parse_args(arguments)


def choose_loop(is_uvloop: bool) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the event loop."""
    if not is_uvloop:
        return asyncio.new_event_loop
    import uvloop  # only here, because it does not exist for Windows and PyPy

    return uvloop.new_event_loop


def main(arguments: list[str]) -> int:
    """Run the suite, print what came out, and return the exit status."""
    options = parse_arguments(arguments)
    python27 = find_python27(os.environ.get("PATH", ""), Path.home())
    if python27 is None:
        print("The Autobahn test-suite did not run: it needs Python 2.7, and there is none.")
        return 0
    wstest = install(python27, find_cache())
    reports = Path(tempfile.mkdtemp(prefix="autobahn-"))  # its own, as runs may go on at once
    excluded = LONG_CASES if options.fast else []
    with asyncio.Runner(loop_factory=choose_loop(options.uvloop)) as runner:
        status = runner.run(run_cases(wstest, options.cases.split(","), excluded, reports))
    if status or not (reports / "index.json").exists():
        print((reports / "wstest.log").read_text()[-4000:])
        print(f"wstest exited with {status}")
        return 1
    verdicts = read_verdicts(reports)
    summary = summarize(verdicts)
    print(summary)
    if str(reports) not in summary:
        shutil.rmtree(reports)
    return 0 if verdicts and all(verdict.is_good for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
