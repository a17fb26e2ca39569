"""Busy polling: an event loop that looks again, instead of sleeping, while what it waits for comes within microseconds.

To be woken takes a process longer than many an answer from the same machine or rack: a lone request pays for it with
each wait, for the provider, for Redis, for the client's next request. It is for one caller only. With several there is
something else to do meanwhile, or another process wants the core.
"""

from collections.abc import Callable
from time import perf_counter

from gevent import get_hub

SHORT_SECONDS = 150e-6  # a wait that was worth staying awake for, being woken included; nobody looks for longer
ENOUGH = 16  # so many short waits in a row, and the next one is looked through
MOST = 256  # as many, where looking was in vain again and again
_FIRST, _LAST = 2, -2  # priorities in the loop: before, and after, whatever else is due at the same moment


class BusyPoll:
    """Measures how long the loop sleeps, and keeps it awake where that is short and `lone` says yes.

    A look that was in vain, or company, ends it and doubles how many short waits it takes to begin again: at most one
    wait in 17 is looked through for nothing, and soon none.
    """

    def __init__(self, lone: Callable[[], bool], short_seconds: float = SHORT_SECONDS) -> None:
        loop = get_hub().loop
        self._lone = lone
        self._short_seconds = short_seconds
        self._enough = ENOUGH
        self._short_waits = 0  # in a row
        self._since = perf_counter()  # of this wait
        self._found = 0  # waits that were looked through to their end, one after the other
        self._nothing_came = False  # in the turn before
        self.looking = False
        # None of them is a reason to keep the loop running.
        self._before = loop.prepare(ref=False, priority=_LAST)
        self._after = loop.check(ref=False, priority=_FIRST)
        self._idle = loop.idle(ref=False, priority=_LAST)  # active, it keeps the loop from sleeping
        self._before.start(self._begins_to_wait)
        self._after.start(self._has_waited)

    def close(self) -> None:
        for watcher in (self._before, self._after, self._idle):
            watcher.stop()
            watcher.close()

    def _begins_to_wait(self) -> None:
        if self._nothing_came:  # the same wait goes on
            self._nothing_came = False
            return
        if self.looking:
            if not self._lone():
                self._give_up()
            else:
                self._found += 1
                if self._found == ENOUGH:
                    self._enough = ENOUGH
        self._since = perf_counter()

    def _has_waited(self) -> None:
        if self.looking:
            return
        if perf_counter() - self._since > self._short_seconds:
            self._short_waits = 0
            return
        self._short_waits += 1
        if self._short_waits >= self._enough:
            self._short_waits = 0
            if self._lone():
                self.looking = True
                self._found = 0
                self._idle.start(self._look)

    def _look(self) -> None:
        self._nothing_came = True
        if perf_counter() - self._since > self._short_seconds:
            self._give_up()

    def _give_up(self) -> None:
        self._enough = min(2 * self._enough, MOST)
        self.looking = False
        self._idle.stop()
