"""The same forms to aiohttp and to here: they are read alike, but for two tables.

The versions compared are aiohttp 3.13 and this one. A difference is listed below with its reason,
or it is a mistake.
"""

import asyncio
import base64
import gzip
import logging
import warnings
from contextlib import closing
from types import ModuleType
from typing import Any

import pytest

from gateway import web

aiohttp = pytest.importorskip("aiohttp")
aiohttp_web = pytest.importorskip("aiohttp.web")

MULTIPART = "multipart/form-data; boundary=b"
MIXED = "multipart/mixed; boundary=b"
URLENCODED = "application/x-www-form-urlencoded"
END = b"--b--\r\n"

Body = tuple[str | None, bytes]


def part(disposition: str | bytes | None, data: bytes = b"x", *fields: bytes) -> bytes:
    if isinstance(disposition, str):
        disposition = disposition.encode()
    lines = [b"--b", *fields, b"", data, b""]
    if disposition is not None:
        lines.insert(1, b"Content-Disposition: " + disposition)
    return b"\r\n".join(lines)


def field(*fields: bytes, data: bytes = b"x", name: str = "a") -> bytes:
    return part(f'form-data; name="{name}"', data, *fields)


def file(filename: str, *fields: bytes, data: bytes = b"x") -> bytes:
    return part(f'form-data; name="a"; filename="{filename}"', data, *fields)


def form(*parts: bytes) -> Body:
    return MULTIPART, b"".join(parts) + END


def mixed(*parts: bytes) -> Body:
    return MIXED, b"".join(parts) + END


NESTED = b"Content-Type: multipart/related; boundary=c"
IN_BASE64 = b"Content-Transfer-Encoding: base64"
TEXT_LATIN = b"Content-Type: text/plain; charset=iso-8859-2"

SAME: dict[str, Body] = {
    "no type": (None, b"a=b"),
    "an empty type": ("", b"a=b"),
    "no media type": ("nonsense", b"a=b"),
    "another type": ("text/plain", b"a=b"),
    "json": ("application/json", b"{}"),
    "urlencoded": (URLENCODED, b"a=b&c=d&a=e"),
    "urlencoded, nothing": (URLENCODED, b""),
    "urlencoded, escapes": (URLENCODED, b"a=1+2&%C4%8D=%26%3D"),
    "urlencoded, broken escapes": (URLENCODED, b"a=%zz%&b=%ff"),
    "urlencoded, empty values": (URLENCODED, b"a=&b&=c&&"),
    "urlencoded, semicolons": (URLENCODED, b"a=b;c=d==e"),
    "urlencoded, a line end": (URLENCODED, b"a=b \r\n"),
    "urlencoded, a zero byte": (URLENCODED, b"a=%00\0"),
    "urlencoded, utf-8": (URLENCODED, "č=ž".encode()),
    "urlencoded, a charset": (f"{URLENCODED}; charset=iso-8859-2", b"a=%E8\xe8"),
    "urlencoded, utf-16": (f"{URLENCODED}; charset=utf-16", "a=b".encode("utf-16")),
    "urlencoded, type in capitals": (URLENCODED.upper(), b"a=b"),
    "no part": form(),
    "a field": form(field()),
    "two fields": form(field(), field(name="c", data=b"")),
    "the same field twice": form(field(), field(data=b"y")),
    "a field in utf-8": form(field(data="č".encode(), name="ž")),
    "a field in a charset": form(field(TEXT_LATIN, data=b"\xe8")),
    "a field of another type": form(field(b"Content-Type: application/json", data=b"{}")),
    "a field in base64": form(field(b"Content-Transfer-Encoding: base64", data=b"aGVs\r\nbG8=")),
    "a field in quoted-printable": form(
        field(b"Content-Transfer-Encoding: quoted-printable", data=b"a=3Db=\r\nc"),
    ),
    "a field in 8bit": form(field(b"Content-Transfer-Encoding: 8bit", data=b"a=3D")),
    "a field that says gzip": form(field(b"Content-Encoding: gzip")),
    "a field with its length": form(field(b"Content-Length: 1")),
    "a field with line ends": form(field(data=b"\r\na\r\n\r\nb\n\r\n")),
    "a field with near boundaries": form(field(data=b"--\r\n--a\r\n-\r\n--")),
    "a file": form(file("f.txt", b"Content-Type: text/plain; charset=utf-8")),
    "a file without a type": form(file("f.txt")),
    "an empty file": form(file("f.txt", data=b"")),
    "no file chosen": form(file("", b"Content-Type: application/octet-stream", data=b"")),
    "a large file": form(file("f.bin", data=bytes(range(256)) * 1000)),
    "a file in utf-8": form(file("č.txt")),
    "a file in base64": form(file("f", b"Content-Transfer-Encoding: base64", data=b"aGVsbG8=")),
    "a filename with escapes": form(file(r"a\"b\\c.txt")),
    "a filename with a semicolon": form(file("a;b.txt")),
    "a filename with a path": form(file("../a/b.txt")),
    "a filename with an absolute path": form(file("/etc/passwd")),
    "a filename that is extended": form(
        part('form-data; name="a"; filename="x"; filename*=utf-8\'\'%C4%8D.txt'),
    ),
    "a filename in latin-1": form(part(b'form-data; name="a"; filename="\xe8.txt"')),
    "a name that is extended": form(part("form-data; name*=utf-8''%C4%8D")),
    "names without quotes": form(part("form-data; name=a; filename=b.txt")),
    "names in another order": form(part('form-data; filename="b.txt"; name="a"')),
    "another disposition": form(part('attachment; name="a"')),
    "field names in capitals": form(part(None, b"x", b'CONTENT-DISPOSITION: form-data; name="a"')),
    "more fields of a part": form(field(b"X-A: b", b"X-A: c")),
    "a preamble": (MULTIPART, b"hello\r\n" + field() + END),
    "an empty line as preamble": (MULTIPART, b"\r\n" + field() + END),
    "an epilogue": (MULTIPART, field() + END + b"bye"),
    "no line end at the end": (MULTIPART, field() + b"--b--"),
    "a boundary in quotes": ('multipart/form-data; boundary="b"', field() + END),
    "a boundary among parameters": ("multipart/form-data; a=b; boundary=b; c=d", field() + END),
    "a boundary of 70": (
        "multipart/form-data; boundary=" + "b" * 70,
        (field() + END).replace(b"--b", b"--" + b"b" * 70),
    ),
}

# What aiohttp answers with 500 and a traceback in the log: here it is the peer's mistake.
MALFORMED: dict[str, tuple[int, Body]] = {
    "nothing": (400, (MULTIPART, b"")),
    "no boundary in the type": (400, ("multipart/form-data", field() + END)),
    "a boundary of 71": (400, ("multipart/form-data; boundary=" + "b" * 71, b"")),
    "another boundary": (400, ("multipart/form-data; boundary=c", field() + END)),
    "no final boundary": (400, (MULTIPART, field())),
    "an end within a part": (400, (MULTIPART, field()[:-4])),
    "an end within a head": (400, (MULTIPART, field()[:20])),
    "line feeds only": (400, (MULTIPART, (field() + END).replace(b"\r", b""))),
    "no colon": (400, form(field(b"garbage"))),
    "no field name": (400, form(field(b": b"))),
    "a zero byte in a field": (400, form(field(b"X: \0"))),
    "no name": (400, form(part("form-data"))),
    "no disposition": (400, form(part(None))),
    "two names": (400, form(part('form-data; name="a"; name="b"'))),
    "a boundary that goes on": (400, form(field(data=b"x\r\n--bc"))),
    "a multipart value": (400, form(field(b"Content-Type: multipart/mixed; boundary=c"))),
    "text that is not utf-8": (400, form(field(data=b"\xff"))),
    "text in an unknown charset": (415, form(field(b"Content-Type: text/a; charset=klingon"))),
    "an unknown transfer coding": (415, form(field(b"Content-Transfer-Encoding: rot13"))),
    "broken base64": (400, form(field(b"Content-Transfer-Encoding: base64", data=b"abc"))),
    "urlencoded, not utf-8": (400, (URLENCODED, b"a=\xff")),
    "urlencoded, an unknown charset": (415, (f"{URLENCODED}; charset=klingon", b"a=b")),
}

# name: (why it differs, aiohttp's, ours, the body); an int is a status, a str the form.
DIFFERENT: dict[str, tuple[str, int | str, int | str, Body]] = {
    "names as browsers escape them": (
        "HTML writes quotes and line ends in names as %22, %0D and %0A; aiohttp leaves them so",
        "[('a%22', 'x')]",
        "[('a\"', 'x')]",
        form(field(name="a%22")),
    ),
    "a Windows path": (
        "aiohttp takes the separators for escapes",
        "[('a', ('a', 'C:dirf', 'application/octet-stream', b'x'))]",
        "[('a', ('a', 'f', 'application/octet-stream', b'x'))]",
        form(file(r"C:\dir\f")),
    ),
    "a name with a slash": (
        "only a filename may be taken for a path",
        "[('a', 'x')]",
        "[('/a', 'x')]",
        form(field(name="/a")),
    ),
    "a charset of the form": (
        "aiohttp cannot go on behind _charset_",
        500,
        "[('a', '\\u010d')]",
        form(field(name="_charset_", data=b"iso-8859-2"), field(data=b"\xe8")),
    ),
    "a folded field": (
        "the parser follows RFC 5322; aiohttp fails",
        500,
        "[('a', ('a', 'f', 'application/octet-stream', b'x'))]",
        form(part('form-data; name="a";\r\n filename="f"')),
    ),
    "a space before the colon": (
        "the parser is lenient; aiohttp fails",
        500,
        "[('a', 'x')]",
        form(field(b"X : y")),
    ),
    "a filename of several words without quotes": (
        "the parser takes the first; aiohttp fails",
        500,
        "[('a', ('a', 'b', 'application/octet-stream', b'x'))]",
        form(part("form-data; name=a; filename=b c")),
    ),
    "a type of text in capitals": (
        "media types are case-insensitive",
        "[('a', b'x')]",
        "[('a', 'x')]",
        form(field(b"Content-Type: TEXT/plain")),
    ),
    "a line feed that ends a field": (
        "it would be part of the value for others",
        "[('a', 'x')]",
        400,
        form(part(b'form-data; name="a"\nX: y')),
    ),
    "a wrong length": (
        "it says that somebody is mistaken about where a part ends",
        "[('a', 'xyz')]",
        400,
        form(field(b"Content-Length: 2", data=b"xyz")),
    ),
    "spaces behind a boundary": (
        "the parser knows no padding, which only mail may add",
        "[('a', 'x')]",
        400,
        (MULTIPART, field().replace(b"--b", b"--b  ") + END),
    ),
    "a boundary right behind the head": (
        "some take it for data, as the parser does, and others for the end of an empty part",
        "[('a', '')]",
        400,
        (MULTIPART, field(data=END)),
    ),
    "two dispositions": (
        "others may choose the other one",
        "[('a', 'x')]",
        400,
        form(field(b'Content-Disposition: form-data; name="b"')),
    ),
    "a long preamble": (
        "aiohttp reads it for ever",
        "[('a', 'x')]",
        400,
        (MULTIPART, b"hello\r\n" * 2000 + field() + END),
    ),
    "many fields": ("aiohttp has no bound", 200, 413, form(*[field()] * 1001)),
    "many urlencoded fields": ("aiohttp has no bound", 200, 413, (URLENCODED, b"a=b&" * 1001)),
    "many files": ("aiohttp has no bound", 200, 413, form(*[file("f")] * 101)),
    "a form as large as the limit": (
        "client_max_size holds for the body, as it does for read()",
        200,
        413,
        form(file("f", data=bytes(2**20))),
    ),
    "many header fields of a part": (
        "32 are enough",
        200,
        400,
        form(field(*[b"X: y"] * 50)),
    ),
}

PARTS: dict[str, Body] = {
    "none": mixed(),
    "one": mixed(part(None)),
    "some": mixed(part(None), part("attachment; filename=a", b"y"), part(None, b"")),
    "their fields": mixed(part(None, b"x", b"Content-Type: text/html", b"X-A: \xc4\x8d")),
    "a charset": mixed(part(None, b"\xe8", TEXT_LATIN)),
    "base64": mixed(part(None, base64.encodebytes(bytes(1000)), IN_BASE64)),
    "quoted-printable": mixed(part(None, b"a=3D", b"Content-Transfer-Encoding: Quoted-Printable")),
    "gzip": mixed(part(None, gzip.compress(b"hello"), b"Content-Encoding: gzip")),
    "gzip in base64": mixed(
        part(
            *(None, base64.b64encode(gzip.compress(b"hello"))),
            *(b"Content-Encoding: gzip", b"Content-Transfer-Encoding: base64"),
        )
    ),
    "identity": mixed(part(None, b"hello", b"Content-Encoding: identity")),
    "nested": mixed(
        part(None, b"--c\r\n\r\none\r\n--c\r\n\r\ntwo\r\n--c--\r\n", NESTED),
        part(None, b"three"),
    ),
    "a form": form(field(), file("f.txt")),
    "large": mixed(part(None, bytes(100_000)), part(None, b"\r\n" * 50_000)),
}  # fmt: skip


async def answer_of(module: ModuleType, body: Body, handler: Any) -> tuple[int, str]:
    """Return the status and the text with which a server of module answers body."""
    content_type, data = body
    lines = ["POST / HTTP/1.1", "Host: a", "Connection: close", f"Content-Length: {len(data)}"]
    lines += [f"Content-Type: {content_type}"] if content_type is not None else []

    async def handle(request: Any) -> Any:
        return module.Response(text=ascii(await handler(module, request)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # aiohttp warns of malformed dispositions
        server = module.Server(handle, access_log=None)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        with closing(listener):
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            with closing(writer):
                writer.write("\r\n".join([*lines, "", ""]).encode() + data)
                answer = await reader.read()
        await server.shutdown(1)
    head, _, text = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), text.decode()


async def read_form(module: ModuleType, request: Any) -> Any:
    def told(value: Any) -> Any:
        if isinstance(value, module.FileField):
            return (value.name, value.filename, value.content_type, value.file.read())
        return bytes(value) if isinstance(value, bytearray) else value

    return [(name, told(value)) for name, value in (await request.post()).items()]


async def read_parts(module: ModuleType, request: Any) -> Any:
    async def told(reader: Any) -> list[Any]:
        parts: list[Any] = []
        async for each in reader:
            headers = sorted((name.title(), value) for name, value in each.headers.items())
            if hasattr(each, "next") and hasattr(each, "read"):
                names = (each.name, each.filename, each.get_charset("default"))
                parts.append((headers, names, bytes(await each.read(decode=True)), each.at_eof()))
            else:
                parts.append((headers, await told(each)))
        return parts

    reader = await request.multipart()
    return [*await told(reader), reader.at_eof(), await reader.next()]


@pytest.mark.parametrize("name", SAME)
async def test_forms_are_read_as_aiohttp_reads_them(name: str) -> None:
    theirs = await answer_of(aiohttp_web, SAME[name], read_form)
    assert await answer_of(web, SAME[name], read_form) == theirs
    assert theirs[0] == 200


@pytest.mark.parametrize("name", PARTS)
async def test_parts_are_read_as_aiohttp_reads_them(name: str) -> None:
    theirs = await answer_of(aiohttp_web, PARTS[name], read_parts)
    assert await answer_of(web, PARTS[name], read_parts) == theirs
    assert theirs[0] == 200


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_form_is_the_mistake_of_its_peer(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, body = MALFORMED[name]
    assert (await answer_of(aiohttp_web, body, read_form))[0] == 500
    caplog.clear()
    assert (await answer_of(web, body, read_form))[0] == status
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("name", DIFFERENT)
async def test_the_differences_are_those_of_the_table(name: str) -> None:
    _, theirs, ours, body = DIFFERENT[name]
    for module, expected in ((aiohttp_web, theirs), (web, ours)):
        status, text = await answer_of(module, body, read_form)
        assert (text if isinstance(expected, str) else status) == expected


@pytest.mark.parametrize("quote_fields", [True, False])
async def test_what_aiohttp_writes_is_read_alike(quote_fields: bool) -> None:
    """Form data of its client, in its own kind of quoting and in that of browsers."""
    data = aiohttp.FormData(quote_fields=quote_fields, default_to_multipart=True)
    data.add_field("plain", "a b")
    data.add_field("č", "ž", content_type="text/plain", filename="ř š.txt")
    data.add_field("bytes", bytes(range(256)) * 1000, filename="f.bin")
    data.add_field("json", "{}", content_type="application/json")
    payload = data()
    body = (payload.headers["Content-Type"], await payload.as_bytes())
    theirs = await answer_of(aiohttp_web, body, read_form)
    assert theirs[0] == 200
    assert await answer_of(web, body, read_form) == theirs
