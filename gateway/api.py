"""HTTP for back ends and operators: publish, history, presence, health and metrics."""

import hmac
from typing import NamedTuple

import msgspec

from gateway.answers import answer_json, answer_push, refuse, refuse_error, status_of
from gateway.broker import Broker, Draft
from gateway.commands import HISTORY_BYTES, history_page, position_in, presence_page
from gateway.config import Config
from gateway.errors import BrokerUnavailable
from gateway.hub import Hub
from gateway.origin import is_allowed_origin
from gateway.query import Query, read_integer
from gateway.web.exceptions import HTTPRequestEntityTooLarge
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from protocol.codec import JSON
from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.messages import PublishRequest, error_push
from protocol.publication import check_channel, data_from_json

# How many publications one request may carry.
MAX_BATCH_COUNT = 1000
# How many publications one page of a history has, where the request does not say, and at most.
DEFAULT_HISTORY_COUNT = 100
MAX_HISTORY_COUNT = 1000

_DECODER: msgspec.json.Decoder[PublishRequest | list[PublishRequest]] = msgspec.json.Decoder(
    PublishRequest | list[PublishRequest]
)


class Place(msgspec.Struct, frozen=True):
    """Where a publication went: the answer to POST /publish."""

    channel: str
    epoch: str
    offset: int


class Planned(NamedTuple):
    """One publication of a request, checked."""

    channel: str
    draft: Draft


class API:
    """The endpoints that are neither a transport nor a page."""

    def __init__(self, hub: Hub, broker: Broker, config: Config) -> None:
        self._hub = hub
        self._broker = broker
        self._auth = config.auth
        self._allowed_origins = config.websocket.allowed_origins
        self._max_body_bytes = config.server.max_body_bytes

    # --- publishing ---

    async def publish(self, request: BaseRequest) -> Response:
        """Publish the object or the array of objects in the body; answer their places.

        Everything is checked before anything is published; an array is published in its order.
        Where the broker refuses a part of it, the array tells each place or error, and the status
        is the first error's.
        """
        if not is_allowed_origin(request, self._allowed_origins):
            # A browser sends simple POSTs anywhere; without this any page could publish here.
            text = "pages of this origin may not publish; see websocket.allowed_origins"
            return refuse(403, ErrorCode.UNAUTHORIZED, text)
        if not self._may_publish(request):
            headers = {"WWW-Authenticate": "Bearer"}
            text = "publishing needs the API key, as Authorization: Bearer KEY"
            return refuse(401, ErrorCode.UNAUTHORIZED, text, headers=headers)
        try:
            # aiohttp's client_max_size is the first size that is refused.
            body = await request.clone(client_max_size=self._max_body_bytes + 1).read()
        except HTTPRequestEntityTooLarge:
            text = f"the body is larger than {self._max_body_bytes} bytes"
            return refuse(413, ErrorCode.TOO_LARGE, text)
        try:
            requests, is_batch = self._read_requests(body)
            planned = [self._plan(each) for each in requests]
        except MessageError as error:
            return refuse_error(error)
        outcomes = await self._publish_all(planned)
        failures = [each for each in outcomes if isinstance(each, MessageError)]
        if failures and not is_batch:
            return refuse_error(failures[0])
        told = [error_push(each) if isinstance(each, MessageError) else each for each in outcomes]
        status = status_of(failures[0]) if failures else 200
        headers = {"Retry-After": "1"} if status == 503 else {}
        body = msgspec.json.encode(told if is_batch else told[0])
        return answer_json(body, status=status, headers=headers)

    def _may_publish(self, request: BaseRequest) -> bool:
        key = self._auth.api_key
        if key is None:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = (
            token.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")
        )
        return hmac.compare_digest(given.encode(errors="surrogateescape"), key.encode())

    def _read_requests(self, body: bytes) -> tuple[list[PublishRequest], bool]:
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
        if len(decoded) > MAX_BATCH_COUNT:
            text = f"{len(decoded)} publications; one request may have {MAX_BATCH_COUNT}"
            raise MessageError(ErrorCode.TOO_LARGE, text)
        return decoded, True

    def _plan(self, request: PublishRequest) -> Planned:
        check_channel(request.channel)
        draft = Draft(
            data_from_json(memoryview(request.data)),
            request.key,
            request.tags,
            request.idempotency_key,
            request.expected_offset,
        )
        return Planned(request.channel, draft)

    async def _publish_all(self, planned: list[Planned]) -> list[Place | MessageError]:
        # All are handed to the broker before any is awaited, so that nothing comes in between.
        publishing = [self._broker.publish(channel, [draft]) for channel, draft in planned]
        outcomes: list[Place | MessageError] = []
        for (channel, _), future in zip(planned, publishing, strict=True):
            try:
                ((epoch, offset),) = await future
                outcomes.append(Place(channel, epoch, offset))
            except MessageError as error:
                outcomes.append(error)
            except BrokerUnavailable as error:
                outcomes.append(MessageError(ErrorCode.OVERLOADED, str(error)))
        return outcomes

    # --- reading ---

    async def history(self, request: BaseRequest, channel: str) -> Response:
        """Answer a page of what channel retains: `limit`, `cursor` and `reverse=true` choose it."""
        try:
            check_channel(channel)
            query = Query(request.rel_url.raw_query_string, ("cursor", "limit", "reverse"))
            limit = query.one("limit")
            cursor = query.one("cursor")
            page = await self._broker.history(
                channel,
                None if cursor is None else position_in(cursor, channel),
                limit=DEFAULT_HISTORY_COUNT if limit is None else _read_limit(limit),
                max_bytes=HISTORY_BYTES,
                is_reverse=_read_flag("reverse", query.one("reverse")),
            )
        except MessageError as error:
            return refuse_error(error)
        except BrokerUnavailable as error:
            return _refuse_for_now(error)
        return answer_push(history_page(JSON, channel, page))

    async def presence(self, request: BaseRequest, channel: str) -> Response:
        """Answer who is subscribed to channel now."""
        try:
            check_channel(channel)
            Query(request.rel_url.raw_query_string, ())
        except MessageError as error:
            return refuse_error(error)
        return answer_push(presence_page(self._hub, channel))


def _refuse_for_now(error: BrokerUnavailable) -> Response:
    return refuse(503, ErrorCode.OVERLOADED, str(error), headers={"Retry-After": "1"})


def _read_limit(text: str) -> int:
    return read_integer("limit", text, at_least=1, at_most=MAX_HISTORY_COUNT)


def _read_flag(name: str, text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise MessageError(ErrorCode.INVALID_FIELD, f"{name} {text[:40]!r} is not true or false")
    return text == "true"
