"""The command line: arguments to a Config or to a remote gateway, outcomes to exit statuses.

What a program reads goes to stdout, one JSON value per line; what a person reads goes to stderr.
"""

import argparse
import asyncio
import ipaddress
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from enum import IntEnum
from functools import partial
from importlib.metadata import version
from typing import Final

import msgspec

from gateway.arguments import build_parser
from gateway.client.remote import (
    CursorMoved,
    Reconnecting,
    RemoteGateway,
    StreamEvent,
    compact_json,
)
from gateway.config import Config, format_config, load_config
from gateway.errors import ConfigError, GatewayError
from gateway.log import configure_logging
from protocol.messages import Gap, Subscribed

_LOG: Final = logging.getLogger("gateway")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


class Exit(IntEnum):
    """What the process tells its parent."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130  # 128 + SIGINT, as shells count


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; argv defaults to the process's arguments."""
    arguments = build_parser().parse_args(argv)
    try:
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
    # Only here: without the server the other commands start in half the time.
    from gateway.node import Node, run

    config = _load(arguments)
    configure_logging(arguments.log_level, arguments.log_format)
    is_ready = False

    def announce(node: Node) -> None:
        nonlocal is_ready
        is_ready = True
        _print_start(node.url, config)

    serving = run(config, access_log=arguments.access_log, ready=announce)
    try:
        with asyncio.Runner(loop_factory=_find_loop_factory(arguments.uvloop)) as runner:
            runner.run(serving)
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
    encode = _encode_text if arguments.text else partial(_check_json, arguments.channel)
    with closing(_find_remote(arguments)) as remote:
        for place, text in _read_data(arguments.data):
            try:
                data = encode(text)
            except ValueError as error:
                _say(f"{place}{error}")
                return Exit.USAGE
            _print_line(remote.publish(arguments.channel, data))
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
    """Say where everything is, and warn where everybody may publish."""
    # Wildcard addresses are for listening; a browser needs one to go to.
    url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    has_key = config.auth.api_key is not None
    print(
        f"gateway {version('realtime-gateway')} serves {url} until Ctrl-C\n"
        f"  console    {url}/\n"
        f"  websocket  {url.replace('http', 'ws', 1)}/ws\n"
        f"  sse        {url}/sse?channel=news\n"
        f"  long-poll  {url}/poll?channel=news\n"
        f"  publish    {url}/publish (POST{' with the API key' if has_key else ''})",
        flush=True,
    )
    if not has_key and not _is_loopback(config.server.host):
        _LOG.warning("auth.api_key is not set: whoever reaches this port may publish")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _find_loop_factory(is_uvloop_wanted: bool) -> LoopFactory | None:
    """Return uvloop's factory, or None for asyncio's own."""
    if not is_uvloop_wanted:
        return None
    try:
        import uvloop  # not installed on Windows and PyPy
    except ImportError:
        return None
    return uvloop.new_event_loop


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


def _check_json(channel: str, text: bytes) -> bytes:
    """Return text unchanged. Raises ValueError that shows how to quote it where it is not JSON."""
    shown = text.decode()
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError) as error:
        command = f"gateway publish {shlex.quote(channel)}"
        string = json.dumps(shown, ensure_ascii=False)
        raise ValueError(
            f"not JSON: {shown}\n"
            f"  {error}\n"
            "  a JSON string needs quotes of its own, inside those for the shell:\n"
            f"    {command} {shlex.quote(string)}\n"
            "  or let the option add them:\n"
            f"    {command} --text {shlex.quote(shown)}"
        ) from None
    return text


def _show(item: StreamEvent | CursorMoved | Reconnecting) -> None:
    """Print a message for programs, anything else for people."""
    if isinstance(item, Reconnecting):
        _say(f"{item.reason}; reconnecting in {item.delay_s:.1f} s")
    elif isinstance(item, StreamEvent) and item.type == "message":
        _print_line(compact_json(item.data.encode()))
    elif isinstance(item, StreamEvent):
        _say(_describe(item))


def _describe(event: StreamEvent) -> str:
    """Return an event that is not a message as a sentence."""
    try:
        push = msgspec.json.decode(event.data, type=Subscribed | Gap)
    except msgspec.DecodeError:
        return f"{event.type}: {event.data}"
    if isinstance(push, Gap) and push.reason == "epoch":
        missing = f"; offsets 1 to {push.to} are lost, too" if push.to else ""
        return (
            f"gap: {push.channel} began anew (epoch {push.epoch}): what came before it and was not"
            f" seen is lost{missing}"
        )
    if isinstance(push, Gap):
        return f"gap: {push.channel} lost offsets {push.from_} to {push.to} ({push.reason})"
    return f"connected: {push.channel} after offset {push.offset}"


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
