"""What a publisher makes of the answers it gets."""

import pytest

from gateway.node import Node
from loadtest.clients.connection import connect, parse_target
from loadtest.clients.publisher import Publisher
from loadtest.errors import LoadError
from protocol.frames import TEXT, encode_frame


@pytest.fixture
async def publisher(target: str):
    publisher = Publisher(parse_target(target))
    await connect(parse_target(target), publisher)
    yield publisher
    publisher.abort()


async def test_what_is_published_is_in_the_channel_once(publisher: Publisher, node: Node) -> None:
    assert await publisher.publish("news", {"text": "hello"}, 3) == 0
    assert await publisher.publish("news", "more") == 0
    stream = await node.hub.follow("news")
    assert stream.last == 4


def answer(publisher: Publisher, code: str) -> None:
    error = f'{{"type":"error","id":1,"code":"{code}","message":"not now"}}'
    publisher.walk(memoryview(encode_frame(TEXT, error.encode())))


async def test_refusals_for_now_are_counted(publisher: Publisher) -> None:
    answer(publisher, "overloaded")
    assert await publisher.publish("news", "hello", 2) == 1


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("rate_limited", "GATEWAY_SESSION__COMMANDS_PER_S=0"),
        ("unauthorized", "refused to publish: unauthorized: not now"),
    ],
)
async def test_other_refusals_are_told(publisher: Publisher, code: str, text: str) -> None:
    answer(publisher, code)
    with pytest.raises(LoadError, match=text):
        await publisher.publish("news", "hello")
