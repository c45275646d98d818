"""What can keep a run from measuring anything."""

import errno
from typing import Final

RATE_LIMITED: Final = (
    "the target limits how much its clients publish; for this scenario start it with"
    " GATEWAY_SESSION__COMMANDS_PER_S=0 GATEWAY_SESSION__BYTES_PER_S=0"
)


class LoadError(Exception):
    """The target did not do what the scenario needs; the text says what, and what to do."""


class Unreachable(LoadError):
    """Nobody could be asked at url; where nobody listens, the text says how to start a gateway."""

    def __init__(self, url: str, reason: OSError) -> None:
        text = f"cannot reach {url}: {reason}"
        # Of a name with several addresses asyncio tells all refusals in one OSError without errno.
        if reason.errno in (errno.ECONNREFUSED, None):
            text += "; start a gateway there with `gateway serve`, or leave --target out"
        super().__init__(text)
