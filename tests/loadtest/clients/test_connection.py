"""How connections under load are opened, what they take for an answer, and how they end."""

import asyncio
import socket

import pytest

from loadtest.clients.connection import LoadConnection, Target, connect, connect_all, parse_target
from loadtest.clients.dialects import Opening, upgrade
from loadtest.errors import LoadError, Unreachable
from loadtest.worker import find_loop_factory
from tests.loadtest.conftest import Listen

OPENING = Opening(upgrade("/ws", "host"), b"READY")
OK = b"HTTP/1.1 101 Switching Protocols\r\n"


class Noting(LoadConnection):
    """A connection that notes what it is given."""

    def __init__(self, opening: Opening = OPENING) -> None:
        super().__init__(opening)
        self.taken: list[bytes] = []
        self.is_told_lost = asyncio.Event()

    def begin(self, rest: bytes) -> None:
        self.taken.append(rest)

    def take(self, nbytes: int) -> None:
        self.taken.append(bytes(self.buffer[:nbytes]))

    def lost(self) -> None:
        self.is_told_lost.set()


async def serve(listen: Listen, answer: bytes, peers: list[tuple[str, int]] | None = None) -> str:
    """Return the URL of a server that answers a hello so, and then waits for the end."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peers is not None:
            peers.append(writer.get_extra_info("peername"))
        await reader.readuntil(b"\n")
        writer.write(answer)
        await reader.read(-1)

    return f"ws://{await listen(talk)}/ws"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("ws://host", ("host", 80, "/ws")),
        ("ws://host:81/", ("host", 81, "/")),
        ("http://host/sse?channel=a", ("host", 80, "/sse?channel=a")),
        ("ws://[::1]:8080/ws", ("::1", 8080, "/ws")),
    ],
)
def test_a_url_says_where_connections_go(url: str, parts: tuple[str, int, str]) -> None:
    assert parse_target(url)[:3] == parts


def test_a_host_header_has_an_address_of_ipv6_in_brackets() -> None:
    assert parse_target("ws://[::1]:8080/ws").authority == "[::1]:8080"
    assert parse_target("ws://host").authority == "host:80"


def test_a_scenario_has_a_default_path_of_its_own() -> None:
    assert parse_target("http://host", "/").path == "/"


@pytest.mark.parametrize("url", ["wss://host/", "host:80", "ws:///ws", "ws://host:port/"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(LoadError, match=url):
        parse_target(url)


async def test_what_comes_behind_the_marker_is_given_to_who_wants_it() -> None:
    answer = OK + b"READY" + b"and more"
    for cut in range(1, len(answer)):
        connection = Noting()
        opened = connection.opened
        assert opened is not None
        for piece in (answer[:cut], answer[cut:]):
            LoadConnection.buffer[: len(piece)] = piece
            connection.buffer_updated(len(piece))
        assert opened.done()
        assert b"".join(connection.taken) == b"and more"


async def test_an_answer_of_another_kind_is_quoted(listen: Listen) -> None:
    target = parse_target(await serve(listen, b"HTTP/1.1 503 Service Unavailable\r\n\r\n"))
    with pytest.raises(LoadError, match=r"answered b'HTTP/1\.1 503 Service Unavailable"):
        await connect(target, Noting())


async def test_a_page_is_no_upgrade(listen: Listen) -> None:
    target = parse_target(await serve(listen, b"HTTP/1.1 200 OK\r\nREADY"))
    with pytest.raises(LoadError, match=r"answered b'HTTP/1\.1 200 OK"):
        await connect(target, Noting())


async def test_without_an_opening_a_connection_is_open_at_once(listen: Listen) -> None:
    connection = Noting(Opening(b"", b""))
    await connect(parse_target(await serve(listen, b"")), connection)
    assert connection.opened is None
    connection.abort()


async def test_an_agreement_that_is_asked_for_must_have_come_in_any_case(listen: Listen) -> None:
    opening = OPENING._replace(agreement=b"permessage-deflate")
    agreed = Noting(opening)
    answer = OK + b"Sec-WebSocket-Extensions: PERMESSAGE-deflate\r\nREADY"
    await connect(parse_target(await serve(listen, answer)), agreed)
    agreed.abort()
    target = parse_target(await serve(listen, OK + b"READY"))
    with pytest.raises(LoadError, match="did not agree to permessage-deflate"):
        await connect(target, Noting(opening))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 404 Not Found\r\n\r\nREADY", id="with the marker in it"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="of another protocol"),
        pytest.param(OK + b"x" * 70_000, id="without end"),
    ],
)
async def test_what_is_no_answer_opens_nothing(listen: Listen, answer: bytes) -> None:
    target = parse_target(await serve(listen, answer))
    with pytest.raises(LoadError) as caught:
        await connect(target, Noting())
    assert str(caught.value).startswith(f"the target answered b'{answer[:15].decode()}")


async def test_a_target_that_closes_before_it_has_answered_is_told(listen: Listen) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n")

    with pytest.raises(LoadError, match="closed the connection"):
        await connect(parse_target(f"ws://{await listen(talk)}/"), Noting())


async def test_a_target_that_does_not_listen_is_told() -> None:
    with socket.socket() as sock:  # bound, but not listening
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="start a gateway there"):
            await connect(parse_target(f"ws://127.0.0.1:{sock.getsockname()[1]}/"), Noting())


async def test_a_target_that_says_nothing_is_not_waited_for_for_ever(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.clients.connection._PATIENCE_S", 0.05)
    connection = Noting()
    with pytest.raises(LoadError, match="did not answer within"):
        await connect(parse_target(await serve(listen, b"")), connection)
    assert connection.is_lost


async def test_each_20_000_connections_come_from_an_address_of_their_own(listen: Listen) -> None:
    peers: list[tuple[str, int]] = []
    target = parse_target(await serve(listen, OK + b"READY", peers))
    connections = [(number, Noting()) for number in (0, 19_999, 20_000, 45_000)]
    await connect_all(target, connections)
    addresses = sorted(host for host, _ in peers)
    assert addresses == ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3"]
    for _, connection in connections:
        connection.abort()


@pytest.mark.parametrize("number", [0, 20_000])
async def test_a_narrow_connection_holds_little_that_is_not_read(
    listen: Listen, number: int
) -> None:
    connection = Noting()
    target = parse_target(await serve(listen, OK + b"READY"))
    await connect(target, connection, number, receive_bytes=4096)
    sock = connection.asyncio_transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * 4096  # Linux doubles it
    connection.abort()


async def test_a_dropped_connection_is_reset_and_not_told_as_lost(listen: Listen) -> None:
    ends: asyncio.Queue[type[BaseException] | None] = asyncio.Queue()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n")
        writer.write(OK + b"READY")
        try:
            await reader.read(-1)
        except ConnectionError as error:
            ends.put_nowait(type(error))
        else:
            ends.put_nowait(None)

    connection = Noting()
    await connect(parse_target(f"ws://{await listen(talk)}/"), connection)
    connection.abort()
    connection.abort()  # once is enough
    assert await ends.get() is ConnectionResetError
    assert connection.is_lost
    assert not connection.is_told_lost.is_set()


def test_connecting_can_be_given_up_at_any_moment() -> None:
    async def give_up_each_time_later(target: Target) -> None:
        for turns in range(10):
            connecting = asyncio.create_task(connect(target, Noting()))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

    with (
        socket.create_server(("127.0.0.1", 0)) as sock,  # the kernel accepts, nobody answers
        asyncio.Runner(loop_factory=find_loop_factory()) as runner,  # as workers do
    ):
        target = parse_target(f"ws://127.0.0.1:{sock.getsockname()[1]}/")
        runner.run(give_up_each_time_later(target))


async def test_a_connection_that_the_target_ends_is_told_as_lost(listen: Listen) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\n")
        writer.write(OK + b"READY")

    connection = Noting()
    await connect(parse_target(f"ws://{await listen(talk)}/"), connection)
    await connection.is_told_lost.wait()


async def test_one_failure_among_many_is_raised_as_it_is(listen: Listen) -> None:
    target = parse_target(await serve(listen, b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(LoadError, match="400 Bad Request"):
        await connect_all(target, [(number, Noting()) for number in range(5)])


async def test_a_target_that_cannot_be_reached_is_tried_only_once() -> None:
    waiting = iter([(number, Noting()) for number in range(5)])
    with socket.socket() as sock:  # bound, but not listening
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable):
            await connect_all(parse_target(f"ws://127.0.0.1:{sock.getsockname()[1]}/"), waiting)
    assert [number for number, _ in waiting] == [1, 2, 3, 4]
