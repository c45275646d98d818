"""A server that the tool starts for a run, on a free port of loopback, and stops at its end."""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from loadtest.errors import LoadError

# A server that does not listen after this long does not start.
_START_S: Final = 20.0
# One that has not ended this long after SIGTERM is killed: nobody waits for its clients here.
_STOP_S: Final = 5.0
# How much of what it wrote is shown where it did not start.
_SHOWN_BYTES: Final = 2_000

# From linux/prctl.h: the signal that a process gets when its parent has died.
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class Serving(NamedTuple):
    """A server that runs: its process, and where it listens."""

    pid: int
    host: str
    port: int


@contextlib.asynccontextmanager
async def serve(
    command: Sequence[str], *, port: int, environment: Mapping[str, str], cpus: Sequence[int] = ()
) -> AsyncIterator[Serving]:
    """Run command while the context lasts; it must listen on port of 127.0.0.1.

    environment is added to this process's own; cpus are the cores to run on, empty for any.
    Raises LoadError, with what the server wrote, where it does not come to listen.
    """
    with tempfile.TemporaryFile() as written:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C is for the tool, which ends the server at its end
            preexec_fn=partial(become_server, cpus),
        )
        try:
            await _wait_listening(process, port)
        except LoadError as error:
            await _stop(process)
            written.seek(0)
            text = written.read()[-_SHOWN_BYTES:].decode(errors="replace").strip()
            raise LoadError(f"{error}: {' '.join(command)}\n{text}") from None
        except BaseException:
            await _stop(process)
            raise
        try:
            yield Serving(process.pid, "127.0.0.1", port)
        finally:
            await _stop(process)


@contextlib.asynccontextmanager
async def serve_gateway(
    settings: Mapping[str, str], cpus: Sequence[int] = ()
) -> AsyncIterator[Serving]:
    """Run this gateway, with settings in its environment, as `serve` does."""
    port = find_free_port()
    command = [sys.executable, "-m", "gateway", "serve", "--port", str(port)]
    async with serve(command, port=port, environment=settings, cpus=cpus) as serving:
        yield serving


@contextlib.asynccontextmanager
async def serve_program(module: str, cpus: Sequence[int] = ()) -> AsyncIterator[Serving]:
    """Run a module that listens on its --port of loopback, as `serve` does."""
    port = find_free_port()
    command = [sys.executable, "-m", module, "--port", str(port)]
    async with serve(command, port=port, environment={}, cpus=cpus) as serving:
        yield serving


def find_free_port() -> int:
    """Return a port of loopback that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def become_server(cpus: Sequence[int] = ()) -> None:
    """Make this process, which is to become a server, one that ends with the tool, on cpus.

    It may open many files, and has none that the tool itself was given, such as a lock, which
    uvloop would leave to it. Set before it starts, all this holds for its threads as well.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if cpus:
        os.sched_setaffinity(0, cpus)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself is closed already
            os.set_inheritable(int(name), int(name) <= 2)


async def _wait_listening(process: asyncio.subprocess.Process, port: int) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + _START_S
    while loop.time() < end:
        if process.returncode is not None:
            raise LoadError(f"a server ended at its start with status {process.returncode}")
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise LoadError(f"a server did not listen on port {port} after {_START_S:.0f} s")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
    await process.wait()
