"""What the operating system says about the process under load (Linux)."""

import ctypes
import os
import time
from pathlib import Path
from typing import Final

from loadtest.errors import LoadError

_LIBC: Final = ctypes.CDLL(None)


class ProcessStats:
    """One process by its pid, LoadError if there is none; methods raise OSError once it is gone."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        # Its clock counts nanoseconds, where /proc rounds to hundredths of a second.
        clock = ctypes.c_int()
        if _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)):
            raise LoadError(f"there is no process of pid {pid}")
        self._cpu_clock = clock.value
        self._page_kib = os.sysconf("SC_PAGE_SIZE") // 1024

    def cpu_s(self) -> float:
        """Return the CPU time used so far, in user and kernel mode, in seconds."""
        return time.clock_gettime(self._cpu_clock)

    def rss_kib(self) -> int:
        """Return the resident memory in KiB."""
        return int((self._folder / "statm").read_text().split()[1]) * self._page_kib

    def rss_peak_kib(self) -> int:
        """Return the most resident memory since the process began, in KiB."""
        _, _, rest = (self._folder / "status").read_text().partition("VmHWM:")
        return int(rest.split()[0])
