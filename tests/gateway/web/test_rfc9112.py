"""RFC 9112 over sockets: what is refused is answered once, and nothing behind it is handled."""

import logging

import pytest

from gateway.web.response import Response
from tests.gateway.web.answers import Answers
from tests.protocol.rfc9112 import BROKEN_CHUNKS, GET, MALFORMED, POST_CHUNKED, READ, get, wire_of

FIRST = wire_of("GET /first HTTP/1.1", "Host: a")
SMUGGLED = wire_of("GET /smuggled HTTP/1.1", "Host: a")
LAST = wire_of("GET /last HTTP/1.1", "Host: a", "Connection: close")

TOO_LARGE = {
    "line": (wire_of("GET /" + "a" * 9000 + " HTTP/1.1", "Host: a"), 414),
    "line that does not end": (b"GET /" + b"a" * 9000, 414),
    "field": (get("X: " + "a" * 9000), 431),
    "field that does not end": (GET[:-2] + b"X: " + b"a" * 17000, 431),
    "fields": (get(*["X: a"] * 200), 431),
    "head": (get(*[f"X: {'a' * 1000}"] * 20), 431),
}
TOO_LARGE_CHUNKS = {
    "extension": b"1;" + b"a" * 20000,
    "extensions": (b"1;" + b"a" * 2000 + b"\r\nx\r\n") * 20,
    "zeros before a size": b"0" * 20000,
    "trailer": b"0\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "trailers": b"0\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    "trailers that do not end": b"0\r\n" + b"X: a\r\n" * 9000,
}


class Handler:
    """A handler that reads the body and remembers every request."""

    def __init__(self):
        self.requests = []

    async def __call__(self, request):
        self.requests.append(request.raw_path)
        body = await request.read()
        self.requests[-1] = (request.method, request.raw_path, body)
        return Response(text="read")


@pytest.fixture
def ask(talk, caplog):
    """Return what a handler got of a wire, and the answers; the log must stay quiet."""

    async def ask_once(wire, **options):
        handler = Handler()
        with caplog.at_level(logging.INFO):
            answers = Answers(await talk(handler, wire, **options))
        assert caplog.records == []
        return handler.requests, answers

    return ask_once


def check_refusal(answer, status):
    """Check that answer says what was wrong, in a response that is well-formed and the last."""
    assert (answer.version, answer.status) == ("HTTP/1.1", status)
    assert answer.headers["Connection"] == "close"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert len(answer.body) == int(answer.headers["Content-Length"])
    assert answer.body.startswith(b"%d" % status)


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_head_is_answered_once_and_nothing_behind_it_is_handled(ask, name):
    wire, status = MALFORMED[name]
    requests, answers = await ask(FIRST + wire + SMUGGLED + SMUGGLED)
    assert requests == [("GET", "/first", b"")]
    assert [answer.status for answer in answers] == [200, status]
    check_refusal(answers[1], status)


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
async def test_broken_chunks_are_answered_once_and_nothing_behind_them_is_handled(ask, name):
    requests, answers = await ask(FIRST + POST_CHUNKED + BROKEN_CHUNKS[name] + SMUGGLED)
    assert requests == [("GET", "/first", b""), "/"]
    assert [answer.status for answer in answers] == [200, 400]
    check_refusal(answers[1], 400)


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_a_head_that_is_too_large_is_answered_once(ask, name):
    wire, status = TOO_LARGE[name]
    requests, answers = await ask(FIRST + wire + SMUGGLED)
    assert requests == [("GET", "/first", b"")]
    assert [answer.status for answer in answers] == [200, status]
    check_refusal(answers[1], status)


@pytest.mark.parametrize("name", TOO_LARGE_CHUNKS)
async def test_overhead_of_chunks_that_is_too_large_is_answered_once(ask, name):
    wire = FIRST + POST_CHUNKED + TOO_LARGE_CHUNKS[name]
    requests, answers = await ask(wire + SMUGGLED)
    assert requests == [("GET", "/first", b""), "/"]
    assert [answer.status for answer in answers] == [200, 431]
    check_refusal(answers[1], 431)


@pytest.mark.parametrize("name", READ)
async def test_what_the_rfcs_allow_reaches_the_handler_and_is_answered(ask, name):
    wire, expected = READ[name]
    requests, answers = await ask(wire + LAST, lingering_time=0)
    assert requests[: len(expected)] == expected
    assert [answer.status for answer in answers] == [200] * len(requests)


async def test_a_refusal_is_told_to_who_debugs(talk, caplog):
    caplog.set_level(logging.DEBUG, logger="gateway.web")
    await talk(Handler(), wire_of("GET / HTTP/1.1"))
    (record,) = [record for record in caplog.records if record.name == "gateway.web"]
    assert (record.levelname, record.exc_info) == ("DEBUG", None)
    assert record.getMessage() == "Refused a request: 400 There is no Host"
