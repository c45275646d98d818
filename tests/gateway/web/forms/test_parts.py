"""A multipart body is read part by part, and no further than it is asked for."""

import asyncio
import base64
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.body.reader import StreamReader
from gateway.web.exceptions import (
    HTTPRequestEntityTooLarge,
    HTTPUnsupportedMediaType,
    MalformedBodyError,
)
from gateway.web.forms.parts import MAX_LINE_BYTES, MAX_NESTING, BodyPartReader, MultipartReader


class Wire:
    """A body that arrives in given pieces, and counts those that were asked for."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.taken = 0

    async def readany(self):
        self.taken += 1
        return self.pieces.pop(0) if self.pieces else b""


def encode(*parts, boundary=b"b"):
    """Return a multipart body of parts, each the bytes of its fields and its data."""
    lines = b"".join(
        b"--" + boundary + b"\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + data
        + b"\r\n"
        for *fields, data in parts
    )  # fmt: skip
    return lines + b"--" + boundary + b"--\r\n"


def reader_of(*pieces, subtype="mixed", **options):
    headers = {"Content-Type": f"multipart/{subtype}; boundary=b"}
    return MultipartReader(headers, Wire(*pieces), **options)


async def part_of(*fields_and_data, subtype="mixed", **options):
    """Return the one part of a body that arrives in three pieces."""
    wire = encode(fields_and_data)
    third = len(wire) // 3
    pieces = (wire[:third], wire[third : 2 * third], wire[2 * third :])
    part = await reader_of(*pieces, subtype=subtype, **options).next()
    assert isinstance(part, BodyPartReader)
    return part


async def test_parts_come_in_their_order_and_then_nothing():
    reader = reader_of(encode([b"X: 1", b"one"], [b"X: 2", b"two"]))
    assert not reader.at_eof()
    assert [(part.headers["x"], await part.read()) async for part in reader] == [
        ("1", b"one"),
        ("2", b"two"),
    ]
    assert reader.at_eof()
    assert await reader.next() is None


async def test_a_stream_reader_is_a_source():
    content = StreamReader()
    content.feed_data(encode([b"one"]))
    content.feed_eof()
    reader = MultipartReader({"Content-Type": 'Multipart/Mixed; Boundary="b"'}, content)
    part = await reader.next()
    assert await part.text() == "one"
    await reader.release()
    assert content.at_eof()


async def test_nothing_is_asked_for_that_nobody_wants():
    pieces = [b"--b\r\n\r\n", *(b"x" * 100 for _ in range(10)), b"\r\n--b\r\n\r\ny", b"\r\n--b--"]
    wire = Wire(*pieces)
    reader = MultipartReader({"Content-Type": "multipart/mixed; boundary=b"}, wire)
    part = await reader.next()
    assert wire.taken == 1
    assert await part.read_chunk() == b"x" * 100
    assert wire.taken == 2
    second = await reader.next()
    assert wire.taken == 12
    assert (part.at_eof(), await part.read(), await part.read_chunk()) == (True, b"", b"")
    assert await second.read() == b"y"


async def test_the_rest_can_be_thrown_away():
    reader = reader_of(encode([b"one"], [b"two"]))
    part = await reader.next()
    await part.release()
    assert part.at_eof()
    await reader.release()
    assert reader.at_eof()


async def test_a_part_is_read_in_chunks_of_at_most_a_size():
    part = await part_of(b"0123456789")
    chunks = []
    while chunk := await part.read_chunk(3):
        chunks.append(chunk)
    assert b"".join(chunks) == b"0123456789"
    assert max(map(len, chunks)) == 3
    assert part.at_eof()
    for size in (0, -1):
        with pytest.raises(ValueError, match="at least one"):
            await part.read_chunk(size)


async def test_a_part_is_read_in_lines():
    part = await part_of(b"one\r\n\r\ntwo\nthree")
    lines = []
    while line := await part.readline():
        lines.append(line)
    assert lines == [b"one\r\n", b"\r\n", b"two\n", b"three"]


async def test_a_line_has_a_bound():
    part = await reader_of(b"--b\r\n\r\n", *[b"x" * 1000] * 200).next()
    with pytest.raises(MalformedBodyError) as caught:
        await part.readline()
    assert str(MAX_LINE_BYTES) in caught.value.text


async def test_a_part_is_text_in_its_charset():
    latin = b"Content-Type: text/plain; charset=iso-8859-2"
    assert await (await part_of("č".encode())).text() == "č"
    assert await (await part_of(latin, b"\xe8")).text() == "č"
    assert await (await part_of("č".encode("utf-16"))).text(encoding="utf-16") == "č"
    part = await part_of(latin, b"")
    assert (part.get_charset("x"), await part.text()) == ("iso-8859-2", "")
    assert (await part_of(b"")).get_charset("x") == "x"
    with pytest.raises(MalformedBodyError):
        await (await part_of(b"\xff")).text()
    with pytest.raises(HTTPUnsupportedMediaType):
        await (await part_of(b"a")).text(encoding="klingon")


async def test_a_part_is_json_or_a_form():
    assert await (await part_of(b'{"a": [1]}')).json() == {"a": [1]}
    assert await (await part_of(b"")).json() is None
    assert await (await part_of('"č"'.encode("utf-16"))).json(encoding="utf-16") == "č"
    with pytest.raises(json.JSONDecodeError):
        await (await part_of(b"a")).json()
    assert await (await part_of(b"a=b&c=%C4%8D\r\n")).form() == [("a", "b"), ("c", "č")]
    assert await (await part_of(b"a=%E8")).form(encoding="iso-8859-2") == [("a", "č")]
    assert await (await part_of(b"")).form() == []
    with pytest.raises(HTTPRequestEntityTooLarge):
        await (await part_of(b"&" * 1000)).form()


async def test_iterating_over_a_part_gives_it_as_a_whole():
    assert [data async for data in await part_of(b"one")] == [b"one"]
    part = await part_of(b"one")
    assert (await part.next(), await part.next()) == (b"one", None)


async def test_a_part_is_decoded_when_asked():
    coded = base64.encodebytes(gzip.compress(b"hello" * 1000))
    fields = (b"Content-Transfer-Encoding: Base64", b"Content-Encoding: GZip")
    assert await (await part_of(*fields, coded)).read() == coded
    assert await (await part_of(*fields, coded)).read(decode=True) == b"hello" * 1000
    part = await part_of(*fields, base64.b64encode(gzip.compress(b"hello")))
    assert part.decode(await part.read()) == b"hello"
    in_form = await part_of(*fields, base64.b64encode(b"hello"), subtype="form-data")
    assert await in_form.text() == "hello"  # RFC 7578 section 4.8 knows no Content-Encoding


@given(st.binary(max_size=200), st.integers(1, 50), st.integers(1, 50))
async def test_chunks_of_base64_can_be_decoded_one_by_one(data, size, cut):
    coded = base64.encodebytes(data).replace(b"\n", b"\r\n")
    wire = encode([b"Content-Transfer-Encoding: base64", coded])
    pieces = [wire[start : start + cut] for start in range(0, len(wire), cut)]
    part = await reader_of(*pieces).next()
    decoded = b""
    while chunk := await part.read_chunk(size):
        assert len(chunk) <= size + 3
        decoded += part.decode(chunk)
    assert decoded == data


async def test_a_part_without_base64_in_it_does_not_pile_up():
    pieces = [b"A" + b"-" * 1000, *[b"-" * 1000] * 100, b"AAA", b"\r\n--b--"]
    wire = Wire(b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n", *pieces)
    part = await MultipartReader({"Content-Type": "multipart/mixed; boundary=b"}, wire).next()
    assert await part.read_chunk(1) == b"AAAA"


async def test_a_part_that_is_multipart_is_a_reader():
    inner = encode([b"X: 1", b"one"], [b"two"], boundary=b"c")
    nested = b"Content-Type: multipart/related; boundary=c"
    for cut in (1, 7, 1000):
        wire = encode([b"zero"], [nested, inner], [b"three"])
        reader = reader_of(*(wire[start : start + cut] for start in range(0, len(wire), cut)))
        found = []
        async for part in reader:
            if isinstance(part, MultipartReader):
                assert part.headers["Content-Type"] == nested.decode().partition(": ")[2]
                found += [await each.text() async for each in part]
                assert part.at_eof()
            else:
                found.append(await part.text())
        assert found == ["zero", "one", "two", "three"]


async def test_a_nested_part_can_be_skipped_whatever_is_in_it():
    nested = b"Content-Type: multipart/mixed; boundary=c"
    reader = reader_of(encode([nested, b"no boundary"], [nested, b""], [b"last"]))
    assert isinstance(await reader.next(), MultipartReader)
    assert isinstance(await reader.next(), MultipartReader)
    assert await (await reader.next()).read() == b"last"


async def test_nesting_has_a_bound():
    inner = encode([b"x"], boundary=b"in0")
    for depth in range(MAX_NESTING + 1):
        kind = b"Content-Type: multipart/mixed; boundary=in%d" % depth
        inner = encode([kind, inner], boundary=b"in%d" % (depth + 1))
    reader = MultipartReader(
        {"Content-Type": f"multipart/mixed; boundary=in{depth + 1}"}, Wire(inner)
    )
    for _ in range(MAX_NESTING):
        reader = await reader.next()
        assert isinstance(reader, MultipartReader)
    with pytest.raises(MalformedBodyError) as caught:
        await reader.next()
    assert "nested" in caught.value.text


async def test_a_form_names_the_charset_of_its_parts():
    def field(name, *more):
        return b'Content-Disposition: form-data; name="' + name + b'"', *more

    body = encode(
        field(b"_charset_", b"iso-8859-2"),
        field(b"a", b"\xe8"),
        field(b"b", b"Content-Type: text/plain; charset=utf-8", "č".encode()),
        field(b"_charset_", b"utf-8"),
        field(b"c", b"\xe8"),
    )
    form = reader_of(body, subtype="form-data")
    assert [(part.name, await part.text()) async for part in form] == [
        *(("a", "č"), ("b", "č"), ("_charset_", "utf-8"), ("c", "č")),
    ]
    assert (await reader_of(body).next()).name == "_charset_"
    assert await reader_of(encode(field(b"_charset_", b"a")), subtype="form-data").next() is None
    with pytest.raises(MalformedBodyError):
        await reader_of(encode(field(b"_charset_", b"a" * 32)), subtype="form-data").next()


async def test_a_part_that_is_read_whole_has_a_bound():
    for limit in (4, 5, 0, None):
        part = await part_of(b"body", max_part_bytes=limit)
        if limit == 4:
            with pytest.raises(HTTPRequestEntityTooLarge):
                await part.read()
        else:
            assert await part.read() == b"body"
    unread = await part_of(b"body" * 100, max_part_bytes=4)
    assert len(await unread.read_chunk()) > 4


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("text/plain; boundary=b", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
    ],
)
def test_a_body_of_another_type_is_refused(content_type, status):
    headers = {} if content_type is None else {"Content-Type": content_type}
    with pytest.raises((MalformedBodyError, HTTPUnsupportedMediaType)) as caught:
        MultipartReader(headers, Wire())
    assert caught.value.status == status


async def test_a_malformed_body_is_refused_again_and_again():
    reader = reader_of(b"--b\r\n\r\nx\r\n--b\r\n", b"garbage\r\n\r\n")
    part = await reader.next()
    assert await part.read() == b"x"
    for _ in range(2):
        with pytest.raises(ValueError, match="Bad Request"):
            await reader.next()
    cut = await reader_of(b"--b\r\n\r\nx").next()
    for _ in range(2):
        with pytest.raises(MalformedBodyError):
            await cut.read()


@pytest.mark.parametrize("field", [b"X: 1", b"Content-Type: multipart/mixed; boundary=c"])
async def test_many_parts_that_are_here_already_leave_others_a_turn(field):
    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turns = 0
    other = asyncio.ensure_future(count_turns())
    parts = [part async for part in reader_of(encode(*[[field, b""]] * 640))]
    other.cancel()
    assert len(parts) == 640
    assert turns >= 10
