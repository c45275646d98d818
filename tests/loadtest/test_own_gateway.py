"""A gateway that is stopped and started, as a process."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loadtest.clients.fetch import fetch, fetch_end
from loadtest.errors import LoadError
from loadtest.own_gateway import OwnGateway

CONFIG = "[channels]\nhistory_count = 7\n"
WORKER = """
import asyncio, pathlib, sys
from loadtest.own_gateway import OwnGateway

async def main():
    gateway = OwnGateway(pathlib.Path(sys.argv[1]), "", is_durable=False)
    await gateway.start()
    print(gateway.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[OwnGateway]:
    gateway = OwnGateway(tmp_path, CONFIG, is_durable=True)
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest.mark.parametrize("how", ["term", "kill"])
async def test_it_comes_back_at_its_address_as_another_process(
    gateway: OwnGateway, how: str
) -> None:
    before, end = gateway.pid, await fetch_end(gateway.address, "news")
    await gateway.restart(how)
    assert gateway.pid != before
    assert gateway.restart_count == 1
    assert await fetch_end(gateway.address, "news") == end  # of the same epoch: it is durable


async def test_after_its_end_nobody_answers(gateway: OwnGateway) -> None:
    assert b"ok" in await fetch(gateway.address, "/healthz")
    await gateway.stop()
    with pytest.raises(LoadError, match="does not answer"):
        await fetch_end(gateway.address, "news")


async def test_a_configuration_that_it_refuses_is_told(tmp_path: Path) -> None:
    gateway = OwnGateway(tmp_path, "[nonsense]\nnumber = 1\n", is_durable=False)
    with pytest.raises(LoadError, match="nonsense"):
        await gateway.start()


async def test_it_ends_with_its_worker_also_where_that_is_killed(tmp_path: Path) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WORKER, str(tmp_path), stdout=PIPE
    )
    assert worker.stdout is not None
    pidfd = os.pidfd_open(int(await worker.stdout.readline()))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)  # once the process has ended
    worker.kill()
    await worker.wait()
    async with asyncio.timeout(20):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
