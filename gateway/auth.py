"""Who a session belongs to: the user that a trusted proxy, or the embedding program, says it has.

Nothing here decides what a user may do.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from gateway.config import AuthConfig
from gateway.web.request import BaseRequest
from protocol.codes import ErrorCode
from protocol.errors import MessageError
from protocol.publication import CONTROL

# An e-mail address has at most 254 (RFC 5321 section 4.5.3.1.3); whoever is in a room with a user
# is sent its name. A request with a longer one is answered with 400.
MAX_USER_BYTES: Final = 255

# Returns the user of a request to /ws, /sse or /poll, None for one without. It may raise an
# HTTPException of gateway.web, which is the answer then, and bounds by itself how long it takes;
# when the client leaves it is cancelled.
Identify = Callable[[BaseRequest], Awaitable[str | None]]


async def identify_nobody(request: BaseRequest) -> None:
    """Return None: no request has a user."""


def choose_identify(config: AuthConfig, identify: Identify | None) -> Identify:
    """Return what finds the user of a request: identify, or the header that config names.

    What is returned raises MessageError for a user that is none. Raises ValueError where there are
    both, because one of them would be ignored.
    """
    if identify is not None and config.user_header is not None:
        raise ValueError("give either identify or auth.user_header")
    if config.user_header is not None:
        identify = _by_header(config.user_header)
    return identify_nobody if identify is None else _checked(identify)


def _by_header(name: str) -> Identify:
    async def identify(request: BaseRequest) -> str | None:
        values = request.headers.getall(name, [])
        if len(values) > 1:
            # The proxy has added its own to what the client sent.
            raise MessageError(ErrorCode.INVALID_FIELD, f"header {name} is given twice")
        return values[0] if values else None

    return identify


def _checked(identify: Identify) -> Identify:
    async def identify_and_check(request: BaseRequest) -> str | None:
        user = await identify(request)
        if not user:
            return None
        try:
            size = len(user.encode())
        except UnicodeEncodeError:
            size = 0
        if not 0 < size <= MAX_USER_BYTES or CONTROL.search(user):
            text = f"a user is up to {MAX_USER_BYTES} bytes of UTF-8 without control characters"
            raise MessageError(ErrorCode.INVALID_FIELD, text)
        return user

    return identify_and_check
