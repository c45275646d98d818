"""How a command speaks: exit status to its parent, stdout to programs, stderr to people."""

import sys
from enum import IntEnum


class Exit(IntEnum):
    """What the process tells its parent."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130  # 128 + SIGINT, as shells count


def print_line(data: bytes) -> None:
    """Write data as one line to stdout, at once, so that the next program of a pipe sees it."""
    sys.stdout.buffer.write(data + b"\n")
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(f"gateway: {text}", file=sys.stderr, flush=True)
