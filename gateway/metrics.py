"""The state of a node as numbers, in the text format that Prometheus scrapes."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One number; a counter only grows while the process lives, a gauge goes up and down."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    value: float


def render(metrics: Iterable[Metric]) -> str:
    """Return metrics in the exposition format."""
    return "".join(
        f"# HELP {name} {_escape(text)}\n# TYPE {name} {kind}\n{name} {value}\n"
        for name, kind, text, value in metrics
    )


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
