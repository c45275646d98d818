"""When something is due, and how long it goes on."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any


async def pace(rate: float) -> AsyncIterator[int]:
    """Yield how many are due at rate per second, at least 1, as soon as any is; without end.

    What is due while the consumer is busy comes together: the rate does not wait for it.
    """
    loop = asyncio.get_running_loop()
    began, given = loop.time(), 0
    while True:
        await asyncio.sleep(max(0.0, began + given / rate - loop.time()))
        due = max(1, int((loop.time() - began) * rate) + 1 - given)
        given += due
        yield due


async def work_for(seconds: float, work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of work at once for so many seconds, or until one fails, and raise what it raised.

    Work that goes on then, or when this is cancelled, is cancelled.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
