"""The arguments of the command line, and the help that teaches them."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

from gateway.log import FORMATTERS, LEVELS
from protocol.messages import Overflow

DEFAULT_URL: Final = "http://127.0.0.1:8080"

DESCRIPTION: Final = """\
A realtime gateway: channels with history over WebSocket, server-sent events and long-poll.

Try it in three terminals:
  gateway serve
  gateway subscribe news
  gateway publish news '{"title": "hello"}'
"""

EXIT_STATUSES: Final = """\
exit status:
  0    done; also when the reader of stdout went away
  1    the port cannot be used, or the gateway cannot be reached or refused
  2    wrong arguments, configuration or data
  130  stopped with Ctrl-C (`serve` drains instead and ends with 0)

`gateway COMMAND --help` shows the options and examples of one command.
"""

SERVE_EXAMPLES: Final = """\
examples:
  gateway serve
      listen on 127.0.0.1:8080 and print where everything is
  gateway serve --host 0.0.0.0 --port 9000 --config gateway.toml
      flags win over the environment, which wins over the file
  gateway serve --data /var/lib/gateway
      history, epochs and idempotency keys are on disk; GATEWAY_BROKER__FSYNC=always has each
      publication survive the loss of power before it is answered
  GATEWAY_CHANNELS__HISTORY_COUNT=50 gateway serve
      every setting of `gateway config` can come from GATEWAY_SECTION__FIELD
  GATEWAY_AUTH__API_KEY=secret gateway serve --log-format json --access-log
      only who has the key may publish; log for machines, one line per request
  GATEWAY_AUTH__API_KEY=secret GATEWAY_AUTH__CLIENT_PUBLISH=true gateway serve
      POST /publish asks for the key, WebSocket clients may publish without it

Ctrl-C or SIGTERM drains: clients are told to reconnect, then everything is closed.
"""

PUBLISH_EXAMPLES: Final = """\
examples:
  gateway publish news '{"title": "hello"}'
  gateway publish news '"a JSON string has quotes of its own"'
  gateway publish news --text 'or let this option add them'
  tail -f events.jsonl | gateway publish news -
      one publication per line
  gateway publish scores '{"home": 2}' --key match-7 --tag sport=football
      a slow subscriber may ask for the newest of each key only
  gateway publish orders '{"id": 7}' --idempotency-key order-7
      publish once, however often this is repeated; tried again where the answer is lost
  gateway publish document '"second edit"' --expected-offset 1
      only where the channel ends at offset 1; refused with the offset where it does
  gateway publish --url https://gateway.example.org news 42
      GATEWAY_URL and GATEWAY_API_KEY spare the options, and keep the key out of `ps`

Prints {"channel", "epoch", "offset"} for each publication. Where the gateway is over its limits and
says when to come back, it is asked again for up to a minute.
"""

SUBSCRIBE_EXAMPLES: Final = """\
examples:
  gateway subscribe news
  gateway subscribe news sports | jq .data
  gateway subscribe news --count 1
      wait for one message, then stop
  gateway subscribe news --cursor CURSOR
      go on where an earlier one stopped; it printed the cursor when it did
  gateway subscribe scores --overflow latest
      when too slow, skip to the newest of each key; what is skipped is told as a gap

Messages go to stdout, one JSON object per line. What happens to the connection goes to stderr. When
it breaks, it is made again and nothing is lost that the history still has; what it no longer has is
told as a gap. Only a first attempt that fails ends the command.
"""

HISTORY_EXAMPLES: Final = """\
examples:
  gateway history news
      everything that the channel retains, oldest first
  gateway history news --reverse --count 10
      the last ten, newest first
  gateway history news --cursor CURSOR
      go on where an earlier one stopped; it printed the cursor when it did

Publications go to stdout, one JSON object per line; gaps and the cursor go to stderr.
"""

PRESENCE_EXAMPLES: Final = """\
examples:
  gateway presence news
      who is subscribed now, one JSON object per line
  gateway presence news --count
      only how many
"""

CONFIG_EXAMPLES: Final = """\
examples:
  gateway config
      the defaults and what the environment changes, as TOML; secrets are hidden
  gateway config > gateway.toml
      a file to start from
  gateway config --config gateway.toml --check
      say only whether `gateway serve` would accept it
"""

BENCH_EXAMPLES: Final = """\
examples:
  gateway bench
      half a minute: fan-out, connections, memory, request and reply, in one table
  gateway bench fanout --subscribers 1000 --in-flight 64
      one scenario in detail; --target measures a gateway that runs already
  gateway bench fanout --help
  gateway bench compare --list
      against peers, where they are installed

It is `python -m loadtest`. Load goes to a gateway on loopback that it starts, or where --target
points: only to a machine that is yours.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser, whose result has `command`, a key of COMMANDS, and its options.

    Without a command it is None, and `version` tells whether the version was asked for.
    """
    parser = argparse.ArgumentParser(
        prog="gateway",
        description=DESCRIPTION,
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (summary, examples, add_arguments) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.set_defaults(command=name)
        add_arguments(command)
    return parser


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    _add_config_arguments(parser)
    on_or_off = argparse.BooleanOptionalAction
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="default: info")
    parser.add_argument(
        "--log-format", choices=tuple(FORMATTERS), default="text", help="default: text; on stderr"
    )
    parser.add_argument(
        "--access-log", action=on_or_off, default=False, help="log a line for each HTTP request"
    )
    parser.add_argument(
        "--uvloop", action=on_or_off, default=True, help="the faster event loop where installed"
    )


def _add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", type=_parse_text, metavar="CHANNEL")
    parser.add_argument("data", metavar="DATA", help="JSON; `-` for one publication per stdin line")
    parser.add_argument(
        "--text", action="store_true", help="DATA is text, to be published as a JSON string"
    )
    parser.add_argument("--key", type=_parse_text, help="what the publication is about")
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        type=_parse_tag,
        metavar="NAME=VALUE",
        help="carried along with it; may be given several times",
    )
    parser.add_argument(
        "--idempotency-key", type=_parse_text, metavar="ID", help="a repeat publishes nothing"
    )
    parser.add_argument(
        "--expected-offset",
        type=_parse_offset,
        metavar="N",
        help="publish only where the channel ends at N; 0 is before the first",
    )
    _add_remote_arguments(parser)
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        default=os.environ.get("GATEWAY_API_KEY"),
        help="the gateway's auth.api_key, if it has one; default: GATEWAY_API_KEY",
    )


def _add_subscribe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channels", type=_parse_text, metavar="CHANNEL", nargs="+")
    parser.add_argument("--cursor", type=_parse_text, help="go on from there instead of from now")
    parser.add_argument(
        "--overflow",
        choices=get_args(Overflow),
        help="what to do where it is too slow; default: what the channel says",
    )
    parser.add_argument(
        "--count", type=_parse_count, metavar="N", help="stop after N messages; default: never"
    )
    _add_remote_arguments(parser)
    parser.set_defaults(api_key=None)


def _add_history_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", type=_parse_text, metavar="CHANNEL")
    parser.add_argument(
        "--cursor", type=_parse_text, help="begin there instead of at the oldest or the newest"
    )
    parser.add_argument("--reverse", action="store_true", help="newest first")
    parser.add_argument(
        "--count", type=_parse_count, metavar="N", help="stop after N; default: at the end"
    )
    _add_remote_arguments(parser)
    parser.set_defaults(api_key=None)


def _add_presence_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("channel", type=_parse_text, metavar="CHANNEL")
    parser.add_argument("--count", action="store_true", help="print only how many")
    _add_remote_arguments(parser)
    parser.set_defaults(api_key=None)


def _add_config_command_arguments(parser: argparse.ArgumentParser) -> None:
    _add_config_arguments(parser)
    parser.add_argument("--check", action="store_true", help="only say whether it is valid")


def _add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scenario",
        nargs=argparse.REMAINDER,
        metavar="SCENARIO [OPTION ...]",
        help="see `python -m loadtest --help`; default: suite, a few of them",
    )


def _add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    parser.add_argument("--host", help="address to listen on; default: 127.0.0.1")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any; default: 8080")
    parser.add_argument(
        "--data", metavar="DIR", help="folder that keeps history across restarts; default: memory"
    )


def _add_remote_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        default=os.environ.get("GATEWAY_URL", DEFAULT_URL),
        help=f"the gateway; default: GATEWAY_URL, then {DEFAULT_URL}",
    )


def _parse_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:  # Python keeps such bytes of an argument as surrogates
        raise argparse.ArgumentTypeError("expected UTF-8") from None
    return text


def _parse_tag(text: str) -> tuple[str, str]:
    name, separator, value = _parse_text(text).partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def _parse_offset(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, got {text!r}")
    return int(text)


def _parse_count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


COMMANDS: Final[dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]]] = {
    "serve": ("run the gateway", SERVE_EXAMPLES, _add_serve_arguments),
    "publish": ("publish to a channel", PUBLISH_EXAMPLES, _add_publish_arguments),
    "subscribe": (
        "print what is published to channels",
        SUBSCRIBE_EXAMPLES,
        _add_subscribe_arguments,
    ),
    "history": ("print what a channel retains", HISTORY_EXAMPLES, _add_history_arguments),
    "presence": (
        "print who is subscribed to a channel",
        PRESENCE_EXAMPLES,
        _add_presence_arguments,
    ),
    "config": ("print the effective configuration", CONFIG_EXAMPLES, _add_config_command_arguments),
    "bench": ("measure how fast a gateway is", BENCH_EXAMPLES, _add_bench_arguments),
}
