"""The command line: arguments to a Config or to a remote gateway, outcomes to exit statuses.

What a program reads goes to stdout, one JSON value per line; what a person reads goes to stderr.
"""

import argparse
import ipaddress
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, suppress
from enum import IntEnum
from functools import partial
from typing import Final

import msgspec

from gateway.arguments import build_parser
from gateway.client.remote import (
    CursorMoved,
    Reconnecting,
    RemoteError,
    RemoteGateway,
    StreamEvent,
    compact_json,
)
from gateway.config import Config
from gateway.config_sources import format_config, load_config
from gateway.errors import ConfigError, GatewayError
from gateway.log import configure_logging
from protocol.messages import Closing, Error, Gap, Subscribed

# What only some commands need is imported where they need it: the others start in half the time,
# and Ctrl-C meanwhile finds `main` to catch it.

_LOG: Final = logging.getLogger("gateway")


class Exit(IntEnum):
    """What the process tells its parent."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; argv defaults to the process's arguments."""
    try:
        parser = build_parser()
        arguments = parser.parse_args(argv)
        if arguments.version:
            print(f"gateway {_find_version()}", flush=True)
            return Exit.OK
        if arguments.command is None:
            parser.print_help(sys.stderr)
            _say("a COMMAND is missing; they are listed above")
            return Exit.USAGE
        return COMMANDS[arguments.command](arguments)
    except ConfigError as error:
        _say(str(error))
        return Exit.USAGE
    except GatewayError as error:
        _say(str(error))
        return Exit.FAILED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end; let it flush into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK


# --- commands -----------------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace) -> Exit:
    from gateway.node import Node, run

    config = _load(arguments)
    configure_logging(arguments.log_level, arguments.log_format)
    is_ready = False

    def announce(node: Node) -> None:
        nonlocal is_ready
        is_ready = True
        _print_start(node.url, config)

    try:
        start = partial(run, config, access_log=arguments.access_log, ready=announce)
        _run_in_loop(start, arguments.uvloop)
    except OSError as error:
        if is_ready:
            raise
        where = f"{config.server.host}:{config.server.port}"
        # asyncio wraps the reason of a bind in a sentence; a failed look-up has a negative number.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or error
        _say(f"cannot listen on {where}: {reason}")
        return Exit.FAILED
    return Exit.OK


def _publish(arguments: argparse.Namespace) -> Exit:
    is_stdin = arguments.data == "-"
    encode = _encode_text if arguments.text else partial(_check_json, arguments.channel, is_stdin)
    with closing(_find_remote(arguments)) as remote:
        for prefix, text in _read_data(arguments.data):
            try:
                data = encode(text)
            except ValueError as error:
                _say(f"{prefix}{error}")
                return Exit.USAGE
            try:
                place = remote.publish(arguments.channel, data)
            except RemoteError as error:
                _say(f"{error}{_hint_at_key(error, arguments.api_key)}")
                return Exit.FAILED
            _print_line(place)
    return Exit.OK


def _subscribe(arguments: argparse.Namespace) -> Exit:
    cursor, shown = arguments.cursor, 0
    try:
        for item in _find_remote(arguments).follow(arguments.channels, cursor):
            _show(item)
            if isinstance(item, CursorMoved):
                cursor = item.cursor
            elif isinstance(item, StreamEvent):
                cursor = item.last_event_id or cursor
                shown += item.type == "message"
            if shown == arguments.count:
                break
    finally:
        if cursor != arguments.cursor:
            _say(f"to go on from here: --cursor {shlex.quote(cursor)}")
    return Exit.OK


def _config(arguments: argparse.Namespace) -> Exit:
    config = _load(arguments)
    print("the configuration is valid" if arguments.check else format_config(config), flush=True)
    return Exit.OK


# --- what they share ----------------------------------------------------------------------------


def _load(arguments: argparse.Namespace) -> Config:
    flags = {"server.host": arguments.host, "server.port": arguments.port}
    overrides = {name: value for name, value in flags.items() if value is not None}
    return load_config(arguments.config, os.environ, overrides)


def _print_start(url: str, config: Config) -> None:
    """Say where everything is and what the key guards, and warn where it is missing."""
    # Wildcard addresses are for listening; a browser needs one to go to.
    url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    has_key = config.auth.api_key is not None
    publishers = " with the API key" if has_key else ""
    if has_key and config.auth.client_publish:
        publishers += "; WebSocket clients without it"
    print(
        f"gateway {_find_version()} serves {url} until Ctrl-C\n"
        f"  console    {url}/\n"
        f"  websocket  {url.replace('http', 'ws', 1)}/ws\n"
        f"  sse        {url}/sse?channel=news\n"
        f"  long-poll  {url}/poll?channel=news\n"
        f"  publish    {url}/publish (POST{publishers})",
        flush=True,
    )
    if not has_key and not _is_loopback(config.server.host):
        _LOG.warning("auth.api_key is not set: whoever reaches this port may publish")
    if not has_key and os.environ.get("GATEWAY_API_KEY"):
        _LOG.warning(
            "GATEWAY_API_KEY is what `gateway publish` sends; this gateway asks for no key until"
            " GATEWAY_AUTH__API_KEY is set"
        )


def _find_version() -> str:
    from importlib.metadata import version

    return version("realtime-gateway")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _run_in_loop(start: Callable[[], Coroutine[None, None, None]], is_uvloop_wanted: bool) -> None:
    """Run what start returns to its end, on uvloop where it is wanted and installed."""
    import asyncio

    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if is_uvloop_wanted:
        with suppress(ImportError):  # not installed on Windows and PyPy
            import uvloop

            loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(start())


def _find_remote(arguments: argparse.Namespace) -> RemoteGateway:
    try:
        return RemoteGateway(arguments.url, arguments.api_key)
    except ValueError as error:
        raise ConfigError(str(error), source="the gateway to talk to") from None


def _read_data(argument: str) -> Iterator[tuple[str, bytes]]:
    """Yield what to publish and where it stood: the argument, or each line of stdin not blank."""
    if argument != "-":
        yield "", os.fsencode(argument)
        return
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if line.strip():
            yield f"line {number}: ", line.rstrip(b"\r\n")


def _encode_text(text: bytes) -> bytes:
    """Return text as a JSON string. Raises ValueError where it is not UTF-8."""
    return msgspec.json.encode(text.decode())


def _check_json(channel: str, is_stdin: bool, text: bytes) -> bytes:
    """Return text unchanged. Raises ValueError that shows how to quote it where it is not JSON."""
    shown = text.decode()
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        hint = _hint_at_lines if is_stdin else _hint_at_quotes
        string = json.dumps(shown, ensure_ascii=False)
        command = f"gateway publish {shlex.quote(channel)}"
        raise ValueError(f"not JSON: {shown}\n  {error}\n{hint(command, string, shown)}") from None
    return text


def _hint_at_lines(command: str, string: str, shown: str) -> str:
    return (
        "  a line that is a JSON string has quotes of its own:\n"
        f"    {string}\n"
        "  or let the option add them to every line:\n"
        f"    {command} --text -"
    )


def _hint_at_quotes(command: str, string: str, shown: str) -> str:
    return (
        "  a JSON string needs quotes of its own, inside those for the shell:\n"
        f"    {command} {shlex.quote(string)}\n"
        "  or let the option add them:\n"
        f"    {command} --text {shlex.quote(shown)}"
    )


def _hint_at_key(error: RemoteError, api_key: str | None) -> str:
    """Return what to do about a key that is missing or wrong; nothing for other refusals."""
    if error.status != 401:
        return ""
    if api_key is None:
        return "\n  give the key with --api-key KEY, or better in GATEWAY_API_KEY"
    return "\n  the key from --api-key or GATEWAY_API_KEY is not this gateway's auth.api_key"


def _show(item: StreamEvent | CursorMoved | Reconnecting) -> None:
    """Print a message for programs, anything else for people."""
    if isinstance(item, Reconnecting):
        _say(f"{item.reason}; reconnecting in {item.delay_s:.1f} s")
    elif isinstance(item, StreamEvent) and item.type == "message":
        _print_line(compact_json(item.data.encode()))
    elif isinstance(item, StreamEvent) and (sentence := _describe(item)):
        _say(sentence)


def _describe(event: StreamEvent) -> str:
    """Return an event that is not a message as a sentence; none where a later item has it."""
    try:
        push = msgspec.json.decode(event.data, type=Subscribed | Gap | Closing | Error)
    except msgspec.DecodeError:
        return f"{event.type}: {event.data}"
    if isinstance(push, Closing):
        return ""  # its reason and its wait are in the Reconnecting or the RemoteError that follows
    if isinstance(push, Error):
        return f"error: {push.message} ({push.code})"
    if isinstance(push, Gap):
        return _describe_gap(push)
    return f"connected: {push.channel} after offset {push.offset}"


def _describe_gap(gap: Gap) -> str:
    if gap.reason != "epoch":
        return f"gap: {gap.channel} lost offsets {gap.from_} to {gap.to} ({gap.reason})"
    # Of the new epoch something is missing only where its first publications have left the log.
    missing = f"; so are offsets {gap.from_} to {gap.to} of it" if gap.to >= gap.from_ else ""
    return (
        f"gap: {gap.channel} began anew (epoch {gap.epoch}): what was published before and not seen"
        f" is lost{missing}"
    )


def _print_line(data: bytes) -> None:
    """Write data as one line to stdout, at once, so that the next program of a pipe sees it."""
    sys.stdout.buffer.write(data + b"\n")
    sys.stdout.buffer.flush()


def _say(text: str) -> None:
    """Tell the person at the terminal."""
    print(f"gateway: {text}", file=sys.stderr, flush=True)


COMMANDS: Final[dict[str, Callable[[argparse.Namespace], Exit]]] = {
    "serve": _serve,
    "publish": _publish,
    "subscribe": _subscribe,
    "config": _config,
}
