"""Requests wait unparsed until somebody takes them."""

import pytest

from gateway.web.intake import PIECE_BYTES, Intake
from protocol.errors import HTTPError
from protocol.http1 import EndOfRequest, HeadLimits, RequestHead

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture
def intake():
    return Intake(HeadLimits())


def take_all(intake):
    events = []
    while (event := intake.take()) is not None:
        events.append(event)
    return events


def test_requests_come_one_event_at_a_time(intake):
    intake.add(GET + GET[:9])
    assert [type(intake.take()) for _ in range(3)] == [RequestHead, EndOfRequest, type(None)]
    intake.add(GET[9:])
    assert [type(event) for event in take_all(intake)] == [RequestHead, EndOfRequest]


def test_no_more_than_one_request_is_parsed_for_one_event(intake):
    intake.add(GET * 2000)
    intake.take()
    assert intake.unparsed_bytes == len(GET) * 1999
    intake.add(GET)
    assert len(take_all(intake)) == 2 * 2001 - 1
    assert intake.unparsed_bytes == 0


def test_no_more_than_a_piece_of_a_body_is_parsed_for_one_event(intake):
    head = GET.replace(b"GET", b"POST")[:-2] + b"Content-Length: 50000\r\n\r\n"
    intake.add(head + bytes(50000) + GET)
    assert type(intake.take()) is RequestHead
    assert intake.unparsed_bytes == len(head) + 50000 + len(GET) - PIECE_BYTES
    assert len(take_all(intake)) > 4
    assert intake.unparsed_bytes == 0


def test_it_is_idle_between_requests_only(intake):
    assert intake.is_idle
    intake.add(GET[:9])
    assert not intake.is_idle
    assert intake.take() is None
    assert not intake.is_idle
    intake.add(GET[9:])
    intake.take()
    assert not intake.is_idle
    intake.take()
    assert intake.is_idle


def test_what_follows_an_upgrade_is_not_parsed(intake):
    intake.add(UPGRADE + GET)
    assert [type(event) for event in take_all(intake)] == [RequestHead, EndOfRequest]
    intake.add(GET)
    assert intake.take() is None
    assert intake.unparsed_bytes == 2 * len(GET)
    assert intake.take_unparsed() == GET + GET
    assert intake.take_unparsed() == b""


def test_an_upgrade_with_nothing_behind_it_leaves_it_idle(intake):
    intake.add(UPGRADE)
    take_all(intake)
    assert intake.is_idle


def test_an_end_inside_a_request_is_an_error(intake):
    intake.add(GET[:9])
    take_all(intake)
    error = intake.end()
    assert isinstance(error, HTTPError)
    assert error.status == 400


def test_an_end_between_requests_is_none(intake):
    intake.add(GET)
    take_all(intake)
    assert intake.end() is None
