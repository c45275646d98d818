"""The command line: arguments to a Config or to a remote gateway, outcomes to exit statuses.

What a program reads goes to stdout, one JSON value per line; what a person reads goes to stderr.
"""

import argparse
import gc
import ipaddress
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from gateway.arguments import build_parser
from gateway.client.shell import history, presence, publish, subscribe
from gateway.config import BrokerConfig, Config
from gateway.config_sources import format_config, load_config
from gateway.errors import ConfigError, GatewayError
from gateway.log import configure_logging
from gateway.terminal import Exit, say
from protocol.frames import IS_COMPILED

# What only some commands need is imported where they need it: the others start in half the time,
# and Ctrl-C meanwhile finds `main` to catch it.

_LOG: Final = logging.getLogger("gateway")

# New objects before Python looks for cycles among them; its default of 700 is too few for a server.
# One message of 64 KiB may hold 65,000 arrays, each an object for a moment, and every 70,000 of
# them had everything that the process holds looked at: four fifths of the time for such a message,
# and more with more sessions. What waits in cycles is some megabytes.
_GARBAGE_COUNT: Final = 20_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; argv defaults to the process's arguments."""
    try:
        parser = build_parser()
        arguments = parser.parse_args(argv)
        if arguments.version:
            form = "compiled" if IS_COMPILED else "plain"
            print(f"gateway {_find_version()} ({form} frames)", flush=True)
            return Exit.OK
        if arguments.command is None:
            parser.print_help(sys.stderr)
            say("a COMMAND is missing; they are listed above")
            return Exit.USAGE
        return COMMANDS[arguments.command](arguments)
    except ConfigError as error:
        say(str(error))
        return Exit.USAGE
    except GatewayError as error:
        say(str(error))
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
    gc.set_threshold(_GARBAGE_COUNT)
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
        say(f"cannot listen on {where}: {reason}")
        return Exit.FAILED
    return Exit.OK


def _config(arguments: argparse.Namespace) -> Exit:
    config = _load(arguments)
    print("the configuration is valid" if arguments.check else format_config(config), flush=True)
    return Exit.OK


def _bench(arguments: argparse.Namespace) -> Exit:
    """Become the load tool, a program of its own that imports the gateway, not the reverse."""
    command = [sys.executable, "-m", "loadtest", *(arguments.scenario or ["suite"])]
    # Whatever is called loadtest in the folder that this is started in is another one.
    os.execve(sys.executable, command, {**os.environ, "PYTHONSAFEPATH": "1"})


# --- what they share ----------------------------------------------------------------------------


def _load(arguments: argparse.Namespace) -> Config:
    flags = {
        "server.host": arguments.host,
        "server.port": arguments.port,
        "broker.data": arguments.data,
    }
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
        f"  publish    {url}/publish (POST{publishers})\n"
        f"  history    {_describe_history(config.broker)}",
        flush=True,
    )
    if not has_key and not _is_loopback(config.server.host):
        _LOG.warning("auth.api_key is not set: whoever reaches this port may publish")
    if not has_key and os.environ.get("GATEWAY_API_KEY"):
        _LOG.warning(
            "GATEWAY_API_KEY is what `gateway publish` sends; this gateway asks for no key until"
            " GATEWAY_AUTH__API_KEY is set"
        )


def _describe_history(broker: BrokerConfig) -> str:
    """Return where logs are kept, and what takes them away."""
    if broker.data is None:
        return "in memory; a restart begins anew (--data DIR keeps it)"
    kept = f"in {os.path.abspath(broker.data)}; what is published survives"
    if broker.fsync == "always":
        return f"{kept} a crash and the loss of power"
    interval_s = f"{broker.fsync_interval_s:g} s"
    return f"{kept} a crash; the loss of power takes at most the last {interval_s}"


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


COMMANDS: Final[dict[str, Callable[[argparse.Namespace], Exit]]] = {
    "serve": _serve,
    "publish": publish,
    "subscribe": subscribe,
    "history": history,
    "presence": presence,
    "config": _config,
    "bench": _bench,
}
