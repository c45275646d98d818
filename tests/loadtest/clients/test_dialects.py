"""What each kind of server is told, byte by byte where it is ours to choose."""

import json

import msgpack
import pytest

from loadtest.clients.dialects import DIALECTS, EVENT_DIALECTS, Opening, offer_deflate
from loadtest.clients.wire import ServerFrameDecoder


def unmask(request: bytes) -> bytes:
    """Return the payload of the one masked frame behind an upgrade, or of one alone."""
    frame = request.rpartition(b"\r\n\r\n")[2]
    assert frame[1] & 0x80
    head_bytes = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    assert frame[head_bytes : head_bytes + 4] == b"\0\0\0\0"  # the key changes nothing
    return frame[head_bytes + 4 :]


def test_the_gateway_is_asked_for_a_channel_in_json() -> None:
    opening = DIALECTS["gateway"].subscriber("/ws?x=1", "host:1", "news")
    assert opening.request.startswith(b"GET /ws?x=1 HTTP/1.1\r\nHost: host:1\r\n")
    assert b"\r\nSec-WebSocket-Protocol: gateway.v1.json\r\n" in opening.request
    assert unmask(opening.request) == b'{"type":"subscribe","id":1,"channel":"news"}'
    assert opening.marker == b'"type":"subscribed"'


def test_the_gateway_is_asked_for_a_channel_in_messagepack() -> None:
    opening = DIALECTS["gateway-msgpack"].subscriber("/ws", "host:1", "news")
    assert b"\r\nSec-WebSocket-Protocol: gateway.v1.msgpack\r\n" in opening.request
    command = {"type": "subscribe", "id": 1, "channel": "news"}
    assert msgpack.unpackb(unmask(opening.request)) == command
    assert opening.marker == b"\xa4type\xaasubscribed"


def test_data_is_published_and_delivered_as_it_is_in_json() -> None:
    dialect = DIALECTS["gateway"]
    assert unmask(dialect.publish("a", '"x"')) == b'{"type":"publish","channel":"a","data":"x"}'
    (frame,) = ServerFrameDecoder().feed(dialect.delivery("a", 12, '"x"'))
    assert frame == (1, b'{"type":"message","channel":"a","offset":12,"data":"x"}')


def test_data_is_published_and_delivered_as_the_same_value_in_messagepack() -> None:
    dialect = DIALECTS["gateway-msgpack"]
    command = {"type": "publish", "channel": "a", "data": "x"}
    assert msgpack.unpackb(unmask(dialect.publish("a", '"x"'))) == command
    (frame,) = ServerFrameDecoder().feed(dialect.delivery("a", 12, '"x"'))
    message = {"type": "message", "channel": "a", "offset": 12, "data": "x"}
    assert (frame.opcode, msgpack.unpackb(frame.payload)) == (2, message)


def test_a_plain_hub_is_told_the_channel_before_the_data_and_delivers_data_alone() -> None:
    dialect = DIALECTS["plain"]
    assert dialect.subscriber("/ws", "host:1", "a").request.startswith(b"GET /a HTTP/1.1\r\n")
    assert unmask(dialect.publish("a", '"x"')) == b'a "x"'
    assert dialect.delivery("a", 12, '"x"') == b'\x81\x03"x"'


def test_nchan_is_published_to_by_requests_and_delivers_as_a_plain_hub_does() -> None:
    dialect = DIALECTS["nchan"]
    head, body = dialect.publish("a", '"ü"').split(b"\r\n\r\n")
    assert head.startswith(b"POST /publish/a HTTP/1.1\r\nHost: ")
    assert head.endswith(b"\r\nContent-Length: 4")
    assert body.decode() == '"ü"'
    plain = DIALECTS["plain"]
    assert dialect.subscriber("/", "h", "a") == plain.subscriber("/", "h", "a")
    assert dialect.delivery("a", 1, "2") == plain.delivery("a", 1, "2")


def test_centrifugo_is_told_to_connect_and_subscribe_once_it_has_upgraded() -> None:
    opening = DIALECTS["centrifugo"].subscriber("/connection/websocket", "host:1", "a")
    assert opening.request.endswith(b"\r\n\r\n")
    commands = [json.loads(line) for line in unmask(opening.second).splitlines()]
    assert commands == [{"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": "a"}}]
    assert opening.marker in b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"epoch":"x"}}'


def test_centrifugo_is_published_to_by_its_api_and_marks_each_push() -> None:
    dialect = DIALECTS["centrifugo"]
    head, body = dialect.publish("a", '"x"').split(b"\r\n\r\n")
    assert head.startswith(b"POST /api/publish HTTP/1.1\r\n")
    assert json.loads(body) == {"channel": "a", "data": "x"}
    (frame,) = ServerFrameDecoder().feed(dialect.delivery("a", 12, '"x"'))
    assert frame == (1, b'{"push":{"channel":"a","pub":{"data":"x"}}}')
    assert frame.payload.count(dialect.mark) == 1


@pytest.mark.parametrize("name", DIALECTS)
def test_compression_is_offered_in_a_header_of_its_own(name: str) -> None:
    opening = DIALECTS[name].subscriber("/ws", "host:1", "a")
    offered = offer_deflate(opening)
    line = b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    agreement = b"permessage-deflate"
    assert offered == Opening(offered.request, opening.marker, agreement, opening.second)
    assert offered.request.replace(line, b"\r\n", 1) == opening.request != offered.request


def test_an_event_stream_is_asked_for_beside_the_target() -> None:
    opening = EVENT_DIALECTS["gateway"].subscriber("/prefix/ws?x=1", "host:1", "a")
    assert opening.request.startswith(b"GET /prefix/sse?channel=a HTTP/1.1\r\nHost: host:1\r\n")
