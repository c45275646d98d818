"""What a peer did wrong comes with the code that its answer needs."""

import pytest

from protocol.codes import CloseCode, ErrorCode
from protocol.errors import HTTPError, MessageError, ProtocolError, StateError, WebSocketError


def test_each_kind_carries_its_code_and_the_words_for_the_peer():
    http = HTTPError(431, "the head is too large")
    websocket = WebSocketError(CloseCode.MESSAGE_TOO_BIG, "the message is too large")
    message = MessageError(ErrorCode.INVALID_FIELD, "offset: Expected `int`", 7)
    assert (http.status, http.message) == (431, "the head is too large")
    assert (websocket.close_code, websocket.message) == (1009, "the message is too large")
    assert (message.code, message.message) == ("invalid_field", "offset: Expected `int`")
    assert message.command_id == 7


def test_an_error_of_no_particular_command_has_no_command_id():
    assert MessageError(ErrorCode.MALFORMED, "not JSON").command_id is None


@pytest.mark.parametrize(
    "error",
    [
        HTTPError(400, "bad"),
        WebSocketError(CloseCode.PROTOCOL_ERROR, "bad"),
        MessageError(ErrorCode.MALFORMED, "bad"),
    ],
)
def test_everything_a_peer_can_do_wrong_is_caught_as_one_and_prints_its_message(error):
    assert isinstance(error, ProtocolError)
    assert str(error) == "bad"


def test_our_own_misuse_is_not_blamed_on_the_peer():
    assert not issubclass(StateError, ProtocolError)
    assert issubclass(StateError, RuntimeError)
