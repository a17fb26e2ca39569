"""What a worker's accounting does without being asked.

A greenlet keeps the worker a member of the counters and writes what the journal could not take; a timer sees that ends
with which no batch came along are told to the counters.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent

from proxyd.accounting.end_queue import EndQueue
from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.membership import Membership
from shared.counters import CountersUnavailable

log = logging.getLogger(__name__)

LINGER_SECONDS = 0.002  # an END waits so long for a batch to ride with, up to twice as long where the timer ran before
MEMBERSHIP_INTERVAL_SECONDS = 0.02
CLEANUP_INTERVAL_SECONDS = 1.0
BACKOFF_SECONDS = 0.5  # after the counters did not answer


class Maintenance:
    """For one worker. `flush` makes a batch of nothing but what waits: ends, joining new counters, an answer in doubt.

    `in_doubt`: a batch was sent whose answer was lost, so that something may be held for nobody.
    """

    def __init__(
        self,
        membership: Membership,
        ends: EndQueue,
        flush: Callable[[], None],
        in_doubt: Callable[[], bool],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._membership = membership
        self._ends = ends
        self._flush = flush
        self._in_doubt = in_doubt
        self._monotonic = monotonic
        self._cleaned_up_at = float("-inf")
        self._stopping = False
        self._timer: Any = None
        self._flushing = False
        self._waiting = False  # the timer runs
        self._waiting_since = 0.0  # monotonic time from which the oldest end that is not told waits

    def start(self) -> None:
        # By its repeat: libev lets a timer that has run out, and is started again by its first time, fire at once.
        self._timer = gevent.get_hub().loop.timer(0.0, LINGER_SECONDS)
        self._ends.on_first = self._wait_for_batch
        gevent.spawn(self._run)

    def stop(self) -> None:
        """Both end at once, or in their next round."""
        self._stopping = True
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def run_once(self) -> None:
        """One round: enter or join when it is due; every second, write what could not be written, forget what is old.

        Raises CountersUnavailable, JournalUnavailable.
        """
        membership = self._membership
        at = self._monotonic()
        if at >= self._cleaned_up_at + CLEANUP_INTERVAL_SECONDS:
            self._cleaned_up_at = at
            self._ends.write_unwritten(membership.journal)
            membership.drop_expired()
            membership.check_shared_state()  # before joining: what an old shared state asks for is not to be had
        if not membership.complete:
            membership.enter()
        elif membership.current_generation != membership.generation or self._in_doubt():
            self._flush()

    def _run(self) -> None:
        while not self._stopping:
            gevent.sleep(MEMBERSHIP_INTERVAL_SECONDS)
            try:
                self.run_once()
            except (CountersUnavailable, JournalUnavailable):
                gevent.sleep(MEMBERSHIP_INTERVAL_SECONDS)
            except Exception:  # A process edge: without this chore the worker would never join again.
                log.exception("the accounting could not be looked after, and is tried again")
                gevent.sleep(CLEANUP_INTERVAL_SECONDS)

    def _wait_for_batch(self) -> None:
        """An end has come: look in a moment whether a batch has taken it along. A timer costs less than a greenlet."""
        self._waiting_since = self._monotonic()
        if not self._waiting and not self._flushing and self._timer is not None:
            self._waiting = True
            self._timer.again(self._on_timer, update=True)

    def _on_timer(self) -> None:
        """In the hub, a moment later, and again as long as a batch has taken along those for which it was started."""
        pending = self._ends.pending and not self._flushing
        if pending and self._monotonic() - self._waiting_since < LINGER_SECONDS:
            return
        self._waiting = False
        self._timer.stop()
        if pending:
            self._flushing = True
            gevent.spawn(self._flush_now)

    def _flush_now(self) -> None:
        try:
            while self._ends.pending and not self._stopping:
                try:
                    self._flush()
                except (CountersUnavailable, JournalUnavailable):
                    gevent.sleep(BACKOFF_SECONDS)
                except Exception:  # A process edge: else a quiet worker's ends would wait for ever.
                    log.exception("ended attempts could not be told, and are told later")
                    gevent.sleep(CLEANUP_INTERVAL_SECONDS)
        finally:
            self._flushing = False
