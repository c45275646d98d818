"""What publishes: over WebSocket with many in flight, or over POST /publish, single and in batches.

Every publication ends in the ledger: acknowledged with its place, refused, or unknown, where the
connection broke before its answer.
"""

import asyncio
import json
from abc import abstractmethod
from typing import Any, Final, NamedTuple

import msgpack
import msgspec

from loadtest.clients.dialects import upgrade
from loadtest.clients.wire import End, Head, ResponseDecoder, ServerFrameDecoder, WireError
from loadtest.losses.ledger import Ledger, Place
from loadtest.losses.payload import Identity
from loadtest.losses.verdict import Push, Tally
from loadtest.losses.visits import MASKING_KEY, POSTPONING_ERRORS
from protocol.frames import BINARY, CLOSE, PING, PONG, TEXT, encode_masked_frame

# How long an answer may take; a drain closes the connection before.
_PATIENCE_S: Final = 20.0


class Draft(NamedTuple):
    """One publication on its way; fields are those of a publish command that say what it is."""

    identity: Identity
    fields: dict[str, Any]

    @property
    def has_key(self) -> bool:
        """Whether it may be repeated."""
        return "idempotency_key" in self.fields


class Publisher(asyncio.Protocol):
    """One connection that publishes in bursts; the next burst waits for the answers to the last."""

    def __init__(self, number: int, host: str, ledger: Ledger, tally: Tally) -> None:
        self.asyncio_transport: asyncio.Transport
        self.is_lost = False
        self.was_refused = False
        self.acknowledged: list[Draft] = []  # of the last burst
        self._number = number
        self._host = host
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

    async def publish(self, drafts: list[Draft]) -> list[Draft]:
        """Send drafts and return those that are not answered when the connection is lost."""
        self.was_refused = False
        self.acknowledged = []
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
        return list(self._waiting.values())

    @abstractmethod
    def _send(self, drafts: dict[int, Draft]) -> None:
        """Write drafts, by the number under which each is answered."""

    @abstractmethod
    def _feed(self, data: bytes) -> None:
        """Take what arrived."""

    def _answer(self, number: int, answer: Push) -> None:
        """Note the answer to the publication that has that number."""
        draft = self._waiting.pop(number)
        if answer.get("type") != "error":
            place = Place(answer["channel"], answer["epoch"], answer["offset"])
            problem = self._ledger.acknowledge(draft.identity, place)
            if place.channel != draft.fields["channel"]:
                problem = f"{draft} was answered with {place}"
            self.acknowledged.append(draft)
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
        subprotocol = "gateway.v1.msgpack" if self._is_packed else "gateway.v1.json"
        header = f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
        self.asyncio_transport.write(upgrade("/ws", self._host, header))

    def _send(self, drafts: dict[int, Draft]) -> None:
        frames = []
        for number, draft in drafts.items():
            command = {"type": "publish", "id": number, **draft.fields}
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
        planned = [each.fields for each in drafts.values()]
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

    def _take(self, answer: list[Push] | Push) -> None:
        numbers = list(self._waiting)
        answers = answer if isinstance(answer, list) else [answer] * len(numbers)
        if len(answers) != len(numbers):
            raise WireError(f"{len(answers)} results for {len(numbers)} publications")
        self._check_together(answers)
        for number, each in zip(numbers, answers, strict=True):
            self._answer(number, each)

    def _check_together(self, answers: list[Push]) -> None:
        """Note where the places that one batch got in a channel are not next to each other."""
        latest: dict[tuple[str, str], int] = {}
        for answer in answers:
            if answer.get("type") == "error":
                continue
            log, offset = (answer["channel"], answer["epoch"]), answer["offset"]
            if latest.setdefault(log, offset - 1) != offset - 1:
                self._tally.fault("wrong", f"a batch was not published as one: {answers}")
            latest[log] = offset
