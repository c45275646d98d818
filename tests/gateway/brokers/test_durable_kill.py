"""A gateway process that is killed with SIGKILL while publishers run, again and again.

What was answered with a place is there afterwards, at that place, in the same epoch; a follower
that goes on from its cursor sees every offset once and no gap. GATEWAY_KILLS sets how many times.
"""

import asyncio
import itertools
import json
import os
import random
import urllib.parse
from contextlib import suppress

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.gateway.clients import bounded

KILLS = int(os.environ.get("GATEWAY_KILLS", "10"))
# A start takes seconds where many tests share a processor.
pytestmark = pytest.mark.timeout(120 + 10 * KILLS)
CHANNELS = ("a", "b", "c")
# More than a run publishes, so that a hole is never the retention's.
BOUNDS = {
    "GATEWAY_CHANNELS__HISTORY_COUNT": "1000000",
    "GATEWAY_CHANNELS__HISTORY_BYTES": "1000000000",
    "GATEWAY_CHANNELS__HISTORY_AGE_S": "86400",
}


class Publisher:
    """Publishes numbered texts, tries each again until it is answered, and notes the places."""

    def __init__(self, name):
        self.name = name
        self._number = 0
        self._choose()
        # (channel, epoch, offset): data
        self.places = {}

    def command(self):
        key = f"{self.name}-{self._number}"
        return {"channel": self.channel, "data": key + self.padding, "idempotency_key": key}

    def see(self, place):
        found = place["channel"], place["epoch"], place["offset"]
        assert found not in self.places
        self.places[found] = self.command()["data"]
        self._number += 1
        self._choose()

    def _choose(self):
        self.channel = random.choice(CHANNELS)
        # Large ones make commits long, and small ones come while those are on their way.
        self.padding = "x" * random.choice([0, 0, 40_000])


async def publish_over_websocket(publisher, port):
    async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as client:
        for number in itertools.count(1):
            command = {"type": "publish", "id": number} | publisher.command()
            await client.send(json.dumps(command))
            while (reply := json.loads(await client.recv())).get("id") != number:
                pass
            assert reply["type"] == "published"
            publisher.see(reply)


async def publish_over_http(publisher, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            body = json.dumps(publisher.command()).encode()
            head = f"POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].split()[0])
            place = await reader.readexactly(length)
            assert answer.startswith(b"HTTP/1.1 200"), (answer, place)
            publisher.see(json.loads(place))
    finally:
        writer.close()


class Follower:
    """A subscriber of all channels that goes on from its positions after every crash."""

    def __init__(self):
        self.positions = {}
        self.seen = {}

    async def run(self, port):
        async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as client:
            for channel in CHANNELS:
                position = self.positions.get(channel, {})
                command = {"type": "subscribe", "id": 1, "channel": channel}
                await client.send(json.dumps(command | position))
            async for message in client:
                self._see(json.loads(message))

    def _see(self, push):
        assert push["type"] not in ("gap", "error"), push
        if push["type"] == "subscribed":
            position = {"epoch": push["epoch"], "offset": push["offset"]}
            assert self.positions.setdefault(push["channel"], position) == position
        elif push["type"] == "message":
            position = self.positions[push["channel"]]
            assert push["offset"] == position["offset"] + 1, (push, position)
            position["offset"] += 1
            place = push["channel"], position["epoch"], push["offset"]
            self.seen[place] = push["data"]


async def until_killed(run, port):
    with suppress(ConnectionError, ConnectionClosed, InvalidHandshake, asyncio.IncompleteReadError):
        await run(port)


async def read_all(port, channel):
    """Return everything that channel retains, as {place: data}."""
    found, cursor = {}, None
    while True:
        query = {"limit": 1000} | ({} if cursor is None else {"cursor": cursor})
        path = f"/channels/{channel}/history?{urllib.parse.urlencode(query)}"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        page = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        writer.close()
        if not page["publications"]:
            return found
        assert "gap" not in page or page["gap"] is None
        cursor = page["cursor"]
        for each in page["publications"]:
            found[channel, page["epoch"], each["offset"]] = each["data"]


def serve(commands, folder, fsync):
    environment = BOUNDS | {"GATEWAY_BROKER__FSYNC": fsync}
    started, url = commands.serve("--data", str(folder), **environment)
    return started, int(url.rpartition(":")[2])


@pytest.mark.parametrize("fsync", ["interval", "always"])
async def test_nothing_acknowledged_is_lost_however_often_the_process_is_killed(
    commands, tmp_path, fsync
):
    publishers = [Publisher(str(number)) for number in range(8)]
    ways = itertools.cycle([publish_over_websocket, publish_over_http])
    follower = Follower()
    for _ in range(KILLS):
        started, port = await asyncio.to_thread(serve, commands, tmp_path, fsync)
        runs = [
            follower.run,
            *(_bind(way, each) for way, each in zip(ways, publishers, strict=False)),
        ]
        async with bounded(), asyncio.TaskGroup() as group:
            for run in runs:
                group.create_task(until_killed(run, port))
            await asyncio.sleep(random.uniform(0, 0.25))
            started.process.kill()
        await asyncio.to_thread(started.process.wait)
    _, port = await asyncio.to_thread(serve, commands, tmp_path, fsync)
    kept = {}
    for channel in CHANNELS:
        kept |= await read_all(port, channel)
    acknowledged = {}
    for each in publishers:
        acknowledged |= each.places
    assert len(acknowledged) > KILLS
    assert len(acknowledged) == sum(len(each.places) for each in publishers)
    assert acknowledged.items() <= kept.items()
    assert follower.seen.items() <= kept.items()
    assert len(set(kept.values())) == len(kept), "something was published twice"
    for channel in CHANNELS:
        places = [place for place in kept if place[0] == channel]
        assert [offset for *_, offset in places] == [*range(1, len(places) + 1)]
        assert len({epoch for _, epoch, _ in places}) <= 1


def _bind(way, publisher):
    return lambda port: way(publisher, port)
