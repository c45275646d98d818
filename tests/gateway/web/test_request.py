"""A request tells what the peer sent, and computes it when asked."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from yarl import URL

from gateway.web.body.reader import StreamReader
from gateway.web.body.writer import BodyWriter
from gateway.web.exceptions import (
    HTTPRequestEntityTooLarge,
    HTTPUnsupportedMediaType,
    MalformedBodyError,
)
from gateway.web.fields import ETag
from gateway.web.flow import WriteFlow
from gateway.web.request import BaseRequest
from gateway.web.response import Response
from gateway.web.server import Server
from protocol.http1 import HTTP_10, HTTP_11, HeadLimits, RequestDecoder


class ScriptedTransport(asyncio.Transport):
    """A socket of a given kind that may be closed."""

    def __init__(self, **extra):
        super().__init__({"peername": ("192.0.2.1", 5), "sockname": ("192.0.2.2", 80)} | extra)
        self.is_closed = False

    def is_closing(self):
        return self.is_closed

    def close(self):
        self.is_closed = True


def request_of(*lines, body=None, factory=BaseRequest, extra=None, **options):
    """Return a request of the given head; body is all that arrives of it."""
    wire = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
    head = RequestDecoder(HeadLimits()).feed(wire)[0]
    content = None
    if body is not None:
        content = StreamReader()
        content.feed_data(body)
        content.feed_eof()

    async def handler(request):
        return Response()

    transport = ScriptedTransport(**(extra or {}))
    connection = Server(handler, access_log=None, tcp_keepalive=False)()
    connection.connection_made(transport)
    writer = BodyWriter(WriteFlow(transport))
    return factory(head, content, connection, writer, asyncio.current_task(), **options)


def get(*lines, target="/", **options):
    return request_of(f"GET {target} HTTP/1.1", "Host: example.org:8080", *lines, **options)


def post(*lines, body, **options):
    length = f"Content-Length: {len(body)}"
    return request_of("POST / HTTP/1.1", "Host: a", length, *lines, body=body, **options)


async def test_the_request_line_is_told():
    request = get(target="/%C4%8D%2F/../a+b?c=%26+d&c=e")
    assert (request.method, request.version) == ("GET", HTTP_11)
    assert request.raw_path == request.path_qs == "/%C4%8D%2F/../a+b?c=%26+d&c=e"
    assert request.path == "/č//../a+b"
    assert request.query_string == "c=%26 d&c=e"
    assert request.query.getall("c") == ["& d", "e"]
    assert request.rel_url.raw_path == "/%C4%8D%2F/../a+b"
    assert str(request.url) == "http://example.org:8080/%C4%8D%2F/../a+b?c=%26+d&c=e"


@pytest.mark.parametrize(
    ("target", "path", "url"),
    [
        ("/", "/", "http://example.org:8080/"),
        ("//other.example/a", "//other.example/a", "http://example.org:8080//other.example/a"),
        ("/a:b@c", "/a:b@c", "http://example.org:8080/a:b@c"),
        ("/a?b=http://c/", "/a", "http://example.org:8080/a?b=http://c/"),
        ("http://a.example:81/b?c", "/b", "http://a.example:81/b?c"),
        ("http://a.example", "/", "http://a.example/"),
    ],
)
async def test_a_target_cannot_name_another_host_unless_it_is_absolute(target, path, url):
    request = get(target=target)
    assert (request.path, request.url) == (path, URL(url, encoded=True))


async def test_the_targets_that_are_no_paths_are_told():
    assert request_of("OPTIONS * HTTP/1.1", "Host: a").path == "*"
    tunnel = request_of("CONNECT b:443 HTTP/1.1", "Host: a")
    assert (tunnel.raw_path, tunnel.host, str(tunnel.url)) == ("b:443", "b:443", "http://b:443")
    assert tunnel.clone(host="c:1").host == "c:1"


async def test_the_host_is_the_one_that_the_peer_named():
    assert get().host == "example.org:8080"
    assert get(target="http://a.example:81/").host == "a.example:81"
    assert request_of("GET / HTTP/1.0").host == "192.0.2.2"
    unnamed = request_of("GET / HTTP/1.0", extra={"sockname": "/path"})
    assert (unnamed.host, str(unnamed.url)) == ("localhost", "http://localhost/")
    assert request_of("GET / HTTP/1.0").version == HTTP_10


async def test_the_scheme_is_that_of_the_connection():
    assert (get().scheme, get().secure) == ("http", False)
    encrypted = get(extra={"sslcontext": object()})
    assert (encrypted.scheme, encrypted.secure, str(encrypted.url)[:8]) == (
        "https",
        True,
        "https://",
    )


async def test_the_peer_is_known_by_its_address_also_when_it_has_left():
    request = get()
    assert request.transport is request.protocol.asyncio_transport
    request.transport.is_closed = True
    assert (request.remote, request.transport) == ("192.0.2.1", None)
    assert get(extra={"peername": ""}).remote == ""
    assert get(extra={"peername": None}).remote == ""
    assert request.get_extra_info("peername") == ("192.0.2.1", 5)
    assert request.get_extra_info("cipher", "none") == "none"


async def test_the_fields_are_told():
    request = get("x-A: 1", "X-a: č", "Cookie: a=b; c=d", 'Forwarded: for=e;by="f"')
    assert request.headers.getall("X-A") == ["1", "č"]
    assert request.raw_headers[1:3] == ((b"x-A", b"1"), (b"X-a", "č".encode()))
    assert dict(request.cookies) == {"a": "b", "c": "d"}
    assert request.forwarded == ({"for": "e", "by": "f"},)
    assert (dict(get().cookies), get().forwarded) == ({}, ())


async def test_the_conditions_are_told():
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    request = get(
        *(f"{name}: {date}" for name in ("If-Modified-Since", "If-Unmodified-Since", "If-Range")),
        *('If-Match: "a"', 'If-Match: "b"', "If-None-Match: *", "Range: bytes=0-4"),
    )
    moment = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert request.if_modified_since == request.if_unmodified_since == request.if_range == moment
    assert request.if_match == (ETag("a"), ETag("b"))
    assert request.if_none_match == (ETag("*"),)
    assert request.http_range == slice(0, 5, 1)
    assert (get().if_match, get().if_range, get().http_range) == (None, None, slice(None, None, 1))


async def test_the_body_is_described():
    request = post("Content-Type: text/plain; charset=UTF-16", body=b"body")
    assert (request.content_type, request.charset) == ("text/plain", "UTF-16")
    assert (request.content_length, request.body_exists, request.can_read_body) == (4, True, True)
    none = get("Content-Type: nonsense")
    assert (none.content_type, none.charset) == ("application/octet-stream", None)
    assert (none.content_length, none.body_exists, none.can_read_body) == (None, False, False)
    assert none.content.at_eof()


async def test_the_body_is_read_once_and_told_again():
    request = post(body=b"body")
    assert [await request.read() for _ in range(2)] == [b"body", b"body"]
    assert (request.can_read_body, request.body_exists) == (False, True)
    assert await get().read() == b""


async def test_the_body_is_text_in_its_charset():
    assert await post(body="č".encode()).text() == "č"
    assert (
        await post("Content-Type: a/b; charset=iso-8859-2", body="č".encode("iso-8859-2")).text()
        == "č"
    )
    with pytest.raises(HTTPUnsupportedMediaType):
        await post("Content-Type: a/b; charset=klingon", body=b"x").text()
    with pytest.raises(MalformedBodyError):
        await post(body=b"\xff").text()


async def test_the_body_is_json():
    assert await post(body=b'{"a": [1]}').json() == {"a": [1]}
    assert await post(body=b"a").json(loads=str.upper) == "A"
    with pytest.raises(json.JSONDecodeError):
        await post(body=b"a").json()


@pytest.mark.parametrize("limit", [4, 5, 0, None])
async def test_a_body_beyond_the_limit_is_refused_by_its_length_and_by_its_bytes(limit):
    chunked = request_of(
        *("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"),
        **{"body": b"body", "client_max_size": limit},
    )
    for request in (post(body=b"body", client_max_size=limit), chunked):
        assert request.client_max_size == limit
        if limit == 4:
            with pytest.raises(HTTPRequestEntityTooLarge):
                await request.read()
        else:
            assert await request.read() == b"body"


async def test_a_body_too_large_is_refused_before_it_arrives():
    request = post(body=bytes(10), client_max_size=5)
    with pytest.raises(HTTPRequestEntityTooLarge):
        await request.text()
    assert not request.content.at_eof()


async def test_a_reading_that_was_cancelled_takes_nothing_from_the_next_one(connected):
    async def handler(request):
        with suppress(TimeoutError):
            async with asyncio.timeout(0):  # in which it reads what is there, and waits for more
                await request.read()
        is_given_up.set()
        return Response(body=await request.read())

    is_given_up = asyncio.Event()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\n"
    async with connected(handler) as (reader, writer):
        writer.write(head + b"one")
        await is_given_up.wait()
        writer.write(b"two")
        assert (await reader.read()).endswith(b"\r\n\r\nonetwo")


async def test_a_body_can_be_thrown_away():
    request = post(body=b"body")
    await request.release()
    assert request.content.at_eof()
    await get().release()


async def test_a_request_persists_unless_its_peer_or_its_connection_does_not():
    assert get().keep_alive
    assert not get("Connection: close").keep_alive
    request = get()
    request.protocol.close_when_done()
    assert not request.keep_alive


async def test_a_request_remembers_what_handlers_put_into_it():
    request = get()
    assert (len(request), list(request), "a" in request, bool(request)) == (0, [], False, True)
    for use in (request.__getitem__, request.__delitem__):
        with pytest.raises(KeyError):
            use("a")
    request["a"] = 1
    request["b"] = 2
    del request["a"]
    assert dict(request) == {"b": 2}


async def test_a_request_equals_itself_only():
    first, second = get(), get()
    assert first == first
    assert first != second
    assert len({first, second}) == 2
    assert repr(get(target="/%C4%8D")) == "<BaseRequest GET /\\u010d >"


async def test_a_clone_differs_in_what_is_given():
    request = get("X: 1", target="/a")
    request["key"] = "value"
    clone = request.clone(
        method="PUT",
        rel_url="/b?c",
        headers={"Host": "h", "Y": "č"},
        scheme="https",
        host="other.example",
        remote="192.0.2.9",
        client_max_size=7,
    )
    assert (clone.method, clone.path_qs, clone.remote) == ("PUT", "/b?c", "192.0.2.9")
    assert str(clone.url) == "https://other.example/b?c"
    assert (clone.client_max_size, dict(clone.headers)) == (7, {"Host": "h", "Y": "č"})
    assert clone.raw_headers == ((b"Host", b"h"), (b"Y", "č".encode()))
    clone["key"] = "changed"
    assert (request["key"], request.method, request.path) == ("value", "GET", "/a")


async def test_a_clone_is_the_same_where_nothing_is_given():
    request = post(body=b"body")
    clone = request.clone().clone(scheme="https").clone()
    assert (clone.method, clone.path, clone.host, clone.scheme) == ("POST", "/", "a", "https")
    assert (clone.version, clone.client_max_size, clone.remote) == (HTTP_11, 1024**2, "192.0.2.1")
    assert await clone.read() == b"body"


async def test_a_request_cannot_be_cloned_after_its_body_was_read():
    request = post(body=b"body")
    await request.read()
    with pytest.raises(RuntimeError):
        request.clone()


@pytest.mark.parametrize("name", ["loop", "message", "has_body"])
async def test_deprecated_attributes_warn(name):
    request = get()
    with pytest.warns(DeprecationWarning, match="deprecated"):
        found = getattr(request, name)
    expected = {"loop": asyncio.get_running_loop(), "has_body": False}
    assert found is expected.get(name, found)
