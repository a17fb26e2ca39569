"""Read by every Python of a router whose clock is libfaketime's: another way to sleep.

Since 3.11 `time.sleep` is clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME), of which libfaketime 0.9.10 makes a moment
long past or an invalid one, also where it is told to leave the monotonic clock alone. select() sleeps as well.
"""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select((), (), (), seconds)


time.sleep = _sleep
