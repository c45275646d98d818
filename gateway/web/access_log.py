"""One line in the access log for each request that has a response, sent whole or not."""

import logging
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, TypeAlias

from gateway.web.request import BaseRequest
from gateway.web.stream_response import StreamResponse

# What one atom of the format becomes, from the request, its response and the seconds it took.
Atom: TypeAlias = Callable[[BaseRequest, StreamResponse, float], str | int]
# The name of an atom in the log record's extra fields, or the field and the key inside it.
Key: TypeAlias = str | tuple[str, str]

# Not strftime's %b, which follows the locale.
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_ATOM: Final = re.compile(r"%(?:%|\{([A-Za-z0-9_-]+)\}([ioe])|(Tf|[atPrsbTD]))")


class AbstractAccessLogger(ABC):
    """What Server's access_log_class is asked for."""

    __slots__ = ("log_format", "logger")

    def __init__(self, logger: logging.Logger, log_format: str) -> None:
        self.logger = logger
        self.log_format = log_format

    @abstractmethod
    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        """Log that request was answered by response within time seconds.

        Of an answer that its peer did not wait for, some or all may not have been sent.
        """

    @property
    def enabled(self) -> bool:
        """Whether log() would write anything; read for each answer."""
        return True


class AccessLogger(AbstractAccessLogger):
    """Writes lines in a format made of Apache's atoms.

    ====== ==================================== ====== ====================================
    %a     the peer's address                   %T     seconds it took, rounded
    %t     when handling began, local time      %Tf    the same with six decimals
    %r     the request line                     %D     the same in microseconds
    %s     the status                           %{X}i  the request header X
    %b     bytes sent, the head included        %{X}o  the response header X
    %P     the process id                       %{X}e  the environment variable X
    %%     a percent sign
    ====== ==================================== ====== ====================================

    What is missing shows as `-`. What could break a line shows as its escape, and so do quotes and
    backslashes, as Apache's: no peer can forge a field. Anything else in the format stands for
    itself. The values are also in the record, as extra fields.
    """

    __slots__ = ("_atoms", "_template")

    LOG_FORMAT = '%a %t "%r" %s %b "%{Referer}i" "%{User-Agent}i"'

    def __init__(self, logger: logging.Logger, log_format: str = LOG_FORMAT) -> None:
        super().__init__(logger, log_format)
        self._template, self._atoms = _compile(log_format)

    @property
    def enabled(self) -> bool:
        """Whether the logger takes records of level INFO."""
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        """Log the line for one answered request; a failure in logging is itself only logged."""
        try:
            values = [atom(request, response, time) for _, atom in self._atoms]
            line = self._template % tuple(values)
            self.logger.info(line, extra=self._extra(values))
        except Exception:
            self.logger.exception("Error in logging")

    def _extra(self, values: list[str | int]) -> dict[str, object]:
        extra: dict[str, object] = {}
        nested: dict[str, dict[str, str | int]] = {}
        for (key, _), value in zip(self._atoms, values, strict=True):
            if isinstance(key, str):
                extra[key] = value
            else:
                nested.setdefault(key[0], {})[key[1]] = value
        return {**extra, **nested}


@lru_cache(maxsize=16)
def _compile(log_format: str) -> tuple[str, tuple[tuple[Key, Atom], ...]]:
    """Return a template for the % operator and what fills its places, in their order."""
    atoms: list[tuple[Key, Atom]] = []
    template = ""
    end = 0
    for match in _ATOM.finditer(log_format):
        template += log_format[end : match.start()].replace("%", "%%")
        end = match.end()
        name, kind, plain = match.groups()
        if plain:
            atoms.append(_ATOMS[plain])
        elif kind:
            field, atom = _NAMED_ATOMS[kind]
            atoms.append(((field, name), partial(atom, name)))
        template += "%s" if plain or kind else "%%"
    return template + log_format[end:].replace("%", "%%"), tuple(atoms)


@lru_cache(maxsize=1024)
def _escape(code: int) -> str:
    """Return a character, or its escape where it could end a field in quotes or break a line."""
    character = chr(code)
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


class _Escapes(dict[int, str]):
    """What each character becomes; those that a peer can send in a byte are there beforehand."""

    def __missing__(self, code: int) -> str:
        return _escape(code)


_ESCAPES: Final = _Escapes({code: _escape(code) for code in (*range(256), *range(0xDC80, 0xDD00))})


def _printable(text: str) -> str:
    """Return text, with an escape for each character that could forge or break a line."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.translate(_ESCAPES)


def _remote_address(request: BaseRequest, response: StreamResponse, took_s: float) -> str:
    return _printable(request.remote) or "-"


def _request_line(request: BaseRequest, response: StreamResponse, took_s: float) -> str:
    version = request.version
    return _printable(f"{request.method} {request.path_qs} HTTP/{version.major}.{version.minor}")


@lru_cache(maxsize=4)
def _local_time(second: int) -> str:
    at = time.localtime(second)
    sign, offset = "-" if at.tm_gmtoff < 0 else "+", abs(at.tm_gmtoff) // 60
    return (
        f"[{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year:04}"
        f":{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {sign}{offset // 60:02}{offset % 60:02}]"
    )


def _started(request: BaseRequest, response: StreamResponse, took_s: float) -> str:
    return _local_time(int(time.time() - took_s))


def _request_header(
    name: str, request: BaseRequest, response: StreamResponse, took_s: float
) -> str:
    return _printable(request.headers.get(name, "-"))


def _response_header(
    name: str, request: BaseRequest, response: StreamResponse, took_s: float
) -> str:
    return _printable(response.headers.get(name, "-"))


def _environment(name: str, request: BaseRequest, response: StreamResponse, took_s: float) -> str:
    return _printable(os.environ.get(name, "-"))


_ATOMS: Final[dict[str, tuple[Key, Atom]]] = {
    "a": ("remote_address", _remote_address),
    "t": ("request_start_time", _started),
    "P": ("process_id", lambda request, response, took_s: f"<{os.getpid()}>"),
    "r": ("first_request_line", _request_line),
    "s": ("response_status", lambda request, response, took_s: response.status),
    "b": ("response_size", lambda request, response, took_s: response.body_length),
    "T": ("request_time", lambda request, response, took_s: str(round(took_s))),
    "Tf": ("request_time_frac", lambda request, response, took_s: f"{took_s:06f}"),
    "D": ("request_time_micro", lambda request, response, took_s: str(round(took_s * 1_000_000))),
}
_NAMED_ATOMS: Final[
    dict[str, tuple[str, Callable[[str, BaseRequest, StreamResponse, float], str]]]
] = {
    "i": ("request_header", _request_header),
    "o": ("response_header", _response_header),
    "e": ("environment", _environment),
}
