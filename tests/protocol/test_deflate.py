"""RFC 7692: what is agreed upon, and messages compressed and decompressed.

Over 400 lines, because the rules of the negotiation are a table with a line for each.
"""

import sys
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.deflate import MAX_FINAL_BLOCKS, Agreement, Deflate, deflate_message, negotiate
from protocol.errors import WebSocketError

TAIL = b"\x00\x00\xff\xff"
MAX_BYTES = 1 << 20

# (the headers of the request, the header of the answer or None). Sections are those of RFC 7692,
# unless another is named.
OFFERS = [
    pytest.param([], None, id="no offer"),
    pytest.param([""], None, id="an empty offer"),
    pytest.param(["permessage-deflate"], "permessage-deflate", id="7.1: no parameters"),
    pytest.param(
        ["permessage-deflate; server_no_context_takeover"],
        "permessage-deflate; server_no_context_takeover",
        id="7.1.1.1: the server is asked to keep no context",
    ),
    pytest.param(
        ["permessage-deflate; client_no_context_takeover"],
        "permessage-deflate; client_no_context_takeover",
        id="7.1.1.2: the client hints that it keeps no context",
    ),
    pytest.param(
        ["permessage-deflate; server_max_window_bits=15"],
        "permessage-deflate; server_max_window_bits=15",
        id="7.1.2.1: the largest window",
    ),
    pytest.param(
        ["permessage-deflate; server_max_window_bits=9"],
        "permessage-deflate; server_max_window_bits=9",
        id="7.1.2.1: the smallest window zlib can compress into",
    ),
    pytest.param(
        ["permessage-deflate; server_max_window_bits=8"],
        None,
        id="7.1.2.1: a window too small for zlib is declined",
    ),
    pytest.param(
        ["permessage-deflate; client_max_window_bits"],
        "permessage-deflate; client_max_window_bits=12",
        id="7.1.2.2: the client lets us choose its window",
    ),
    pytest.param(
        ["permessage-deflate; client_max_window_bits=15"],
        "permessage-deflate; client_max_window_bits=12",
        id="7.1.2.2: the client lets us choose a smaller window",
    ),
    pytest.param(
        ["permessage-deflate; client_max_window_bits=10"],
        "permessage-deflate; client_max_window_bits=10",
        id="7.1.2.2: the client chooses a window below ours",
    ),
    pytest.param(
        ["permessage-deflate; client_max_window_bits=8"],
        "permessage-deflate; client_max_window_bits=8",
        id="7.1.2.2: any window of the client can be decompressed",
    ),
    pytest.param(
        [
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10"
            "; client_no_context_takeover; server_no_context_takeover"
        ],
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        "; server_max_window_bits=10; client_max_window_bits=12",
        id="7.1: everything",
    ),
    pytest.param(["permessage-deflate; x"], None, id="7.1: an unknown parameter"),
    pytest.param(["permessage-deflate; SERVER_MAX_WINDOW_BITS=9"], None, id="7.1: another case"),
    pytest.param(
        ["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        None,
        id="7.1: a parameter twice",
    ),
    pytest.param(
        ["permessage-deflate; client_max_window_bits; client_max_window_bits=9"],
        None,
        id="7.1: a parameter twice with different values",
    ),
    pytest.param(
        ["permessage-deflate; server_no_context_takeover=1"],
        None,
        id="7.1.1.1: a value where there is none",
    ),
    pytest.param(
        ["permessage-deflate; client_no_context_takeover=true"],
        None,
        id="7.1.1.2: a value where there is none",
    ),
    pytest.param(
        ["permessage-deflate; server_max_window_bits"], None, id="7.1.2.1: the value is missing"
    ),
    *[
        pytest.param(
            [f"permessage-deflate; {name}={value}"], None, id=f"7.1.2: {name} of {value!r}"
        )
        for name in ("server_max_window_bits", "client_max_window_bits")
        for value in (
            "7",
            "16",
            "0",
            "010",
            "09",
            "+9",
            "-9",
            "9.0",
            "1_0",
            "ten",
            "",
            '""',
            "\u0669",
        )
    ],
    pytest.param(
        ["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
        "permessage-deflate",
        id="5.1: the second offer, because the first cannot be kept",
    ),
    pytest.param(
        ["permessage-deflate; x=1", "permessage-deflate; server_max_window_bits=11"],
        "permessage-deflate; server_max_window_bits=11",
        id="RFC 6455 9.1: the second offer is in a header of its own",
    ),
    pytest.param(
        ["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
        "permessage-deflate; server_max_window_bits=10",
        id="5.1: the client's first offer, not the simplest",
    ),
    pytest.param(
        ["permessage-bzip2, x-webkit-deflate-frame; a, permessage-deflate"],
        "permessage-deflate",
        id="RFC 6455 9.1: other extensions",
    ),
    pytest.param(
        ["\tpermessage-deflate\t;\tserver_max_window_bits = 10 ,"],
        "permessage-deflate; server_max_window_bits=10",
        id="RFC 6455 9.1: white space and an empty element",
    ),
    pytest.param(
        ['permessage-deflate; server_max_window_bits="10"; client_max_window_bits="1\\1"'],
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11",
        id="RFC 6455 9.1: quoted values",
    ),
    pytest.param(
        ['a; b="c, permessage-deflate, d"'], None, id="RFC 6455 9.1: an offer inside quotes is none"
    ),
    pytest.param(
        ['permessage-deflate; server_max_window_bits="10, permessage-deflate'],
        None,
        id="RFC 6455 9.1: quotes that are not closed",
    ),
    pytest.param(["permessage-deflate;"], None, id="RFC 6455 9.1: a parameter is missing"),
    pytest.param(["permessage-deflate; =1"], None, id="RFC 6455 9.1: a name is missing"),
    pytest.param(["permessage-deflate; a b"], None, id="RFC 6455 9.1: two words for one"),
    pytest.param(["permessage-deflated"], None, id="a longer name"),
    pytest.param(["permessage"], None, id="a shorter name"),
]


@pytest.mark.parametrize(("headers", "answer"), OFFERS)
def test_the_first_acceptable_offer_is_agreed_upon(headers, answer):
    agreement = negotiate(headers)
    assert (agreement.extension if agreement is not None else None) == answer


@given(st.lists(st.text(alphabet='permessage-deflate; ,="\\_\t1', max_size=60), max_size=3))
def test_no_header_makes_negotiating_fail(headers):
    negotiate(headers)


def test_a_header_of_nothing_but_quotes_takes_no_longer_than_others():
    assert negotiate(['"\\' * 100_000]) is None


def deflate(**options: object) -> Deflate:
    return Deflate(Agreement(**options))


def decompress(side: Deflate, *pieces: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the message whose payload comes in pieces."""
    data = b""
    for index, piece in enumerate(pieces):
        room = max_bytes - len(data)
        data += side.decompress(piece, room, is_last=index == len(pieces) - 1)
    return data


# RFC 7692 section 7.2.3: messages on one connection, one after the other.
EXAMPLES = [
    pytest.param([(b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello")], id="7.2.3.1: one block"),
    pytest.param(
        [
            (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
            (b"\xf2\x00\x11\x00\x00", b"Hello"),
        ],
        id="7.2.3.2: sharing the window",
    ),
    pytest.param(
        [(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello")],
        id="7.2.3.3: a block without compression",
    ),
    pytest.param(
        [
            (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
            (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
            (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
        ],
        id="7.2.3.4: a final block",
    ),
    pytest.param(
        [(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello")],
        id="7.2.3.5: two blocks",
    ),
    pytest.param(
        [(b"\x00", b""), (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"), (b"\x00", b"")],
        id="7.2.3.6: empty messages",
    ),
    pytest.param(
        [
            (b"", b""),
            (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
            (b"", b""),
            (b"\xf2\x00\x11\x00\x00", b"Hello"),
        ],
        id="a message of nothing is taken for an empty one",
    ),
    pytest.param(
        [
            (b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
            (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
        ],
        id="a final block that nothing follows ends its message",
    ),
    pytest.param(
        [(b"\xf3\x48\xcd\xc9\xc9\x07\x00" * 3 + b"\x00", b"Hello" * 3)], id="several final blocks"
    ),
]


@pytest.mark.parametrize("messages", EXAMPLES)
def test_messages_are_decompressed_however_they_are_cut(messages):
    for cut in range(12):
        side = deflate()
        for payload, message in messages:
            assert decompress(side, payload[:cut], payload[cut:]) == message
    side = deflate()
    for payload, message in messages:
        octets = [payload[index : index + 1] for index in range(len(payload))]
        assert decompress(side, *octets, b"") == message


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x07", id="a block of a type that there is not"),
        pytest.param(b"\xff\xff\xff", id="no compressed data"),
        pytest.param(b"\xf2\x00\x11\x00\x00", id="a reference to before the first message"),
        pytest.param(b"\x00\x05\x00\x00\x00Hello\x00", id="a length and its complement differ"),
        pytest.param(b"\x00\x0a\x00\xf5\xffHello", id="a block that is cut"),
        pytest.param(b"\xf3\x48\xcd\xc9\xc9\x07\x00\xff", id="nonsense after a final block"),
        pytest.param(b"\x03\x00" * 100, id="final blocks without end"),
    ],
)
def test_what_no_compressor_makes_is_refused_with_1007(payload):
    with pytest.raises(WebSocketError) as refused:
        decompress(deflate(), payload)
    assert refused.value.close_code == 1007


def test_final_blocks_are_counted_by_message():
    side = deflate()
    for _ in range(3):
        assert decompress(side, b"\x03\x00" * MAX_FINAL_BLOCKS + b"\x00") == b""


def test_the_bound_is_on_what_a_message_becomes():
    bomb = deflate_message(bytes(MAX_BYTES))
    assert len(bomb) < MAX_BYTES / 100
    assert decompress(deflate(), bomb) == bytes(MAX_BYTES)
    for pieces in ([bomb], [bomb[:500], bomb[500:]]):
        with pytest.raises(WebSocketError) as refused:
            decompress(deflate(), *pieces, max_bytes=MAX_BYTES - 1)
        assert refused.value.close_code == 1009
    with pytest.raises(WebSocketError) as refused:
        decompress(deflate(), b"\xf3\x48\xcd\xc9\xc9\x07\x00" * 3 + b"\x00", max_bytes=14)
    assert refused.value.close_code == 1009
    with pytest.raises(WebSocketError) as refused:
        decompress(deflate(), b"\x00\x01\x00\xfe\xffa\x00", max_bytes=0)
    assert refused.value.close_code == 1009


def test_there_may_be_no_bound():
    assert decompress(deflate(), deflate_message(b"a"), max_bytes=sys.maxsize) == b"a"


def test_a_bomb_is_noticed_before_it_has_gone_off():
    bomb = deflate_message(bytes(64 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(WebSocketError):
            decompress(deflate(), bomb, max_bytes=1000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_message_is_compressed_as_the_rfc_says():
    side = deflate()
    first, again = side.compress(b"Hello" * 9), side.compress(b"Hello" * 9)
    assert not first.endswith(TAIL)
    assert len(again) < len(first)
    assert side.compress(b"") == side.compress(b"") == b"\x00"
    peer = zlib.decompressobj(-15)
    assert peer.decompress(first + TAIL + again + TAIL + b"\x00" + TAIL) == b"Hello" * 18


def test_without_context_every_message_stands_alone():
    side = deflate(server_keeps_context=False)
    first, again = side.compress(b"Hello" * 9), side.compress(b"Hello" * 9)
    assert first == again == deflate_message(b"Hello" * 9)


WITHOUT_CONTEXT = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        ("permessage-deflate", WITHOUT_CONTEXT),
        ("permessage-deflate; client_no_context_takeover", WITHOUT_CONTEXT),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits",
            f"{WITHOUT_CONTEXT}; server_max_window_bits=12; client_max_window_bits=12",
        ),
        ("permessage-deflate; server_max_window_bits=11", None),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", WITHOUT_CONTEXT),
    ],
)
def test_a_server_that_sends_the_same_to_many_agrees_on_no_context_and_its_own_window(
    header, answer
):
    agreement = negotiate([header], keeps_context=False)
    assert (agreement.extension if agreement is not None else None) == answer
    if agreement is not None:
        assert not agreement.server_keeps_context
        assert not agreement.client_keeps_context


def test_a_client_without_context_may_not_refer_to_earlier_messages():
    side = deflate(client_keeps_context=False)
    assert decompress(side, b"\xf2\x48\xcd\xc9\xc9\x07\x00") == b"Hello"
    with pytest.raises(WebSocketError):
        decompress(side, b"\xf2\x00\x11\x00\x00")


def test_a_message_compressed_for_all_fits_between_those_of_one_connection():
    side, peer, received = deflate(), zlib.decompressobj(-15), []
    for number in range(20):
        text = b"message %d to one; " % number * 20
        received.append(peer.decompress(side.compress(text) + TAIL) == text)
        text = b"message %d to all; " % number * 50
        received.append(peer.decompress(deflate_message(text) + TAIL) == text)
        side.forget_sent()
    assert all(received)


def test_the_contexts_of_two_connections_are_their_own():
    texts = [b"one and the same text " * 9, b"and another one" * 9]
    alone = deflate()
    expected = [alone.compress(text) for text in texts]
    one, other = deflate(), deflate()
    got = [(one.compress(text), other.compress(text)) for text in texts]
    assert got == [(payload, payload) for payload in expected]


AGREEMENTS = st.builds(
    Agreement,
    server_window_bits=st.integers(9, 15),
    client_window_bits=st.integers(9, 15),
    server_keeps_context=st.booleans(),
    client_keeps_context=st.booleans(),
)
# Repetitive enough that windows are made use of, and above their sizes.
PAYLOADS = st.builds(
    lambda piece, count, rest: piece * count + rest,
    st.binary(max_size=300),
    st.integers(0, 300),
    st.binary(max_size=300),
)


@given(AGREEMENTS, st.lists(PAYLOADS, max_size=6))
def test_what_we_compress_fits_into_the_agreed_window(agreement, payloads):
    side = Deflate(agreement)
    peer = zlib.decompressobj(-agreement.server_window_bits)
    for payload in payloads:
        if not agreement.server_keeps_context:
            peer = zlib.decompressobj(-agreement.server_window_bits)
        # In small steps: what zlib has not handed out yet would serve it as a larger window.
        data, rest = b"", side.compress(payload) + TAIL
        while rest:
            data += peer.decompress(rest, 64)
            rest = peer.unconsumed_tail
        data += peer.decompress(b"")
        assert data == payload


@given(AGREEMENTS, st.lists(PAYLOADS, max_size=6), st.data())
def test_what_a_peer_compresses_is_decompressed_at_every_split(agreement, payloads, data):
    side = Deflate(agreement)
    peer = None
    for payload in payloads:
        if peer is None or not agreement.client_keeps_context:
            level = data.draw(st.integers(0, 9))
            peer = zlib.compressobj(level, zlib.DEFLATED, -agreement.client_window_bits)
        wire = (peer.compress(payload) + peer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=4)))
        pieces = [
            wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)
        ]
        assert decompress(side, *pieces) == payload
