"""What the history of a channel says, page after page in both directions, against the ledger."""

import random
from typing import Any, Final
from urllib.parse import quote

from loadtest.clients.fetch import fetch_json
from loadtest.losses.ledger import Ledger
from loadtest.losses.verdict import Reader, Tally
from protocol.cursor import Position

_MAX_PAGE_COUNT: Final = 100


class Historian:
    """Reads the history of channels once nothing is published any more."""

    def __init__(
        self, address: tuple[str, int], tally: Tally, ledger: Ledger, rng: random.Random
    ) -> None:
        self._address = address
        self._tally = tally
        self._ledger = ledger
        self._rng = rng

    async def judge(self, channel: str, end: Position) -> None:
        """Judge the history of channel: whole up to its end, and the same when read backwards."""
        forward = await self._read(channel, reverse="false")
        backward = await self._read(channel, reverse="true")
        reader = Reader("the history", self._tally, self._ledger, is_durable=False)
        reader.begin_visit("history")
        first = forward[0]["offset"] if forward else end.offset + 1
        reader.positions[channel] = Position(end.epoch, first - 1)
        for record in forward:
            reader.take({"type": "message", "channel": channel, **record})
        reader.finish({channel: end})
        # Meanwhile the oldest may have expired.
        newest = forward[len(forward) - len(backward) :]
        if len(backward) > len(forward) or backward[::-1] != newest:
            reader.fault("wrong", f"{channel}: history is not the same when read backwards")

    async def _read(self, channel: str, *, reverse: str) -> list[dict[str, Any]]:
        path = f"/channels/{quote(channel, safe='')}/history?reverse={reverse}"
        records: list[dict[str, Any]] = []
        cursor = ""
        while True:
            limit = self._rng.randint(1, _MAX_PAGE_COUNT)
            page = await fetch_json(self._address, f"{path}&limit={limit}{cursor}")
            records += page["publications"]
            cursor = f"&cursor={page['cursor']}"
            if not page["publications"]:
                return records
