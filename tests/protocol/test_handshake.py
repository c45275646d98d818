"""RFC 6455 section 4: the opening handshake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from protocol.handshake import (
    Accepted,
    Refused,
    accept_headers,
    choose_protocol,
    encode_accept,
    judge,
)

# The example of RFC 6455 section 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def headers(*changes: tuple[str, str | None]) -> CIMultiDict[str]:
    """Return good headers with some changed, left out where None, twice where given twice."""
    changed = {name for name, _ in changes}
    result = CIMultiDict((name, value) for name, value in GOOD.items() if name not in changed)
    result.extend([(name, value) for name, value in changes if value is not None])
    return result


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [("Upgrade", "WebSocket")],
        [("Upgrade", "h2c, websocket")],
        [("Connection", "keep-alive, Upgrade")],
        [("Connection", "keep-alive"), ("Connection", "UPGRADE")],
        [("Connection", "keep-alive,\tupgrade ,")],
    ],
)
def test_a_good_request_is_accepted(changes):
    assert judge("GET", (1, 1), headers(*changes)) == Accepted(KEY, (), ())


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ([("Upgrade", None)], 400),
        ([("Upgrade", "websockets")], 400),
        ([("Upgrade", "h2c")], 400),
        ([("Connection", None)], 400),
        ([("Connection", "keep-alive")], 400),
        ([("Connection", "notupgrade")], 400),
        ([("Sec-WebSocket-Version", None)], 426),
        ([("Sec-WebSocket-Version", "8")], 426),
        ([("Sec-WebSocket-Version", "13, 8")], 426),
        ([("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Version", "13")], 426),
        ([("Sec-WebSocket-Key", None)], 400),
        ([("Sec-WebSocket-Key", "")], 400),
        ([("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Key", KEY)], 400),
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j")], 400),  # 15 bytes
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZTE=")], 400),  # 17 bytes
        ([("Sec-WebSocket-Key", KEY.rstrip("="))], 400),
        ([("Sec-WebSocket-Key", KEY + "=")], 400),
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZR==")], 400),  # not the canonical form
        ([("Sec-WebSocket-Key", "dGhl IHNhbXBsZSBub25jZQ==")], 400),
        ([("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=\u00e9")], 400),
        ([("Sec-WebSocket-Protocol", "a b")], 400),
        ([("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b;c")], 400),
    ],
)
def test_a_bad_request_is_refused(changes, status):
    verdict = judge("GET", (1, 1), headers(*changes))
    assert isinstance(verdict, Refused)
    assert verdict.status == status


def test_only_get_opens_a_websocket():
    verdict = judge("POST", (1, 1), headers())
    assert isinstance(verdict, Refused)
    assert (verdict.status, dict(verdict.headers)) == (405, {"Allow": "GET"})


def test_http_1_0_opens_no_websocket():
    verdict = judge("GET", (1, 0), headers())
    assert isinstance(verdict, Refused)
    assert verdict.status == 400


def test_a_refused_version_is_told_the_right_one():
    verdict = judge("GET", (1, 1), headers(("Sec-WebSocket-Version", "7")))
    assert isinstance(verdict, Refused)
    assert verdict.headers["Sec-WebSocket-Version"] == "13"
    assert verdict.headers["Upgrade"] == "websocket"


def test_subprotocols_and_extensions_come_in_the_clients_order():
    verdict = judge(
        "GET",
        (1, 1),
        headers(
            ("Sec-WebSocket-Protocol", "soap, wamp.2"),
            ("Sec-WebSocket-Protocol", "Chat"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ),
    )
    assert verdict == Accepted(
        KEY, ("soap", "wamp.2", "Chat"), ("permessage-deflate; client_max_window_bits",)
    )


@pytest.mark.parametrize(
    ("offered", "supported", "chosen"),
    [
        (("b", "a"), ("a", "b"), "b"),
        (("x", "a"), ("a", "b"), "a"),
        (("A",), ("a",), None),
        ((), ("a",), None),
        (("a",), (), None),
    ],
)
def test_the_client_likes_its_first_known_subprotocol_best(offered, supported, chosen):
    assert choose_protocol(offered, supported) == chosen


def test_the_answer_proves_that_the_key_was_read():
    assert encode_accept(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_answer_names_the_subprotocol_only_if_there_is_one():
    accepted = Accepted(KEY, ("chat",), ())
    plain = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }
    assert accept_headers(accepted, None) == plain
    assert accept_headers(accepted, "chat") == {**plain, "Sec-WebSocket-Protocol": "chat"}


@given(st.text(max_size=30))
def test_whatever_the_key_judging_ends_in_a_verdict(key):
    verdict = judge("GET", (1, 1), headers(("Sec-WebSocket-Key", key)))
    assert isinstance(verdict, Accepted | Refused)


def test_the_agreed_extension_is_a_header_of_the_answer():
    answer = accept_headers(Accepted(KEY, (), ()), None, "permessage-deflate")
    assert answer["Sec-WebSocket-Extensions"] == "permessage-deflate"
    assert "Sec-WebSocket-Extensions" not in accept_headers(Accepted(KEY, (), ()), None)
