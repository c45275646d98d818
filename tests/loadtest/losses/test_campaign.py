"""Publishers against a real node: what they are answered is what the node did."""

import asyncio
import random

import pytest

from gateway.config import ChannelsConfig, Config, ServerConfig
from gateway.node import Node
from loadtest.losses.campaign import Campaign
from loadtest.losses.ledger import Ledger, Place
from loadtest.losses.payload import Identity
from loadtest.losses.verdict import Tally

CHANNELS = ["a", "b"]


@pytest.fixture
async def node():
    channels = ChannelsConfig(history_count=100_000, history_bytes=100_000_000)
    node = Node(Config(server=ServerConfig(port=0), channels=channels))
    await node.start()
    yield node
    await node.stop()


class EndingLedger(Ledger):
    """A ledger that ends a campaign once it knows of enough."""

    def __init__(self) -> None:
        super().__init__()
        self.ending = asyncio.Event()

    def acknowledge(self, identity: Identity, place: Place) -> str:
        if self.acknowledged_count >= 300 and self.repeated_count:
            self.ending.set()
        return super().acknowledge(identity, place)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_each_kind_of_publisher_accounts_for_what_it_publishes(
    node: Node, number: int
) -> None:
    ledger, tally = EndingLedger(), Tally()
    address = ("127.0.0.1", node.port)
    campaign = Campaign(number, address, CHANNELS, ledger, tally, random.Random(number))
    await campaign.publish(5000, ledger.ending)
    assert tally.cases == []
    ends = [(await node.publish(channel, None)).offset - 1 for channel in CHANNELS]
    assert sum(ends) == ledger.acknowledged_count
    assert ledger.find_misplaced() == []
