"""A gateway with a data folder, as clients and operators meet it: restarts, refusals, metrics."""

import json
import signal

import pytest

from gateway.config import BrokerConfig, Config, ServerConfig
from gateway.errors import GatewayError
from gateway.node import Node
from tests.gateway.clients import serving


def config(folder, port=0):
    data = None if folder is None else str(folder)
    return Config(server=ServerConfig(port=port), broker=BrokerConfig(data=data))


def in_folder(folder):
    """Return a running gateway with this folder; close it with the test's context."""
    return serving(broker=BrokerConfig(data=None if folder is None else str(folder)))


async def poll(gateway, **cursor):
    answer = await gateway.poll(channel="a", timeout=0, **cursor)
    return answer["cursor"], [each["data"] for each in answer["messages"]], answer["gaps"]


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_client_goes_on_from_its_cursor_after_a_restart_or_is_told_of_a_gap(
    tmp_path, is_kept
):
    folder = tmp_path if is_kept else None
    async with in_folder(folder) as gateway:
        cursor, *_ = await poll(gateway)
        await gateway.publish("a", 1)
        cursor, data, _ = await poll(gateway, cursor=cursor)
        assert data == [1]
        await gateway.publish("a", 2)
    async with in_folder(folder) as gateway:
        await gateway.publish("a", 3)
        _, data, gaps = await poll(gateway, cursor=cursor)
        assert data == ([2, 3] if is_kept else [3])
        assert [each["reason"] for each in gaps] == ([] if is_kept else ["epoch"])


async def test_a_folder_in_use_ends_the_start_and_leaves_the_first_node_alone(tmp_path):
    async with in_folder(tmp_path) as gateway:
        with pytest.raises(GatewayError, match="is in use"):
            await Node(config(tmp_path)).start()
        await gateway.publish("a", 1)


async def test_an_address_in_use_lets_the_folder_go(tmp_path):
    async with in_folder(None) as first:
        with pytest.raises(OSError, match="address already in use"):
            await Node(config(tmp_path, first.node.port)).start()
    async with in_folder(tmp_path):
        pass


async def test_metrics_tell_of_the_disk(tmp_path):
    async with in_folder(tmp_path) as gateway:
        await gateway.publish("a", 1)
        lines = (await gateway.get("/metrics")).body.decode().splitlines()
        found = dict(line.split(" ") for line in lines if not line.startswith("#"))
        assert float(found["gateway_commits_total"]) == 1
        assert float(found["gateway_commit_seconds_total"]) > 0
        assert float(found["gateway_pending_bytes"]) == 0
        assert float(found["gateway_data_bytes"]) > 0
        assert float(found["gateway_publications_total"]) == 1


# --- the command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fsync", "text"),
    [
        ([], "interval", "in memory; a restart begins anew (--data DIR keeps it)"),
        (["--data"], "always", "survives a crash and the loss of power"),
        (["--data"], "interval", "a crash; the loss of power takes at most the last 1 s"),
    ],
)
def test_serve_says_what_is_kept_where_and_how_durable_it_is(
    commands, tmp_path, arguments, fsync, text
):
    given = [*arguments, str(tmp_path)] if arguments else []
    started = commands.start("serve", "--port", "0", *given, GATEWAY_BROKER__FSYNC=fsync)
    line = started.read_until(r"  history    (.*)")[1]
    assert line.endswith(text)
    assert not given or line.startswith(f"in {tmp_path}; what is published survives a crash")


def test_a_second_node_in_the_folder_is_told_what_to_do(commands, tmp_path):
    commands.serve("--data", str(tmp_path))
    second = commands.start("serve", "--port", "0", "--data", str(tmp_path))
    status, _, errors = second.finish()
    assert status == 1
    assert errors == (
        f"gateway: the data folder {tmp_path} is in use; stop the node that uses it, or give this"
        " one a folder of its own\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_what_was_published_is_there_again(commands, tmp_path, number):
    for offset in (1, 2):
        started, url = commands.serve("--data", str(tmp_path))
        _, place, _ = commands.run("publish", "--url", url, "a", "1")
        assert json.loads(place)["offset"] == offset
        started.process.send_signal(number)
        status, _, errors = started.finish()
        assert (status, "Traceback" in errors) == (0, False)
        assert [each.name for each in tmp_path.iterdir()] == ["gateway.db"]
