"""Lean connections: where they go, how they open, and what keeps them from it."""

import asyncio
import socket

import pytest

from loadtest import connection
from loadtest.connection import LoadConnection, Target, connect, connect_all, parse_target
from loadtest.dialects import Opening
from loadtest.errors import LoadError, Unreachable
from tests.loadtest.conftest import Listen, Talk


class Watched(LoadConnection):
    """Keeps what it is given."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self.rest: bytes | None = None
        self.taken = b""
        self.has_taken = asyncio.Event()
        self.is_told_lost = asyncio.Event()

    def begin(self, rest: bytes) -> None:
        self.rest = rest

    def take(self, nbytes: int) -> None:
        self.taken += self.buffer[:nbytes]
        self.has_taken.set()

    def lost(self) -> None:
        self.is_told_lost.set()


def talk_once(*pieces: bytes) -> Talk:
    """Answer one line with pieces, which arrive apart from each other, and close at the next."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            await reader.readline()
            writer.write(piece)
        await reader.readline()

    return talk


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("ws://host:81/a?b=c", Target("host", 81, "/a?b=c", "ws://host:81/a?b=c")),
        ("http://host/", Target("host", 80, "/", "http://host/")),
        ("ws://host", Target("host", 80, "/ws", "ws://host")),
    ],
)
def test_a_url_says_where_connections_go(url: str, target: Target) -> None:
    assert parse_target(url) == target


def test_a_scenario_has_its_own_default_path() -> None:
    assert parse_target("http://host", "/").path == "/"


@pytest.mark.parametrize("url", ["wss://host/", "host:80", "ws://", "ws://host:port/"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(LoadError, match=r"is not a ws:// or http:// URL|is no URL"):
        parse_target(url)


async def test_what_arrives_behind_the_marker_is_not_lost(listen: Listen) -> None:
    authority = await listen(talk_once(b"HTTP/1.1 101 S", b"witching\r\n\r\nfirst", b"second"))
    opened = Watched(Opening(b"a\nb\n", b"\r\n\r\n"))
    await connect(parse_target(f"ws://{authority}/"), opened)
    assert opened.rest == b"first"
    opened.asyncio_transport.write(b"c\n")
    await opened.has_taken.wait()
    assert opened.taken == b"second"
    opened.asyncio_transport.write(b"d\n")
    await opened.is_told_lost.wait()
    assert opened.is_lost


async def test_without_an_opening_it_is_open_at_once(listen: Listen) -> None:
    opened = Watched(Opening(b"", b""))
    await connect(parse_target(f"ws://{await listen(talk_once())}/"), opened)
    assert opened.opened is None
    opened.abort()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "the target answered b'HTTP/1.1 404 Not Found"),
        (b"SSH-2.0-OpenSSH\r\n", "the target answered b'SSH"),
        (b"HTTP/1.1 101 S" + b"x" * 70_000, "the target answered b'HTTP/1.1 101 Sxxx"),
        (b"HTTP/1.1 101 S\r\n\r\n", "the target did not agree to what is offered"),
        (b"", "the target closed the connection"),
    ],
)
async def test_a_target_that_answers_something_else_is_told(
    listen: Listen, answer: bytes, reason: str
) -> None:
    authority = await listen(talk_once(answer))
    refused = Watched(Opening(b"a\nb\n", b"\r\n\r\n", b"what is offered"))
    with pytest.raises(LoadError) as caught:
        await connect(parse_target(f"ws://{authority}/"), refused)
    assert str(caught.value).startswith(reason)
    assert not refused.is_told_lost.is_set()


async def test_an_agreement_may_be_written_in_any_case(listen: Listen) -> None:
    authority = await listen(talk_once(b"HTTP/1.1 101 S\r\nExtensions: OFFERED\r\n\r\n"))
    agreed = Watched(Opening(b"a\n", b"\r\n\r\n", b"offered"))
    await connect(parse_target(f"ws://{authority}/"), agreed)
    agreed.abort()


async def test_a_target_that_answers_nothing_is_given_up(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_PATIENCE_S", 0.05)
    authority = await listen(talk_once())
    with pytest.raises(LoadError, match="did not answer within"):
        await connect(parse_target(f"ws://{authority}/"), Watched(Opening(b"a", b"b")))


async def test_a_target_that_does_not_listen_is_named() -> None:
    with socket.socket() as sock:  # bound, but not listening
        sock.bind(("127.0.0.1", 0))
        target = parse_target(f"ws://127.0.0.1:{sock.getsockname()[1]}/")
        with pytest.raises(Unreachable, match=target.url):
            await connect_all(target, [(0, Watched(Opening(b"", b"")))])


async def test_every_20000th_connection_comes_from_another_address(listen: Listen) -> None:
    target = parse_target(f"ws://{await listen(talk_once())}/")
    connections = [(number, Watched(Opening(b"", b""))) for number in (0, 20_000, 40_000)]
    await connect_all(target, connections)
    addresses = [each.asyncio_transport.get_extra_info("sockname")[0] for _, each in connections]
    assert addresses == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    for _, each in connections:
        each.abort()
