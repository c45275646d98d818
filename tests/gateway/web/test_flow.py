"""Writers wait while the asyncio transport is full, and hear when the peer is gone."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.web.flow import WriteFlow, count_unread_bytes, limit_backlog, set_user_timeout


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


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Any, socket.socket]]:
    """Give the asyncio transport of one end of a connection, and the other end, which is idle."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    with peer:
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
        yield transport, peer
        transport.abort()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is known to tell")
async def test_what_the_peers_machine_has_not_taken_counts_as_unread_in_whichever_buffer_it_is():
    async with connected() as (transport, peer):
        transport.write(b"taken")
        while count_unread_bytes(transport):  # noqa: ASYNC110 - until it is acknowledged
            await asyncio.sleep(0)
        transport.write(bytes(32 << 20))
        assert count_unread_bytes(transport) > transport.get_write_buffer_size() > 0
        before = count_unread_bytes(transport)
        peer.recv(8 << 20)
        while count_unread_bytes(transport) >= before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can")
async def test_the_kernel_drops_a_connection_whose_peer_takes_nothing():
    lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    class Stalled(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set_result(exc)

    async with connected() as (transport, _peer):
        transport.set_protocol(Stalled())
        set_user_timeout(transport, 0.1)
        transport.write(bytes(32 << 20))
        assert isinstance(await lost, OSError)


async def test_a_socket_that_is_none_of_tcp_is_left_as_it_is():
    ours, peer = socket.socketpair()
    with peer:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            asyncio.Protocol, ours
        )
        set_user_timeout(transport, 0.1)
        limit_backlog(transport, 1000)
        assert transport.get_write_buffer_limits()[1] == 1000
        assert count_unread_bytes(transport) == 0
        transport.abort()


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the kernel has no such limit")
async def test_the_kernel_takes_little_for_a_peer_that_does_not_read():
    async with connected() as (transport, _peer):
        limit_backlog(transport, 65_536)
        assert transport.get_write_buffer_limits()[1] == 65_536
        endpoint = transport.get_extra_info("socket")
        assert endpoint.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 65_536
