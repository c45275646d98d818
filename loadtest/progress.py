"""What a person sees while a run goes on: one line on stderr, written anew every second."""

import sys
from types import TracebackType
from typing import Self

from loadtest.result import Point


class Progress:
    """The line of one run, whose events are named; a terminal is cleaned of it at the end.

    label begins the line. Where stderr is no terminal there is a line every second.
    """

    def __init__(self, events: str, label: str = "") -> None:
        self._label = label
        self._events = events
        self._is_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._write("opening connections")
        return self

    def show(self, point: Point) -> None:
        """Show one more second."""
        parts = [f"{point.at_s:.0f} s", f"{point.events_per_s:,.0f} {self._events}/s"]
        if point.p99_us is not None:
            parts.append(f"p99 {point.p99_us / 1000:.2f} ms")
        if point.server_cpu_share is not None:
            parts.append(f"server {point.server_cpu_share:.0%}")
        parts.append(f"driver {point.driver_cpu_share:.0%} of a core")
        self._write(", ".join(parts))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_terminal:
            self._write("")

    def _write(self, text: str) -> None:
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{self._label}{text}" if text else "\r\x1b[K")
        elif text:
            sys.stderr.write(f"{self._label}{text}\n")
        sys.stderr.flush()
