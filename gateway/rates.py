"""Limits on how much may come per second. Pure: whoever asks says what time it is."""


class Rate:
    """A token bucket: so much per second on average, and up to burst at once.

    It is full at first. What is kept is only when it will be full again, so an idle one costs
    nothing.
    """

    __slots__ = ("_burst_s", "_full_at", "_per_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst_s = burst / per_s  # how long an empty bucket takes to be full
        self._full_at = float("-inf")

    def take(self, count: float, now: float) -> float:
        """Take count and return 0; or take nothing and return the seconds until it is there.

        now is in seconds and never goes back. More than burst is there only once the bucket is
        full, and leaves a debt that later takers wait for.
        """
        full_at = self._full_at
        if full_at < now:
            full_at = now
        cost_s = count / self._per_s
        wait_s = full_at - now
        if cost_s < self._burst_s:
            wait_s += cost_s - self._burst_s
        if wait_s > 0:
            return wait_s
        self._full_at = full_at + cost_s
        return 0.0
