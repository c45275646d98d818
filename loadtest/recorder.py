"""What one worker has counted and measured since its last sample."""

import time

import msgspec

from loadtest.histogram import Histogram


class Sample(msgspec.Struct, frozen=True, tag="sample"):
    """What happened since the sample before: counts by name, and latencies in microseconds."""

    counts: dict[str, int]
    latency_us: list[tuple[int, int]]
    cpu_s: float


class Recorder:
    """Counters and latencies of one worker, and its CPU.

    counts may be added to directly; latency is replaced by take(), so it is never kept by others.
    """

    __slots__ = ("_cpu_s", "counts", "latency")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.latency = Histogram()
        self._cpu_s = time.process_time()

    def add(self, name: str, count: int = 1) -> None:
        """Add count to the counter of that name."""
        self.counts[name] = self.counts.get(name, 0) + count

    def add_cpu(self, seconds: float) -> None:
        """Add what a process used that loads the target for this one."""
        self._cpu_s -= seconds

    def take(self) -> Sample:
        """Return what was recorded since the last call, and begin anew."""
        now_s = time.process_time()
        sample = Sample(self.counts, self.latency.buckets(), now_s - self._cpu_s)
        self.counts, self.latency, self._cpu_s = {}, Histogram(), now_s
        return sample


def now_us() -> int:
    """Return the time in microseconds by a clock that all processes of a machine share."""
    return time.monotonic_ns() // 1000
