"""`python -m loadtest`: runs a scenario against a gateway and shows what it measured."""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from types import ModuleType
from typing import Any, Final, cast

from loadtest import suite
from loadtest.compare import command as compare
from loadtest.errors import LoadError
from loadtest.options import read_count, read_number
from loadtest.progress import Progress
from loadtest.report import command as report
from loadtest.report import output
from loadtest.report.table import format_result
from loadtest.run import Plan, run
from loadtest.scenario import OWN_GATEWAY, Scenario
from loadtest.scenarios import (
    churn,
    command,
    connect,
    echo,
    fanout,
    idle,
    losses,
    poll,
    reconnect,
    recovery,
    response,
    slow,
    sse,
    wrk,
)
from loadtest.serving import serve_gateway, serve_program
from loadtest.worker import find_loop_factory

_EPILOG: Final = """\
Without --target a gateway, or what the scenario says, is started on loopback for the run, with the
limits lifted that the scenario would reach. `python -m loadtest SCENARIO --help` shows the options
and examples of one.

exit status: 0 when everything came as promised, 1 when not or the target cannot be reached, 2 for
wrong arguments, 130 after Ctrl-C, which ends the measuring and shows what was measured so far.

Load goes where --target points: only to a machine that is yours.
"""

SCENARIOS: Final[dict[str, Scenario]] = {
    "churn": cast(Scenario, churn),
    "command": cast(Scenario, command),
    "connect": cast(Scenario, connect),
    "echo": cast(Scenario, echo),
    "fanout": cast(Scenario, fanout),
    "idle": cast(Scenario, idle),
    "losses": cast(Scenario, losses),
    "poll": cast(Scenario, poll),
    "reconnect": cast(Scenario, reconnect),
    "recovery": cast(Scenario, recovery),
    "response": cast(Scenario, response),
    "slow": cast(Scenario, slow),
    "sse": cast(Scenario, sse),
    "wrk": cast(Scenario, wrk),
}

# What is started without --target where that is no gateway: the program, and its URL's scheme.
PROGRAMS: Final = {
    "echo": ("loadtest.servers.echo", "ws"),
    "response": ("loadtest.servers.plain", "http"),
    "wrk": ("loadtest.servers.plain", "http"),
}

# Commands that do not run as a scenario: they have EXAMPLES, add_arguments(parser), and
# run(arguments), a coroutine function that prints what came out and returns the exit status.
COMMANDS: Final[dict[str, ModuleType]] = {
    "compare": compare,
    "report": report,
    "suite": suite,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line names; return the exit status."""
    arguments = _parse(argv)
    try:
        with asyncio.Runner(loop_factory=find_loop_factory()) as runner:
            return runner.run(_run(arguments))
    except (LoadError, OSError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


async def _run(arguments: argparse.Namespace) -> int:
    """Run it; SIGTERM ends it as Ctrl-C does, so that no server is left behind."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if arguments.scenario in COMMANDS:
        return int(await COMMANDS[arguments.scenario].run(arguments))
    return await _run_scenario(arguments)


async def _run_scenario(arguments: argparse.Namespace) -> int:
    scenario = SCENARIOS[arguments.scenario]
    with Progress(scenario.EVENTS) as progress:
        async with _find_target(arguments, scenario) as (target, pid):
            plan = Plan(
                scenario=arguments.scenario,
                target=target,
                options=_read_options(arguments, scenario),
                seconds=arguments.seconds,
                workers=arguments.workers,
                pid=pid,
            )
            result = await run(plan, progress.show)
    print(format_result(result))
    output.write([result], arguments)
    if result.is_interrupted:
        return 130
    return 1 if result.fault_count else 0


@contextlib.asynccontextmanager
async def _find_target(
    arguments: argparse.Namespace, scenario: Scenario
) -> AsyncIterator[tuple[str, int | None]]:
    """Give the URL of the target and its process, that of a server of our own if none is named."""
    if arguments.target is not None:
        yield arguments.target, arguments.pid
    elif arguments.scenario in PROGRAMS:
        program, scheme = PROGRAMS[arguments.scenario]
        async with serve_program(program) as serving:
            yield f"{scheme}://{serving.host}:{serving.port}/", serving.pid
    elif scenario.GATEWAY is None:
        yield OWN_GATEWAY, None
    else:
        async with serve_gateway(scenario.GATEWAY) as serving:
            yield f"ws://{serving.host}:{serving.port}/ws", serving.pid


def _read_options(arguments: argparse.Namespace, scenario: Scenario) -> dict[str, Any]:
    names = scenario.Options.__struct_fields__
    return {name: getattr(arguments, name) for name in names}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description="Loads a gateway over real sockets and says what came of it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="scenario", metavar="SCENARIO", required=True)
    for name, module in sorted({**SCENARIOS, **COMMANDS}.items()):
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in SCENARIOS:  # before the scenario, which may set defaults of its own
            _add_run_arguments(command, SCENARIOS[name])
        module.add_arguments(command)
    arguments = parser.parse_args(argv)
    if arguments.scenario in SCENARIOS and arguments.pid is not None and arguments.target is None:
        parser.error("--pid is the process behind --target, which is missing")
    return arguments


def _add_run_arguments(parser: argparse.ArgumentParser, scenario: Scenario) -> None:
    """Add the options that all scenarios have."""
    add = parser.add_argument_group("of every scenario").add_argument
    add("--target", metavar="URL", help="default: a server that is started for the run")
    add("--pid", type=read_count, help="the target's process, for its CPU and memory")
    if scenario.HAS_DURATION:
        add("--seconds", type=read_number, default=5.0, help="default: %(default)s")
    else:
        parser.set_defaults(seconds=0.0)
    add("--workers", type=read_count, default=1, help="processes that load; default: %(default)s")
    output.add_arguments(parser)


if __name__ == "__main__":
    sys.exit(main())
