"""`python -m loadtest`: runs a scenario against a gateway and prints what it measured."""

import argparse
import asyncio
import sys

from loadtest.client import LoadError
from loadtest.fanout import Fanout, FanoutResult
from loadtest.process import ProcessStats

_EXAMPLES = """\
examples:
  gateway serve --no-access-log &
  python -m loadtest fanout --subscribers 1000 --in-flight 64 --pid $!

Load goes where --target points: only to a machine that is yours.
"""


def main() -> int:
    """Run the scenario that the command line names; return the exit status.

    0 when every delivery came, 1 when some did not or the target cannot be reached.
    """
    arguments = _parse()
    run = Fanout(
        arguments.target,
        subscriber_count=arguments.subscribers,
        in_flight_count=arguments.in_flight,
        data_bytes=arguments.bytes,
    )
    server = ProcessStats(arguments.pid) if arguments.pid else None
    try:
        with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
            result = runner.run(run.run(seconds=arguments.seconds, server=server))
    except (LoadError, OSError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _print(result)
    return 1 if result.missing_bytes else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=["fanout"], help="one publisher, many subscribers")
    parser.add_argument("--target", default="ws://127.0.0.1:8080/ws", help="default: %(default)s")
    parser.add_argument("--subscribers", type=int, default=1000, help="default: %(default)s")
    parser.add_argument(
        "--in-flight", type=int, default=1, help="publications sent at once (default: 1)"
    )
    parser.add_argument("--bytes", type=int, default=64, help="data of each (default: 64)")
    parser.add_argument("--seconds", type=float, default=5.0, help="default: %(default)s")
    parser.add_argument("--pid", type=int, help="the server's process, for its CPU and memory")
    arguments = parser.parse_args()
    for name in ("subscribers", "in_flight", "bytes", "seconds"):
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    return arguments


def _find_loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _print(result: FanoutResult) -> None:
    for name, value in result._asdict().items():
        text = "not measured" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
        print(f"{name.replace('_', ' '):24}{text}")
    if result.driver_cpu_share > 0.9:
        print("the driver used a whole core: the server may be faster than this says")


if __name__ == "__main__":
    sys.exit(main())
