"""Security events: who was refused or let in, one line each in the log of the process, counted, and never a flood.

Each kind has a number of lines a minute. What is left out is counted, and the next line of that kind says how many.
A line holds no secret and nothing that a stranger typed: kinds, ids, addresses and paths whose secrets are masked.
"""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable

from shared.secret_text import masked

log = logging.getLogger("webapp.security_events")

LINES_AT_ONCE, LINES_A_SECOND = 20.0, 0.5
_LONGEST = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9.:/@_+\[\]-]")


class SecurityEvents:
    """Those of one process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._room: dict[str, tuple[float, float]] = {}  # lines that may still be written, as of a moment
        self._unsaid: Counter[str] = Counter()

    def note(self, kind: str, **facts: object) -> bool:
        """Count an event, and write it down if there is room; whether it was. Facts that are None are left out."""
        with self._lock:
            self.counts[kind] += 1
            at = self._monotonic()
            room, before = self._room.get(kind, (LINES_AT_ONCE, at))
            room = min(LINES_AT_ONCE, room + (at - before) * LINES_A_SECOND)
            said = room >= 1
            self._room[kind] = (room - 1 if said else room, at)
            if not said:
                self._unsaid[kind] += 1
                return False
            unsaid = self._unsaid.pop(kind, 0)
            count = self.counts[kind]
        told = {"event": kind, "count": count, "unsaid": unsaid or None, **facts}
        log.warning("%s", " ".join(f"{name}={_plain(value)}" for name, value in told.items() if value is not None))
        return True


def _plain(value: object) -> str:
    """A fact as one word."""
    return _UNSAFE.sub("?", masked(str(value))[:_LONGEST])


EVENTS = SecurityEvents()
