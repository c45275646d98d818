"""What a publisher does in a run: bursts of any size, now and then the same once more.

Publications with an idempotency key are repeated where their answer was lost, and sometimes
although it came; the others are sent once.
"""

import asyncio
import random
from typing import Any, Final

from loadtest.losses.ledger import Ledger
from loadtest.losses.payload import choose_padding_chars, make_data
from loadtest.losses.publishers import Draft, HTTPPublisher, Publisher, WebSocketPublisher
from loadtest.losses.verdict import Tally

# What one burst has at most, and so what may be in flight.
_MAX_BURST_COUNT: Final = 20
# How much of a publication may be padding, so that a burst stays below server.max_body_bytes.
_MAX_PADDING_CHARS: Final = 8000
# How many bursts begin a flood of one channel, and what a flood is: 5 MB, more than the kernel
# takes for a socket that is not read, in bursts below server.max_body_bytes.
_FLOOD_SHARE: Final = 0.005
_FLOOD_BURSTS: Final = 6
_FLOOD_BURST_COUNT: Final = 60
# How many bursts have idempotency keys: with the default bounds a node remembers them all. How many
# of these are repeated although they were answered, and how many publications have a key.
_KEYED_SHARE: Final = 0.3
_REPEATING_SHARE: Final = 0.2
_LABELLED_SHARE: Final = 0.5
# Before a publisher goes on that was refused, or could not connect.
_RETRY_S: Final = 0.05


class Campaign:
    """One publisher for the whole of a run, over ever new connections."""

    def __init__(
        self,
        number: int,
        address: tuple[str, int],
        channels: list[str],
        ledger: Ledger,
        tally: Tally,
        rng: random.Random,
    ) -> None:
        self._number = number
        self._address = address
        self._channels = channels
        self._ledger = ledger
        self._tally = tally
        self._rng = rng
        self._owed: list[Draft] = []  # to be repeated before all else
        self._floods: list[str] = []  # the channels of the next bursts, where they are a flood

    async def publish(self, per_s: float, ending: asyncio.Event) -> None:
        """Publish bursts at about that rate until ending is set."""
        kind = WebSocketPublisher if self._number % 4 in (0, 3) else HTTPPublisher
        host = f"{self._address[0]}:{self._address[1]}"
        loop = asyncio.get_running_loop()
        while not ending.is_set():
            try:
                _, publisher = await loop.create_connection(
                    lambda: kind(self._number, host, self._ledger, self._tally), *self._address
                )
            except OSError:
                await asyncio.sleep(_RETRY_S)
                continue
            try:
                while not ending.is_set() and not publisher.is_lost:
                    await self._publish_burst(publisher, per_s)
            finally:
                publisher.asyncio_transport.abort()

    async def _publish_burst(self, publisher: Publisher, per_s: float) -> None:
        drafts = self._owed or self._make_burst()
        unanswered = await publisher.publish(drafts)
        repeatable = unanswered
        if not unanswered and self._rng.random() < _REPEATING_SHARE:
            repeatable = publisher.acknowledged
        self._owed = [draft for draft in repeatable if draft.has_key]
        for draft in self._owed:
            self._ledger.repeat(draft.identity)
        if publisher.was_refused:
            await asyncio.sleep(_RETRY_S)
        if not self._floods:
            await asyncio.sleep(self._rng.uniform(0, 2) * len(drafts) / per_s)

    def _make_burst(self) -> list[Draft]:
        """Return new publications, each with an idempotency key or none of them."""
        rng = self._rng
        if rng.random() < _FLOOD_SHARE:
            self._floods = [rng.choice(self._channels)] * _FLOOD_BURSTS
        if self._floods:
            channel = self._floods.pop()
            return [
                self._make_draft(channel, _MAX_PADDING_CHARS, has_key=False)
                for _ in range(_FLOOD_BURST_COUNT)
            ]
        has_keys = rng.random() < _KEYED_SHARE
        return [
            self._make_draft(
                rng.choice(self._channels),
                choose_padding_chars(rng, _MAX_PADDING_CHARS),
                has_key=has_keys,
            )
            for _ in range(rng.choice([1, rng.randint(1, _MAX_BURST_COUNT)]))
        ]

    def _make_draft(self, channel: str, padding_chars: int, *, has_key: bool) -> Draft:
        rng = self._rng
        identity = self._ledger.send(self._number)
        data = make_data(channel, identity, padding_chars)
        fields: dict[str, Any] = {"channel": channel, "data": data}
        if rng.random() < _LABELLED_SHARE:
            fields["key"] = f"key {rng.randint(1, 5)}"
        if has_key:
            fields["idempotency_key"] = f"{self._number}-{identity.sequence}"
        return Draft(identity, fields)
