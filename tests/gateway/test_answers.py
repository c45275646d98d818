"""What clients of the HTTP endpoints read: JSON, a status for every error, nothing cached."""

import json

import pytest

from gateway.answers import answer_json, refuse, refuse_error, retry_headers, send_json
from gateway.budget import Budget, Share
from protocol.codes import ErrorCode
from protocol.errors import MessageError, OffsetConflict

STATUS_BY_CODE = [
    ("malformed", 400),
    ("unknown_type", 400),
    ("invalid_field", 400),
    ("invalid_channel", 400),
    ("invalid_cursor", 400),
    ("invalid_data", 400),
    ("not_subscribed", 400),
    ("already_subscribed", 400),
    ("limit_reached", 400),
    ("unsupported", 400),
    ("unauthorized", 401),
    ("not_found", 404),
    ("method_not_allowed", 405),
    ("offset_conflict", 409),
    ("too_large", 413),
    ("rate_limited", 429),
    ("internal", 500),
    ("overloaded", 503),
    ("shutting_down", 503),
]


async def ask(fetch, make):
    """Return the reply that the response of make becomes on the wire."""

    async def handle(request):
        return make()

    return await fetch(handle, "GET /")


async def test_json_is_a_line_of_its_own_that_nobody_may_cache(fetch):
    reply = await ask(fetch, lambda: answer_json(b'{"a":1}'))
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.body == b'{"a":1}\n'


async def test_json_may_have_another_status_and_more_headers(fetch):
    reply = await ask(fetch, lambda: answer_json(b"[]", status=201, headers={"X-A": "b"}))
    assert reply.status == 201
    assert reply.headers["X-A"] == "b"
    assert reply.headers["Cache-Control"] == "no-store"


async def test_what_waits_to_be_read_is_held_instead_of_what_was(fetch):
    budget = Budget("answers", 10)

    async def handle(request):
        with Share(budget) as share:
            share.grow(9)
            response = await send_json(request, b'{"a":1}', share)
            assert budget.held_bytes == 7
            return response

    reply = await fetch(handle, "GET /")
    assert (reply.status, reply.body) == (200, b'{"a":1}\n')
    assert budget.held_bytes == 0


async def test_what_may_not_be_held_is_not_sent(fetch):
    async def handle(request):
        with Share(Budget("answers", 6)) as share:
            try:
                return await send_json(request, b'{"a":1}', share)
            except MessageError as error:
                return refuse_error(error)

    reply = await fetch(handle, "GET /")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert json.loads(reply.body)["code"] == "overloaded"


async def test_a_refusal_names_the_error_and_carries_its_headers(fetch):
    reply = await ask(
        fetch,
        lambda: refuse(503, ErrorCode.OVERLOADED, "not now", headers={"Retry-After": "1"}),
    )
    assert reply.status == 503
    assert reply.headers["Retry-After"] == "1"
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.body == b'{"type":"error","code":"overloaded","message":"not now","retry":true}\n'


def test_every_error_has_a_status_here():
    assert sorted(code for code, _ in STATUS_BY_CODE) == sorted(ErrorCode)


@pytest.mark.parametrize(("code", "status"), STATUS_BY_CODE)
async def test_an_error_is_answered_with_the_status_that_http_has_for_it(fetch, code, status):
    reply = await ask(fetch, lambda: refuse_error(MessageError(ErrorCode(code), "no")))
    assert reply.status == status
    assert json.loads(reply.body) == {
        "type": "error",
        "code": code,
        "message": "no",
        "retry": status in (500, 503) or code == "rate_limited",
    }
    assert ("Retry-After" in reply.headers) is (status in (429, 503))


async def test_a_conflict_tells_where_the_channel_ends(fetch):
    reply = await ask(fetch, lambda: refuse_error(OffsetConflict("E", 5, "no")))
    error = json.loads(reply.body)
    assert (reply.status, error["epoch"], error["offset"]) == (409, "E", 5)


@pytest.mark.parametrize(
    ("retry_after_ms", "seconds"),
    [(None, "1"), (0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (300_000, "300")],
)
async def test_who_is_to_come_back_is_told_when_in_whole_seconds(fetch, retry_after_ms, seconds):
    error = MessageError(ErrorCode.RATE_LIMITED, "no", retry_after_ms=retry_after_ms)
    reply = await ask(fetch, lambda: refuse_error(error))
    assert reply.headers["Retry-After"] == seconds
    assert json.loads(reply.body).get("retry_after_ms") == retry_after_ms


def test_of_several_errors_the_longest_wait_counts_where_waiting_helps():
    errors = [
        MessageError(ErrorCode.OVERLOADED, "", retry_after_ms=2000),
        MessageError(ErrorCode.MALFORMED, "", retry_after_ms=9000),
        MessageError(ErrorCode.RATE_LIMITED, "", retry_after_ms=3000),
        MessageError(ErrorCode.OVERLOADED, ""),
    ]
    assert retry_headers(errors) == {"Retry-After": "3"}
    assert retry_headers(errors[1:2]) == {}
