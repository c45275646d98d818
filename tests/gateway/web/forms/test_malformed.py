"""Forms of peers that mean no good: read or refused, without a trace in the log or on the disk."""

import asyncio
import json
import os
import random
import re
from contextlib import suppress

import pytest

from gateway.web.forms.form import SPOOL_BYTES, FileField
from gateway.web.forms.parts import BodyPartReader, MultipartReader
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from tests.gateway.web.ledger import reset, watched

FORM = (
    b"preamble\r\n"
    b'--b\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\nutf-8\r\n'
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue\r\n\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\n'
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nfile\r\n"
    b"--b\r\nContent-Disposition: form-data; name=j; filename*=utf-8''j\r\n"
    b"Content-Type: application/json\r\n\r\n{}\r\n"
    b'--b\r\nContent-Disposition: form-data; name="c"\r\nContent-Length: 8\r\n'
    b"Content-Transfer-Encoding: base64\r\nX-Folded: a\r\n b\r\n\r\naGVsbG8=\r\n"
    b"--b--\r\nepilogue"
)
MIXED = (
    b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
    b"--c\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc\r\n"
    b"--c\r\nContent-Type: multipart/related; boundary=d\r\n\r\n--d\r\n\r\nx\r\n--d--\r\n"
    b"--c--\r\n\r\n"
    b"--b\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\r\n"
    b"--b\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\na=b&c=%FF\r\n--b--"
)
URLENCODED = b"a=1+2&b=%C4%8D&c=%zz;d&=&&e=\xc4\x8d"
TYPES = {
    FORM: b"multipart/form-data; boundary=b",
    MIXED: b"multipart/mixed; boundary=b",
    URLENCODED: b"application/x-www-form-urlencoded; charset=utf-8",
}
FRAGMENTS = [
    *(b"\r\n--b\r\n", b"\r\n--b--", b"--b", b"--c\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b"\xff"),
    *(b"Content-Disposition: form-data; name=z", b'"', b";", b"=", b":", b"%", b"charset=klingon"),
    *(b"base64", b"x" * 9000, b"&" * 1100, b"filename=", b"\r\nX: y" * 40, b"multipart/mixed"),
]
STATUSES = {200, 400, 413, 415}


async def read(request: BaseRequest) -> Response:
    """Read a form as a whole, or a body by parts, each in a way that the path chooses."""
    choices = random.Random(request.path)
    if choices.random() < 0.5:
        form = await request.post()
        for value in form.values():
            if isinstance(value, FileField):
                value.file.read()
    else:
        await read_parts(await request.multipart(), choices)
    return Response(text="read")


async def read_parts(reader: MultipartReader, choices: random.Random) -> None:
    async for part in reader:
        if isinstance(part, BodyPartReader):
            await read_part(part, choices.randrange(8))
        elif choices.random() < 0.8:
            await read_parts(part, choices)


async def read_part(part: BodyPartReader, way: int) -> None:
    if way == 0:
        while chunk := await part.read_chunk(7):
            part.decode(chunk)
    elif way == 1:
        while await part.readline():
            pass
    elif way == 2:
        with suppress(json.JSONDecodeError):
            await part.json()
    elif way < 7:
        whole = (part.text, part.form, part.release, lambda: part.read(decode=True))
        await whole[way - 3]()


def mutate(choices: random.Random, body: bytes) -> bytes:
    for _ in range(choices.randrange(4)):
        start = choices.randrange(len(body) + 1)
        end = min(len(body), start + choices.randrange(30))
        change = choices.randrange(4)
        if change == 0:
            body = body[:start] + body[end:]
        elif change == 1:
            body = body[:start] + body[start:end] * 2 + body[end:]
        elif change == 2:
            body = body[:start] + choices.choice(FRAGMENTS) + body[start:]
        else:
            body = body[:start] + choices.choice(FRAGMENTS) + body[end:]
    return body


def wire_of(path: bytes, content_type: bytes, body: bytes, size: int) -> bytes:
    """Return a request whose body comes in chunks of size bytes."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    head = b"POST /%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: %s\r\n"
    return (
        head % (path, content_type) + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )


@pytest.mark.parametrize("seed", range(6))
async def test_forms_that_were_tampered_with_are_read_or_refused(seed):
    """A hundred each time: enough to find a mistake sooner or later, in a second."""
    choices = random.Random(seed)
    statuses = set()
    async with watched(read) as watch:
        for number in range(100):
            original = choices.choice(list(TYPES))
            content_type = TYPES[original]
            if choices.random() < 0.1:
                content_type = mutate(choices, content_type)
                content_type = re.sub(rb"[^ -~]", b"", content_type)[:4000]
            body = mutate(choices, original)
            wire = wire_of(b"%d" % number, content_type, body, choices.choice([1, 7, 100_000]))
            answer = await watch.ask(wire)
            status = int(answer.split()[1])
            assert status in STATUSES, (body, answer)
            statuses.add(status)
    assert {200, 400} <= statuses


async def test_peers_that_go_in_the_middle_of_a_form_leave_nothing_behind():
    """Wherever they go: in heads, in values, in files in memory and on disk."""
    file = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    body = FORM[: FORM.index(b"--b--")] + file + os.urandom(2 * SPOOL_BYTES) + b"\r\n--b--"
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nContent-Type: %s\r\n\r\n"
    wire = head % (len(body), TYPES[FORM]) + body
    places = [*range(200, 1000, 50), len(wire) - SPOOL_BYTES - 100, len(wire) - 100, len(wire) - 1]

    async def handler(request: BaseRequest) -> Response:
        await request.post()
        raise AssertionError("no form was sent as a whole")

    async with watched(handler) as watch:
        for place in places:
            client = watch.connect()
            client.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(client, wire[:place])
            await watch.heard()
            reset(client)
            await watch.gone()
        await asyncio.get_running_loop().shutdown_default_executor()  # which closes files


@pytest.mark.parametrize(
    "data",
    [
        *(b"\r" * 10**6, b"\r\n" * 10**6, b"\r\n--" * 10**6, b"\r\n--boundar" * 10**5),
        *(b"-" * 10**6, (b"b" * 69 + b"\r\n--") * 10**4, b"=" * 10**6, b"\n" * 10**6),
    ],
)
@pytest.mark.parametrize("coding", [b"binary", b"base64", b"quoted-printable"])
async def test_a_megabyte_of_anything_takes_no_time_to_speak_of(data, coding):
    """Quadratic time would be a time-out here."""
    head = b"--boundary\r\nContent-Disposition: form-data; name=f; filename=f\r\n"
    part = head + b"Content-Transfer-Encoding: " + coding + b"\r\n\r\n" + data
    wire = wire_of(b"", b"multipart/form-data; boundary=boundary", part, 16_000)

    async def handler(request: BaseRequest) -> Response:
        await request.clone(client_max_size=0).post()
        return Response()

    async with watched(handler) as watch:
        assert b"The body ends before its final boundary" in await watch.ask(wire)
        await asyncio.get_running_loop().shutdown_default_executor()
