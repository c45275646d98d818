"""What one session may ask for now: so much per second, and so much that waits for the broker."""

from gateway.config import SessionConfig
from gateway.rates import Rate


class Allowance:
    """One session's rates, each None where there is no limit, and what it has made of them.

    pending_count is how many of its commands wait for the broker, some of which count as several.
    refused_count is how many more commands the rates have refused than granted, from where that was
    0 last.
    """

    __slots__ = ("_bytes", "_commands", "pending_count", "refused_count")

    def __init__(self, config: SessionConfig) -> None:
        self._commands = _rate(config.commands_per_s, config.commands_burst)
        self._bytes = _rate(config.bytes_per_s, config.bytes_burst)
        self.pending_count = 0
        self.refused_count = 0

    def take(self, size_bytes: int, now: float) -> float:
        """Take a command of size_bytes and return 0; or the seconds until it would be granted.

        One that is refused for its bytes has taken the command's share all the same.
        """
        wait_s = 0.0
        if self._commands is not None:
            wait_s = self._commands.take(1, now)
        if self._bytes is not None and not wait_s:
            wait_s = self._bytes.take(size_bytes, now)
        if wait_s:
            self.refused_count += 1
        elif self.refused_count:
            self.refused_count -= 1
        return wait_s


def _rate(per_s: int, burst: int) -> Rate | None:
    return Rate(per_s, burst) if per_s else None
