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


def subscribe(commands, url, *arguments):
    """Return a subscriber that has said it is connected."""
    started = commands.start("subscribe", "--url", url, *arguments)
    started.read_until("gateway: connected: ", "stderr")
    return started


def find_free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


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
    subscriber = subscribe(commands, url, "news")
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


# --- publish ------------------------------------------------------------------------------------


def test_a_publication_prints_its_place(commands, url):
    results = [commands.run("publish", "--url", url, "news", data) for data in ('{"n": 1}', "2")]
    assert [status for status, _, _ in results] == [0, 0]
    places = [json.loads(output) for _, output, _ in results]
    assert [(place["channel"], place["offset"]) for place in places] == [("news", 1), ("news", 2)]


def test_the_lines_of_stdin_are_publications(commands, url):
    subscriber = subscribe(commands, url, "news", "--count", "3")
    lines = '{"n": 1}\n\n"two"\r\n[3]'
    status, output, _ = commands.run("publish", "news", "-", stdin=lines, GATEWAY_URL=url)
    assert status == 0
    assert [json.loads(line)["offset"] for line in output.splitlines()] == [1, 2, 3]
    messages = [json.loads(subscriber.read_line()) for _ in range(3)]
    assert [message["data"] for message in messages] == [{"n": 1}, "two", [3]]


def test_a_line_is_published_before_the_next_one_is_written(commands, url):
    started = commands.start("publish", "--url", url, "news", "-")
    for offset in (1, 2):
        started.process.stdin.write(b"0\n")
        started.process.stdin.flush()
        assert json.loads(started.read_line())["offset"] == offset
    assert started.finish()[0] == 0


def test_a_line_that_is_not_json_is_named_and_those_before_it_are_published(commands, url):
    status, output, errors = commands.run("publish", "--url", url, "n", "-", stdin="1\n\nx\n2\n")
    assert (status, output.count("\n")) == (2, 1)
    assert errors.startswith("gateway: line 3: not JSON: x\n")
    assert '    "x"\n' in errors
    assert errors.endswith("    gateway publish n --text -\n")


@pytest.mark.parametrize("text", ["hello", "it's", 'say "hi"', "{'a': 1}", "NaN", ""])
def test_text_that_is_not_json_is_answered_with_commands_that_work(commands, url, text):
    status, output, errors = commands.run("publish", "--url", url, "news", text)
    assert (status, output) == (2, "")
    suggestions = [line for line in errors.splitlines() if line.startswith("    gateway publish")]
    assert len(suggestions) == 2
    subscriber = subscribe(commands, url, "news", "--count", "2")
    for suggestion in suggestions:
        assert commands.run(*shlex.split(suggestion)[1:], GATEWAY_URL=url)[0] == 0
    assert [json.loads(subscriber.read_line())["data"] for _ in range(2)] == [text, text]


def test_a_key_is_asked_for_and_taken_from_option_or_environment(commands):
    _, url = commands.serve(GATEWAY_AUTH__API_KEY="k3y")
    arguments = ("publish", "--url", url, "news", "1")
    status, output, errors = commands.run(*arguments)
    assert (status, output) == (1, "")
    assert errors.startswith("gateway: refused: ")
    assert "(unauthorized)" in errors
    assert "--api-key KEY" in errors
    assert "GATEWAY_API_KEY" in errors
    status, _, errors = commands.run(*arguments, "--api-key", "wrong")
    assert status == 1
    assert "is not this gateway's auth.api_key" in errors
    assert commands.run(*arguments, "--api-key", "k3y")[0] == 0
    assert commands.run(*arguments, GATEWAY_API_KEY="k3y")[0] == 0


@pytest.mark.parametrize("command", [("publish", "news", "1"), ("subscribe", "news")])
def test_a_gateway_that_is_not_there_is_said_in_one_line(commands, command):
    url = f"http://127.0.0.1:{find_free_port()}"
    status, output, errors = commands.run(*command, "--url", url)
    assert (status, output) == (1, "")
    assert errors == f"gateway: cannot reach {url}: Connection refused\n"


@pytest.mark.parametrize("command", [("publish", "news", "1"), ("subscribe", "news")])
def test_a_url_that_is_none_is_wrong_usage(commands, command):
    status, _, errors = commands.run(*command, "--url", "ws://localhost/ws")
    assert status == 2
    assert "expected a URL as http://127.0.0.1:8080" in errors
    assert errors.count("\n") == 1


# --- subscribe ----------------------------------------------------------------------------------


def test_a_message_is_one_compact_line_as_soon_as_it_is_published(commands, url):
    subscriber = subscribe(commands, url, "news", "sports")
    commands.run("publish", "--url", url, "news", '{ "a" : [1.0, "\\u00e9 é"] }')
    line = subscriber.read_line()
    assert '"data":{"a":[1.0,"\\u00e9 é"]}' in line
    assert json.loads(line)["channel"] == "news"
    commands.run("publish", "--url", url, "sports", "2")
    assert json.loads(subscriber.read_line())["channel"] == "sports"


def test_it_stops_after_the_count_and_can_go_on_from_its_cursor(commands, url):
    first = subscribe(commands, url, "news", "--count", "2")
    commands.run("publish", "--url", url, "news", "-", stdin="1\n2\n3\n4\n")
    status, output, errors = first.finish()
    assert (status, output.count("\n")) == (0, 2)
    cursor = re.search(r"--cursor (\S+)", errors)[1]
    status, output, _ = commands.run(
        "subscribe", "--url", url, "news", "--count", "2", "--cursor", cursor
    )
    assert status == 0
    assert [json.loads(line)["data"] for line in output.splitlines()] == [3, 4]


def test_it_reconnects_to_a_gateway_that_was_restarted(commands):
    port = find_free_port()
    first, url = commands.serve(port=port, GATEWAY_SSE__RETRY_MS="50")
    subscriber = subscribe(commands, url, "news")
    assert first.interrupt()[0] == 0
    closed = r"closed the stream: the node is shutting down \(1012\); reconnecting in \d\.\d s$"
    subscriber.read_until(closed, "stderr")
    commands.serve(port=port)
    subscriber.read_until("connected: news", "stderr")
    commands.run("publish", "--url", url, "news", "1")
    assert json.loads(subscriber.read_line())["data"] == 1


def test_a_channel_that_began_anew_is_told_without_offsets_that_nobody_missed(commands):
    first, url = commands.serve()
    subscriber = subscribe(commands, url, "news", "--count", "1")
    commands.run("publish", "--url", url, "news", "1")
    cursor = re.search(r"--cursor (\S+)", subscriber.finish()[2])[1]
    first.interrupt()
    _, url = commands.serve()
    arguments = ("subscribe", "--url", url, "news", "--cursor", cursor)
    line = commands.start(*arguments).read_until("gateway: gap: .*", "stderr")[0]
    assert re.fullmatch(r"gateway: gap: news began anew \(epoch \S+\): .* is lost", line)


def test_what_is_lost_is_told_on_stderr(commands):
    _, url = commands.serve(GATEWAY_CHANNELS__HISTORY_COUNT="1")
    first = subscribe(commands, url, "news", "--count", "1")
    commands.run("publish", "--url", url, "news", "-", stdin="1\n2\n3\n4\n")
    cursor = re.search(r"--cursor (\S+)", first.finish()[2])[1]
    status, output, errors = commands.run(
        "subscribe", "--url", url, "news", "--count", "1", "--cursor", cursor
    )
    assert status == 0
    assert json.loads(output)["data"] == 4
    assert "gateway: gap: news lost offsets 2 to 3 (expired)\n" in errors


def test_a_mangled_cursor_is_refused_in_one_line(commands, url):
    status, output, errors = commands.run("subscribe", "--url", url, "news", "--cursor", "x")
    assert (status, output) == (1, "")
    assert "(invalid_cursor)" in errors


def test_ctrl_c_ends_it_without_a_traceback_and_with_a_cursor(commands, url):
    subscriber = subscribe(commands, url, "news")
    commands.run("publish", "--url", url, "news", "1")
    subscriber.read_line()
    status, output, errors = subscriber.interrupt()
    assert (status, output) == (130, "")
    assert "Traceback" not in errors
    assert "to go on from here: --cursor " in errors


def test_a_reader_that_goes_away_ends_it_quietly(commands, url):
    subscriber = subscribe(commands, url, "news")
    subscriber.process.stdout.close()
    commands.run("publish", "--url", url, "news", "1")
    status, _, errors = subscriber.finish()
    assert status == 0
    assert "Traceback" not in errors
    assert "rror" not in errors


@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5", "\u0661"])
def test_a_count_that_is_none_is_wrong_usage(capsys, count):
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(["subscribe", "news", f"--count={count}"])
    assert caught.value.code == 2
    assert "expected a whole number above 0" in capsys.readouterr().err


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
    assert re.fullmatch(r"gateway \d+\.\d+\.\d+\n", as_module)


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
