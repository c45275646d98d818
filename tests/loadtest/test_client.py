"""How a connection under load opens: what it takes for the beginning of its answer."""

import pytest

from loadtest.client import LoadConnection
from loadtest.errors import LoadError

MARKER = b'"type":"subscribed"'


def open_with(pieces: list[bytes]) -> LoadConnection:
    """Return a connection that has received pieces."""
    connection = LoadConnection(MARKER, lambda _, data: None)
    for piece in pieces:
        connection.data_received(piece)
    return connection


async def test_an_answer_that_comes_byte_by_byte_opens_the_connection():
    answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + MARKER
    assert open_with([bytes((byte,)) for byte in answer]).opened.result() is None


async def test_an_answer_of_another_kind_is_told_in_full():
    with pytest.raises(LoadError, match="503 Service Unavailable"):
        open_with([b"HTTP/1.1 503 Service Unavailable\r\n\r\n"]).opened.result()
