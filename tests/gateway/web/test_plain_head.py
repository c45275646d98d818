"""A plain head says when and by whom it was sent, however the machine's clock is set."""

import time

import pytest

from gateway.web.plain_head import read_clock, start_plain_head


def test_a_plain_head_ends_with_date_and_server(monkeypatch):
    for now, date in (
        (784111777.9, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (784111778.0, "Sun, 06 Nov 1994 08:49:38 GMT"),
        (784111778.9, "Sun, 06 Nov 1994 08:49:38 GMT"),
        (784111770.0, "Sun, 06 Nov 1994 08:49:30 GMT"),  # set back
    ):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        end = f"\r\nDate: {date}\r\nServer: realtime-gateway\r\n\r\n".encode()
        assert read_clock() == (date, end)


def test_a_plain_head_begins_with_status_and_type():
    assert start_plain_head(201, "Made", "text/a") == (
        b"HTTP/1.1 201 Made\r\nContent-Type: text/a\r\nContent-Length: "
    )


@pytest.mark.parametrize(("reason", "content_type"), [("OK", "a\nb"), ("O\rK", "a")])
def test_no_part_of_a_plain_head_can_begin_another_line(reason, content_type):
    with pytest.raises(ValueError, match="CR, LF and NUL"):
        start_plain_head(200, reason, content_type)
