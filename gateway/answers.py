"""What every HTTP endpoint of the gateway answers with: JSON, and JSON errors."""

from collections.abc import Iterable, Mapping
from math import ceil

from gateway.budget import Share
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from protocol.codec import JSON
from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.messages import error_push

# The status of each error that a request can meet; whatever stands for bad input is 400.
STATUS = {
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.OFFSET_CONFLICT: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.OVERLOADED: 503,
    ErrorCode.SHUTTING_DOWN: 503,
}

# Answers tell a moment's state; a shared cache must not repeat them to another client.
NO_STORE = {"Cache-Control": "no-store"}


def answer_json(
    body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response that carries body, one JSON text, as a line of its own."""
    return Response(
        body=body + b"\n",
        status=status,
        headers={**NO_STORE, **(headers or {})},
        content_type="application/json",
    )


async def send_json(request: BaseRequest, body: bytes, share: Share) -> Response:
    """Send what answer_json returns, and return it once the client has read all but a rest.

    The rest is what may wait for any client, 64 KiB. Until then share holds as many bytes as body
    has, and nothing else; the caller gives them back. Raises MessageError (overloaded) where they
    are not there now, and ConnectionResetError where the client has left.
    """
    share.release()
    share.grow(len(body))
    response = answer_json(body)
    del body  # response has one of its own
    await response.prepare(request)
    await response.write_eof()
    return response


def refuse(
    status: int, code: ErrorCode, message: str, *, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error response: status for HTTP, code and message for the client."""
    error = error_push(MessageError(code, message))
    return answer_json(JSON.encode(error), status=status, headers=headers)


def refuse_error(error: MessageError) -> Response:
    """Return the error response for error."""
    body = JSON.encode(error_push(error))
    return answer_json(body, status=status_of(error), headers=retry_headers([error]))


def retry_headers(errors: Iterable[MessageError]) -> Mapping[str, str]:
    """Return Retry-After where it is worth to come back after some of errors: after the longest.

    RFC 9110 section 10.2.3; a second, its smallest unit, where nothing better is known.
    """
    waits_ms = [each.retry_after_ms or 1 for each in errors if status_of(each) in (429, 503)]
    return {"Retry-After": str(ceil(max(waits_ms) / 1000))} if waits_ms else {}


def status_of(error: MessageError) -> int:
    """Return the status that says error to HTTP."""
    return STATUS.get(error.code, 400)
