"""Lines of the access log, written by a real server for real requests."""

import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from gateway.web.access_log import AbstractAccessLogger, AccessLogger
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.stream_response import StreamResponse

Talk = Callable[..., Awaitable[bytes]]

LOGGER = logging.getLogger("gateway.access")


async def handler(request: BaseRequest) -> StreamResponse:
    return Response(text="OK", status=201, headers={"X-Out": "out"})


def wire(*headers: bytes) -> bytes:
    lines = [b"GET /a%20b?c=d HTTP/1.1", b"Host: a", b"Connection: close", *headers]
    return b"\r\n".join([*lines, b"", b""])


@pytest.fixture
def record(talk: Talk, caplog: pytest.LogCaptureFixture) -> Callable[..., Awaitable[Any]]:
    """Return the log record of one request in a format."""

    async def log(log_format: str, *headers: bytes) -> Any:
        with caplog.at_level(logging.INFO, "gateway.access"):
            answer = await talk(
                handler, wire(*headers), access_log=LOGGER, access_log_format=log_format
            )
        (only,) = [record for record in caplog.records if record.name == "gateway.access"]
        only.answer = answer
        return only

    return log


@pytest.mark.parametrize(
    ("log_format", "line"),
    [
        ("%a", r"127\.0\.0\.1"),
        ("%r", r"GET /a%20b\?c=d HTTP/1\.1"),
        ("%s", "201"),
        ("%P", f"<{os.getpid()}>"),
        ("%T", "0"),
        ("%Tf", r"0\.\d{6}"),
        ("%D", r"\d{1,6}"),
        ("%{X-In}i %{x-in}i", "in in"),
        ("%{X-Out}o", "out"),
        ("%{Missing}i %{Missing}o %{Missing-}e", "- - -"),
        ("%{LANG_OF_TEST}e", "cs"),
        ("%%", "%"),
        ("%%s %%%s%%", "%s %201%"),
        ("100% %x %{a}z %", "100% %x %{a}z %"),
        ("", ""),
    ],
)
async def test_an_atom_becomes_its_value(
    record: Callable[..., Awaitable[Any]],
    monkeypatch: pytest.MonkeyPatch,
    log_format: str,
    line: str,
) -> None:
    monkeypatch.setenv("LANG_OF_TEST", "cs")

    message = (await record(log_format, b"X-In: in")).getMessage()

    assert message == line or re.fullmatch(line, message)


async def test_the_size_is_that_of_head_and_body(record: Callable[..., Awaitable[Any]]) -> None:
    log_record = await record("%b")

    assert log_record.getMessage() == str(len(log_record.answer))


async def test_the_time_is_when_handling_began_in_local_time(
    record: Callable[..., Awaitable[Any]],
) -> None:
    before = int(time.time())
    message = (await record("%t")).getMessage()

    moment = datetime.strptime(message, "[%d/%b/%Y:%H:%M:%S %z]")

    assert before - 1 <= moment.timestamp() <= time.time()
    assert moment.utcoffset() == datetime.now().astimezone().utcoffset()


@pytest.mark.parametrize(
    ("zone", "now", "written"),
    [
        ("UTC", 1234567892.5, "[13/Feb/2009:23:31:30 +0000]"),
        ("XXX-5:45", 1234567893.5, "[14/Feb/2009:05:16:31 +0545]"),
        ("XXX+3:30", 1234567894.5, "[13/Feb/2009:20:01:32 -0330]"),
    ],
)
async def test_the_time_carries_the_offset_of_its_zone(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    connected: Callable[..., Any],
    zone: str,
    now: float,
    written: str,
) -> None:
    monkeypatch.setenv("TZ", zone)
    monkeypatch.setattr(time, "time", lambda: now)
    logger = AccessLogger(LOGGER, "%t")

    async def logging_handler(request: BaseRequest) -> StreamResponse:
        time.tzset()
        try:
            logger.log(request, Response(), 1.75)
        finally:
            monkeypatch.undo()
            time.tzset()
        return Response()

    with caplog.at_level(logging.INFO, "gateway.access"):
        async with connected(logging_handler) as (reader, writer):
            writer.write(wire())
            await reader.read()

    assert caplog.messages == [written]


async def test_the_default_line_is_apaches_combined_format(
    record: Callable[..., Awaitable[Any]],
) -> None:
    message = (await record(AccessLogger.LOG_FORMAT, b"User-Agent: test")).getMessage()

    assert re.fullmatch(
        r'127\.0\.0\.1 \[.{26}\] "GET /a%20b\?c=d HTTP/1\.1" 201 \d+ "-" "test"', message
    )


async def test_what_could_break_the_line_or_its_encoding_is_escaped(
    record: Callable[..., Awaitable[Any]],
) -> None:
    message = (await record("%{X}i", "X: č\u0085\tx".encode() + b"\xff")).getMessage()

    assert message == r"č\x85\tx\udcff"


async def test_no_header_can_end_the_quotes_around_it(
    record: Callable[..., Awaitable[Any]],
) -> None:
    message = (await record('"%{X}i" %s', b'X: a" 299 "\\" \xe2\x80\x8b')).getMessage()

    assert message == r""""a\" 299 \"\\\" \u200b" 201"""


async def test_the_values_are_in_the_record_too(record: Callable[..., Awaitable[Any]]) -> None:
    log_record = await record("%a %r %s %P %{X-In}i %{Host}i %{X-Out}o", b"X-In: in")

    assert log_record.remote_address == "127.0.0.1"
    assert log_record.first_request_line == "GET /a%20b?c=d HTTP/1.1"
    assert log_record.response_status == 201
    assert log_record.process_id == f"<{os.getpid()}>"
    assert log_record.request_header == {"X-In": "in", "Host": "a"}
    assert log_record.response_header == {"X-Out": "out"}


async def test_a_logger_that_takes_no_info_is_not_asked_to_log(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "gateway.access"):
        assert not AccessLogger(LOGGER).enabled
        await talk(handler, wire(), access_log=LOGGER)
    with caplog.at_level(logging.INFO, "gateway.access"):
        assert AccessLogger(LOGGER).enabled

    assert caplog.records == []


async def test_a_failing_filter_is_logged_and_the_connection_lives_on(
    talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(record: logging.LogRecord) -> bool:
        if record.levelno == logging.INFO:
            raise ValueError
        return True

    LOGGER.addFilter(fail)
    try:
        with caplog.at_level(logging.INFO, "gateway.access"):
            keep = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
            answer = await talk(handler, keep + wire(), access_log=LOGGER)
    finally:
        LOGGER.removeFilter(fail)

    assert answer.count(b"HTTP/1.1 201") == 2
    assert caplog.messages == ["Error in logging"] * 2


async def test_a_class_of_ones_own_is_given_request_response_and_seconds(talk: Talk) -> None:
    calls: list[tuple[str, int, bool]] = []

    class Mine(AbstractAccessLogger):
        def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
            calls.append((request.path, response.status, time >= 0))

    await talk(handler, wire(), access_log=LOGGER, access_log_class=Mine)

    assert calls == [("/a b", 201, True)]
