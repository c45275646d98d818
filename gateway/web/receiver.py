"""What takes a connection's bytes over once they are no longer HTTP."""

from typing import Protocol


class Receiver(Protocol):
    """The next reader of an upgraded connection; its methods mean what asyncio.Protocol's mean."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of the new protocol, at first those that came in behind the request."""

    def eof_received(self) -> bool | None:
        """The peer sends nothing more; returning a true value keeps the connection open."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""

    def pause_writing(self) -> None:
        """The write buffer rose above its high-water mark."""

    def resume_writing(self) -> None:
        """The write buffer fell below its low-water mark."""
