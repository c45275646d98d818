"""A chunked body is followed to its end, and no further, whatever its data look like."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.chunks import ChunkFraming, find_end
from protocol.head import HeadLimits

LIMITS = HeadLimits(max_head_bytes=80)


def advance(pieces):
    """Return how many bytes of all pieces belong to the body, whether it ended, what is wrong."""
    framing, total = ChunkFraming(LIMITS), 0
    for piece in pieces:
        passed = framing.advance(b"?" + piece, 1) - 1
        total += passed
        if framing.is_complete or framing.error:
            break
        assert passed == len(piece)
    return total, framing.is_complete, framing.error and framing.error.status


def cuts(wire):
    """Yield wire in one piece, in two at every place, and byte by byte."""
    yield [wire]
    for i in range(1, len(wire)):
        yield [wire[:i], wire[i:]]
    yield [wire[i : i + 1] for i in range(len(wire))]


BODIES = {
    "nothing": b"0\r\n\r\n",
    "one chunk": b"1\r\nx\r\n0\r\n\r\n",
    "data that look like the end": b"A\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "zeros before sizes": b"00a\r\n0123456789\r\n000\r\n\r\n",
    "extensions": b'1;a="b"\r\nx\r\n0;c\r\n\r\n',
    "trailers": b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_ends_where_it_ends_however_it_is_cut(name):
    wire = BODIES[name]
    for pieces in cuts(wire):
        assert advance([*pieces[:-1], pieces[-1] + b"GET / HTTP/1.1\r\n\r\n"]) == (
            *(len(wire), True),
            None,
        )


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_not_complete_before_its_last_byte(name):
    wire = BODIES[name]
    for stop in range(1, len(wire)):
        assert advance([wire[:stop]]) == (stop, False, None)


@pytest.mark.parametrize("line", [b"x\r\n", b"\r\n", b"-1\r\n", b"0x1\r\n", b"1 \r\n", b"1\n\r\n"])
def test_a_size_that_is_none_is_an_error_behind_its_line(line):
    for pieces in cuts(line):
        assert advance([*pieces, b"x\r\n0\r\n\r\n"]) == (len(line), False, 400)


@pytest.mark.parametrize(
    ("wire", "stop"),
    [
        (b"1;" + b"a" * 200, 80 + 16),  # a line
        ((b"1;" + b"a" * 44 + b"\r\nx\r\n") * 9, 2 * 51 + 80 - 2 * (48 - 16 - 2) + 16),
        (b"0\r\nA: " + b"a" * 200, 3 + 80),  # trailers
    ],
)
def test_overhead_without_end_is_an_error_at_the_byte_that_is_too_much(wire, stop):
    for pieces in cuts(wire):
        assert advance(pieces) == (stop, False, 431)


CHUNKS = st.lists(
    st.tuples(st.sampled_from([b"\r", b"\n", b"0", b"\r\n", b"0\r\n\r\n", b"x"]), st.integers(1, 9))
)


@given(CHUNKS, st.lists(st.integers(0, 200), max_size=4))
def test_no_data_at_all_hide_the_end(chunks, places):
    data = [piece * count for piece, count in chunks]
    wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in data) + b"0\r\n\r\n"
    ends = sorted({place % len(wire) for place in places} | {0, len(wire)})
    pieces = [wire[start:end] for start, end in pairwise(ends)]
    assert advance([*pieces, b"rest"]) == (len(wire), True, None)


@pytest.mark.parametrize(
    ("kept", "data", "end"),
    [
        (b"", b"ab\r\n\r\nc", 6),
        (b"x\r\n", b"\r\nc", 2),
        (b"\r", b"\n\r\n", 3),
        (b"\r\n\r", b"\n", 1),
        (b"\r\n", b"a\r\n\r\n", 5),
        (b"\r\n\r", b"\r\n\r\n", 4),
        (b"", b"\r\n\r", -1),
        (b"\r\n", b"\r", -1),
    ],
)
def test_a_mark_is_found_also_where_it_began_before(kept, data, end):
    assert find_end(b"\r\n\r\n", kept, data, 0) == end
    assert find_end(b"\r\n\r\n", kept, b"\r\n\r\n" + data, 4) == (end + 4 if end >= 0 else -1)
