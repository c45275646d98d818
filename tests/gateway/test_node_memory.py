"""A gateway's memory does not grow with what it owes to subscribers who do not read.

100 subscribers, 20 of which read nothing while 60 MB is published to their channel: 4.8 GB are
delivered, and 1.2 GB owed, of which the kernel's buffers take at most 7 MB a socket. What is
written is shared, so queues for the 20 would hold 60 MB together. The full size is
`python -m loadtest slow`.
"""

import subprocess
import sys
from pathlib import Path

import msgspec

from gateway.config import Config
from loadtest.result import Result
from tests.conftest import Commands

SUBSCRIBER_COUNT = 100
STALLED_COUNT = 20
MEGABYTES = 60

CONFIG = Config()
# By construction: the channel's log, once as data and once as what was encoded of it; and for each
# socket what waits below its high-water mark, and one batch on top. Kernel memory is not counted.
LOG_BYTES = max(CONFIG.channels.history_bytes, CONFIG.channels.lag_bytes)
SOCKET_BYTES = CONFIG.websocket.high_water_bytes + CONFIG.hub.catch_up_bytes
BOUND_BYTES = 2 * LOG_BYTES + SUBSCRIBER_COUNT * SOCKET_BYTES


def test_subscribers_who_read_nothing_cost_no_memory_and_the_others_nothing(
    commands: Commands, tmp_path: Path
) -> None:
    gateway, url = commands.serve(
        GATEWAY_HEARTBEAT__INTERVAL_S="600", GATEWAY_SESSION__BYTES_PER_S="0"
    )
    command = [
        *(sys.executable, "-m", "loadtest", "slow", "--json", str(tmp_path / "result")),
        *("--target", f"{url}/ws", "--pid", str(gateway.process.pid)),
        *("--subscribers", str(SUBSCRIBER_COUNT), "--stalled", str(STALLED_COUNT)),
        *("--megabytes", str(MEGABYTES)),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    result = msgspec.json.decode((tmp_path / "result").read_bytes(), type=Result)
    assert result.fault_count == 0
    assert result.figure("publications") == MEGABYTES * 1_000_000 // 60_000
    owed_bytes = (result.figure("missed by the stalled") or 0) * 60_000
    assert owed_bytes > 10 * BOUND_BYTES, "too little was owed for this to prove anything"
    grown_kib = result.figure("server memory growth")
    assert grown_kib is not None
    assert grown_kib * 1024 < BOUND_BYTES
