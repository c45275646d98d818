"""Writers wait while the asyncio transport is full, and hear when the peer is gone."""

import asyncio

import pytest

from gateway.web.flow import WriteFlow


@pytest.fixture
def flow():
    return WriteFlow(asyncio.Transport())


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_nobody_waits_before_writing_is_paused(flow):
    await flow.drain()
    flow.pause()
    flow.resume()
    await flow.drain()


async def test_everyone_waits_until_writing_resumes(flow):
    flow.pause()
    waiting = [asyncio.create_task(flow.drain()) for _ in range(2)]
    await settle()
    assert not any(task.done() for task in waiting)
    flow.resume()
    await asyncio.gather(*waiting)


async def test_who_waits_hears_that_the_peer_left_and_so_does_who_comes_later(flow):
    flow.pause()
    waiting = [asyncio.create_task(flow.drain()) for _ in range(2)]
    await settle()
    flow.lose()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, ConnectionResetError)
    with pytest.raises(ConnectionResetError):
        await flow.drain()


async def test_a_cancelled_writer_leaves_the_others_waiting(flow):
    flow.pause()
    first, second = asyncio.create_task(flow.drain()), asyncio.create_task(flow.drain())
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert not second.done()
    flow.resume()
    await second


async def test_a_writer_that_is_cancelled_as_writing_resumes_disturbs_nobody(flow):
    flow.pause()
    first, second = asyncio.create_task(flow.drain()), asyncio.create_task(flow.drain())
    await settle()
    first.cancel()
    flow.resume()
    flow.lose()
    await asyncio.gather(first, second, return_exceptions=True)
    assert first.cancelled()
    assert second.exception() is None
