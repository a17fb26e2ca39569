"""The two clocks of the counters: wall time for calendar periods, and one that cannot step for request rates.

CLOCK_BOOTTIME is one clock for all processes of a machine, goes on while it sleeps and is never set. It begins anew
with each boot, which is why `boot_id` belongs to everything that was counted by it.
"""

import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What tells the time; tests bring their own."""

    def wall(self) -> float:
        """Unix seconds."""

    def steady(self) -> float:
        """Seconds of the clock that cannot step."""


class SystemClock:
    """The machine's own clocks."""

    @staticmethod
    def wall() -> float:
        return time.time()

    @staticmethod
    def steady() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The name of this boot of the machine; empty where the kernel does not tell it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
