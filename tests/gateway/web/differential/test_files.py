"""Files of one folder asked for on aiohttp and here: the answers agree, but for a table.

A difference is either listed below, with its reason, or a mistake. Compared are the status, the
body and all headers but Date and Server, their names in lower case.
"""

import os
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from tests.gateway.web.answers import Answers
from tests.gateway.web.differential.peers import LAST, Difference, Peers, check, request

THEN_NS = 784111777 * 10**9  # RFC 9110 section 5.6.7
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
THEN = "Sun, 06 Nov 1994 08:49:37 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"

FILES = {
    "plain.txt": b"0123456789",
    "empty.txt": b"",
    "large.bin": bytes(range(256)) * 1024,
    "page.html": b"<p>page</p>",
    "page.html.gz": b"gzipped page",
    "page.html.br": b"brotli page",
    "zipped.js": b"zipped()",
    "zipped.js.gz": b"gzipped",
    "only.css.gz": b"gzipped only",
    "archive.tar.gz": b"archive",
    "unknown": b"?",
    "secret": b"secret",
    "linked.txt": b"linked",
}
TAGS = {name: f'"{THEN_NS:x}-{len(data):x}"' for name, data in FILES.items()}
TAG = TAGS["plain.txt"]


class Case(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: tuple[str, ...]

    def __str__(self) -> str:
        return " | ".join([f"{self.method} {self.path}", *self.headers])


CONDITIONS: list[tuple[str, ...]] = [
    (f"If-Match: {TAG}",),
    ('If-Match: "other"',),
    (f'If-Match: "other", {TAG}',),
    (f"If-Match: W/{TAG}",),
    ("If-Match: *",),
    (f"If-None-Match: {TAG}",),
    (f"If-None-Match: W/{TAG}",),
    ('If-None-Match: "other"',),
    ("If-None-Match: *",),
    ("If-None-Match: broken",),
    (f"If-Modified-Since: {BEFORE}",),
    (f"If-Modified-Since: {THEN}",),
    (f"If-Modified-Since: {AFTER}",),
    ("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",),
    ("If-Modified-Since: soon",),
    (f"If-Unmodified-Since: {BEFORE}",),
    (f"If-Unmodified-Since: {THEN}",),
    ("If-Unmodified-Since: soon",),
    (f"If-Match: {TAG}", f"If-Unmodified-Since: {BEFORE}"),
    ('If-None-Match: "other"', f"If-Modified-Since: {AFTER}"),
    (f"If-Match: {TAG}", f"If-None-Match: {TAG}"),
    ('If-Match: "other"', f"If-None-Match: {TAG}"),
    (f"If-Unmodified-Since: {BEFORE}", f"If-Modified-Since: {AFTER}"),
]
RANGES: list[tuple[str, ...]] = [
    ("Range: bytes=2-4",),
    ("Range: bytes=2-",),
    ("Range: bytes=-3",),
    ("Range: bytes=-99",),
    ("Range: bytes=0-99",),
    ("Range: bytes=9-9",),
    ("Range: bytes=10-",),
    ("Range: bytes=10-11",),
    ("Range: bytes=4-2",),
    ("Range: bytes=-",),
    ("Range: bytes=a-b",),
    ("Range: bytes=0-1,4-5",),
    ("Range: bytes=-0",),
    ("Range: lines=0-1",),
    ("Range: Bytes=2-4",),
    ("Range: bytes=2-4", f"If-Range: {TAG}"),
    ("Range: bytes=2-4", 'If-Range: "other"'),
    ("Range: bytes=2-4", f"If-Range: W/{TAG}"),
    ("Range: bytes=2-4", f"If-Range: {BEFORE}"),
    ("Range: bytes=2-4", f"If-Range: {THEN}"),
    ("Range: bytes=2-4", f"If-Range: {AFTER}"),
    ("Range: bytes=2-4", "If-Range: broken"),
    ("Range: bytes=2-4", f"If-None-Match: {TAG}"),
    ("Range: bytes=2-4", 'If-Match: "other"'),
]
CODINGS: list[tuple[str, ...]] = [
    (),
    ("Accept-Encoding: gzip",),
    ("Accept-Encoding: GZip, deflate",),
    ("Accept-Encoding: gzip, deflate, br",),
    ("Accept-Encoding: br;q=0.5, gzip;q=1.0",),
    ("Accept-Encoding: gzip;q=0",),
    ("Accept-Encoding: identity",),
    ("Accept-Encoding: *",),
    ("Accept-Encoding: gzip", "Range: bytes=1-3"),
    ("Accept-Encoding: gzip", f"If-None-Match: {TAGS['page.html.gz']}"),
    ("Accept-Encoding: gzip", f"If-None-Match: {TAGS['page.html']}"),
    ("Accept-Encoding: gzip", f"If-Modified-Since: {THEN}"),
]
OTHERS = [
    *product(["GET", "HEAD"], ["empty.txt", "large.bin", "archive.tar.gz", "unknown", "link"]),
    *product(["GET", "HEAD"], ["missing", "folder", "fifo", "plain.txt/", "", "loop"]),
    *product(["POST", "PUT", "DELETE", "OPTIONS"], ["plain.txt"]),
]
CASES = [
    *(Case(method, "plain.txt", headers) for method in ("GET", "HEAD") for headers in CONDITIONS),
    *(Case(method, "plain.txt", headers) for method in ("GET", "HEAD") for headers in RANGES),
    *(
        Case("POST", "plain.txt", headers)
        for headers in [*CONDITIONS[5:7], CONDITIONS[11], RANGES[0]]
    ),
    *(Case("GET", "page.html", headers) for headers in CODINGS),
    *(Case("HEAD", "page.html", headers) for headers in CODINGS[:4]),
    *(Case("GET", "zipped.js", headers) for headers in CODINGS[:6]),
    *(Case("GET", "only.css", headers) for headers in CODINGS[:3]),
    *(Case("GET", "linked.txt", headers) for headers in CODINGS[:2]),
    *(Case("GET", "empty.txt", headers) for headers in [RANGES[1], RANGES[2]]),
    *(Case("GET", "large.bin", headers) for headers in [RANGES[1], RANGES[3], CODINGS[1]]),
    *(Case(method, path, ()) for method, path in OTHERS),
]


# The same for many cases: what only our answer has, what only theirs has, why, and where.
LISTED: list[tuple[bytes, bytes, str, list[Case]]] = [
    (
        *(b"content-length: 0", b"transfer-encoding: chunked"),
        "an answer without body says so, instead of in chunks of an unknown type",
        [
            *(Case("GET", path, ()) for path in ("missing", "folder", "fifo", "", "loop")),
            *(Case("GET", "plain.txt", RANGES[number]) for number in range(6, 12)),
            *(Case("GET", "empty.txt", RANGES[number]) for number in (1, 2)),
            Case("GET", "only.css", ()),
        ],
    ),
    (
        *(b"content-length: 0", b"404\n\n"),
        "HEAD is told the length that GET is",
        [Case("HEAD", path, ()) for path in ("missing", "loop")],
    ),
    (
        *(b"content-length: 0", b"403\n\n"),
        "HEAD is told the length that GET is",
        [Case("HEAD", path, ()) for path in ("folder", "fifo", "")],
    ),
    (
        *(b"416\n", b"206\n"),
        "no bytes are no part: RFC 9110 section 14.1.2",
        [Case("GET", "plain.txt", ("Range: bytes=-0",))],
    ),
    (
        *(b"200\n", b"416\n"),
        "a unit that is not known is ignored: RFC 9110 section 14.2",
        [Case("GET", "plain.txt", ("Range: lines=0-1",))],
    ),
    (
        *(b"206\n", b"416\n"),
        "the names of units have no case: RFC 9110 section 14.1",
        [Case("GET", "plain.txt", ("Range: Bytes=2-4",))],
    ),
    (
        *(b"200\n", b"206\n"),
        "a part of another version, or perhaps of another, would ruin what the client has: "
        "RFC 9110 section 13.1.5 wants the very tag or date",
        [Case("GET", "plain.txt", RANGES[number]) for number in (16, 17, 20, 21)],
    ),
    (
        *(b"200\n", b"206\n"),
        "only GET has ranges: RFC 9110 section 14.2",
        [
            *(Case("HEAD", "plain.txt", RANGES[n]) for n in (*range(6), 12, *range(15, 18))),
            *(Case("HEAD", "plain.txt", RANGES[number]) for number in (19, 20, 21)),
            Case("POST", "plain.txt", RANGES[0]),
        ],
    ),
    (
        *(b"200\n", b"416\n"),
        "only GET has ranges: RFC 9110 section 14.2",
        [Case("HEAD", "plain.txt", RANGES[number]) for number in (*range(6, 12), 13, 14)],
    ),
    (
        *(b"412\n", b"304\n"),
        "a method that changes something is not told that nothing changed: RFC 9110 13.1.2",
        [Case("POST", "plain.txt", CONDITIONS[number]) for number in (5, 6)],
    ),
    (
        *(b"200\n", b"304\n"),
        "If-Modified-Since is for GET and HEAD: RFC 9110 section 13.1.3",
        [Case("POST", "plain.txt", CONDITIONS[11])],
    ),
    (
        *(b"vary: Accept-Encoding", b""),
        "a cache must not give the plain file to those who accept the sibling, and a 304 says what "
        "the 200 said: RFC 9110 sections 12.5.5 and 15.4.5",
        [
            *(Case("GET", "page.html", CODINGS[number]) for number in (0, 6, 9, 11)),
            Case("HEAD", "page.html", ()),
            Case("GET", "zipped.js", ()),
        ],
    ),
    (
        *(b"gzipped page", b"brotli page"),
        "the client said which it likes better",
        [Case("GET", "page.html", CODINGS[4])],
    ),
    (
        *(b"200\n", b"content-encoding: gzip"),
        "a weight of 0 is a refusal: RFC 9110 section 12.4.2",
        [Case("GET", path, CODINGS[5]) for path in ("page.html", "zipped.js")],
    ),
    (
        *(b"content-encoding: br", b"<p>page</p>"),
        "everything is accepted",
        [Case("GET", "page.html", CODINGS[7])],
    ),
]
DIFFERENCES = {
    str(case): Difference(ours, theirs, reason)
    for ours, theirs, reason, cases in LISTED
    for case in cases
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, ns=(THEN_NS, THEN_NS))
    (folder / "linked.txt.gz").symlink_to("secret")
    (folder / "link").symlink_to("plain.txt")
    (folder / "loop").symlink_to("loop")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peers() -> AsyncIterator[Peers]:
    async with Peers().listening() as peers:
        yield peers


def describe(sent: bytes, method: str) -> bytes:
    """Return the first answer as text, and whether another one followed."""
    answers = Answers(sent, {0: method})
    first = answers[0]
    pairs = sorted((name.lower(), value) for name, value in first.headers.items())
    lines = [f"{name}: {value}" for name, value in pairs if name not in ("date", "server")]
    end = "kept alive" if len(answers) == 2 else "closed"
    return "\n".join([str(first.status), *lines, "", ""]).encode() + first.body + end.encode()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_file_is_answered_as_by_aiohttp_unless_the_table_says_why_not(
    case: Case, peers: Peers, folder: Path
) -> None:
    async def handler(module: ModuleType, request: Any) -> Any:
        return module.FileResponse(folder / case.path)

    line = f"{case.method} / HTTP/1.1".encode()
    wire = request(line, *(header.encode() for header in case.headers)) + LAST
    ours, theirs = [describe(sent, case.method) for sent in await peers.ask(handler, wire)]
    check(ours, theirs, DIFFERENCES.get(str(case)))


def test_every_difference_is_of_a_case() -> None:
    assert DIFFERENCES.keys() <= {str(case) for case in CASES}
