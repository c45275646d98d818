"""What the peers written in Python share: a command line, and what our gateway sets for itself.

`python -m loadtest.peers.PEER ROLE --port PORT` listens on loopback until it is ended. A `hub`
speaks the dialect "plain": who asks for /CHANNEL gets what is published there, and "CHANNEL DATA"
as a message to / publishes DATA. An `echo` sends every message back. A `plain` server answers
every request with the text "OK".
"""

import argparse
import gc
from collections.abc import Callable, Mapping
from typing import Final

HOST: Final = "127.0.0.1"
# Connections that wait to be accepted: more than any scenario opens at once; the kernel's
# net.core.somaxconn, 4,096 where nobody changed it, is the most it gives.
BACKLOG_COUNT: Final = 4096
# A message to a hub is longer than its data by the channel's name.
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
# As `gateway serve` has it: Python's default of 700 is too few for thousands of connections.
_GARBAGE_COUNT: Final = 20_000


def run(roles: Mapping[str, Callable[[int], None]]) -> None:
    """Serve in the role that the command line names, which is given the port to listen on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=roles)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    gc.set_threshold(_GARBAGE_COUNT)
    roles[arguments.role](arguments.port)
