"""The history of a real node is judged as what clients are given is."""

import random

import pytest

from gateway.config import Config, ServerConfig
from gateway.node import Node
from loadtest.losses.history import Historian
from loadtest.losses.ledger import Ledger, Place
from loadtest.losses.payload import make_data
from loadtest.losses.verdict import Tally
from protocol.cursor import Position

CHANNEL = "news/of today?"


@pytest.fixture
async def node():
    node = Node(Config(server=ServerConfig(port=0)))
    await node.start()
    yield node
    await node.stop()


@pytest.mark.parametrize(
    ("count", "claimed_end", "swapped", "faults"),
    [
        pytest.param(250, 250, 0, {}, id="is whole"),
        pytest.param(0, 0, 0, {}, id="is empty"),
        pytest.param(5, 7, 0, {"lost": 2}, id="ends too early"),
        pytest.param(9, 9, 4, {"wrong": 1}, id="holds another publication"),
    ],
)
async def test_a_history_is_read_to_its_end(
    node: Node, count: int, claimed_end: int, swapped: int, faults: dict[str, int]
) -> None:
    ledger, tally = Ledger(), Tally()
    epoch = (await node.publish("other", None)).epoch
    for offset in range(1, count + 1):
        identity = ledger.send(1)
        data = make_data(CHANNEL, identity, offset)
        position = await node.publish(CHANNEL, data)
        epoch = position.epoch
        acknowledged = ledger.send(2) if offset == swapped else identity
        ledger.acknowledge(acknowledged, Place(CHANNEL, epoch, position.offset))
    historian = Historian(("127.0.0.1", node.port), tally, ledger, random.Random(1))
    await historian.judge(CHANNEL, Position(epoch, claimed_end))
    assert tally.faults == faults
    assert tally.delivery_count == count
