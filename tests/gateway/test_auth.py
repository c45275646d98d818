"""Which user a session has, on each transport, by a proxy's header or the embedding program."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from gateway import web
from gateway.auth import MAX_USER_BYTES
from gateway.config import AuthConfig, ChannelsConfig, Config
from gateway.node import Node
from tests.gateway.clients import UPGRADE, Gateway, Reply, Socket, encode_request, serving

BY_HEADER = AuthConfig(user_header="X-User")
ROOMS_OF_USERS = ChannelsConfig(joined_left=True, presence="user")
PATHS = ["/ws", "/sse?channel=a", "/poll?channel=a"]
every_path = pytest.mark.parametrize("path", PATHS)


async def ask(gateway: Gateway, path: str, headers: Iterable[str] = ()) -> Socket:
    """Return a connection on which a session of that path was asked for."""
    client = await gateway.open()
    if path == "/ws":
        client.send("\r\n".join([UPGRADE.removesuffix("\r\n\r\n"), *headers, "\r\n"]).encode())
    else:
        client.send(encode_request("GET", path, headers))
    return client


async def user_of_session(gateway: Gateway, path: str, headers: Iterable[str] = ()) -> str | None:
    """Return the user of the one session there is after asking for it."""
    client = await ask(gateway, path, headers)
    if path != PATHS[2]:
        await client.read_head()
    while not gateway.node.hub.sessions:
        await gateway.get("/healthz")
    (session,) = gateway.node.hub.sessions
    user: str | None = session.user
    return user


async def refuse(gateway: Gateway, path: str, headers: Iterable[str] = ()) -> Reply:
    """Return the answer to a request that becomes no session."""
    client = await ask(gateway, path, headers)
    status, fields = await client.read_head()
    body = await client.reader.readexactly(int(fields["Content-Length"]))
    assert not gateway.node.hub.sessions
    return Reply(status, fields, body)


@every_path
@pytest.mark.parametrize(
    ("headers", "user"),
    [
        (["X-User: ann"], "ann"),
        (["x-user: ann smith@example.org"], "ann smith@example.org"),
        (["X-User: äöü\U0001f4a5"], "äöü\U0001f4a5"),
        (["X-User: " + "x" * MAX_USER_BYTES], "x" * MAX_USER_BYTES),
        (["X-User:"], None),
        ([], None),
    ],
)
async def test_the_header_of_the_proxy_names_the_user(path, headers, user) -> None:
    async with serving(auth=BY_HEADER) as gateway:
        assert await user_of_session(gateway, path, headers) == user


@every_path
async def test_where_no_header_is_configured_no_request_has_a_user(path) -> None:
    async with serving() as gateway:
        assert await user_of_session(gateway, path, ["X-User: ann"]) is None


@every_path
@pytest.mark.parametrize(
    "headers",
    [
        ["X-User: " + "x" * (MAX_USER_BYTES + 1)],
        ["X-User: " + "ä" * (MAX_USER_BYTES // 2 + 1)],
        ["X-User: a\tb"],
        ["X-User: mallory", "X-User: ann"],
        ["X-User: ann", "x-user: ann"],
    ],
)
async def test_a_user_that_is_none_is_answered_with_400(path, headers) -> None:
    async with serving(auth=BY_HEADER) as gateway:
        reply = await refuse(gateway, path, headers)
        assert (reply.status, reply.json["code"]) == (400, "invalid_field")


@every_path
async def test_a_user_that_is_not_utf_8_is_answered_with_400(path) -> None:
    async with serving(auth=BY_HEADER) as gateway:
        client = await gateway.open()
        head = f"GET {path} HTTP/1.1\r\nHost: a\r\n" if path != "/ws" else UPGRADE[:-2]
        client.send(head.encode() + b"X-User: \xff\r\n\r\n")
        assert (await client.read_head())[0] == 400


async def identify_by_cookie(request: web.BaseRequest) -> str | None:
    await asyncio.sleep(0)  # as a database would be asked
    if request.cookies.get("banned"):
        raise web.HTTPForbidden(text="go away")
    return request.cookies.get("user")


@every_path
async def test_the_embedding_program_names_the_user_or_refuses(path) -> None:
    async with serving(identify=identify_by_cookie) as gateway:
        reply = await refuse(gateway, path, ["Cookie: banned=1"])
        assert (reply.status, reply.body) == (403, b"go away")
        assert await user_of_session(gateway, path, ["Cookie: user=ann"]) == "ann"


@every_path
async def test_what_the_embedding_program_says_is_checked_too(path) -> None:
    async def identify(request: web.BaseRequest) -> str:
        return request.headers["X-Lone"] and "\ud800"

    async with serving(identify=identify) as gateway:
        assert (await refuse(gateway, path, ["X-Lone: 1"])).status == 400


async def test_the_user_is_told_in_the_welcome_and_to_those_in_the_room() -> None:
    async with serving(auth=BY_HEADER, channels=ROOMS_OF_USERS) as gateway:
        ann = await gateway.websocket(additional_headers={"X-User": "ann"})
        assert ann.welcome["user"] == "ann"
        await ann.ask(type="subscribe", channel="a")
        stream = await ask(gateway, "/sse?channel=a", ["X-User: bob"])
        told = await ann.read_many(2)
        assert [(each["type"], each["user"], each["count"]) for each in told] == [
            ("joined", "ann", 1),
            ("joined", "bob", 2),
        ]
        page = (await gateway.get("/channels/a/presence")).json
        assert [each["user"] for each in page["members"]] == ["ann", "bob"]
        stream.vanish()
        left = await ann.read()
        assert (left["type"], left["user"], left["count"]) == ("left", "bob", 1)


def test_two_ways_to_name_the_user_are_refused() -> None:
    with pytest.raises(ValueError, match=r"either identify or auth\.user_header"):
        Node(Config(auth=BY_HEADER), identify=identify_by_cookie)


@pytest.mark.parametrize("name", ["", "X User", "X-User:", "Ü"])
def test_a_header_that_no_request_can_have_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="no name of a header"):
        msgspec.convert({"user_header": name}, AuthConfig)


def test_a_printed_configuration_names_the_header() -> None:
    text: Any = repr(AuthConfig(user_header="X-User", api_key="secret"))
    assert "X-User" in text
    assert "secret" not in text
