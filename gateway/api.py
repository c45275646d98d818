"""HTTP reads for back ends and operators: history and presence."""

from gateway.answers import refuse_error, send_json
from gateway.broker import Broker
from gateway.budget import Budget, Share
from gateway.commands import HISTORY_BYTES, history_page, position_in, presence_page
from gateway.errors import BrokerUnavailable
from gateway.hub import Hub
from gateway.query import Query, read_integer
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from protocol.codec import JSON
from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.messages import DEFAULT_PAGE_COUNT, MAX_PAGE_COUNT
from protocol.publication import check_channel


class API:
    """The endpoints that are neither a transport nor a page; unread is for their answers."""

    def __init__(self, hub: Hub, broker: Broker, unread: Budget) -> None:
        self._hub = hub
        self._broker = broker
        self._unread = unread

    async def history(self, request: BaseRequest, channel: str) -> Response:
        """Answer a page of what channel retains: `limit`, `cursor` and `reverse=true` choose it."""
        try:
            check_channel(channel)
            query = Query(request.rel_url.raw_query_string, ("cursor", "limit", "reverse"))
            with Share(self._unread) as share:
                return await send_json(request, await self._read_history(channel, query), share)
        except MessageError as error:
            return refuse_error(error)
        except BrokerUnavailable as error:
            return refuse_error(MessageError(ErrorCode.OVERLOADED, str(error)))

    async def _read_history(self, channel: str, query: Query) -> bytes:
        cursor = query.one("cursor")
        page = await self._broker.history(
            channel,
            None if cursor is None else position_in(cursor, channel),
            limit=_read_limit(query, at_least=1),
            max_bytes=HISTORY_BYTES,
            is_reverse=_read_flag("reverse", query.one("reverse")),
        )
        return JSON.encode(history_page(JSON, channel, page))

    async def presence(self, request: BaseRequest, channel: str) -> Response:
        """Answer a page of who is subscribed to channel now: `limit` and `cursor` choose it."""
        try:
            check_channel(channel)
            query = Query(request.rel_url.raw_query_string, ("cursor", "limit"))
            limit = _read_limit(query, at_least=0)
            page = presence_page(self._hub, channel, limit=limit, cursor=query.one("cursor"))
            with Share(self._unread) as share:
                return await send_json(request, JSON.encode(page), share)
        except MessageError as error:
            return refuse_error(error)


def _read_limit(query: Query, *, at_least: int) -> int:
    text = query.one("limit")
    if text is None:
        return DEFAULT_PAGE_COUNT
    return read_integer("limit", text, at_least=at_least, at_most=MAX_PAGE_COUNT)


def _read_flag(name: str, text: str | None) -> bool:
    if text not in (None, "true", "false"):
        raise MessageError(ErrorCode.INVALID_FIELD, f"{name} {text[:40]!r} is not true or false")
    return text == "true"
