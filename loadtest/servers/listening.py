"""How the servers of this package listen: on a port of loopback, until they are told to end."""

import argparse
import asyncio
import gc
from typing import Final

from gateway import web
from gateway.web.exchange import Handler
from loadtest.worker import find_loop_factory

# A storm of connections waits here, up to what net.core.somaxconn lets it be.
_BACKLOG_COUNT: Final = 4096
# As `gateway serve` has it, and loadtest/peers/program.py for whoever is compared with it.
_GARBAGE_COUNT: Final = 20_000


def serve(handler: Handler) -> None:
    """Answer with handler on the --port of the command line, until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    gc.set_threshold(_GARBAGE_COUNT)
    with asyncio.Runner(loop_factory=find_loop_factory()) as runner:
        runner.run(_listen(handler, port))


async def _listen(handler: Handler, port: int) -> None:
    server = web.Server(handler, access_log=None)
    runner = web.ServerRunner(server, handle_signals=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, backlog=_BACKLOG_COUNT).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
