"""What a handler receives."""

import pytest

from gateway.web.websocket.message import WebSocketReady, WSCloseCode, WSMessage, WSMsgType
from protocol import frames


def test_the_types_of_messages_are_opcodes():
    for name in ("CONTINUATION", "TEXT", "BINARY", "CLOSE", "PING", "PONG"):
        assert WSMsgType[name] == getattr(frames, name)


def test_the_types_that_no_frame_has_are_beyond_opcodes():
    others = (WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
    assert [int(kind) for kind in others] == [0x100, 0x101, 0x102]


@pytest.mark.parametrize(
    "name", ["text", "binary", "close", "ping", "pong", "closing", "closed", "error"]
)
def test_types_have_names_in_lower_case_too(name):
    assert getattr(WSMsgType, name) is WSMsgType[name.upper()]


def test_a_message_is_a_tuple_that_reads_json():
    message = WSMessage(WSMsgType.TEXT, '{"a": 1}', "")
    kind, data, extra = message
    assert (kind, data, extra) == (1, '{"a": 1}', "")
    assert message.json() == {"a": 1}
    assert message.json(loads=len) == 8


def test_ready_is_true_if_the_request_can_become_a_websocket():
    assert WebSocketReady(True, None)
    assert not WebSocketReady(False, "chat")


def test_close_codes_are_numbers_with_names():
    assert WSCloseCode.OK == 1000
    assert WSCloseCode.MESSAGE_TOO_BIG == 1009
