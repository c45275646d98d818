"""How many bytes several requests may hold together, and what each of them holds."""

from types import TracebackType

from protocol.codes import ErrorCode
from protocol.errors import MessageError


class Budget:
    """Bytes of which each Share takes some; they are never more than limit_bytes."""

    __slots__ = ("held_bytes", "limit_bytes", "name")

    def __init__(self, name: str, limit_bytes: int) -> None:
        self.name = name
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    def check(self, count_bytes: int) -> None:
        """Raise MessageError (overloaded) where so many more are not there now."""
        if self.held_bytes + count_bytes > self.limit_bytes:
            text = f"{self.name} hold as many bytes as they may, {self.limit_bytes}"
            raise MessageError(ErrorCode.OVERLOADED, text)


class Share:
    """What one request holds of a Budget: a context manager that gives it back in the end."""

    __slots__ = ("_budget", "_held_bytes", "is_kept")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held_bytes = 0
        self.is_kept = False  # beyond the context: somebody else will call release()

    def grow(self, count_bytes: int) -> None:
        """Hold so many more; raise MessageError (overloaded) where they are not there now."""
        self._budget.check(count_bytes)
        self._budget.held_bytes += count_bytes
        self._held_bytes += count_bytes

    def release(self) -> None:
        """Give back what is held."""
        self._budget.held_bytes -= self._held_bytes
        self._held_bytes = 0

    def __enter__(self) -> "Share":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.is_kept:
            self.release()
