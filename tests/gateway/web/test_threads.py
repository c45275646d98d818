"""What may block runs in a thread, and ends before its caller goes on, cancelled or not."""

import asyncio
import threading

import pytest

from gateway.web.threads import run_to_end


async def test_a_call_returns_or_raises_from_another_thread():
    assert await run_to_end(int, "11", base=2) == 3
    assert await run_to_end(threading.get_ident) != threading.get_ident()
    with pytest.raises(ValueError, match="invalid literal"):
        await run_to_end(int, "x")


async def test_being_cancelled_waits_for_the_call_to_end():
    begun, go_on, has_ended = threading.Event(), threading.Event(), threading.Event()

    def call():
        begun.set()
        go_on.wait()
        has_ended.set()

    task = asyncio.create_task(run_to_end(call))
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert has_ended.is_set()


async def test_a_call_that_fails_after_being_cancelled_is_forgotten():
    begun, go_on = threading.Event(), threading.Event()

    def call():
        begun.set()
        go_on.wait()
        raise OSError

    task = asyncio.create_task(run_to_end(call))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
