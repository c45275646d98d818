"""POST /publish: from a body to publications, all of them in the turn in which it is complete."""

import asyncio
import hmac
from asyncio import Future
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from math import ceil
from typing import TypeAlias

import msgspec

from gateway.answers import answer_json, refuse, refuse_error, retry_headers, status_of
from gateway.broker import Broker, Draft
from gateway.budget import Budget, Share
from gateway.config import Config
from gateway.errors import BrokerUnavailable
from gateway.origin import is_allowed_origin
from gateway.rates import Rate
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from protocol.codes import ErrorCode
from protocol.cursor import Position
from protocol.errors import MessageError
from protocol.messages import ExpectedOffset, IdempotencyKey, PublishRequest, error_push
from protocol.publication import check_channel, check_labels, data_from_json, data_from_value

_DECODER: msgspec.json.Decoder[PublishRequest | list[PublishRequest]] = msgspec.json.Decoder(
    PublishRequest | list[PublishRequest]
)

# The drafts of one request by channel, each channel's in the request's order.
Batches: TypeAlias = dict[str, list[Draft]]


class Place(msgspec.Struct, frozen=True):
    """Where a publication went: the answer to POST /publish."""

    channel: str
    epoch: str
    offset: int


Result: TypeAlias = Place | MessageError


class _Conditions(msgspec.Struct):
    """What clients may give as conditions, for callers whose types nobody has checked."""

    idempotency_key: IdempotencyKey | None
    expected_offset: ExpectedOffset | None


class PublishEndpoint:
    """Publishes the object or the array of objects in a body, and answers their places.

    What cannot be read or is beyond a limit is refused as a whole. Otherwise all publications of
    one channel are appended, without another in between, or none of them is; then the error stands
    at each of them, and the status is that of the first error.
    """

    def __init__(self, broker: Broker, config: Config, clock: Callable[[], float]) -> None:
        self._broker = broker
        self._auth = config.auth
        self._allowed_origins = config.websocket.allowed_origins
        self._max_body_bytes = config.server.max_body_bytes
        self._config = config.publish
        self._bodies = Budget("publications under way", config.publish.max_pending_bytes)
        per_s = config.publish.publications_per_s
        self._rate = Rate(per_s, config.publish.publications_burst) if per_s else None
        self._clock = clock

    async def __call__(self, request: BaseRequest) -> Response:
        """Return the answer to request."""
        if not is_allowed_origin(request, self._allowed_origins):
            # A browser sends simple POSTs anywhere; without this any page could publish here.
            text = "pages of this origin may not publish; see websocket.allowed_origins"
            return refuse(403, ErrorCode.UNAUTHORIZED, text)
        if not self._may_publish(request):
            headers = {"WWW-Authenticate": "Bearer"}
            text = "publishing needs the API key, as Authorization: Bearer KEY"
            return refuse(401, ErrorCode.UNAUTHORIZED, text, headers=headers)
        try:
            with Share(self._bodies) as share:
                body = await self._read_body(request, share)
                requests, is_batch = self._read_requests(body)
                batches = _plan(requests, is_batch)
                self._check_rate(len(requests))
                results = await self._publish(batches, share)
        except MessageError as error:
            return refuse_error(error)
        return _answer([next(results[each.channel]) for each in requests], is_batch)

    def _may_publish(self, request: BaseRequest) -> bool:
        key = self._auth.api_key
        if key is None:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = (
            token.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")
        )
        return hmac.compare_digest(given.encode(errors="surrogateescape"), key.encode())

    async def _read_body(self, request: BaseRequest, share: Share) -> bytearray:
        """Return the body, of which share holds what has come: who is slow to send takes little.

        What is announced and would not fit is refused before it is asked for.
        """
        announced_bytes = request.content_length or 0
        self._check_size(announced_bytes)
        self._bodies.check(announced_bytes)
        body = bytearray()
        while piece := await request.content.readany():
            self._check_size(len(body) + len(piece))
            share.grow(len(piece))
            body += piece
        return body

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_body_bytes:
            text = f"the body is larger than {self._max_body_bytes} bytes"
            raise MessageError(ErrorCode.TOO_LARGE, text)

    def _read_requests(self, body: bytearray) -> tuple[list[PublishRequest], bool]:
        """Return what body asks for, and whether it is an array."""
        if not body:
            raise MessageError(ErrorCode.MALFORMED, "the body is empty; it holds what to publish")
        try:
            decoded = _DECODER.decode(body)
        except msgspec.ValidationError as error:
            raise MessageError(ErrorCode.INVALID_FIELD, str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MessageError(ErrorCode.MALFORMED, f"the body is not JSON: {error}") from None
        if isinstance(decoded, PublishRequest):
            return [decoded], False
        limit = self._config.max_batch_count
        if len(decoded) > limit:
            text = f"{len(decoded)} publications; one request may have {limit}"
            raise MessageError(ErrorCode.TOO_LARGE, text)
        return decoded, True

    def _check_rate(self, count: int) -> None:
        wait_s = self._rate.take(count, self._clock()) if self._rate is not None else 0.0
        if wait_s > 0:
            text = f"this node takes {self._config.publications_per_s} publications per second"
            wait_ms = ceil(wait_s * 1000)
            raise MessageError(ErrorCode.RATE_LIMITED, text, retry_after_ms=wait_ms)

    async def _publish(self, batches: Batches, share: Share) -> dict[str, Iterator[Result]]:
        """Hand all batches to the broker, then wait for it; return the results of each channel."""
        publishing = [self._broker.publish(*each) for each in batches.items()]
        if not all(each.done() for each in publishing):
            # A client that leaves takes neither the publications back nor the bytes they need.
            finished = asyncio.gather(*publishing, return_exceptions=True)
            share.is_kept = True
            finished.add_done_callback(lambda _: share.release())
            await asyncio.shield(finished)
        return {
            channel: _results_of(channel, each)
            for channel, each in zip(batches, publishing, strict=True)
        }


def draft_from_value(
    data: object,
    *,
    key: str | None = None,
    tags: dict[str, str] | None = None,
    idempotency_key: str | None = None,
    expected_offset: int | None = None,
) -> Draft:
    """Return a draft of data, which is bytes or whatever json can write, for Node.publish_batch().

    Raises MessageError for what no client could publish either.
    """
    check_labels(key, tags)
    check_labels(idempotency_key, None)
    conditions = {"idempotency_key": idempotency_key, "expected_offset": expected_offset}
    try:
        msgspec.convert(conditions, _Conditions)
    except msgspec.ValidationError as error:
        raise MessageError(ErrorCode.INVALID_FIELD, str(error)) from None
    return Draft(data_from_value(data), key, tags, idempotency_key, expected_offset)


def _plan(requests: Sequence[PublishRequest], is_batch: bool) -> Batches:
    batches: Batches = {}
    for index, request in enumerate(requests):
        try:
            check_channel(request.channel)
            batches.setdefault(request.channel, []).append(_draft_of(request))
        except MessageError as error:
            text = f"{error.message} - at `$[{index}]`" if is_batch else error.message
            raise MessageError(error.code, text) from None
    return batches


def _draft_of(request: PublishRequest) -> Draft:
    return Draft(
        data_from_json(memoryview(request.data)),
        request.key,
        request.tags,
        request.idempotency_key,
        request.expected_offset,
    )


def _results_of(channel: str, publishing: "Future[list[Position]]") -> Iterator[Result]:
    """Return the results for a channel, one for each of its drafts, once publishing is done."""
    try:
        return (Place(channel, *place) for place in publishing.result())
    except MessageError as error:
        return repeat(error)
    except BrokerUnavailable as error:
        return repeat(MessageError(ErrorCode.OVERLOADED, str(error)))


def _answer(results: Sequence[Result], is_batch: bool) -> Response:
    """Return what tells results, in their order."""
    errors = [each for each in results if isinstance(each, MessageError)]
    if errors and not is_batch:
        return refuse_error(errors[0])
    told = [error_push(each) if isinstance(each, MessageError) else each for each in results]
    body = msgspec.json.encode(told if is_batch else told[0])
    if not errors:
        return answer_json(body)
    return answer_json(body, status=status_of(errors[0]), headers=retry_headers(errors))
