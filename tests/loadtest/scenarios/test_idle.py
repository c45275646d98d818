"""Idle connections to a real node, which they keep by answering pings."""

import asyncio
import os

from gateway.node import Node
from loadtest.run import Plan, run


async def test_who_answers_pings_is_kept_and_what_that_costs_is_told(
    target: str, node: Node
) -> None:
    plan = Plan("idle", target, {"connections": 10}, seconds=3600, workers=2, pid=os.getpid())
    is_told = asyncio.Event()
    running = asyncio.create_task(run(plan, lambda _: is_told.set()))
    for _ in range(3):  # a beat ends whoever has not answered the one before
        is_told.clear()
        await is_told.wait()
        assert len(node.hub.sessions) == 10
        for session in tuple(node.hub.sessions):
            session.transport.beat()
    is_told.clear()
    await is_told.wait()
    running.cancel()
    result = await running
    assert result.figure("pings") == 30
    assert result.figure("memory per connection") is not None
    assert (result.figure("server CPU") or 0) > 0
    assert result.faults == {"lost connections": 0}


async def test_connections_that_the_target_ends_are_counted(target: str, node: Node) -> None:
    def end_two(_: object) -> None:
        for session in tuple(node.hub.sessions)[:2]:
            session.transport.disconnect(1012, "enough")

    result = await run(Plan("idle", target, {"connections": 5}, seconds=1.5), end_two)
    assert result.faults == {"lost connections": 2}
