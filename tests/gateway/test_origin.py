"""Which web pages may connect and publish, over real sockets."""

import pytest

from gateway.config import AuthConfig, WebSocketConfig
from tests.gateway.clients import serving

BODY = b'{"channel": "a", "data": 1}'


@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        ((), None, 200),
        ((), "http://gateway", 200),
        ((), "http://GATEWAY", 200),
        ((), "https://evil.example", 403),
        ((), "null", 403),
        ((), "http://[", 403),
        (("https://a.example",), "https://a.example", 200),
        (("https://a.example",), "https://A.example", 200),
        (("https://a.example",), "http://gateway", 403),
        (("*",), "https://evil.example", 200),
    ],
)
async def test_a_page_publishes_only_where_its_origin_may(allowed, origin, status):
    async with serving(websocket=WebSocketConfig(allowed_origins=allowed)) as gateway:
        headers = () if origin is None else (f"Origin: {origin}",)
        reply = await gateway.fetch("POST", "/publish", headers, BODY)
        assert reply.status == status


async def test_a_key_guards_publishing_over_websocket_too_unless_clients_may():
    for client_publish, expected in ((False, "error"), (True, "published")):
        auth = AuthConfig(api_key="secret", client_publish=client_publish)
        async with serving(auth=auth) as gateway:
            client = await gateway.websocket()
            reply = await client.ask(type="publish", channel="a", data=1)
            assert reply["type"] == expected
            assert reply.get("code") in (None, "unauthorized")


@pytest.mark.parametrize("path", ["/ws", "/sse?channel=a"])
async def test_a_request_with_a_body_is_refused_and_leaves_no_session(path):
    async with serving() as gateway:
        client = await gateway.open()
        client.send(
            f"GET {path} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5\r\n\r\n"
        )
        status, _ = await client.read_head()
        assert status == 400
        assert gateway.node.hub.sessions == set()
