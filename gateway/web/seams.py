"""Where the modules of the web server meet without importing one another."""

import asyncio
from typing import Protocol

from multidict import CIMultiDictProxy

from gateway.web.body.writer import BodyWriter
from protocol.http1 import HttpVersion


class Receiver(Protocol):
    """The next reader of an upgraded connection; its methods mean what asyncio.Protocol's mean.

    shutdown() is the server's.
    """

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

    def shutdown(self) -> None:
        """The server goes away: finish within its shutdown timeout, or lose the socket."""


class Upgradable(Protocol):
    """The connection behind a request."""

    def check_upgradable(self) -> object:
        """Raise what upgrade() would raise."""

    def upgrade(self, receiver: Receiver) -> None:
        """Hand every further byte to receiver."""


class Answerable(Protocol):
    """What a response needs of the request it answers; a BaseRequest is one."""

    @property
    def method(self) -> str:
        """The method as it was sent."""

    @property
    def path(self) -> str:
        """The decoded path."""

    @property
    def version(self) -> HttpVersion:
        """The version the peer speaks."""

    @property
    def headers(self) -> "CIMultiDictProxy[str]":
        """The header fields."""

    @property
    def keep_alive(self) -> bool:
        """Whether the peer means to send another request on this connection."""

    @property
    def writer(self) -> BodyWriter:
        """Where the answer is written."""

    @property
    def protocol(self) -> Upgradable:
        """The connection."""

    @property
    def task(self) -> "asyncio.Task[None]":
        """The connection's task."""
