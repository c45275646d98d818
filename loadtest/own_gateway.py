"""A gateway of a scenario's own: a process that is stopped by a signal, and started again."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

from loadtest.errors import LoadError
from loadtest.serving import become_server, find_free_port

_PATIENCE_S: Final = 20.0
_POLL_S: Final = 0.02

SIGNALS: Final = {"term": signal.SIGTERM, "kill": signal.SIGKILL}


class OwnGateway:
    """`gateway serve` on one port of this machine, with its files in folder.

    config is its configuration as TOML; is_durable says that it keeps its logs on disk.
    """

    def __init__(self, folder: Path, config: str, *, is_durable: bool) -> None:
        self.address = ("127.0.0.1", find_free_port())
        self.restart_count = 0
        self._folder = folder
        self._config = folder / "gateway.toml"
        self._config.write_text(config)
        self._log = folder / "gateway.log"
        self._data = ["--data", str(folder / "data")] if is_durable else []
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it and return once it listens; raise LoadError when it does not."""
        options = ["--config", str(self._config), "--port", str(self.address[1]), *self._data]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway", "serve", "--log-level", "warning", *options),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tool, which stops it at its end
                preexec_fn=become_server,
            )
        for _ in range(int(_PATIENCE_S / _POLL_S)):
            if self._process.returncode is not None:
                break
            try:
                _, writer = await asyncio.open_connection(*self.address)
            except OSError:
                await asyncio.sleep(_POLL_S)
                continue
            writer.close()
            return
        raise LoadError(f"the gateway did not start: {self.read_log()[-2000:]}")

    async def restart(self, how: str) -> None:
        """Stop it, which runs, by the signal of that name and start it again."""
        assert self._process is not None
        await self._end(self._process, SIGNALS[how])
        self.restart_count += 1
        await self.start()

    async def stop(self) -> None:
        """Stop it by SIGTERM where it runs."""
        if self._process is not None and self._process.returncode is None:
            await self._end(self._process, signal.SIGTERM)

    def read_log(self) -> str:
        """Return what it has said on stderr: warnings, errors, tracebacks."""
        return self._log.read_text(errors="replace")

    async def _end(self, process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        process.send_signal(number)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                status = await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise LoadError(f"the gateway did not end within {_PATIENCE_S} s") from None
        if status not in (0, -signal.SIGKILL):
            raise LoadError(f"the gateway ended with {status}: {self.read_log()[-2000:]}")
