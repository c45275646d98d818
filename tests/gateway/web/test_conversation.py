"""Requests are answered in order, one at a time, within bounds and times; the clock is scripted.

It has more than 400 lines because all of it needs the one scripted peer.
"""

import asyncio
from contextvars import ContextVar

import pytest

from gateway.web.body.errors import PayloadAccessError, RequestPayloadError
from gateway.web.body.writer import Framing
from gateway.web.conversation import CONTINUE, MAX_WAITING_BYTES, Conversation
from gateway.web.settings import Settings, Shared
from protocol.errors import StateError


def get(path="/", *lines):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


def post(path, length, *lines):
    return get(path, f"Content-Length: {length}", *lines).replace(b"GET", b"POST")


EXPECT = "Expect: 100-continue"
UPGRADE = get("/upgrade", "Connection: upgrade", "Upgrade: websocket")


class ScriptedTransport(asyncio.Transport):
    """A socket whose peer reads everything at once."""

    def __init__(self):
        super().__init__()
        self.sent = b""
        self.is_reading = True
        self.has_eof = False
        self.end = None
        self.is_tls = False
        self.unread_bytes = 0

    def get_write_buffer_size(self):
        return self.unread_bytes

    def write(self, data):
        assert not self.has_eof
        self.sent += data

    def can_write_eof(self):
        return not self.is_tls

    def write_eof(self):
        assert not self.is_tls
        self.has_eof = True

    def is_closing(self):
        return self.end is not None

    def close(self):
        self.end = self.end or "closed"

    def abort(self):
        self.end = "aborted"

    def pause_reading(self):
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self):
        assert not self.is_reading
        self.is_reading = True


class Peer:
    """One end of a conversation; the other end answers `<path>` unless a handler does."""

    def __init__(self, handler=None, **options):
        self.shared = Shared(Settings(**options), asyncio.get_running_loop())
        self.shared.now = 0.0
        self.transport = ScriptedTransport()
        self.conversation = Conversation(self.transport, self.shared, self.answer)
        self.handler = handler or respond
        self.begun = []
        self.failures = []

    async def answer(self, head, body, writer):
        self.begun.append(head.target)
        keep_alive = False
        try:
            keep_alive = await self.handler(head, body, writer)
        except Exception as failure:
            self.failures.append(failure)
        finally:
            self.conversation.finish(keep_alive)

    async def send(self, data):
        """Send data and let everything happen that can."""
        assert self.transport.is_reading
        self.conversation.feed(data)
        return await self.receive()

    async def receive(self):
        """Return what was sent to the peer since it last looked."""
        for _ in range(10):
            await asyncio.sleep(0)
        sent, self.transport.sent = self.transport.sent, b""
        return sent

    async def wait_until(self, now):
        """Let the time come, and the sweep look at the deadline as the server's does."""
        self.shared.now = now
        if self.conversation.deadline < now or self.conversation.write_deadline < now:
            self.conversation.expire()
        return await self.receive()


async def respond(head, body, writer):
    writer.send_head(b"<" + head.target.encode() + b">", Framing.EMPTY)
    await writer.write_eof()
    return head.keep_alive


async def read_and_respond(head, body, writer):
    content = await body.read() if body is not None else b""
    writer.send_head(b"<" + head.target.encode() + b" " + content + b">", Framing.EMPTY)
    await writer.write_eof()
    return head.keep_alive


class Gate:
    """A handler that responds when the test lets it."""

    def __init__(self, respond=respond):
        self.opened = asyncio.Event()
        self.respond = respond

    async def __call__(self, head, body, writer):
        await self.opened.wait()
        return await self.respond(head, body, writer)


async def test_requests_are_answered_in_order_one_at_a_time():
    gate = Gate()
    peer = Peer(gate)
    assert await peer.send(get("/1") + get("/2") + get("/3")) == b""
    assert peer.begun == ["/1"]
    gate.opened.set()
    assert await peer.receive() == b"</1></2></3>"
    assert await peer.send(get("/4")) == b"</4>"
    assert await peer.send(get("/4")) == b"</4>"
    assert peer.transport.end is None


async def test_a_request_does_not_see_the_context_of_the_one_before():
    variable = ContextVar("variable", default="unset")
    seen = []

    async def handler(head, body, writer):
        seen.append(variable.get())
        variable.set(head.target)
        return await respond(head, body, writer)

    await Peer(handler).send(get("/1") + get("/2") + post("/3", 1) + b"x" + get("/4"))
    assert seen == ["unset"] * 4


async def test_requests_that_wait_stop_the_peer_and_all_are_answered():
    gate = Gate()
    peer = Peer(gate)
    count = 2 * MAX_WAITING_BYTES // len(get("/1"))
    await peer.send(get("/1") * count)
    assert not peer.transport.is_reading
    gate.opened.set()
    answers = b""
    while part := await peer.receive():
        answers += part
    assert answers == b"</1>" * count
    assert peer.transport.is_reading


@pytest.mark.parametrize("size", [1, 9])
async def test_a_body_reaches_the_handler_however_it_comes(size):
    wire = post("/1", 9) + b"123456789" + get("/2")
    peer = Peer(read_and_respond)
    answers = [await peer.send(wire[i : i + size]) for i in range(0, len(wire), size)]
    assert b"".join(answers) == b"</1 123456789></2 >"


async def test_a_body_that_nobody_reads_yet_stops_the_peer():
    gate = Gate(read_and_respond)
    peer = Peer(gate, read_bufsize=1000)
    await peer.send(post("/1", 3000) + bytes(2000))
    assert peer.transport.is_reading
    await peer.send(b"x")
    assert not peer.transport.is_reading
    gate.opened.set()
    await peer.receive()
    assert peer.transport.is_reading
    assert await peer.send(bytes(999)) == b"</1 " + bytes(2000) + b"x" + bytes(999) + b">"


async def test_a_large_body_in_one_piece_is_handed_on_as_it_is_read():
    async def handler(head, body, writer):
        sizes.append(len(await body.readany()))
        return await read_and_respond(head, body, writer)

    sizes = []
    peer = Peer(handler, read_bufsize=1000)
    answer = await peer.send(post("/1", 100_000) + bytes(100_000))
    assert answer == b"</1 " + bytes(100_000 - sizes[0]) + b">"
    assert sizes[0] <= 2000 + 16 * 1024


async def test_the_peer_is_told_to_continue_when_the_body_is_read():
    gate = Gate(read_and_respond)
    peer = Peer(gate)
    assert await peer.send(post("/1", 3, EXPECT)) == b""
    gate.opened.set()
    assert await peer.receive() == CONTINUE
    assert await peer.send(b"one") == b"</1 one>"
    assert peer.transport.end is None


async def test_a_peer_that_did_not_wait_is_not_told_to_continue():
    assert await Peer(read_and_respond).send(post("/1", 3, EXPECT) + b"one") == b"</1 one>"


async def test_a_peer_of_the_old_version_is_not_told_to_continue():
    old = post("/1", 3, EXPECT, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    peer = Peer(read_and_respond)
    assert await peer.send(old) == b""
    assert await peer.send(b"one") == b"</1 one>"


async def test_a_handler_that_told_the_peer_to_continue_itself_is_not_repeated():
    async def handler(head, body, writer):
        await writer.write(CONTINUE)
        return await read_and_respond(head, body, writer)

    assert await Peer(handler).send(post("/1", 3, EXPECT)) == CONTINUE


async def test_a_peer_that_was_not_told_to_continue_is_not_heard_any_more():
    peer = Peer()
    assert await peer.send(post("/1", 100, EXPECT)) == b"</1>"
    assert peer.transport.has_eof
    assert await peer.send(get("/2")) == b""


async def test_an_unread_body_is_dropped_and_the_next_request_answered():
    peer = Peer()
    assert await peer.send(post("/1", 200_000)) == b"</1>"
    assert await peer.send(bytes(199_999)) == b""
    assert await peer.send(b"x" + get("/2")) == b"</2>"


async def test_an_unread_body_that_goes_on_for_too_long_ends_the_connection():
    peer = Peer(lingering_time=10)
    await peer.send(post("/1", 200_000))
    await peer.wait_until(9)
    await peer.send(bytes(100_000))
    assert peer.transport.end is None
    await peer.wait_until(11)
    assert peer.transport.end == "aborted"


async def test_an_unread_body_ends_the_connection_where_nobody_lingers():
    peer = Peer(lingering_time=0)
    assert await peer.send(post("/1", 9)) == b"</1>"
    assert peer.transport.end == "closed"


async def test_a_body_cannot_be_read_after_its_answer():
    async def handler(head, body, writer):
        bodies.append(body)
        return await respond(head, body, writer)

    bodies = []
    await Peer(handler).send(post("/1", 9) + b"123456789")
    with pytest.raises(PayloadAccessError):
        await bodies[0].read()


BROKEN_BODY = get("/1", "Transfer-Encoding: chunked") + b"1\r\nx\r\nno chunk\r\n"


async def test_a_broken_body_fails_its_reader_and_ends_the_connection():
    peer = Peer(read_and_respond)
    assert await peer.send(BROKEN_BODY + get("/2")) == b""
    assert [failure.status for failure in peer.failures] == [400]
    assert peer.transport.has_eof


async def test_a_broken_body_that_nobody_reads_ends_the_connection():
    peer = Peer()
    assert await peer.send(BROKEN_BODY) == b"</1>"
    assert peer.transport.has_eof
    assert await peer.send(get("/2")) == b""


async def test_a_body_that_breaks_while_it_is_dropped_ends_the_connection():
    peer = Peer()
    assert await peer.send(BROKEN_BODY[:-4]) == b"</1>"
    assert await peer.send(BROKEN_BODY[-4:]) == b""
    assert peer.transport.has_eof


@pytest.mark.parametrize(
    ("wire", "line"),
    [
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (get("/" + "a" * 9000), b"HTTP/1.1 414 "),
        (get("/", "X: " + "a" * 9000), b"HTTP/1.1 431 Request Header Fields Too Large\r\n"),
        (get("/").replace(b"1.1", b"2.0"), b"HTTP/1.1 505 HTTP Version Not Supported\r\n"),
        (get("/", "Transfer-Encoding: gzip, chunked"), b"HTTP/1.1 501 Not Implemented\r\n"),
    ],
)
async def test_what_is_no_request_is_answered_and_the_peer_heard_out(wire, line):
    peer = Peer(lingering_time=10)
    answers = await peer.send(get("/1") + wire)
    assert answers.startswith(b"</1>" + line)
    assert b"\r\nConnection: close\r\n" in answers
    assert (peer.transport.has_eof, peer.transport.end) == (True, None)
    for _ in range(100):
        assert await peer.send(get("/2") * 1000) == b""
    await peer.wait_until(11)
    assert (peer.transport.end, peer.begun) == ("aborted", ["/1"])


async def test_where_the_end_cannot_be_told_the_peer_is_heard_out_all_the_same():
    peer = Peer(lingering_time=10)
    peer.transport.is_tls = True
    assert (await peer.send(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert peer.transport.end is None
    await peer.wait_until(11)
    assert peer.transport.end == "aborted"


async def test_the_connection_closes_after_a_request_that_says_so():
    peer = Peer()
    assert await peer.send(get("/1", "Connection: close") + get("/2")) == b"</1>"
    assert peer.transport.end == "closed"


async def test_a_peer_that_does_not_take_the_last_answer_is_cut_off_some_time():
    peer = Peer(head_timeout_s=30)
    await peer.send(get("/1", "Connection: close"))
    await peer.wait_until(31)
    assert peer.transport.end == "aborted"


async def test_a_handler_that_ends_without_an_answer_ends_the_connection():
    async def handler(head, body, writer):
        raise OSError

    peer = Peer(handler)
    assert await peer.send(get("/1") + get("/2")) == b""
    assert peer.begun == ["/1"]
    assert peer.transport.has_eof


async def test_a_slow_head_is_answered_with_408_however_many_bytes_come():
    peer = Peer(head_timeout_s=30)
    wire = get("/a-longer-path")
    for now in range(30):
        assert await peer.send(wire[now : now + 1]) == b""
        assert await peer.wait_until(now) == b""
    assert (await peer.wait_until(31)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_a_peer_that_never_says_anything_is_left():
    peer = Peer(head_timeout_s=30)
    await peer.wait_until(29)
    assert peer.transport.end is None
    assert await peer.wait_until(31) == b""
    assert peer.transport.end == "closed"


async def test_an_idle_connection_closes_after_the_keepalive_timeout():
    peer = Peer(keepalive_timeout=75, head_timeout_s=30)
    await peer.send(get("/1"))
    await peer.wait_until(74)
    await peer.send(get("/1"))
    await peer.wait_until(148)
    assert peer.transport.end is None
    await peer.wait_until(150)
    assert peer.transport.end == "closed"


async def test_the_next_head_has_its_own_time():
    peer = Peer(keepalive_timeout=75, head_timeout_s=30)
    await peer.send(get("/1"))
    await peer.wait_until(70)
    await peer.send(get("/2")[:9])
    await peer.wait_until(99)
    assert peer.transport.end is None
    assert (await peer.wait_until(101)).startswith(b"HTTP/1.1 408 ")


async def test_a_handler_may_take_its_time():
    gate = Gate()
    peer = Peer(gate)
    await peer.send(get("/1") + get("/2"))
    for now in (100, 10_000, 20_000):
        await peer.wait_until(now)
    gate.opened.set()
    assert await peer.receive() == b"</1></2>"


async def test_a_body_that_stalls_fails_its_reader():
    peer = Peer(read_and_respond, body_timeout_s=60)
    await peer.send(post("/1", 9))
    for now in (50, 100):
        await peer.wait_until(now)
        await peer.send(b"x")
    assert peer.failures == []
    await peer.wait_until(161)
    assert [failure.status for failure in peer.failures] == [408]
    assert isinstance(peer.failures[0], RequestPayloadError)
    assert peer.transport.has_eof


async def test_chunk_extensions_and_trailers_do_not_keep_a_body_from_stalling():
    for overhead in (b"1;" + b"a" * 99, b"0\r\nX:" + b"a" * 99):
        peer = Peer(read_and_respond, body_timeout_s=60)
        await peer.send(get("/1", "Transfer-Encoding: chunked"))
        for now in range(61):
            await peer.send(overhead[now : now + 1])
            await peer.wait_until(now)
        assert peer.failures == []
        await peer.wait_until(61)
        assert [failure.status for failure in peer.failures] == [408]


async def test_empty_lines_do_not_keep_a_connection_open():
    peer = Peer(head_timeout_s=30, keepalive_timeout=75)
    await peer.send(get("/1"))
    for now in range(75):
        await peer.send(b"\r\n" if now % 2 else b"\r")
        await peer.send(b"" if now % 2 else b"\n")
        assert await peer.wait_until(now) == b""
    assert peer.transport.end is None
    await peer.wait_until(76)
    assert peer.transport.end == "closed"
    assert (await Peer().send(b"\r\n" * 513)).startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_the_handler_does_not_read_does_not_stall():
    gate = Gate(read_and_respond)
    peer = Peer(gate, body_timeout_s=60, read_bufsize=1)
    await peer.send(post("/1", 9) + b"one")
    assert not peer.transport.is_reading
    for now in (61, 122, 183):
        await peer.wait_until(now)
    gate.opened.set()
    await peer.receive()
    assert await peer.send(b"twofoo") == b"</1 onetwofoo>"


async def test_a_body_that_waits_for_100_continue_does_not_stall_before():
    gate = Gate(read_and_respond)
    peer = Peer(gate, body_timeout_s=60)
    await peer.send(post("/1", 3, EXPECT))
    await peer.wait_until(1000)
    gate.opened.set()
    assert await peer.receive() == CONTINUE
    await peer.wait_until(1061)
    assert [failure.status for failure in peer.failures] == [408]


async def test_a_handler_hears_that_its_peer_left_when_it_reads_or_waits_for_it():
    async def handler(head, body, writer):
        if body is not None:
            return await read_and_respond(head, body, writer)
        await writer.drain()
        return True

    for wire in (post("/1", 9), get("/1")):
        peer = Peer(handler)
        peer.conversation.pause_writing()
        await peer.send(wire)
        peer.transport.abort()
        peer.conversation.lose()
        await peer.receive()
        assert [isinstance(failure, ConnectionResetError) for failure in peer.failures] == [True]


async def test_a_handler_waits_while_its_peer_does_not_read():
    peer = Peer()
    peer.conversation.pause_writing()
    assert await peer.send(get("/1") + get("/2")) == b"</1>"
    peer.conversation.resume_writing()
    assert await peer.receive() == b"</2>"


async def test_a_peer_that_reads_nothing_for_the_write_timeout_is_dropped():
    peer = Peer(write_timeout_s=60)
    await peer.send(get("/1"))
    peer.transport.unread_bytes = 9
    peer.conversation.pause_writing()
    await peer.send(get("/2"))
    await peer.wait_until(59)
    assert peer.transport.end is None
    await peer.wait_until(61)
    assert peer.transport.end == "aborted"


async def test_a_peer_that_reads_slowly_is_not_dropped():
    gate = Gate()
    peer = Peer(gate, write_timeout_s=60)
    await peer.send(get("/1"))
    peer.transport.unread_bytes = 9
    peer.conversation.pause_writing()
    for now in (61, 122, 183):
        peer.transport.unread_bytes -= 1
        await peer.wait_until(now)
    peer.conversation.resume_writing()
    await peer.wait_until(10_000)
    assert peer.transport.end is None
    peer.conversation.pause_writing()
    await peer.wait_until(10_059)
    assert peer.transport.end is None
    await peer.wait_until(10_061)
    assert peer.transport.end == "aborted"
    peer.conversation.lose()
    gate.opened.set()
    await peer.receive()


async def test_leaving_http_hands_over_what_came_behind_the_request():
    peer = Peer(Gate())
    await peer.send(UPGRADE + get("/2"))
    await peer.send(b"more")
    assert peer.conversation.leave() == (get("/2") + b"more", False)
    assert peer.begun == ["/upgrade"]


async def test_what_waits_for_an_upgrade_stops_the_peer_at_64_kib():
    peer = Peer(Gate())
    await peer.send(UPGRADE)
    await peer.send(bytes(MAX_WAITING_BYTES))
    assert peer.transport.is_reading
    await peer.send(b"x")
    assert not peer.transport.is_reading
    assert peer.conversation.leave() == (bytes(MAX_WAITING_BYTES) + b"x", False)
    assert peer.transport.is_reading


async def test_leaving_http_tells_whether_the_peer_reads():
    peer = Peer(Gate())
    await peer.send(UPGRADE)
    peer.conversation.pause_writing()
    assert peer.conversation.leave() == (b"", True)


async def test_http_cannot_be_left_in_the_middle_of_a_body():
    peer = Peer(Gate())
    await peer.send(post("/1", 9) + b"x")
    with pytest.raises(StateError):
        peer.conversation.leave()
    await peer.send(b"23456789")
    assert peer.conversation.leave() == (b"", False)


async def test_a_refused_upgrade_ends_the_connection_and_its_tail_is_no_request():
    peer = Peer()
    assert await peer.send(UPGRADE + get("/2")) == b"</upgrade>"
    assert await peer.send(get("/3")) == b""
    assert peer.begun == ["/upgrade"]
    assert peer.transport.has_eof


async def test_an_end_of_the_peers_bytes_inside_a_head_is_answered():
    peer = Peer()
    await peer.send(get("/1") + get("/2")[:9])
    peer.conversation.feed_eof()
    assert (await peer.receive()).startswith(b"HTTP/1.1 400 ")


async def test_an_end_of_the_peers_bytes_between_requests_is_not_answered():
    peer = Peer()
    await peer.send(get("/1"))
    peer.conversation.feed_eof()
    assert await peer.receive() == b""


@pytest.mark.parametrize("before", [b"", get("/1"), get("/1") + get("/2")[:9]])
async def test_a_server_that_ends_closes_connections_without_a_request_now(before):
    peer = Peer()
    await peer.send(before)
    peer.conversation.close_when_done()
    assert peer.transport.end == "closed"


async def test_a_server_that_ends_hears_a_body_out_whose_request_is_answered():
    peer = Peer(lingering_time=10)
    assert await peer.send(post("/1", 9)) == b"</1>"
    peer.conversation.close_when_done()
    assert (peer.transport.has_eof, peer.transport.end) == (True, None)
    await peer.wait_until(11)
    assert peer.transport.end == "aborted"


async def test_a_server_that_ends_lets_a_handler_finish():
    gate = Gate()
    peer = Peer(gate)
    await peer.send(get("/1") + get("/2"))
    assert not peer.conversation.is_last
    peer.conversation.close_when_done()
    assert peer.conversation.is_last
    gate.opened.set()
    assert await peer.receive() == b"</1>"
    assert peer.begun == ["/1"]
    assert peer.transport.has_eof
