"""A node inside another program: what the program publishes, and the bounds it sets."""

import asyncio
from contextlib import suppress

import pytest

from gateway.brokers.memory import MemoryBroker
from gateway.config import Config, ServerConfig
from gateway.errors import BrokerUnavailable
from gateway.node import Node
from gateway.publishing import draft_from_value
from protocol.errors import MessageError, OffsetConflict
from tests.gateway.clients import bounded, serving, untimed
from tests.gateway.late import LateBroker


async def read_all(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    async with bounded():
        answer = await reader.read()
    writer.close()
    return answer


async def test_what_the_program_publishes_reaches_subscribers_like_any_other():
    async with serving() as gateway:
        node = gateway.node
        first = await node.publish("a", {"n": [1, 2.5, None]}, key="k", tags={"t": "u"})
        second = await node.publish("a", b"\x00\xff")
        assert (first.offset, second.offset) == (1, 2)
        page = (await gateway.fetch("GET", "/channels/a/history")).json
        assert untimed(page) == [
            {"offset": 1, "data": {"n": [1, 2.5, None]}, "key": "k", "tags": {"t": "u"}},
            {"offset": 2, "data": "AP8=", "encoding": "base64"},
        ]


@pytest.mark.parametrize(
    ("channel", "data", "code"),
    [
        ("", 1, "invalid_channel"),
        ("a", {"x": b"nested"}, "invalid_data"),
        ("a", float("nan"), "invalid_data"),
        ("a", 2**64, "invalid_data"),
        ("a", object(), "invalid_data"),
    ],
)
async def test_the_program_is_refused_what_a_client_would_be(channel, data, code):
    async with serving() as gateway:
        with pytest.raises(MessageError) as refused:
            await gateway.node.publish(channel, data)
        assert refused.value.code == code


async def test_the_program_is_told_conflicts_and_repeats_as_clients_are():
    async with serving() as gateway:
        node = gateway.node
        first = await node.publish("a", 1, idempotency_key="k", expected_offset=0)
        assert await node.publish("a", 1, idempotency_key="k", expected_offset=0) == first
        with pytest.raises(OffsetConflict) as refused:
            await node.publish("a", 2, expected_offset=0)
        assert (refused.value.epoch, refused.value.offset) == first


async def test_the_program_publishes_a_batch_as_a_whole_or_not_at_all():
    async with serving() as gateway:
        drafts = [draft_from_value(1, key="k"), draft_from_value(b"2", expected_offset=1)]
        places = await gateway.node.publish_batch("a", drafts)
        assert [place.offset for place in places] == [1, 2]
        with pytest.raises(OffsetConflict):
            await gateway.node.publish_batch("a", drafts)
        page = (await gateway.fetch("GET", "/channels/a/history")).json
        assert untimed(page) == [
            {"offset": 1, "data": 1, "key": "k"},
            {"offset": 2, "data": "Mg==", "encoding": "base64"},
        ]
        with pytest.raises(MessageError) as refused:
            await gateway.node.publish_batch("", drafts)
        assert refused.value.code == "invalid_channel"


async def test_a_program_that_gives_up_waiting_does_not_take_its_publication_back():
    broker = LateBroker()

    class NodeBeforeIt(Node):
        def _make_broker(self):
            return broker

    node = NodeBeforeIt(Config(server=ServerConfig(port=0)))
    await node.start()
    publishing = asyncio.create_task(node.publish("a", 1))
    await broker.wait_asked(1)
    publishing.cancel()
    await asyncio.wait([publishing])
    await broker.answer()
    assert (publishing.cancelled(), broker.near.publication_count) == (True, 1)
    await node.stop()


async def test_a_broker_that_stumbles_over_what_has_expired_is_asked_again(caplog):
    is_asked_again = asyncio.Event()

    class StumblingBroker(MemoryBroker):
        def forget_unused(self):
            if not caplog.records:
                raise RuntimeError("stumbled")
            is_asked_again.set()
            return super().forget_unused()

    class NodeOverIt(Node):
        def _make_broker(self):
            return StumblingBroker(self.config.channels)

    node = NodeOverIt(Config(server=ServerConfig(port=0)))
    await node.start()
    async with bounded():
        await is_asked_again.wait()
    assert "what has expired cannot be dropped" in caplog.text
    await node.stop()


async def test_a_node_that_does_not_run_refuses_to_publish():
    node = Node(Config(server=ServerConfig(port=0)))
    with pytest.raises(BrokerUnavailable, match="not running"):
        await node.publish("a", 1)
    await node.start()
    await node.publish("a", 1)
    await node.stop()
    with pytest.raises(BrokerUnavailable, match="not running"):
        await node.publish("a", 1)


async def test_a_head_above_the_configured_size_is_431():
    node = Node(Config(server=ServerConfig(port=0, max_head_bytes=1000)))
    await node.start()
    fits = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {}\r\n\r\n"
    assert (await read_all(node.port, fits.format("x" * 800))).startswith(b"HTTP/1.1 200")
    assert (await read_all(node.port, fits.format("x" * 1000))).startswith(b"HTTP/1.1 431")
    await node.stop()


async def test_a_connection_above_the_configured_count_is_dropped_and_the_others_stay():
    node = Node(Config(server=ServerConfig(port=0, max_connections=2)))
    await node.start()
    kept = [await asyncio.open_connection("127.0.0.1", node.port) for _ in range(2)]
    request = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with suppress(ConnectionError):  # which is the same, noticed earlier
        assert await read_all(node.port, request) == b""
    for reader, writer in kept:
        writer.write(request.encode())
        async with bounded():
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
    await node.stop()
