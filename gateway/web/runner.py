"""Running a Server on its sites: where it listens, from setup to cleanup."""

import asyncio
import os
import signal
import socket
import ssl
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, NoReturn, Protocol

from yarl import URL

from gateway.web.exceptions import GracefulExit
from gateway.web.server import Server

DEFAULT_SHUTDOWN_TIMEOUT_S: Final = 60.0
DEFAULT_BACKLOG: Final = 128

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Listener(Protocol):
    """What accepts connections until it is closed: an asyncio.Server, or Windows' for a pipe."""

    def close(self) -> None:
        """Accept no more; open connections live on."""


def _raise_graceful_exit() -> NoReturn:
    raise GracefulExit


class BaseRunner(ABC):
    """A server between setup() and cleanup(), and the sites it listens on."""

    __slots__ = ("_handle_signals", "_server", "_sites", "shutdown_timeout")

    def __init__(
        self,
        *,
        handle_signals: bool = False,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT_S,
    ) -> None:
        self._handle_signals = handle_signals
        self._server: Server | None = None
        self._sites: list[BaseSite] = []
        self.shutdown_timeout = shutdown_timeout

    @property
    def server(self) -> Server | None:
        """The server; None before setup() and after cleanup()."""
        return self._server

    @property
    def addresses(self) -> list[object]:
        """What getsockname() says of each listening socket, in the order in which sites started."""
        return [address for site in self._sites for address in site.addresses]

    @property
    def sites(self) -> "set[BaseSite]":
        """The sites that were started and not stopped, as a set of its own."""
        return set(self._sites)

    async def setup(self) -> None:
        """Make the server ready for sites; with handle_signals, SIGINT and SIGTERM end the loop."""
        if self._handle_signals:
            loop = asyncio.get_running_loop()
            with suppress(NotImplementedError):  # Windows, where Ctrl-C is an exception already
                for signal_number in _SIGNALS:
                    loop.add_signal_handler(signal_number, _raise_graceful_exit)
        self._server = await self._make_server()

    async def cleanup(self) -> None:
        """Stop listening, let running handlers finish within shutdown_timeout, close everything."""
        async with AsyncExitStack() as steps:  # each of them is made whatever the others raise
            steps.callback(self._forget)
            steps.push_async_callback(self._cleanup_server)
            steps.push_async_callback(self._end_server)
            for site in reversed(self._sites):
                steps.push_async_callback(site.stop)

    async def _end_server(self) -> None:
        """Answer the requests that are here, and end every connection."""
        server = self._server
        if server is None:
            return
        # A turn to hear that bytes are here, and one to read them: a request that came before the
        # end is answered.
        for _ in range(2):
            await asyncio.sleep(0)
        server.pre_shutdown()
        try:
            await self.shutdown()
        finally:
            await server.shutdown(self.shutdown_timeout)

    def _forget(self) -> None:
        """Have no server and no signals any more."""
        self._server = None
        if self._handle_signals:
            loop = asyncio.get_running_loop()
            with suppress(NotImplementedError):
                for signal_number in _SIGNALS:
                    loop.remove_signal_handler(signal_number)

    @abstractmethod
    async def shutdown(self) -> None:
        """Do what the program does between the end of listening and the end of its handlers."""

    @abstractmethod
    async def _make_server(self) -> Server:
        """Return the server that sites hand their connections to."""

    @abstractmethod
    async def _cleanup_server(self) -> None:
        """Let go of what _make_server made."""

    def add_site(self, site: "BaseSite") -> None:
        """Take site in; it calls this when it starts. RuntimeError if it is here already."""
        if site in self._sites:
            raise RuntimeError(f"Site {site.name} is already started")
        self._sites.append(site)

    def remove_site(self, site: "BaseSite") -> None:
        """Forget site; it calls this when it stops. RuntimeError if it is not here."""
        if site not in self._sites:
            raise RuntimeError(f"Site {site.name} is not started")
        self._sites.remove(site)


class ServerRunner(BaseRunner):
    """A runner for a Server that exists already."""

    __slots__ = ("_web_server",)

    def __init__(
        self,
        web_server: Server,
        *,
        handle_signals: bool = False,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT_S,
    ) -> None:
        if not isinstance(web_server, Server):
            raise TypeError(
                f"A runner is for a Server, not {web_server!r}: Server(handler) makes one"
            )
        super().__init__(handle_signals=handle_signals, shutdown_timeout=shutdown_timeout)
        self._web_server = web_server

    async def shutdown(self) -> None:
        """Do nothing: a hook for subclasses."""

    async def _make_server(self) -> Server:
        self._web_server.reopen()
        return self._web_server

    async def _cleanup_server(self) -> None:
        """Leave the server to whoever made it."""


class BaseSite(ABC):
    """One place to listen on; nothing listens before start()."""

    __slots__ = ("_backlog", "_listener", "_runner", "_ssl_context")

    def __init__(
        self,
        runner: BaseRunner,
        *,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = DEFAULT_BACKLOG,
    ) -> None:
        if runner.server is None:
            raise RuntimeError("Call runner.setup() before making a site")
        if shutdown_timeout != DEFAULT_SHUTDOWN_TIMEOUT_S:
            message = "shutdown_timeout belongs to the runner"
            warnings.warn(message, DeprecationWarning, stacklevel=3)
            runner.shutdown_timeout = shutdown_timeout
        self._runner = runner
        self._ssl_context = ssl_context
        self._backlog = backlog
        self._listener: Listener | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """The place as a URL."""

    @property
    def addresses(self) -> list[object]:
        """What getsockname() says of each listening socket; empty unless started."""
        sockets: Iterable[socket.socket] = getattr(self._listener, "sockets", ())
        return [listening.getsockname() for listening in sockets]

    async def start(self) -> None:
        """Begin to listen.

        Raises RuntimeError if it does already or is stopped meanwhile, OSError if the place is
        taken.
        """
        self._runner.add_site(self)
        try:
            if self._runner.server is None:
                raise RuntimeError("The runner of this site is cleaned up")
            listener = await self._listen(self._runner.server)
        except BaseException:
            if self in self._runner.sites:
                self._runner.remove_site(self)
            raise
        if self not in self._runner.sites:
            listener.close()
            raise RuntimeError(f"Site {self.name} was stopped while it started")
        self._listener = listener

    async def stop(self) -> None:
        """Stop listening; open connections live on. RuntimeError if it was not started."""
        self._runner.remove_site(self)
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    @property
    def _scheme(self) -> str:
        return "https" if self._ssl_context is not None else "http"

    def _handshake_timeout_s(self, server: Server) -> float | None:
        """Return how long a peer may take for the TLS handshake: as long as for a head."""
        return server.shared.settings.head_timeout_s if self._ssl_context is not None else None

    @abstractmethod
    async def _listen(self, server: Server) -> Listener:
        """Return what accepts connections for server."""


class TCPSite(BaseSite):
    """A TCP port; on all interfaces unless a host is given, 8080 or with TLS 8443 by default."""

    __slots__ = ("_host", "_port", "_reuse_address", "_reuse_port")

    def __init__(
        self,
        runner: BaseRunner,
        host: str | None = None,
        port: int | None = None,
        *,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = DEFAULT_BACKLOG,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
    ) -> None:
        super().__init__(
            runner, shutdown_timeout=shutdown_timeout, ssl_context=ssl_context, backlog=backlog
        )
        self._host = host
        self._port = port if port is not None else 8443 if ssl_context is not None else 8080
        self._reuse_address = reuse_address
        self._reuse_port = reuse_port

    @property
    def port(self) -> int:
        """The port it listens on; before start() the one that was asked for, which may be 0."""
        sockets: Sequence[socket.socket] = getattr(self._listener, "sockets", ())
        bound: int = sockets[0].getsockname()[1] if sockets else self._port
        return bound

    @property
    def name(self) -> str:
        """The place as a URL."""
        return str(URL.build(scheme=self._scheme, host=self._host or "0.0.0.0", port=self.port))

    async def _listen(self, server: Server) -> Listener:
        return await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self._handshake_timeout_s(server),
            backlog=self._backlog,
            reuse_address=self._reuse_address,
            reuse_port=self._reuse_port,
        )


class UnixSite(BaseSite):
    """A Unix domain socket at a path."""

    __slots__ = ("_path",)

    def __init__(
        self,
        runner: BaseRunner,
        path: str | os.PathLike[str],
        *,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = DEFAULT_BACKLOG,
    ) -> None:
        super().__init__(
            runner, shutdown_timeout=shutdown_timeout, ssl_context=ssl_context, backlog=backlog
        )
        self._path = path

    @property
    def name(self) -> str:
        """The place, written as a URL whose host is the path."""
        return f"{self._scheme}://unix:{self._path}:"

    async def _listen(self, server: Server) -> Listener:
        return await asyncio.get_running_loop().create_unix_server(
            server,
            os.fspath(self._path),
            ssl=self._ssl_context,
            ssl_handshake_timeout=self._handshake_timeout_s(server),
            backlog=self._backlog,
        )


class NamedPipeSite(BaseSite):
    r"""A named pipe of Windows, such as `\\.\pipe\name`, without a limit for waiting connections.

    Raises RuntimeError where the event loop is no Proactor loop, as everywhere but on Windows.
    """

    __slots__ = ("_path",)

    def __init__(
        self,
        runner: BaseRunner,
        path: str,
        *,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT_S,
    ) -> None:
        if not hasattr(asyncio.get_running_loop(), "start_serving_pipe"):
            raise RuntimeError("Named pipes need the Proactor loop of Windows")
        super().__init__(runner, shutdown_timeout=shutdown_timeout)
        self._path = path

    @property
    def name(self) -> str:
        """The path of the pipe."""
        return self._path

    async def _listen(self, server: Server) -> Listener:
        loop: Any = asyncio.get_running_loop()
        (listener,) = await loop.start_serving_pipe(server, self._path)
        accepting: Listener = listener
        return accepting


class SockSite(BaseSite):
    """A socket that is bound already."""

    __slots__ = ("_name", "_socket")

    def __init__(
        self,
        runner: BaseRunner,
        sock: socket.socket,
        *,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
        backlog: int = DEFAULT_BACKLOG,
    ) -> None:
        super().__init__(
            runner, shutdown_timeout=shutdown_timeout, ssl_context=ssl_context, backlog=backlog
        )
        self._socket = sock
        if sock.family == getattr(socket, "AF_UNIX", None):
            self._name = f"{self._scheme}://unix:{sock.getsockname()}:"
        else:
            host, port = sock.getsockname()[:2]
            self._name = str(URL.build(scheme=self._scheme, host=host, port=port))

    @property
    def name(self) -> str:
        """The place as a URL, as the socket told it when the site was made."""
        return self._name

    async def _listen(self, server: Server) -> Listener:
        return await asyncio.get_running_loop().create_server(
            server,
            sock=self._socket,
            ssl=self._ssl_context,
            ssl_handshake_timeout=self._handshake_timeout_s(server),
            backlog=self._backlog,
        )
