"""What every HTTP endpoint of the gateway answers with: JSON, and JSON errors."""

from collections.abc import Mapping

from gateway.web.response import Response
from protocol.codec import JSON
from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.messages import Push, error_push

# The status of each error that a request can meet; whatever stands for bad input is 400.
STATUS = {
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.OFFSET_CONFLICT: 409,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.LIMIT_REACHED: 429,
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


def answer_push(push: Push) -> Response:
    """Return a response that carries push as JSON."""
    return answer_json(JSON.encode(push))


def refuse(
    status: int, code: ErrorCode, message: str, *, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error response: status for HTTP, code and message for the client."""
    error = error_push(MessageError(code, message))
    return answer_json(JSON.encode(error), status=status, headers=headers)


def refuse_error(error: MessageError) -> Response:
    """Return the error response for error."""
    status = status_of(error)
    headers = {"Retry-After": "1"} if status == 503 else {}
    return refuse(status, error.code, error.message, headers=headers)


def status_of(error: MessageError) -> int:
    """Return the status that says error to HTTP."""
    return STATUS.get(error.code, 400)
