"""The head of a plain response, as bytes: its status, type and length, and who sends it when."""

import time
from functools import lru_cache
from typing import Final

from gateway.web.fields import CONTENT_TYPE, format_http_date
from protocol.http1 import HTTP_11, encode_head

SERVER_SOFTWARE: Final = "realtime-gateway"


class _Clock:
    """The Date header's value, and the end of a plain head with it, formatted once per second."""

    __slots__ = ("_date", "_end_of_head", "_second")

    def __init__(self) -> None:
        self._second = -1.0
        self._date, self._end_of_head = "", b""

    def read(self) -> tuple[str, bytes]:
        now = time.time()
        if not self._second <= now < self._second + 1:
            self._second = now // 1
            self._date = format_http_date(self._second)
            lines = f"\r\nDate: {self._date}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
            self._end_of_head = lines.encode()
        return self._date, self._end_of_head


# The Date header's value, and the bytes that end a plain head behind its Content-Length.
read_clock: Final = _Clock().read


@lru_cache(maxsize=256)  # there are few pairs of a status and a type, if types are short
def start_plain_head(status: int, reason: str, content_type: str) -> bytes:
    """Return the bytes of a plain head up to the digits of its Content-Length.

    Raises ValueError and TypeError as encode_head() does.
    """
    head = encode_head(HTTP_11, status, reason, {CONTENT_TYPE: content_type})
    return head[:-2] + b"Content-Length: "
