"""The commands that talk to a gateway, as a person and a script meet them."""

import json
import re
import shlex
import socket
from urllib.request import urlopen

import pytest

from gateway.arguments import build_parser


def find_free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


# --- publish ------------------------------------------------------------------------------------


def test_a_publication_prints_its_place(commands, url):
    results = [commands.run("publish", "--url", url, "news", data) for data in ('{"n": 1}', "2")]
    assert [status for status, _, _ in results] == [0, 0]
    places = [json.loads(output) for _, output, _ in results]
    assert [(place["channel"], place["offset"]) for place in places] == [("news", 1), ("news", 2)]


def test_the_lines_of_stdin_are_publications(commands, url):
    subscriber = commands.subscribe(url, "news", "--count", "3")
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
    subscriber = commands.subscribe(url, "news", "--count", "2")
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
    subscriber = commands.subscribe(url, "news", "sports")
    commands.run("publish", "--url", url, "news", '{ "a" : [1.0, "\\u00e9 é"] }')
    line = subscriber.read_line()
    assert '"data":{"a":[1.0,"\\u00e9 é"]}' in line
    assert json.loads(line)["channel"] == "news"
    commands.run("publish", "--url", url, "sports", "2")
    assert json.loads(subscriber.read_line())["channel"] == "sports"


def test_it_stops_after_the_count_and_can_go_on_from_its_cursor(commands, url):
    first = commands.subscribe(url, "news", "--count", "2")
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
    subscriber = commands.subscribe(url, "news")
    assert first.interrupt()[0] == 0
    closed = r"closed the stream: the node is shutting down \(1012\); reconnecting in \d\.\d s$"
    subscriber.read_until(closed, "stderr")
    commands.serve(port=port)
    subscriber.read_until("connected: news", "stderr")
    commands.run("publish", "--url", url, "news", "1")
    assert json.loads(subscriber.read_line())["data"] == 1


def test_a_channel_that_began_anew_is_told_without_offsets_that_nobody_missed(commands):
    first, url = commands.serve()
    subscriber = commands.subscribe(url, "news", "--count", "1")
    commands.run("publish", "--url", url, "news", "1")
    cursor = re.search(r"--cursor (\S+)", subscriber.finish()[2])[1]
    first.interrupt()
    _, url = commands.serve()
    arguments = ("subscribe", "--url", url, "news", "--cursor", cursor)
    line = commands.start(*arguments).read_until("gateway: gap: .*", "stderr")[0]
    assert re.fullmatch(r"gateway: gap: news began anew \(epoch \S+\): .* is lost", line)


def test_what_is_lost_is_told_on_stderr(commands):
    _, url = commands.serve(GATEWAY_CHANNELS__HISTORY_COUNT="1")
    first = commands.subscribe(url, "news", "--count", "1")
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
    subscriber = commands.subscribe(url, "news")
    commands.run("publish", "--url", url, "news", "1")
    subscriber.read_line()
    status, output, errors = subscriber.interrupt()
    assert (status, output) == (130, "")
    assert "Traceback" not in errors
    assert "to go on from here: --cursor " in errors


def test_a_supervisor_that_ends_it_gets_a_cursor_too(commands, url):
    subscriber = commands.subscribe(url, "news")
    commands.run("publish", "--url", url, "news", "1")
    subscriber.read_line()
    subscriber.process.terminate()
    status, output, errors = subscriber.finish()
    assert (status, output) == (143, "")
    assert "Traceback" not in errors
    assert "to go on from here: --cursor " in errors


def test_a_reader_that_goes_away_ends_it_quietly(commands, url):
    subscriber = commands.subscribe(url, "news")
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


# --- what may go along with a publication -------------------------------------------------------


def test_key_and_tags_reach_subscribers(commands, url):
    subscriber = commands.subscribe(url, "news", "--count", "1")
    labels = ("--key", "match 7", "--tag", "sport=football", "--tag", "empty=")
    assert commands.run("publish", "--url", url, "news", "1", *labels)[0] == 0
    message = json.loads(subscriber.read_line())
    assert message["key"] == "match 7"
    assert message["tags"] == {"sport": "football", "empty": ""}


def test_a_repeat_of_an_idempotency_key_prints_the_first_place(commands, url):
    arguments = ("publish", "--url", url, "news", "1", "--idempotency-key", "order-7")
    first, repeat = commands.run(*arguments), commands.run(*arguments)
    assert first == repeat
    assert json.loads(first[1])["offset"] == 1
    assert commands.run("history", "--url", url, "news")[1].count("\n") == 1


def test_an_offset_that_is_not_expected_is_refused_with_the_one_that_is(commands, url):
    arguments = ("publish", "--url", url, "news", "1", "--expected-offset", "0")
    assert commands.run(*arguments)[0] == 0
    status, output, errors = commands.run(*arguments)
    assert (status, output) == (1, "")
    expected = "gateway: refused: expected offset 0, but the channel ends at 1 (offset_conflict)\n"
    assert errors == expected


def test_a_gateway_over_its_limits_is_asked_again_when_it_said(commands):
    limits = {"PUBLICATIONS_PER_S": "1", "PUBLICATIONS_BURST": "1", "MAX_BATCH_COUNT": "1"}
    _, url = commands.serve(**{f"GATEWAY_PUBLISH__{name}": each for name, each in limits.items()})
    status, output, errors = commands.run("publish", "--url", url, "news", "-", stdin="1\n2\n")
    assert status == 0
    assert [json.loads(line)["offset"] for line in output.splitlines()] == [1, 2]
    assert re.fullmatch(r"(gateway: refused: .*\(rate_limited\); trying again in 1 s\n)+", errors)


def test_a_publication_with_a_key_outlives_a_gateway_that_is_being_started(commands):
    port = find_free_port()
    arguments = ("--url", f"http://127.0.0.1:{port}", "news", "1", "--idempotency-key", "k")
    publisher = commands.start("publish", *arguments)
    publisher.read_until("Connection refused; trying again in 1 s$", "stderr")
    commands.serve(port=port)
    assert json.loads(publisher.read_line())["offset"] == 1
    assert publisher.finish()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1", "--tag", "colour"), "expected NAME=VALUE, got 'colour'"),
        (("1", "--expected-offset", "-1"), "expected a whole number, 0 or more, got '-1'"),
        (("-", "--idempotency-key", "k"), "are for one publication, not for stdin"),
        (("-", "--expected-offset", "0"), "are for one publication, not for stdin"),
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(commands, arguments, message):
    status, output, errors = commands.run("publish", "news", *arguments)
    assert (status, output) == (2, "")
    assert message in errors


# --- history and presence -----------------------------------------------------------------------


def test_history_prints_what_is_retained_in_either_direction(commands, url):
    commands.run("publish", "--url", url, "news", "-", stdin="1\n2\n3\n")
    for options, expected in (((), [1, 2, 3]), (("--reverse", "--count", "2"), [3, 2])):
        status, output, errors = commands.run("history", "--url", url, "news", *options)
        assert status == 0
        assert [json.loads(line)["data"] for line in output.splitlines()] == expected
    cursor = re.fullmatch(r"gateway: to go on from here: --cursor (\S+)\n", errors)[1]
    output = commands.run("history", "--url", url, "news", "--reverse", "--cursor", cursor)[1]
    assert [json.loads(line)["data"] for line in output.splitlines()] == [1]


def test_history_goes_through_all_pages(commands):
    _, url = commands.serve(GATEWAY_CHANNELS__HISTORY_COUNT="2000")
    for first in (0, 800):
        batch = [{"channel": "news", "data": number} for number in range(first, first + 800)]
        with urlopen(f"{url}/publish", json.dumps(batch).encode()) as response:
            assert response.status == 200
    output = commands.run("history", "--url", url, "news")[1]
    assert [json.loads(line)["data"] for line in output.splitlines()] == [*range(1600)]


def test_history_that_has_left_the_log_is_told_on_stderr(commands):
    _, url = commands.serve(GATEWAY_CHANNELS__HISTORY_COUNT="1")
    commands.run("publish", "--url", url, "news", "0")
    errors = commands.run("history", "--url", url, "news")[2]
    cursor = re.search(r"--cursor (\S+)", errors)[1]
    commands.run("publish", "--url", url, "news", "-", stdin="1\n2\n3\n")
    status, output, errors = commands.run("history", "--url", url, "news", "--cursor", cursor)
    assert (status, json.loads(output)["data"]) == (0, 3)
    assert "gateway: gap: news lost offsets 2 to 3 (expired)\n" in errors


def test_presence_prints_who_is_there_or_how_many(commands, url):
    for _ in range(2):
        commands.subscribe(url, "news")
    status, output, _ = commands.run("presence", "--url", url, "news")
    assert status == 0
    members = [json.loads(line) for line in output.splitlines()]
    assert len({member["session"] for member in members}) == 2
    assert commands.run("presence", "--url", url, "news", "--count") == (0, "2\n", "")
    assert commands.run("presence", "--url", url, "nobody") == (0, "", "")


@pytest.mark.parametrize(
    "arguments",
    [("publish", "\udcff", "1"), ("publish", "a", "1", "--key", "\udcff"), ("history", "\udcff")],
)
def test_an_argument_that_is_not_utf8_is_wrong_usage(commands, arguments):
    status, output, errors = commands.run(*arguments)
    assert (status, output) == (2, "")
    assert "expected UTF-8" in errors
    assert "Traceback" not in errors
