"""Publishers: over WebSocket with many in flight, and over POST /publish, single and in batches.

Every publication ends in the ledger: acknowledged with its place, refused, or unknown, where the
connection broke before its answer.
"""

import asyncio
import json
import random
from abc import abstractmethod
from typing import Final, NamedTuple

import msgpack
import msgspec

from loadtest.losses.ledger import Ledger, Place
from loadtest.losses.payload import Identity, choose_padding_chars, make_data
from loadtest.losses.verdict import Push, Tally
from loadtest.losses.visits import MASKING_KEY, POSTPONING_ERRORS
from loadtest.wire import End, Head, ResponseDecoder, ServerFrameDecoder, WireError
from protocol.frames import BINARY, CLOSE, PING, PONG, TEXT, encode_masked_frame

# What one burst has at most, and so what may be in flight.
_MAX_BURST_COUNT: Final = 20
# How much of a burst may be padding, so that a request stays below server.max_body_bytes.
_MAX_PADDING_CHARS: Final = 8000
# Before a publisher goes on that was refused, or could not connect.
_RETRY_S: Final = 0.05
# How long an answer may take; a drain closes the connection before.
_PATIENCE_S: Final = 20.0


class Draft(NamedTuple):
    """One publication on its way."""

    identity: Identity
    channel: str
    data: dict[str, object]


class Publisher(asyncio.Protocol):
    """One connection that publishes in bursts; the next burst waits for the answers to the last."""

    def __init__(
        self, number: int, host: str, channels: list[str], ledger: Ledger, tally: Tally
    ) -> None:
        self.asyncio_transport: asyncio.Transport
        self.is_lost = False
        self.was_refused = False
        self._number = number
        self._host = host
        self._channels = channels
        self._ledger = ledger
        self._tally = tally
        self._responses = ResponseDecoder()
        self._changed = asyncio.Event()
        self._waiting: dict[int, Draft] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Prepare for the first burst."""
        self.asyncio_transport = transport

    def data_received(self, data: bytes) -> None:
        """Note the answers; what cannot be read is a fault and ends the connection."""
        try:
            self._feed(data)
        except (WireError, ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
            self._tally.fault("wrong", f"publisher {self._number}: {type(error).__name__}: {error}")
            self.asyncio_transport.abort()
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever waits for an answer has an unknown outcome."""
        self.is_lost = True
        self._changed.set()

    async def publish(self, rng: random.Random, count: int) -> None:
        """Send count publications and return once they are answered, or the connection is lost."""
        self.was_refused = False
        drafts = [self._draft(rng) for _ in range(count)]
        self._waiting = dict(enumerate(drafts, start=1))
        self._send(self._waiting)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while self._waiting and not self.is_lost:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            text = f"publisher {self._number}: no answer to {len(self._waiting)} publications"
            self._tally.fault("wrong", text)
            self.asyncio_transport.abort()

    @abstractmethod
    def _send(self, drafts: dict[int, Draft]) -> None:
        """Write drafts, by the number under which each is answered."""

    @abstractmethod
    def _feed(self, data: bytes) -> None:
        """Take what arrived."""

    def _draft(self, rng: random.Random) -> Draft:
        identity = self._ledger.send(self._number)
        channel = rng.choice(self._channels)
        padding_chars = choose_padding_chars(rng, _MAX_PADDING_CHARS)
        return Draft(identity, channel, make_data(channel, identity, padding_chars))

    def _answer(self, number: int, answer: Push) -> None:
        """Note the answer to the publication that has that number."""
        draft = self._waiting.pop(number)
        if answer.get("type") != "error":
            place = Place(answer["channel"], answer["epoch"], answer["offset"])
            problem = self._ledger.acknowledge(draft.identity, place)
            if place.channel != draft.channel:
                problem = f"{draft.identity} for {draft.channel} was answered with {place}"
        elif answer["code"] in POSTPONING_ERRORS:
            self.was_refused = True
            problem = self._ledger.refuse(draft.identity)
        else:
            problem = f"{draft.identity} was refused: {answer}"
        if problem:
            self._tally.fault("wrong", problem)


class WebSocketPublisher(Publisher):
    """Publishes by commands, a burst in one write; in JSON or, with an even number, MessagePack."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask for the upgrade; commands may follow at once."""
        super().connection_made(transport)
        self._is_upgraded = False
        self._frames = ServerFrameDecoder()
        self._is_packed = self._number % 2 == 0
        self.asyncio_transport.write(
            b"GET /ws HTTP/1.1\r\nHost: %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9hZHRlc3QgbG9hZHRlcw==\r\n"
            b"Sec-WebSocket-Protocol: gateway.v1.%b\r\n\r\n"
            % (self._host.encode(), b"msgpack" if self._is_packed else b"json")
        )

    def _send(self, drafts: dict[int, Draft]) -> None:
        frames = []
        for number, (_, channel, data) in drafts.items():
            command = {"type": "publish", "id": number, "channel": channel, "data": data}
            payload = msgpack.packb(command) if self._is_packed else json.dumps(command).encode()
            opcode = BINARY if self._is_packed else TEXT
            frames.append(encode_masked_frame(opcode, payload, MASKING_KEY))
        self.asyncio_transport.write(b"".join(frames))

    def _feed(self, data: bytes) -> None:
        if self._is_upgraded:
            self._feed_frames(data)
            return
        for event in self._responses.feed(data):
            if isinstance(event, Head):
                self._is_upgraded = event.status == 101
                if not self._is_upgraded:
                    self.asyncio_transport.close()
            elif isinstance(event, bytes) and self._is_upgraded:
                self._feed_frames(event)

    def _feed_frames(self, data: bytes) -> None:
        for opcode, payload in self._frames.feed(data):
            if opcode == PING:
                self.asyncio_transport.write(encode_masked_frame(PONG, payload, MASKING_KEY))
            elif opcode == CLOSE:
                self.asyncio_transport.close()
            else:
                is_packed = opcode == BINARY
                push: Push = (msgpack.unpackb if is_packed else msgspec.json.decode)(payload)
                if "id" in push:
                    self._answer(push["id"], push)


class HTTPPublisher(Publisher):
    """Publishes by POST /publish, one object or an array of them, on one connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first burst."""
        super().connection_made(transport)
        self._body: list[bytes] = []

    def _send(self, drafts: dict[int, Draft]) -> None:
        planned = [{"channel": each.channel, "data": each.data} for each in drafts.values()]
        # Line breaks between tokens, which are carried verbatim, are what event streams split.
        indent = 1 if self._number % 4 == 1 else None
        body = json.dumps(planned if len(planned) > 1 else planned[0], indent=indent).encode()
        self.asyncio_transport.write(
            b"POST /publish HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (self._host.encode(), len(body), body)
        )

    def _feed(self, data: bytes) -> None:
        for event in self._responses.feed(data):
            if isinstance(event, bytes):
                self._body.append(event)
            elif isinstance(event, End):
                answer = msgspec.json.decode(b"".join(self._body))
                self._body.clear()
                self._take(answer)

    def _take(self, answer: object) -> None:
        numbers = list(self._waiting)
        answers = answer if isinstance(answer, list) else [answer] * len(numbers)
        if len(answers) != len(numbers):
            raise WireError(f"{len(answers)} results for {len(numbers)} publications")
        for number, each in zip(numbers, answers, strict=True):
            self._answer(number, each)


async def publish_for_ever(
    address: tuple[str, int],
    number: int,
    channels: list[str],
    ledger: Ledger,
    tally: Tally,
    rng: random.Random,
    *,
    per_s: float,
    ending: asyncio.Event,
) -> None:
    """Publish bursts at about that rate until ending is set, over ever new connections."""
    kind = WebSocketPublisher if number % 4 in (0, 3) else HTTPPublisher
    host = f"{address[0]}:{address[1]}"
    loop = asyncio.get_running_loop()
    while not ending.is_set():
        try:
            _, publisher = await loop.create_connection(
                lambda: kind(number, host, channels, ledger, tally), *address
            )
        except OSError:
            await asyncio.sleep(_RETRY_S)
            continue
        try:
            while not ending.is_set() and not publisher.is_lost:
                count = rng.choice([1, rng.randint(1, _MAX_BURST_COUNT)])
                await publisher.publish(rng, count)
                if publisher.was_refused:
                    await asyncio.sleep(_RETRY_S)
                await asyncio.sleep(rng.uniform(0, 2) * count / per_s)
        finally:
            publisher.asyncio_transport.abort()
