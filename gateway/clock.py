"""The one clock by which publications are dated and age.

The system's clock is set now and then, by minutes where a machine has just started; a history would
expire at once, or an hour late.
"""

import time
from typing import Final

_START_S: Final = time.time() - time.monotonic()


def steady_time() -> float:
    """Return seconds since 1970, as the system's clock was at the start and steadily from then on.

    Never runs back, nor jumps when the system's clock is set; it does not see that correction.
    """
    return _START_S + time.monotonic()
