"""What the tests of peers share: how one is started."""

import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from loadtest.compare.servers import SERVERS
from loadtest.serving import find_free_port, serve

Start = Callable[[str], Coroutine[Any, Any, int]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Return what starts a server by its name, and returns its port.

    One that is not installed has the test skipped, but not in CI, which must have it.
    """
    async with AsyncExitStack() as stack:

        async def start(name: str) -> int:
            absence = SERVERS[name].find_absence()
            if absence is not None:
                give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
                give_up(f"{name}: {absence}")
            port = find_free_port()
            command = SERVERS[name].command(port, tmp_path)
            await stack.enter_async_context(serve(command, port=port, environment={}))
            return port

        yield start
