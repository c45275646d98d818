"""What is logged is one line per record, for people or machines, and does not fill the disk."""

import io
import json
import logging

import pytest

from gateway.log import MAX_CAUSES, RepeatFilter, configure_logging


@pytest.fixture
def stream():
    """Return what configure_logging shall write to, and put the loggers back afterwards."""
    root, gateway = logging.getLogger(), logging.getLogger("gateway")
    handlers, levels = root.handlers[:], (root.level, gateway.level)
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    gateway.setLevel(levels[1])


def warning(text, *args, created=0.0, name="gateway"):
    record = logging.makeLogRecord({"name": name, "levelno": logging.WARNING, "msg": text})
    record.args, record.created = args, created
    return record


def test_a_line_of_text_has_time_level_logger_and_message(stream):
    configure_logging("info", "text", stream)
    logging.getLogger("gateway.access").info("%s %s", "GET", "/")
    time, rest = stream.getvalue().split(" ", 1)
    assert time[10] == "T"
    assert time.endswith("Z")
    assert rest == "INFO    gateway.access: GET /\n"


def test_a_json_line_has_the_same_as_an_object(stream):
    configure_logging("info", "json", stream)
    logging.getLogger("gateway").error("broken: %s", "é\n")
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {"level": "error", "logger": "gateway", "message": "broken: é\n"}


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x1b[2Jb", "a\x85b", "a\u2028b", "a\x00b"])
def test_a_text_of_a_peer_cannot_start_a_line_of_its_own(stream, text):
    configure_logging("info", "text", stream)
    logging.getLogger("gateway.access").info("%s", text)
    line = stream.getvalue().removesuffix("\n")
    assert line.isprintable()
    assert "a\\u" in line


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_comes_with_its_record(stream, log_format):
    configure_logging("info", log_format, stream)
    try:
        raise ValueError("what a peer sent\rforged")
    except ValueError:
        logging.getLogger("gateway").exception("handler failed")
    assert "Traceback (most recent call last)" in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_the_lines_of_a_traceback_cannot_be_taken_for_records(stream):
    configure_logging("info", "text", stream)
    try:
        raise ValueError("one\n2030-01-01T00:00:00.000Z INFO    gateway: forged")
    except ValueError:
        logging.getLogger("gateway").exception("handler failed")
    first, *others = stream.getvalue().splitlines()
    assert first.endswith("gateway: handler failed")
    assert all(line.startswith("    ") for line in others)


def test_the_level_is_that_of_the_gateway_and_others_are_heard_from_warning_up(stream):
    configure_logging("debug", "text", stream)
    logging.getLogger("gateway.broker").debug("seen")
    logging.getLogger("asyncio").info("not seen")
    logging.getLogger("asyncio").warning("heard")
    assert "gateway.broker: seen" in stream.getvalue()
    assert "not seen" not in stream.getvalue()
    assert "heard" in stream.getvalue()


def test_a_second_call_replaces_the_first(stream):
    before = io.StringIO()
    configure_logging("info", "text", before)
    configure_logging("warning", "text", stream)
    logging.getLogger("gateway").info("not seen")
    logging.getLogger("gateway").warning("once")
    assert stream.getvalue().count("\n") == 1
    assert before.getvalue() == ""


def test_a_warning_is_written_once_per_cause_and_minute():
    repeats = RepeatFilter()
    assert repeats.filter(warning("slow %s", "a", created=0.0))
    assert not repeats.filter(warning("slow %s", "b", created=1.0))
    assert not repeats.filter(warning("slow %s", "c", created=59.9))
    later = warning("slow %s", "d", created=60.0)
    assert repeats.filter(later)
    assert later.getMessage() == "slow d (and 2 more like it)"
    assert repeats.filter(warning("slow %s", "e", created=120.0))


def test_another_cause_or_logger_or_level_is_not_held_back():
    repeats = RepeatFilter()
    assert repeats.filter(warning("slow"))
    assert repeats.filter(warning("full"))
    assert repeats.filter(warning("slow", name="gateway.broker"))
    error = logging.makeLogRecord({"levelno": logging.ERROR, "msg": "broken", "created": 0.0})
    assert repeats.filter(error)
    assert repeats.filter(error)


def test_an_error_of_asyncio_is_not_written_hundreds_of_times_a_second():
    repeats = RepeatFilter()
    record = {"name": "asyncio", "levelno": logging.ERROR, "msg": "out of system resource"}
    records = [logging.makeLogRecord({**record, "created": second}) for second in (0.0, 1.0, 60.0)]
    assert [repeats.filter(each) for each in records] == [True, False, True]


def test_texts_that_are_not_constant_cannot_grow_the_memory_of_causes():
    repeats = RepeatFilter()
    written = [repeats.filter(warning(f"cause {number}")) for number in range(MAX_CAUSES + 1)]
    assert all(written)
    assert repeats.filter(warning("cause 0")), "all were forgotten"
    assert not repeats.filter(warning("cause 0"))
