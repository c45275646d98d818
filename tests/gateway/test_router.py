"""Paths and methods over a real socket: who answers, and what is said when nobody does."""

import json

import pytest

from gateway.router import Router
from gateway.web.response import Response


def answer(name):
    """Return a handler that answers name and the method."""

    async def handle(request):
        return Response(text=f"{name} {request.method}")

    return handle


def answer_channel(name):
    """Return a handler for a channel that answers name and the channel."""

    async def handle(request, channel):
        return Response(body=f"{name} {channel}".encode())

    return handle


@pytest.fixture
def router():
    alive = answer("alive")
    return Router(
        routes={
            "/": {"GET": answer("page")},
            "/publish": {"POST": answer("publish")},
            "/healthz": {"GET": alive, "HEAD": alive},
        },
        channel_routes={
            "history": answer_channel("history"),
            "presence": answer_channel("presence"),
        },
        drain_routes={"/healthz": {"GET": answer("draining")}},
    )


def read_error(reply):
    """Return code and message of an error that is not worth a retry unless it is a 503."""
    error = json.loads(reply.body)
    assert error.pop("type") == "error"
    assert error.pop("retry") is (reply.status == 503)
    return error.pop("code"), error.pop("message")


@pytest.mark.parametrize(
    ("request_line", "body"),
    [
        ("GET /", "page GET"),
        ("GET /?channel=a", "page GET"),
        ("POST /publish", "publish POST"),
        ("GET /healthz", "alive GET"),
        ("GET http://a.example/healthz", "alive GET"),
        ("GET http://a.example", "page GET"),
    ],
)
async def test_path_and_method_choose_the_endpoint(router, fetch, request_line, body):
    reply = await fetch(router, request_line)
    assert (reply.status, reply.body.decode()) == (200, body)


async def test_head_is_answered_where_it_is_in_the_table(router, fetch):
    reply = await fetch(router, "HEAD /healthz")
    assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, "10", b"")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/channels/a/history", "history a"),
        ("/channels/a/presence?limit=1", "presence a"),
        ("/channels/a%2Fb/history", "history a/b"),
        ("/channels/a%252Fb/history", "history a%2Fb"),
        ("/channels/a+b%20c/history", "history a+b c"),
        ("/channels/%23%3F%25/history", "history #?%"),
        ("/channels/%C3%A4%F0%9F%92%A5/history", "history ä\U0001f4a5"),
        ("/channels/a:b;c=d,e~/history", "history a:b;c=d,e~"),
        ("/channels/../history", "history .."),
        ("/channels/%2E%2E/history", "history .."),
        ("/channels/./history", "history ."),
        ("/channels/history/history", "history history"),
        ("/channels//history", "history "),
        ("/channels/%00/history", "history \0"),
    ],
)
async def test_a_channels_name_is_one_decoded_segment_of_the_path(router, fetch, path, body):
    reply = await fetch(router, f"GET {path}")
    assert (reply.status, reply.body.decode()) == (200, body)


@pytest.mark.parametrize("name", ["%ff", "%C3", "a%ED%A0%80", "%C3%28"])
async def test_a_channels_name_must_be_utf_8(router, fetch, name):
    reply = await fetch(router, f"GET /channels/{name}/history")
    assert reply.status == 400
    assert read_error(reply) == ("invalid_channel", "the channel name in the path is not UTF-8")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/healthz/",
        "//healthz",
        "/Healthz",
        "/%68ealthz",
        "/x/../healthz",
        "/./healthz",
        "/channels",
        "/channels/a",
        "/channels/a/",
        "/channels/a/delete",
        "/channels/a/history/",
        "/channels/a/b/history",
        "/x/a/history",
        "//channels/a/history",
    ],
)
async def test_any_other_path_is_told_which_there_are(router, fetch, path):
    reply = await fetch(router, f"GET {path}")
    assert reply.status == 404
    known = "/, /publish, /healthz, /channels/CHANNEL/history, /channels/CHANNEL/presence"
    assert read_error(reply) == ("not_found", f"there is no {path!r}; there are {known}")


async def test_a_long_path_is_not_sent_back_whole(router, fetch):
    reply = await fetch(router, f"GET /{'x' * 5000}")
    assert reply.status == 404
    assert len(reply.body) < 300


@pytest.mark.parametrize(
    ("request_line", "allow"),
    [
        ("DELETE /", "GET"),
        ("GET /publish", "POST"),
        ("POST /healthz", "GET, HEAD"),
        ("POST /channels/a/history", "GET, HEAD"),
        ("DELETE /channels/%ff/presence", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_there_are(router, fetch, request_line, allow):
    reply = await fetch(router, request_line)
    method = request_line.split()[0]
    assert reply.status == 405
    assert reply.headers["Allow"] == allow
    text = f"{method} is not possible here; use {allow}"
    assert read_error(reply) == ("method_not_allowed", text)


@pytest.mark.parametrize(
    "request_line", ["GET /", "POST /publish", "GET /channels/a/history", "GET /nothing"]
)
async def test_a_draining_node_sends_everybody_elsewhere(router, fetch, request_line):
    router.is_draining = True
    reply = await fetch(router, request_line)
    assert reply.status == 503
    assert reply.headers["Retry-After"] == "1"
    text = "this node is shutting down; connect again, to another or later"
    assert read_error(reply) == ("shutting_down", text)


async def test_a_draining_node_answers_what_it_was_told_to(router, fetch):
    router.is_draining = True
    reply = await fetch(router, "GET /healthz")
    assert (reply.status, reply.body) == (200, b"draining GET")
    reply = await fetch(router, "HEAD /healthz")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")
