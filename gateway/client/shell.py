"""The commands that talk to a running gateway: publish, subscribe, history and presence.

What a program reads goes to stdout, one JSON value per line; what a person reads goes to stderr.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from types import FrameType
from typing import Final, NoReturn

import msgspec

from gateway.client.event_stream import StreamEvent
from gateway.client.remote import (
    CursorMoved,
    PublishOptions,
    Reconnecting,
    RemoteError,
    RemoteGateway,
    Unreachable,
    compact_json,
)
from gateway.errors import ConfigError
from gateway.terminal import Exit, print_line, say
from protocol.messages import MAX_PAGE_COUNT, Closing, Error, Gap, Subscribed

# How long `publish` goes on with a publication that the gateway cannot take now, or whose answer
# was lost: longer than a restart. Idempotency keys are remembered for several times that.
PATIENCE_S: Final = 60.0
# Between attempts where the gateway does not say.
RETRY_S: Final = 1.0


def publish(arguments: argparse.Namespace) -> Exit:
    """Publish the argument or the lines of stdin; print the place of each."""
    is_stdin = arguments.data == "-"
    if is_stdin and (arguments.idempotency_key or arguments.expected_offset is not None):
        say("--idempotency-key and --expected-offset are for one publication, not for stdin")
        return Exit.USAGE
    options = PublishOptions(
        key=arguments.key,
        tags=dict(arguments.tag) or None,
        idempotency_key=arguments.idempotency_key,
        expected_offset=arguments.expected_offset,
    )
    encode = _encode_text if arguments.text else partial(_check_json, arguments.channel, is_stdin)
    with closing(_find_remote(arguments)) as remote:
        for prefix, text in _read_data(arguments.data):
            try:
                data = encode(text)
            except ValueError as error:
                say(f"{prefix}{error}")
                return Exit.USAGE
            try:
                place = _publish_patiently(remote, arguments.channel, data, options)
            except RemoteError as error:
                say(f"{error}{_hint_at_key(error, arguments.api_key)}")
                return Exit.FAILED
            print_line(place)
    return Exit.OK


def subscribe(arguments: argparse.Namespace) -> Exit:
    """Print what is published to channels, until the count is reached or for ever."""
    cursor, shown = arguments.cursor, 0
    signal.signal(signal.SIGTERM, _end)
    try:
        remote = _find_remote(arguments)
        for item in remote.follow(arguments.channels, cursor, overflow=arguments.overflow):
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
            say(f"to go on from here: --cursor {shlex.quote(cursor)}")
    return Exit.OK


def history(arguments: argparse.Namespace) -> Exit:
    """Print what a channel retains, a publication per line."""
    cursor, left = arguments.cursor, arguments.count
    with closing(_find_remote(arguments)) as remote:
        while left is None or left > 0:
            limit = MAX_PAGE_COUNT if left is None else min(left, MAX_PAGE_COUNT)
            page = remote.history(
                arguments.channel, limit=limit, cursor=cursor, is_reverse=arguments.reverse
            )
            if page.gap is not None:
                say(_describe_gap(page.gap))
            for publication in page.publications:
                print_line(msgspec.json.encode(publication))
            cursor = page.cursor
            if not page.more:
                break
            left = None if left is None else left - len(page.publications)
    say(f"to go on from here: --cursor {shlex.quote(cursor)}")
    return Exit.OK


def presence(arguments: argparse.Namespace) -> Exit:
    """Print who is subscribed to a channel, or how many."""
    cursor: str | None = None
    with closing(_find_remote(arguments)) as remote:
        if arguments.count:
            page = remote.presence(arguments.channel, limit=0, cursor=None)
            print_line(msgspec.json.encode(page.count))
            return Exit.OK
        while True:
            page = remote.presence(arguments.channel, limit=MAX_PAGE_COUNT, cursor=cursor)
            for member in page.members or ():
                print_line(msgspec.json.encode(member))
            cursor = page.cursor
            if cursor is None:
                return Exit.OK


# --- what they share ----------------------------------------------------------------------------


def _end(signal_number: int, _frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C does, so that what is to be said at the end is said."""
    raise SystemExit(128 + signal_number)


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


def _publish_patiently(
    remote: RemoteGateway, channel: str, data: bytes, options: PublishOptions
) -> bytes:
    """Publish once the gateway can take it, for PATIENCE_S; raise RemoteError where it cannot.

    Where the answer was lost, only a publication with an idempotency key is sent again.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return remote.publish(channel, data, options)
        except RemoteError as error:
            wait_s = _wait_of(error, options.idempotency_key is not None)
            if wait_s is None or time.monotonic() + wait_s > deadline:
                raise
            say(f"{error}; trying again in {wait_s:g} s")
        time.sleep(wait_s)


def _wait_of(error: RemoteError, is_repeatable: bool) -> float | None:
    """Return how long to wait before the same is tried again, None where that is of no use."""
    if isinstance(error, Unreachable):
        return RETRY_S if is_repeatable else None
    return error.retry_after_s


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
        say(f"{item.reason}; reconnecting in {item.delay_s:.1f} s")
    elif isinstance(item, StreamEvent) and item.type == "message":
        print_line(compact_json(item.data.encode()))
    elif isinstance(item, StreamEvent) and (sentence := _describe(item)):
        say(sentence)


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
