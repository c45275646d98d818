"""Clients that send more than they may: by the second, and by what waits for a slow broker."""

import pytest

from gateway.errors import BrokerUnavailable
from protocol.codec import JSON, MSGPACK, Codec
from tests.gateway.late import LateBroker
from tests.gateway.sessions import Client, Gateway


class Clock:
    """Seconds that pass when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[JSON, MSGPACK], ids=["json", "msgpack"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return request.param


async def connect(codec: Codec, clock: Clock, **limits: int) -> Client:
    gateway = await Gateway(clock=clock, **limits).start()
    return Client(gateway, codec)


async def test_a_command_above_the_rate_is_not_obeyed_and_told_when_it_would_be(codec, clock):
    client = await connect(codec, clock, commands_per_s=2, commands_burst=2)
    for number in (1, 2, 3):
        client.send("publish", id=number, channel="a", data=number)
    *published, error = client.read()
    assert [each["offset"] for each in published] == [1, 2]
    assert (error["type"], error["id"], error["code"]) == ("error", 3, "rate_limited")
    assert (error["retry"], error["retry_after_ms"]) == (True, 500)
    clock.now += 0.5
    assert client.ask("publish", channel="a", data=3)["offset"] == 3


async def test_a_command_without_id_that_is_above_the_rate_is_told_so_too(codec, clock):
    client = await connect(codec, clock, commands_per_s=1, commands_burst=1)
    client.send("ping")
    client.send("ping")
    (error,) = client.read()
    assert error["code"] == "rate_limited"
    assert "id" not in error


async def test_bytes_are_limited_too(codec, clock):
    client = await connect(codec, clock, bytes_per_s=1000, bytes_burst=1000)
    client.send("publish", id=1, channel="a", data="x" * 900)
    client.send("publish", id=2, channel="a", data="x" * 900)
    assert [each["type"] for each in client.read()] == ["published", "error"]


async def test_malformed_commands_count_but_are_told_what_is_wrong_with_them(codec, clock):
    client = await connect(codec, clock, commands_per_s=1, commands_burst=1)
    client.send("nonsense")
    client.send("nonsense")
    client.send("ping", id=1)
    codes = [each["code"] for each in client.read()]
    assert codes == ["unknown_type", "unknown_type", "rate_limited"]


async def test_one_session_at_its_limit_takes_nothing_from_another(codec, clock):
    client = await connect(codec, clock, commands_per_s=1, commands_burst=1)
    client.send("ping")
    client.send("ping")
    assert Client(client.gateway, codec).ask("ping")["type"] == "pong"


async def test_a_session_that_goes_on_is_ended_and_told_when_to_come_back(codec, clock):
    limits = {"commands_per_s": 1, "commands_burst": 1, "max_rate_errors": 3}
    client = await connect(codec, clock, **limits)
    for _ in range(4):
        client.send("ping")
    assert client.disconnects == []
    client.send("ping")
    assert client.disconnects == [3002]
    assert client.retry_after_ms > 0
    assert client.session not in client.gateway.hub.sessions


async def test_a_session_that_is_refused_now_and_then_stays(codec, clock):
    limits = {"commands_per_s": 1, "commands_burst": 1, "max_rate_errors": 3}
    client = await connect(codec, clock, **limits)
    for _ in range(50):
        client.send("ping")
        client.send("ping")
        clock.now += 1
    assert client.disconnects == []


# --- waiting for the broker -----------------------------------------------------------------------


async def test_a_session_is_not_read_while_too_many_of_its_commands_wait_for_the_broker(codec):
    broker = LateBroker()
    gateway = await Gateway(broker, max_pending=4).start()
    client, other = Client(gateway, codec), Client(gateway, codec)
    for number in range(1, 5):
        assert not client.is_reading_paused
        client.send("publish", id=number, channel="a", data=number)
    assert client.is_reading_paused
    assert not other.is_reading_paused
    await broker.answer()
    assert client.is_reading_paused  # not for every single one
    await broker.answer()
    assert not client.is_reading_paused
    assert [each["id"] for each in client.read()] == [1, 2]


async def test_a_session_is_not_read_while_a_page_of_history_is_on_its_way_to_it(codec):
    broker = LateBroker()
    client = Client(await Gateway(broker, max_pending=4).start(), codec)
    client.send("publish", channel="a", data=1)
    assert not client.is_reading_paused
    client.send("history", id=2, channel="a")
    assert client.is_reading_paused
    await broker.answer()
    assert client.is_reading_paused
    await broker.answer()
    assert not client.is_reading_paused
    assert [each["id"] for each in client.read()] == [2]


async def test_after_a_page_of_history_a_session_that_waits_for_more_is_not_read_yet(codec):
    broker = LateBroker()
    client = Client(await Gateway(broker, max_pending=4).start(), codec)
    client.send("history", id=1, channel="a")
    for _ in range(3):  # what the same read had brought
        client.send("publish", channel="a", data=1)
    for is_paused in (True, False):
        await broker.answer()
        assert client.is_reading_paused is is_paused


async def test_a_session_is_read_again_also_where_its_commands_fail_or_want_no_reply(codec):
    broker = LateBroker()
    gateway = await Gateway(broker, max_pending=1).start()
    client = Client(gateway, codec)
    for end in (broker.answer, lambda: broker.fail(BrokerUnavailable("out of reach"))):
        client.send("publish", channel="a", data=1)
        assert client.is_reading_paused
        await end()
        assert not client.is_reading_paused
