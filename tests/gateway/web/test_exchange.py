"""What a handler returns, raises or forgets becomes one response, or none where one has begun."""

import asyncio
import logging
from contextlib import suppress

import pytest

from gateway.web.body.errors import RequestPayloadError
from gateway.web.exceptions import HTTPFound, HTTPNotFound
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.server import Server
from gateway.web.stream_response import StreamResponse

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSE = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
TROUBLE = b"500 Internal Server Error\n\nServer got itself in trouble"


class Failure(Exception):
    """What a handler raises."""


def failing(failure):
    async def handler(request):
        if request.path == "/last":
            return Response(text="last")
        raise failure

    return handler


async def test_a_response_is_sent_and_the_connection_lives_on(talk):
    async def handler(request):
        return Response(text=request.path)

    answers = await talk(handler, GET + CLOSE)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answers.endswith(b"\r\n\r\n/last")


async def test_a_response_that_is_raised_is_sent_and_the_connection_lives_on(talk):
    answers = await talk(failing(HTTPNotFound()), GET + CLOSE)
    assert answers.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert answers.endswith(b"\r\n\r\nlast")


async def test_a_response_that_should_be_raised_is_sent_with_a_warning_when_returned(talk):
    async def handler(request):
        return HTTPNotFound()

    with pytest.warns(DeprecationWarning, match="raise it"):
        answers = await talk(handler, CLOSE)
    assert answers.startswith(b"HTTP/1.1 404 Not Found\r\n")


@pytest.mark.parametrize("failure", [Failure("deep inside"), ConnectionResetError("of another")])
async def test_a_failure_is_logged_and_answered_with_500_and_a_close(talk, caplog, failure):
    answers = await talk(failing(failure), GET + CLOSE)
    assert answers.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in answers
    assert b"\r\nConnection: close\r\n" in answers
    assert answers.endswith(b"\r\n\r\n" + TROUBLE)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("gateway.web", "ERROR")
    assert record.getMessage() == "Error handling request from 127.0.0.1"
    assert record.exc_info[1] is failure


async def test_a_failure_is_shown_to_the_peer_only_when_debugging(talk, caplog):
    answers = await talk(failing(Failure("deep inside")), GET, debug=True)
    assert b"Failure: deep inside" in answers


async def test_a_browser_is_shown_a_failure_as_html(talk, caplog):
    request = GET[:-2] + b"Accept: text/html, */*\r\n\r\n"
    answers = await talk(failing(Failure()), request)
    assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in answers
    assert b"<h1>500 Internal Server Error</h1>\nServer got itself in trouble" in answers


async def test_the_log_can_be_another(talk, caplog):
    await talk(failing(Failure()), GET, logger=logging.getLogger("another"))
    assert [record.name for record in caplog.records] == ["another"]


async def test_a_timeout_is_answered_with_504_and_not_logged_as_an_error(talk, caplog):
    answers = await talk(failing(TimeoutError()), GET + CLOSE)
    assert answers.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert caplog.records == []


@pytest.mark.parametrize("nothing", [None, "text", Response])
async def test_a_handler_that_forgets_its_response_has_failed(talk, caplog, nothing):
    async def handler(request):
        return nothing

    answers = await talk(handler, GET)
    assert answers.startswith(b"HTTP/1.1 500 ")
    assert "must return a response" in str(caplog.records[0].exc_info[1])


async def test_a_cancelled_handler_closes_without_a_response(talk):
    assert await talk(failing(asyncio.CancelledError()), GET + CLOSE) == b""


async def test_a_response_that_cannot_be_sent_is_answered_with_500(talk, caplog):
    async def handler(request):
        return Response(headers={"X": "a\r\nb"})

    answers = await talk(handler, GET)
    assert answers.startswith(b"HTTP/1.1 500 ")
    assert isinstance(caplog.records[0].exc_info[1], ValueError)


async def test_a_response_that_is_raised_and_cannot_be_sent_is_answered_with_500(talk, caplog):
    answers = await talk(failing(HTTPFound("/", headers={"X": "a\nb"})), GET)
    assert answers.startswith(b"HTTP/1.1 500 ")
    assert isinstance(caplog.records[0].exc_info[1], ValueError)


@pytest.mark.parametrize("failure", [Failure(), HTTPNotFound(), TimeoutError()])
async def test_a_response_that_has_begun_is_broken_off_where_its_handler_fails(talk, failure):
    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        raise failure

    answers = await talk(handler, GET + CLOSE)
    assert answers.count(b"HTTP/1.1") == 1
    assert answers.endswith(b"\r\n\r\n3\r\none\r\n")


async def test_a_second_response_to_one_request_is_a_failure(talk, caplog):
    async def handler(request):
        await StreamResponse().prepare(request)
        return Response(text="another")

    answers = await talk(handler, GET)
    assert answers.count(b"HTTP/1.1") == 1
    assert not answers.endswith(b"0\r\n\r\n")
    assert [str(record.exc_info[1]) for record in caplog.records] == [
        "The head of a response to this request is sent already"
    ]


async def test_fewer_bytes_than_announced_end_the_connection(talk):
    async def handler(request):
        return Response(body=b"on", headers={"Content-Length": "3"})

    answers = await talk(handler, GET + CLOSE)
    assert answers.count(b"HTTP/1.1") == 1
    assert answers.endswith(b"\r\n\r\non")


async def test_a_broken_body_is_answered_with_what_is_wrong_with_it(talk, caplog):
    async def handler(request):
        return Response(body=await request.read())

    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = await talk(handler, head + b"no chunk\r\n" + CLOSE)
    assert answers.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answers.count(b"HTTP/1.1") == 1
    assert caplog.records == []


async def test_a_handler_may_answer_a_broken_body_itself(talk):
    async def handler(request):
        try:
            await request.read()
        except RequestPayloadError as error:
            return Response(text=f"so {error.status}")

    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = await talk(handler, head + b"no chunk\r\n" + CLOSE)
    assert answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answers.endswith(b"so 400")


async def test_a_body_that_is_too_large_is_answered_to_a_peer_that_still_sends(connected):
    async def handler(request):
        return Response(body=await request.read())

    async with connected(handler) as (reader, writer):
        size = 8 * 1024 * 1024
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(bytes(size))
        await writer.drain()
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")  # its phrase is Python's
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(
            len(b"Maximum request body size 1048576 exceeded, actual body size ")
        )
        writer.write(CLOSE)
        assert b"HTTP/1.1 500" not in await reader.read()


async def test_each_request_has_a_task_of_its_own(talk):
    tasks = []

    async def handler(request):
        assert request.task is asyncio.current_task()
        tasks.append(request.task)
        return Response()

    await talk(handler, GET + CLOSE)
    assert len(set(tasks)) == 2


async def test_requests_can_be_made_by_a_factory(talk):
    class Request(BaseRequest):
        """A request with a name."""

        @property
        def name(self):
            return f"{self.method} {self.path}"

    async def handler(request):
        return Response(text=request.name)

    def make(message, payload, protocol, writer, task):
        return Request(message, payload, protocol, writer, task, task.get_loop(), client_max_size=5)

    answers = await talk(handler, CLOSE, request_factory=make)
    assert answers.endswith(b"GET /last")


class Noted:
    """An access logger that remembers what it was told."""

    enabled = True

    def __init__(self, logger, log_format):
        self.logged = logger

    def log(self, request, response, time):
        self.logged.append((request.path, response.status, response.body_length, time >= 0))


async def test_every_answer_is_in_the_access_log(talk):
    logged = []
    answers = await talk(
        failing(HTTPNotFound()), GET + CLOSE, access_log=logged, access_log_class=Noted
    )
    sizes = [len(b"HTTP/1.1 " + answer) for answer in answers.split(b"HTTP/1.1 ")[1:]]
    assert logged == [("/", 404, sizes[0], True), ("/last", 200, sizes[1], True)]


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_an_answer_that_the_peer_did_not_wait_for_is_in_the_access_log(connected, status):
    logged = []
    has_begun = asyncio.Event()

    async def handler(request):
        has_begun.set()
        with pytest.raises(ConnectionResetError):
            await request.read()
        if status == 404:
            raise HTTPNotFound
        if status == 500:
            raise Failure
        return Response(text="late")

    async with connected(handler, access_log=logged, access_log_class=Noted) as (_, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        await has_begun.wait()
    assert logged == [("/", status, 0, True)]


async def test_a_stream_that_the_peer_left_is_in_the_access_log_where_it_is_returned(connected):
    logged = []

    async def handler(request):
        response = StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionResetError):
            while True:
                await response.write(bytes(1000))
        return response

    async with connected(handler, access_log=logged, access_log_class=Noted) as (reader, writer):
        writer.write(GET)
        await reader.readexactly(1000)
    [(path, status, size_bytes, _)] = logged
    assert (path, status, size_bytes > 1000) == ("/", 200, True)


async def test_a_logger_that_is_not_enabled_is_not_asked(talk):
    logged = []

    class Quiet(Noted):
        enabled = False

    await talk(failing(HTTPNotFound()), CLOSE, access_log=logged, access_log_class=Quiet)
    assert logged == []


async def test_a_factory_that_fails_closes_the_connection_and_is_logged(talk, caplog):
    def make(*arguments):
        raise Failure("deep inside")

    assert await talk(failing(Failure()), GET + CLOSE, request_factory=make) == b""
    assert str(caplog.records[0].exc_info[1]) == "deep inside"


async def test_an_access_logger_that_fails_harms_no_answer(talk, caplog):
    class Broken(Noted):
        def log(self, request, response, time):
            raise Failure("deep inside")

    answers = await talk(
        failing(HTTPNotFound()), GET + CLOSE, access_log_class=Broken, access_log=[]
    )
    assert answers.count(b"HTTP/1.1 ") == 2
    assert len(caplog.records) == 2


class CountingTransport(asyncio.Transport):
    """A socket that counts what is written."""

    def __init__(self):
        super().__init__()
        self.writes = []

    def is_closing(self):
        return False

    def write(self, data):
        self.writes.append(data)


async def test_a_plain_response_costs_one_write_and_one_task():
    async def handler(request):
        return Response(text="OK")

    def make_task(loop, coroutine, **options):
        tasks.append(asyncio.Task(coroutine, loop=loop, **options))
        return tasks[-1]

    tasks, transport = [], CountingTransport()
    connection = Server(handler, access_log=None, tcp_keepalive=False)()
    connection.connection_made(transport)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(make_task)
    for path in (b"/", b"/", b"/other"):
        connection.data_received(GET.replace(b"/", path, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    loop.set_task_factory(None)
    assert [answer[-6:] for answer in transport.writes] == [b"\r\n\r\nOK"] * 3
    assert len(tasks) == 3
