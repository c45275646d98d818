"""A file is sent whole, in part or not at all, as the request wants and the path allows."""

import gzip
import os

import pytest

from gateway.web.files.response import FileResponse
from tests.gateway.web.files.sending import GET, LAST


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"0123456789")
    os.utime(path, (0, 784111777))
    return path


@pytest.fixture
def get(ask):
    """Return what answers one request: `await get(path, "Header: value", method="HEAD")`."""

    async def get_file(path, *lines, method="GET", **options):
        head = [f"{method} / HTTP/1.1", "Host: a", *lines, "", ""]
        return await ask("\r\n".join(head).encode(), lambda: FileResponse(path, **options))

    return get_file


def headers_of(answer):
    return dict(answer.headers)


async def test_a_file_is_sent_with_what_tells_its_version(get, path):
    answer = await get(path)
    assert answer.status_line == "HTTP/1.1 200 OK"
    assert answer.headers == [
        ("ETag", f'"{784111777 * 10**9:x}-a"'),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", "text/plain"),
        ("Content-Length", "10"),
        ("Server", "realtime-gateway"),
    ]
    assert (answer.body, answer.keeps_alive) == (b"0123456789", True)


async def test_a_part_is_sent_to_who_asks_for_it(get, path):
    answer = await get(str(path), "Range: bytes=2-4")
    assert answer.status_line == "HTTP/1.1 206 Partial Content"
    assert headers_of(answer)["Content-Range"] == "bytes 2-4/10"
    assert headers_of(answer)["Content-Length"] == "3"
    assert (answer.body, answer.keeps_alive) == (b"234", True)


async def test_a_part_that_is_not_there_is_refused_with_the_length(get, path):
    answer = await get(path, "Range: bytes=10-")
    assert answer.status_line.startswith("HTTP/1.1 416 ")
    assert headers_of(answer)["Content-Range"] == "bytes */10"
    assert (answer.body, answer.keeps_alive) == (b"", True)


async def test_head_tells_the_length_and_sends_nothing(get, path):
    answer = await get(path, method="HEAD")
    assert answer.status_line == "HTTP/1.1 200 OK"
    assert headers_of(answer)["Content-Length"] == "10"
    assert (answer.body, answer.keeps_alive) == (b"", True)


async def test_an_empty_file_is_sent(get, path):
    path.write_bytes(b"")
    answer = await get(path)
    assert (answer.status_line, answer.body) == ("HTTP/1.1 200 OK", b"")
    assert headers_of(answer)["Content-Length"] == "0"


async def test_what_the_client_has_is_not_sent_again(get, path):
    tag = headers_of(await get(path))["ETag"]
    answer = await get(path, f"If-None-Match: {tag}", headers={"Cache-Control": "no-cache"})
    assert answer.status_line == "HTTP/1.1 304 Not Modified"
    assert answer.headers == [
        ("Cache-Control", "no-cache"),
        ("ETag", tag),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Server", "realtime-gateway"),
    ]
    assert (answer.body, answer.keeps_alive) == (b"", True)


async def test_a_condition_that_does_not_hold_is_said_to_fail(get, path):
    answer = await get(path, 'If-Match: "other"')
    assert answer.status_line == "HTTP/1.1 412 Precondition Failed"
    assert (answer.body, answer.keeps_alive) == (b"", True)


async def test_a_page_about_an_error_is_whole_whatever_the_request(get, path):
    lines = ("Range: bytes=2-4", "If-None-Match: *", 'If-Match: "x"')
    answer = await get(path, *lines, status=404, reason="Gone")
    assert (answer.status_line, answer.body) == ("HTTP/1.1 404 Gone", b"0123456789")
    answer = await get(path, "Range: bytes=2-4", status=201)
    assert (answer.status_line, answer.body) == ("HTTP/1.1 201 Created", b"0123456789")


async def test_a_compressed_sibling_is_sent_as_what_it_holds(get, path):
    path.with_name("a.txt.gz").write_bytes(b"zipped")
    answer = await get(path, "Accept-Encoding: gzip")
    headers = headers_of(answer)
    assert (answer.body, headers["Content-Type"]) == (b"zipped", "text/plain")
    assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
    plain = headers_of(await get(path))
    assert plain["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in plain
    assert plain["ETag"] != headers["ETag"]
    unchanged = await get(path, "Accept-Encoding: gzip", f"If-None-Match: {headers['ETag']}")
    assert unchanged.status_line == "HTTP/1.1 304 Not Modified"
    assert headers_of(unchanged)["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("Origin", ["Origin", "Accept-Encoding"]),
        ("Origin, accept-encoding", ["Origin, accept-encoding"]),
        ("*", ["*"]),
    ],
)
async def test_a_handler_has_its_own_vary_too(get, path, said, says):
    path.with_name("a.txt.gz").write_bytes(b"zipped")
    answer = await get(path, headers={"Vary": said})
    assert [value for name, value in answer.headers if name == "Vary"] == says


async def test_a_file_that_its_handler_calls_compressed_is_sent_as_it_is(get, path):
    path.with_name("a.txt.gz").write_bytes(b"zipped twice")
    answer = await get(path, "Accept-Encoding: gzip", headers={"Content-Encoding": "gzip"})
    assert (answer.body, headers_of(answer)["Content-Encoding"]) == (b"0123456789", "gzip")
    assert "Vary" not in headers_of(answer)


async def test_the_handler_chooses_the_content_type(get, path):
    answer = await get(path, headers={"Content-Type": "text/markdown"})
    assert headers_of(answer)["Content-Type"] == "text/markdown"
    path = path.rename(path.with_name("a.unknown"))
    assert headers_of(await get(path))["Content-Type"] == "application/octet-stream"


async def test_a_file_may_be_compressed_while_it_is_sent(ask, path):
    path.write_bytes(b"0123456789" * 20_000)

    def make():
        response = FileResponse(path)
        response.enable_compression()
        return response

    lines = "GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n"
    answer = await ask(f"{lines}\r\n".encode(), make)
    headers = headers_of(answer)
    assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert "Content-Length" not in headers
    assert gzip.decompress(answer.body) == path.read_bytes()
    part = await ask(f"{lines}Range: bytes=1-3\r\n\r\n".encode(), make)
    assert part.body == b"123"
    unchanged = await ask(f"{lines}If-None-Match: {headers['ETag']}\r\n\r\n".encode(), make)
    assert unchanged.status_line == "HTTP/1.0 304 Not Modified"


@pytest.mark.parametrize("name", ["missing", "a.txt/x", "a\0b", "x" * 300, "loop", "\udcff\ud800"])
async def test_what_is_not_there_is_not_found(get, path, name):
    path.with_name("loop").symlink_to("loop")
    answer = await get(f"{path.parent}/{name}")
    assert answer.status_line == "HTTP/1.1 404 Not Found"
    assert (answer.body, answer.keeps_alive) == (b"", True)
    assert headers_of(answer)["Content-Length"] == "0"


async def test_what_is_no_file_is_forbidden(get, path, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for special in (tmp_path, fifo, "/dev/zero", "/"):
        answer = await get(special)
        assert answer.status_line == "HTTP/1.1 403 Forbidden"
        assert (answer.body, answer.keeps_alive) == (b"", True)


@pytest.fixture
def another_user():
    """Be somebody who may not read everything, as root may."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield
    if is_root:
        os.seteuid(0)


async def test_a_file_that_may_not_be_read_is_forbidden(get, path, request):
    path.chmod(0)
    assert (await get(path.with_name("missing"))).status_line == "HTTP/1.1 404 Not Found"
    request.getfixturevalue("another_user")
    answer = await get(path)
    assert answer.status_line == "HTTP/1.1 403 Forbidden"
    assert (answer.body, answer.keeps_alive) == (b"", True)


async def test_a_system_that_fails_is_an_error_of_the_server(ask, path, caplog, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", fail)
    answer = await ask(GET, lambda: FileResponse(path))
    assert answer.status_line == "HTTP/1.1 500 Internal Server Error"
    assert "Too many open files" in caplog.text


async def test_all_is_sent_when_prepare_returns(talk, path):
    async def handler(request):
        response = FileResponse(path)
        assert await response.prepare(request) is await response.prepare(request)
        path.unlink()
        assert response.prepared
        assert response.body_length > 10
        await response.write_eof()
        return response

    assert (await talk(handler, LAST)).endswith(b"\r\n\r\n0123456789")


async def test_only_a_request_is_answered_with_a_file(path):
    with pytest.raises(TypeError, match="BaseRequest"):
        await FileResponse(path).prepare(object())
