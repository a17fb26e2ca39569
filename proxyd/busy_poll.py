"""Busy polling: an event loop that looks again, instead of sleeping, while what it waits for comes within microseconds.

To be woken takes a process longer than many an answer from the same machine or rack: a lone request pays for it with
each wait, for the provider, for Redis, for the client's next request. It is for one caller only. With several there is
something else to do meanwhile.
"""

from collections.abc import Callable
from time import perf_counter

from gevent import get_hub

SHORT_SECONDS = 150e-6  # a wait that is worth staying awake for, being woken included; nobody looks for longer
# The score of a loop: a short wait adds one, a long one takes away as much as eight bring, company all of it.
LONG_COSTS = 8
WORTH_LOOKING = 16
MOST_SCORE = 64
_FIRST, _LAST = 2, -2  # priorities in the loop: before, and after, whatever else is due at the same moment


class BusyPoll:
    """Measures how long the loop waits, and keeps it awake where that was mostly short and `lone` says yes.

    What comes too late is slept for. So in the long run at most one wait in nine is looked through for nothing,
    `short_seconds` long.
    """

    def __init__(
        self,
        lone: Callable[[], bool],
        short_seconds: float = SHORT_SECONDS,
        *,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """`lone` is asked at the beginning of waits: whether there is one caller at most."""
        self._lone = lone
        self._short_seconds = short_seconds
        self._clock = clock
        self._score = 0
        self._since = clock()  # when this wait began
        self._same_wait = False  # nothing came in the turn of the loop before
        self.looking = False
        loop = get_hub().loop
        # None of them is a reason to keep the loop running. gevent's callbacks run in a watcher of the first kind as
        # well, and are no part of the wait.
        self._prepare = loop.prepare(ref=False, priority=_LAST)
        self._check = loop.check(ref=False, priority=_FIRST)
        self._idle = loop.idle(ref=False, priority=_LAST)  # active, it keeps the loop from sleeping
        self._prepare.start(self.begins_to_wait)
        self._check.start(self.was_woken)

    def close(self) -> None:
        for watcher in (self._prepare, self._check, self._idle):
            watcher.stop()
            watcher.close()

    def begins_to_wait(self) -> None:
        """Called by the loop before it waits for events."""
        if self._same_wait:
            self._same_wait = False
            return
        if self.looking:  # else `was_woken` has judged the wait that has ended
            self._judge(short=True)
        wanted = self._score >= WORTH_LOOKING
        if wanted and not self._lone():
            wanted = False
            self._score = 0
        self._look(wanted=wanted)
        self._since = self._clock()

    def was_woken(self) -> None:
        """Called by the loop after it has slept."""
        if not self.looking:
            self._judge(short=self._clock() - self._since <= self._short_seconds)

    def nothing_came(self) -> None:
        """Called by the loop after it has looked in vain."""
        self._same_wait = True
        if self._clock() - self._since > self._short_seconds:
            self._look(wanted=False)

    def _judge(self, *, short: bool) -> None:
        self._score = min(self._score + 1, MOST_SCORE) if short else max(self._score - LONG_COSTS, 0)

    def _look(self, *, wanted: bool) -> None:
        if wanted is not self.looking:
            self.looking = wanted
            if wanted:
                self._idle.start(self.nothing_came)
            else:
                self._idle.stop()
