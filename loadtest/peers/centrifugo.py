"""Centrifugo: its configuration, and the command that serves by it.

Clients and the HTTP API need no tokens, as it is on loopback alone. There is no history, which is
its default, as is WebSocket without compression. Buffers for writing come from a pool, by which an
idle connection takes less memory, and its pings are seldom enough not to meet a run.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Final

_CONFIGURATION: Final[dict[str, Any]] = {
    "log": {"level": "error"},
    "usage_stats": {"disabled": True},
    "client": {"insecure": True, "ping_interval": "120s", "allowed_origins": []},
    "http_api": {"insecure": True},
    "websocket": {"compression": False, "use_write_buffer_pool": True},
}


def prepare(port: int, folder: Path) -> list[str]:
    """Write the configuration into folder; return the command that has it listen on port."""
    path = folder / "centrifugo.json"
    server = {"address": "127.0.0.1", "port": port}
    path.write_text(json.dumps({"http_server": server, **_CONFIGURATION}))
    return ["centrifugo", "--config", str(path)]


def find_absence() -> str | None:
    """Return why it cannot be started here, None where it can."""
    if shutil.which("centrifugo"):
        return None
    return "there is no centrifugo on the path: see centrifugal.dev, version 6"
