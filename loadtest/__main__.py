"""`python -m loadtest`: runs a scenario against a gateway and prints what it measured.

A scenario is a module with EXAMPLES for its help, add_arguments(parser) for its options, and
run(arguments), a coroutine function that prints what came out and returns the exit status.
"""

import argparse
import asyncio
import sys
from types import ModuleType
from typing import Final

from loadtest import fanout, idle, slow
from loadtest.client import LoadError
from loadtest.losses import scenario as losses

_EPILOG: Final = """\
`python -m loadtest SCENARIO --help` shows the options and examples of one scenario.

exit status: 0 when everything came as promised, 1 when not or the target cannot be reached, 2 for
wrong arguments, 130 after Ctrl-C.

Load goes where --target points: only to a machine that is yours.
"""

SCENARIOS: Final[dict[str, ModuleType]] = {
    "fanout": fanout,
    "idle": idle,
    "losses": losses,
    "slow": slow,
}


def main() -> int:
    """Run the scenario that the command line names; return the exit status."""
    arguments = _parse()
    try:
        with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
            return int(runner.run(SCENARIOS[arguments.scenario].run(arguments)))
    except (LoadError, OSError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description="Loads a gateway over real sockets and says what came of it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scenarios = parser.add_subparsers(dest="scenario", metavar="SCENARIO", required=True)
    for name, module in SCENARIOS.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        scenario = scenarios.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(scenario)
    return parser.parse_args()


def _find_loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    sys.exit(main())
