"""What the operating system says about the process under load (Linux, from /proc)."""

import os
from pathlib import Path

from loadtest.errors import LoadError


class ProcessStats:
    """One process by its pid, LoadError if there is none; methods raise OSError once it is gone."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        if not self._folder.exists():
            raise LoadError(f"there is no process of pid {pid}")
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")
        self._page_kib = os.sysconf("SC_PAGE_SIZE") // 1024

    def cpu_s(self) -> float:
        """Return the CPU time used so far, in user and kernel mode, in seconds."""
        # The second field is the command in parentheses, which may hold spaces; utime is the 14th.
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / self._ticks_per_s

    def rss_kib(self) -> int:
        """Return the resident memory in KiB."""
        return int((self._folder / "statm").read_text().split()[1]) * self._page_kib

    def rss_peak_kib(self) -> int:
        """Return the most resident memory since the process began, in KiB."""
        _, _, rest = (self._folder / "status").read_text().partition("VmHWM:")
        return int(rest.split()[0])
