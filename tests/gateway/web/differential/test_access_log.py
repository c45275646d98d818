"""The access log has aiohttp's lines and extra fields, but for what is listed here."""

import logging
import re
from types import ModuleType
from typing import Any

import pytest

from gateway import web
from tests.gateway.web.differential.peers import GET, LAST, MODULES, Peers, get, post, request

pytestmark = pytest.mark.asyncio(loop_scope="module")


GET_10 = b"GET / HTTP/1.0\r\n\r\n"


async def answer(module: ModuleType, request: Any) -> Any:
    if request.path == "/fails":
        raise ValueError
    await request.read()
    headers = {"X-Answer": "yes", "Server": "s", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    if request.path == "/missing":
        raise module.HTTPNotFound(headers=headers)
    return module.Response(text="body", status=201, headers=headers)


REQUESTS: dict[str, bytes] = {
    "GET": GET,
    "named": get(b"User-Agent: me/1.0", b"Referer: http://a/b"),
    "numbered": get(b"User-Agent: a'b/c", b"X-Id: 1"),
    "query": request(b"GET /a/b?c=d%20e&f HTTP/1.1"),
    "encoded": request(b"GET /%C4%8D%22 HTTP/1.1"),
    "body": post(b"abc"),
    "HEAD": request(b"HEAD / HTTP/1.1"),
    "1.0": GET_10,
    "failure": request(b"GET /fails HTTP/1.1"),
    "missing": request(b"GET /missing HTTP/1.1"),
}
FORMATS: dict[str, str] = {
    "default": web.AccessLogger.LOG_FORMAT,
    "plain": "%a|%r|%s|%b|%P",
    "headers": "%{User-Agent}i|%{x-id}i|%{Referer}i|%{X-Answer}o|%{Content-Length}o|%{None}o",
    "times": "%t|%T|%Tf|%D",
    "nothing": "text only",
    "twice": "%s %s",
}


class Listening(logging.Handler):
    """Keeps what is logged, without what differs from one request to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        known = logging.makeLogRecord({}).__dict__.keys() | {"message"}
        extra = {name: value for name, value in record.__dict__.items() if name not in known}
        for name in ("request_time_micro", "request_time_frac", "request_start_time"):
            if name in extra:
                extra[name] = shape(str(extra[name]))
        line = record.getMessage()
        if "response_size" in extra and extra["response_status"] == 500:  # its Server is another
            line = re.sub(rf"\b{extra.pop('response_size')}\b", "size", line)
        self.records.append({"line": shape(line), "level": record.levelname, **extra})


def shape(text: str) -> str:
    """Return text with times and durations as their forms."""
    text = re.sub(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", "[when]", text)
    text = re.sub(r"0\.\d{6}", "0.digits", text)
    return re.sub(r"\|\d+$", "|micro", re.sub(r"^\d+$", "micro", text))


async def logged(module: ModuleType, log_format: str, wire: bytes) -> list[dict[str, Any]]:
    """Return what a server of module logs of the request in wire."""
    logger, kept = logging.Logger("access", logging.INFO), Listening()
    logger.addHandler(kept)
    options = {"access_log": logger, "access_log_format": log_format}
    async with Peers([module]).listening(**options) as peer:
        await peer.ask(answer, wire if wire == GET_10 or b"/fails" in wire else wire + LAST)
    return kept.records[:1]


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_line_and_its_extra_fields_are_the_same(name: str, log_format: str) -> None:
    ours, theirs = [await logged(module, FORMATS[log_format], REQUESTS[name]) for module in MODULES]

    assert len(ours) == 1
    assert ours == theirs


async def test_quotes_are_escaped_where_aiohttp_lets_a_peer_forge_fields() -> None:
    wire = get(b'User-Agent: a" 299 "b\\c')
    ours, theirs = [await logged(module, '"%{User-Agent}i" %s', wire) for module in MODULES]

    assert ours[0]["line"] == r""""a\" 299 \"b\\c" 201"""
    assert theirs[0]["line"] == r""""a" 299 "b\c" 201"""


async def test_a_percent_sign_is_one_where_aiohttp_fails_to_log() -> None:
    ours, theirs = [await logged(module, "%% %s", GET) for module in MODULES]

    assert ours[0]["line"] == "% 201"
    assert theirs[0]["level"] == "ERROR"


async def test_the_environment_is_there_where_aiohttp_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLACE", "here")

    ours = await logged(web, "%{PLACE}e %{NOWHERE}e", GET)

    assert ours[0]["line"] == "here -"  # there no connection is ever answered with such a format


@pytest.mark.parametrize("module", MODULES)
async def test_a_logger_of_ones_own_gets_request_response_and_seconds(module: Any) -> None:
    calls: list[tuple[str, int, bool]] = []

    class Own(module.AbstractAccessLogger):  # type: ignore[misc, name-defined]
        def log(self, request: Any, response: Any, time: float) -> None:
            calls.append((request.path, response.status, 0 <= time < 30))
            assert self.log_format == "anything"
            assert self.logger.name == "access"

    options = {"access_log_class": Own, "access_log_format": "anything"}
    access_log = logging.Logger("access")
    async with Peers([module]).listening(access_log=access_log, **options) as peer:
        await peer.ask(answer, GET + LAST)

    assert calls == [("/", 201, True), ("/last", 200, True)]
