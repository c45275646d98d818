"""Logging for the command line: one line per record on stderr, text or JSON.

The loggers are `gateway`, `gateway.access` (one line per request) and `gateway.broker`. A text that
a peer chose cannot forge a line, and a warning that repeats says so once a minute instead of
filling the disk.
"""

import json
import logging
import sys
import textwrap
from datetime import UTC, datetime
from typing import Final, TextIO

LEVELS: Final = ("debug", "info", "warning", "error")

# A cause is its constant text; an operator needs to see it again after a minute, not after a
# millisecond.
REPEAT_S: Final = 60.0
# Causes remembered; texts are constants of the source, so more than this means that one is not, and
# all are forgotten.
MAX_CAUSES: Final = 1000

# C0, DEL, C1 and the two separators at which `str.splitlines` would break a line.
_CONTROLS: Final = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_ESCAPES: Final = {code: f"\\u{code:04x}" for code in _CONTROLS}
_TRACEBACK_ESCAPES: Final = {code: text for code, text in _ESCAPES.items() if chr(code) != "\n"}


class TextFormatter(logging.Formatter):
    """Writes `time LEVEL logger: message`, with control characters of the message escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows on indented lines of its own."""
        message = record.getMessage().translate(_ESCAPES)
        line = f"{_format_time(record)} {record.levelname:<7} {record.name}: {message}"
        if not record.exc_info:
            return line
        traceback = self.formatException(record.exc_info).translate(_TRACEBACK_ESCAPES)
        return f"{line}\n{textwrap.indent(traceback, '    ')}"


class JsonFormatter(logging.Formatter):
    """Writes one JSON object per record: time, level, logger, message, and a traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object on one line, ASCII only."""
        line = {
            "time": _format_time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class RepeatFilter(logging.Filter):
    """Lets a warning through once per cause and minute, with the number of those it held back.

    So with errors of asyncio: without descriptors it has hundreds of the same each second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._causes: dict[tuple[str, object], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether record is to be written; the gateway's own above WARNING always are."""
        if record.levelno != logging.WARNING and record.name != "asyncio":
            return True
        cause = (record.name, record.msg)
        written, held_back = self._causes.get(cause, (float("-inf"), 0))
        if record.created - written < REPEAT_S:
            self._causes[cause] = (written, held_back + 1)
            return False
        if len(self._causes) >= MAX_CAUSES:
            self._causes.clear()
        self._causes[cause] = (record.created, 0)
        if held_back:
            record.msg, record.args = f"{record.getMessage()} (and {held_back} more like it)", None
        return True


FORMATTERS: Final[dict[str, type[logging.Formatter]]] = {
    "text": TextFormatter,
    "json": JsonFormatter,
}


def configure_logging(
    level: str = "info", log_format: str = "text", stream: TextIO | None = None
) -> None:
    """Send what `gateway` logs from level up, and other libraries' warnings, to stream (stderr).

    level is one of LEVELS, log_format one of FORMATTERS. A second call replaces the first.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("gateway").setLevel(level.upper())


def _format_time(record: logging.LogRecord) -> str:
    """Return when record was made, in UTC, to the millisecond, as RFC 3339."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
