"""The command line as a person and a script meet it: processes, lines and exit statuses."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib

import pytest

from gateway.arguments import build_parser
from protocol.frames import IS_COMPILED

# --- serve --------------------------------------------------------------------------------------


def test_serve_says_where_everything_is(commands):
    started = commands.start("serve", "--port", "0")
    lines = [started.read_line() for _ in range(6)]
    url = re.search(r"http://127\.0\.0\.1:\d+", lines[0])[0]
    assert [line.split()[1] for line in lines[1:]] == [
        f"{url}/",
        f"{url.replace('http', 'ws')}/ws",
        f"{url}/sse?channel=news",
        f"{url}/poll?channel=news",
        f"{url}/publish",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("option", ["--uvloop", "--no-uvloop"])
def test_a_signal_drains_the_gateway_and_ends_it_well(commands, number, option):
    started, url = commands.serve(option)
    subscriber = commands.subscribe(url, "news")
    started.process.send_signal(number)
    status, _, errors = started.finish()
    assert status == 0
    assert "Traceback" not in errors
    assert "INFO    gateway: draining" in errors
    subscriber.read_until("reconnecting in", "stderr")


def test_ctrl_c_before_it_serves_ends_it_without_a_traceback(commands, tmp_path):
    # Reading the configuration waits for a writer of the pipe, so the signal comes before the end
    # of the start, and after the imports that no code of the command can guard.
    pipe = tmp_path / "gateway.toml"
    os.mkfifo(pipe)
    started = commands.start("serve", "--config", str(pipe))
    with open(pipe, "wb"):  # returns once the command has opened it
        status, output, errors = started.interrupt()
    assert (status, output, errors) == (130, "", "")


@pytest.mark.parametrize(
    ("client_publish", "publishers"),
    [
        ("false", "(POST with the API key)"),
        ("true", "(POST with the API key; WebSocket clients without it)"),
    ],
)
def test_serve_says_what_the_key_guards(commands, client_publish, publishers):
    started = commands.start(
        "serve",
        "--port",
        "0",
        GATEWAY_AUTH__API_KEY="k3y",
        GATEWAY_AUTH__CLIENT_PUBLISH=client_publish,
    )
    assert publishers in [started.read_line() for _ in range(6)][-1]


def test_the_key_of_publishers_is_not_taken_for_the_gateways(commands):
    started, _ = commands.serve(GATEWAY_API_KEY="k3y")
    started.read_until("WARNING gateway: GATEWAY_API_KEY .* GATEWAY_AUTH__API_KEY", "stderr")


def test_a_message_full_of_arrays_does_not_have_the_whole_heap_searched_for_garbage():
    program = """
import gc
from gateway.cli import main
from protocol.publication import data_from_json

main(["serve", "--host", "198.51.100.1", "--port", "0"])
gc.collect()
before = [each["collections"] for each in gc.get_stats()[1:]]
for _ in range(10):
    data_from_json(b"[" + b"[]," * 19_000 + b"0]")
print([each["collections"] for each in gc.get_stats()[1:]] == before)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout == "True\n", ended.stderr


@pytest.mark.parametrize("option", ["--uvloop", "--no-uvloop"])
def test_a_port_in_use_is_said_in_one_line(commands, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output, errors = commands.run("serve", "--port", str(port), option)
    assert (status, output) == (1, "")
    assert errors == f"gateway: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "127.0.0.1.2"])
def test_a_host_that_is_not_ours_is_said_in_one_line(commands, host):
    status, output, errors = commands.run("serve", "--host", host, "--port", "0")
    assert (status, output) == (1, "")
    assert re.fullmatch(rf"gateway: cannot listen on {re.escape(host)}:0: .+\n", errors)


def test_a_wrong_setting_is_said_in_one_line(commands):
    status, output, errors = commands.run("serve", GATEWAY_SERVER__PRT="1")
    assert (status, output) == (2, "")
    assert errors == (
        "gateway: environment variable GATEWAY_SERVER__PRT: "
        "unknown field `prt`; did you mean `port`? - at `$.server.prt`\n"
    )


def test_the_access_log_is_a_line_per_request_and_in_json_on_request(commands):
    started, url = commands.serve("--access-log", "--log-format", "json")
    commands.run("publish", "--url", url, "news", "1")
    while (line := json.loads(started.read_line("stderr")))["logger"] != "gateway.access":
        pass
    assert "POST /publish" in line["message"]


def test_a_gateway_open_to_others_without_a_key_is_warned_of(commands):
    started, url = commands.serve("--host", "0.0.0.0")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    started.read_until("WARNING gateway: .*auth.api_key", "stderr")


# --- config and the rest ------------------------------------------------------------------------


def test_config_prints_what_is_in_effect_without_secrets(commands, tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text("[server]\nport = 1\nbacklog = 2\n[sse]\nretry_ms = 3\n")
    status, output, _ = commands.run(
        "config",
        "--config",
        str(path),
        "--port",
        "9",
        GATEWAY_SERVER__BACKLOG="7",
        GATEWAY_AUTH__API_KEY="hunter2",
    )
    assert status == 0
    printed = tomllib.loads(output)
    assert (printed["server"]["port"], printed["server"]["backlog"]) == (9, 7)
    assert printed["sse"]["retry_ms"] == 3
    assert "hunter2" not in output


def test_config_checks(commands, tmp_path):
    path = tmp_path / "gateway.toml"
    path.write_text("[server]\nport = 1\n")
    assert commands.run("config", "--check", "--config", str(path))[:2] == (
        0,
        "the configuration is valid\n",
    )
    path.write_text("[server]\nport = -1\n")
    status, output, errors = commands.run("config", "--check", "--config", str(path))
    assert (status, output) == (2, "")
    assert errors == f"gateway: {path}: Expected `int` >= 0 - at `$.server.port`\n"


def test_the_module_runs_as_the_command_does(commands):
    command = [sys.executable, "-m", "gateway", "--version"]
    as_module = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert as_module == commands.run("--version")[1]
    form = "compiled" if IS_COMPILED else "plain"
    assert re.fullmatch(rf"gateway \d+\.\d+\.\d+ \({form} frames\)\n", as_module)


@pytest.mark.parametrize("command", ["serve", "publish", "subscribe", "config"])
def test_help_teaches_with_examples_that_the_command_accepts(commands, command):
    status, output, _ = commands.run(command, "--help")
    assert status == 0
    examples = [line for line in output.splitlines() if line.startswith("  gateway ")]
    assert len(examples) >= 2
    for example in examples:
        words = shlex.split(re.split("[|>]", example)[0])
        assert build_parser().parse_args(words[1:]).command == command


def test_help_explains_the_exit_statuses_and_lists_the_commands(commands):
    _, output, _ = commands.run("--help")
    for word in ("exit status:", "serve", "publish", "subscribe", "config"):
        assert word in output


def test_without_a_command_the_help_is_shown(commands):
    status, output, errors = commands.run()
    assert (status, output) == (2, "")
    assert errors.startswith("usage: gateway")
    assert "gateway publish news" in errors
    assert "COMMAND is missing" in errors.splitlines()[-1]


# --- bench --------------------------------------------------------------------------------------


def test_bench_runs_a_scenario_of_the_load_tool_with_its_options(commands):
    status, output, errors = commands.run(
        "bench", "fanout", "--subscribers", "3", "--seconds", "0.1"
    )
    assert status == 0, errors
    assert output.startswith("fanout of gateway at ws://127.0.0.1:")
    assert "subscribers=3" in output


def test_bench_is_not_misled_by_what_the_current_folder_has(commands, tmp_path, monkeypatch):
    (tmp_path / "loadtest.py").write_text("raise SystemExit('someone else')")
    monkeypatch.chdir(tmp_path)
    status, output, errors = commands.run("bench", "fanout", "--help")
    assert (status, errors) == (0, "")
    assert "--in-flight" in output
