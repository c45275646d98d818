"""The machine that something is measured on: its cores, and what it is called."""

import os
import platform
from pathlib import Path
from typing import Final

_PROCESSORS: Final = Path("/proc/cpuinfo")


def find_cpus() -> tuple[list[int], list[int]]:
    """Return a core for the server and another for the load, the same one where there is one."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[:1], cpus[1:2] or cpus[:1]


def describe_machine(server_cpus: list[int], load_cpus: list[int]) -> str:
    """Return a line about the processor, the system, Python, and who runs on which core."""
    cores = os.cpu_count() or 1
    return (
        f"{_find_processor()}, {cores} {'core' if cores == 1 else 'cores'};"
        f" {platform.system()} {platform.release()}; Python {platform.python_version()};"
        f" server on core {_join(server_cpus)}, load on core {_join(load_cpus)}"
    )


def _find_processor() -> str:
    """Return the processor's name as the kernel has it, else only its kind."""
    try:
        lines = _PROCESSORS.read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _join(cpus: list[int]) -> str:
    return ", ".join(str(cpu) for cpu in cpus)
