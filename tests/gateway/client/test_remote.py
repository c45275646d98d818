"""A remote gateway is published to and followed across every way in which a connection ends.

More than 400 lines, because the bytes of each such end stand in the test of it.
"""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator
from contextlib import closing, suppress

import pytest

from gateway.client import event_stream
from gateway.client import remote as remote_module
from gateway.client.event_stream import StreamEvent
from gateway.client.remote import (
    CursorMoved,
    Reconnecting,
    RemoteError,
    RemoteGateway,
    Unreachable,
)

OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
REFUSAL = b'{"type":"error","code":"%b","message":"%b","retry":false}'

Request = tuple[str, dict[str, str], bytes]

# --- a gateway as far as the wire shows ---------------------------------------------------------


class ScriptedServer:
    """Plays one conversation per connection: an answer for each request, then closes."""

    def __init__(self) -> None:
        self.conversations: list[list[bytes]] = []
        self.requests: list[Request] = []
        self.url = ""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the client left before its turn
            for answer in self.conversations.pop(0):
                self.requests.append(await self._read_request(reader))
                writer.write(answer)
        writer.close()

    async def _read_request(self, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip()
        first, *fields = head.split("\r\n")
        headers = {name.lower(): value for name, value in (f.split(": ", 1) for f in fields)}
        return first, headers, await reader.readexactly(int(headers.get("content-length", "0")))


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    listening = await asyncio.start_server(scripted.converse, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    scripted.url = f"http://{host}:{port}"
    async with listening:
        yield scripted


def answer(body: bytes, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def follow(url, n, channels, cursor=None):
    """Return the first n things that happen, and how long was to be waited between attempts."""
    pauses = []
    items = RemoteGateway(url).follow(channels, cursor, pauses.append)
    return await asyncio.to_thread(list, itertools.islice(items, n)), pauses


async def publish(url: str, channel: str, data: bytes, key: str | None = None) -> bytes:
    with closing(RemoteGateway(url, key)) as gateway:
        return await asyncio.to_thread(gateway.publish, channel, data)


async def test_what_is_published_arrives_as_it_was_written(server):
    server.conversations = [[answer(b'{"channel": "a/b",\n"epoch":"e","offset":1}\n')]]
    result = await publish(server.url, "a/é", b'{"n": 1.0}')
    assert result == b'{"channel":"a/b","epoch":"e","offset":1}'
    ((first, headers, body),) = server.requests
    assert first == "POST /publish HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers
    assert json.loads(body) == {"channel": "a/é", "data": {"n": 1.0}}
    assert b'{"n": 1.0}' in body


async def test_the_key_is_sent_as_a_bearer_token(server):
    server.conversations = [[answer(b"{}")]]
    await publish(server.url, "a", b"1", "k3y")
    assert server.requests[0][1]["authorization"] == "Bearer k3y"


async def test_a_path_before_the_gateway_is_kept(server):
    server.conversations = [[answer(b"{}")], [OPEN + b"data: 1\n\n"]]
    await publish(f"{server.url}/live/", "a", b"1")
    await follow(f"{server.url}/live/", 1, ["a"])
    assert [request[0] for request in server.requests] == [
        "POST /live/publish HTTP/1.1",
        "GET /live/sse?channel=a HTTP/1.1",
    ]


async def test_publications_share_a_connection(server):
    server.conversations = [[answer(b"1"), answer(b"2")]]
    with closing(RemoteGateway(server.url)) as gateway:
        results = [await asyncio.to_thread(gateway.publish, "a", b"0") for _ in range(2)]
    assert results == [b"1", b"2"]


async def test_a_connection_that_the_gateway_closed_while_idle_is_made_again(server):
    server.conversations = [[answer(b"1")], [answer(b"2")]]
    with closing(RemoteGateway(server.url)) as gateway:
        assert await asyncio.to_thread(gateway.publish, "a", b"0") == b"1"
        assert await asyncio.to_thread(gateway.publish, "a", b"0") == b"2"


@pytest.mark.parametrize("nothing", [b"", b"not HTTP\r\n\r\n"])
async def test_a_publication_without_an_answer_is_not_sent_again(server, nothing):
    server.conversations = [[nothing], [answer(b"1")]]
    with closing(RemoteGateway(server.url)) as gateway:
        with pytest.raises(Unreachable, match="cannot reach http"):
            await asyncio.to_thread(gateway.publish, "a", b"0")
        assert len(server.requests) == 1
        assert await asyncio.to_thread(gateway.publish, "a", b"0") == b"1"


async def test_a_gateway_that_does_not_answer_is_given_up(server, monkeypatch):
    monkeypatch.setattr(remote_module, "SILENCE_S", 0.05)
    server.conversations = [[b"", b""], [answer(b"1")]]
    with closing(RemoteGateway(server.url)) as gateway:
        with pytest.raises(Unreachable, match="timed out"):
            await asyncio.to_thread(gateway.publish, "a", b"0")
        monkeypatch.undo()
        assert await asyncio.to_thread(gateway.publish, "a", b"0") == b"1"


async def test_a_refused_publication_says_what_the_gateway_said(server):
    body = REFUSAL % (b"unauthorized", b"the API key is wrong")
    server.conversations = [[answer(body, "401 Unauthorized")]]
    with pytest.raises(RemoteError) as caught:
        await publish(server.url, "a", b"0")
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    assert str(caught.value) == "refused: the API key is wrong (unauthorized)"


@pytest.mark.parametrize("body", [b"<h1>Not Found</h1>", b"[]", b"{}", b"\xff", b""])
async def test_a_refusal_by_somebody_else_says_its_status(server, body):
    server.conversations = [[answer(body, "404 Not Found", "text/html")]]
    with pytest.raises(RemoteError, match="refused: 404 Not Found"):
        await publish(server.url, "a", b"0")


async def test_a_gateway_that_is_not_there_is_unreachable():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound but not listening: it refuses
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(Unreachable, match="Connection refused"):
            await publish(url, "a", b"0")
        with pytest.raises(Unreachable, match="Connection refused"):
            await follow(url, 1, ["a"])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ws://localhost/ws",
        "http://",
        "http://host:0",
        "http://host:port",
        "http://[::1",
        "http://host/?channel=a",
        "http://host/#a",
        "http://user:password@host",
    ],
)
def test_what_is_no_url_of_a_gateway_is_refused_before_anything_is_sent(url):
    with pytest.raises(ValueError, match=r"URL|[Pp]ort|IPv6"):
        RemoteGateway(url)


@pytest.mark.parametrize("key", ["a\r\nX: y", "k\u00e9y", "a\0"])
def test_a_key_that_no_header_can_carry_is_refused(key):
    with pytest.raises(ValueError, match="API key") as caught:
        RemoteGateway("http://localhost", key)
    assert key not in str(caught.value)


async def test_events_are_followed_from_a_cursor_in_several_channels(server):
    server.conversations = [[OPEN + b'id: c1\ndata: {"n":1}\n\nevent: gap\ndata: {}\n\n']]
    items, _ = await follow(server.url, 2, ["news", "a b&c"], "c0")
    assert items == [StreamEvent("message", '{"n":1}', "c1"), StreamEvent("gap", "{}", "c1")]
    first, headers, _ = server.requests[0]
    assert first == "GET /sse?channel=news&channel=a+b%26c&cursor=c0 HTTP/1.1"
    assert headers["accept"] == "text/event-stream"
    assert "last-event-id" not in headers


async def test_a_cursor_without_an_event_is_told_and_resumed_from(server):
    server.conversations = [
        [OPEN + b"event: subscribed\ndata: {}\n\nid: c0\n\n"],
        [OPEN + b"id: c1\ndata: 1\n\nid: c1\n\n"],
    ]
    items, _ = await follow(server.url, 5, ["a"])
    assert items[:2] == [StreamEvent("subscribed", "{}", ""), CursorMoved("c0")]
    assert server.requests[1][1]["last-event-id"] == "c0"
    assert [type(item) for item in items[2:]] == [Reconnecting, StreamEvent, Reconnecting]


async def test_a_stream_that_ends_is_opened_again_at_the_last_cursor(server):
    server.conversations = [
        [OPEN + b"id: c1\ndata: 1\n\nid: c2\nda"],
        [OPEN + "id: é\ndata: 2\n\n".encode()],
        [OPEN + b"data: 3\n\n"],
    ]
    items, pauses = await follow(server.url, 5, ["a"])
    assert [item.data for item in items if isinstance(item, StreamEvent)] == ["1", "2", "3"]
    assert len(pauses) == 2
    resumed = [headers.get("last-event-id") for _, headers, _ in server.requests]
    assert resumed == [None, "c1", "é".encode().decode("latin-1")]


async def test_a_stream_that_breaks_is_opened_again(server):
    short = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99\r\n\r\n"
    cut_chunk = short.replace(b"Content-Length: 99", b"Transfer-Encoding: chunked") + b"ff\r\n"
    server.conversations = [
        [short + b"data: 1\n\n"],
        [cut_chunk + b"data: 2\n\n"],
        [b"HTTP/1.1 2"],
        [b""],
        [OPEN + b"data: 3\n\n"],
    ]
    items, pauses = await follow(server.url, 7, ["a"])
    assert [item.data for item in items if isinstance(item, StreamEvent)] == ["1", "2", "3"]
    assert len(pauses) == 4


async def test_the_wait_doubles_with_every_failure_and_starts_again_after_a_success(server):
    refusal = b'event: error\ndata: {"type":"error","code":"overloaded"}\n\n'
    overload = [OPEN + b"retry: 3000\n\n" + refusal]
    success = [OPEN + b"data: 1\n\n"]
    first = [OPEN + b"retry: 3000\n\n"]
    server.conversations = [first, overload, overload, success, overload, overload]
    items, pauses = await follow(server.url, 9, ["a"])
    waits = [item.delay_s for item in items if isinstance(item, Reconnecting)]
    assert pauses == waits[:-1]
    for wait, full_s in zip(waits, [3, 6, 12, 3, 6], strict=True):
        assert full_s / 2 <= wait <= full_s


async def test_the_wait_has_a_limit(server):
    overload = [OPEN + b"retry: 20000\n\n"]
    server.conversations = [overload] * 5
    items, _ = await follow(server.url, 5, ["a"])
    assert all(item.delay_s <= remote_module.MAX_RETRY_S for item in items)


async def test_what_the_gateway_says_at_its_end_is_the_reason_and_the_wait(server):
    closing_event = (
        b'event: closing\ndata: {"type":"closing","code":1012,"reason":"a restart",'
        b'"reconnect":true,"retry_after_ms":2500}\n\n'
    )
    server.conversations = [[OPEN + b"retry: 2500\n\n" + closing_event]]
    items, _ = await follow(server.url, 2, ["a"])
    reason = "the gateway closed the stream: a restart (1012)"
    assert items[1] == Reconnecting(reason, 2.5)


async def test_a_gateway_that_asks_not_to_reconnect_is_obeyed(server):
    closing_event = (
        b'event: closing\ndata: {"type":"closing","code":3500,"reason":"enough",'
        b'"reconnect":false}\n\n'
    )
    server.conversations = [[OPEN + closing_event]]
    with pytest.raises(RemoteError, match=r"enough \(3500\); it asks not to reconnect"):
        await follow(server.url, 2, ["a"])


async def test_a_closing_that_cannot_be_read_is_an_end_like_any_other(server):
    server.conversations = [[OPEN + b"event: closing\ndata: soon\n\n"]]
    items, _ = await follow(server.url, 2, ["a"])
    assert items[1].reason == "the stream ended"


@pytest.mark.parametrize("status", ["408 Request Timeout", "429 Too Many Requests", "503 Busy"])
async def test_a_refusal_that_may_pass_is_waited_for(server, status):
    server.conversations = [[answer(b"", status)], [OPEN + b"data: 1\n\n"]]
    items, _ = await follow(server.url, 2, ["a"])
    assert items[0].reason == f"refused: {status}"
    assert items[1] == StreamEvent("message", "1", "")


async def test_a_refusal_for_good_ends_it_even_after_a_success(server):
    server.conversations = [
        [OPEN + b"data: 1\n\n"],
        [answer(REFUSAL % (b"invalid_cursor", b"mangled"), "400 Bad Request")],
    ]
    with pytest.raises(RemoteError, match=r"mangled \(invalid_cursor\)"):
        await follow(server.url, 3, ["a"])


async def test_an_answer_by_something_else_is_an_error(server):
    page = [answer(b"<h1>Hello</h1>", content_type="text/html")]
    server.conversations = [page, page]
    with pytest.raises(RemoteError, match="no gateway's"):
        await publish(server.url, "a", b"0")
    with pytest.raises(RemoteError, match="not as a gateway does"):
        await follow(server.url, 1, ["a"])


async def test_a_gateway_that_is_gone_after_a_success_is_waited_for(server):
    server.conversations = [[OPEN + b"data: 1\n\n"], [b"not HTTP\r\n\r\n"], [OPEN + b"data: 2\n\n"]]
    items, _ = await follow(server.url, 4, ["a"])
    assert [type(item) for item in items] == [StreamEvent, Reconnecting, Reconnecting, StreamEvent]
    assert "cannot reach" in items[2].reason


async def test_an_event_without_end_is_an_error(server, monkeypatch):
    monkeypatch.setattr(event_stream, "MAX_EVENT_CHARACTERS", 100)
    server.conversations = [[OPEN + b"data: " + 200 * b"x"]]
    with pytest.raises(RemoteError, match="longer than 100 characters"):
        await follow(server.url, 1, ["a"])
