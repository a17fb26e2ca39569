"""Doing together what many requests want at the same moment: one transaction for all of them instead of one for each.

A commit costs several times what the statements inside it cost. So a greenlet that wants something written lays down
an errand; the first one to come leads: it lets everybody else who is ready lay theirs down, runs all of them at once,
and wakes the others. Whoever comes while a batch runs waits for the next one, and the first of those leads it. A
single request on a quiet worker waits for nobody.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import gevent
from gevent import get_hub, getcurrent
from greenlet import greenlet


class Submission:
    """Something to be done in a turn. `failure` is raised to whoever laid it down."""

    __slots__ = ("done", "failure", "waiting")

    def __init__(self) -> None:
        self.done = False
        self.failure: Exception | None = None
        self.waiting: greenlet | None = None


E = TypeVar("E", bound=Submission)


class GroupCommit(Generic[E]):
    """Batches errands. `run` gets all of a turn and must mark each by its outcome; what it raises, everyone gets."""

    def __init__(self, run: Callable[[list[E]], None]) -> None:
        self._run = run
        self._errands: list[E] = []
        self._led = False

    def take(self, errand: E, *, alone: bool = False) -> None:
        """Return when `errand` was done; raises its failure. Greenlets only, not from the hub.

        `alone` says that nobody else can have anything to lay down just now, so there is no one to let go first.
        """
        self._errands.append(errand)
        if self._led:
            self._wait(errand)
        else:
            self._led = True
            try:
                if not alone:
                    gevent.sleep(0)  # all who are ready now lay down theirs
            except BaseException:
                self._forget(errand)
                self._hand_over()
                raise
        if not errand.done:
            self._lead()
        if errand.failure is not None:
            raise errand.failure

    def _wait(self, errand: E) -> None:
        """Sleep until the errand is done, or until its greenlet is the one to lead."""
        errand.waiting = getcurrent()
        try:
            get_hub().switch()
        except BaseException:
            leads = errand.waiting is None and not errand.done
            errand.waiting = None
            self._forget(errand)
            if leads:
                self._hand_over()
            raise

    def _forget(self, errand: E) -> None:
        """Take back what nobody has begun: its request was cut off."""
        if errand in self._errands:
            self._errands.remove(errand)

    def _lead(self) -> None:
        batch, self._errands = self._errands, []
        try:
            self._run(batch)
        except Exception as error:
            for errand in batch:
                errand.failure = errand.failure or error
            raise
        finally:
            run_callback = get_hub().loop.run_callback
            for errand in batch:
                errand.done = True
                if errand.waiting is not None:
                    run_callback(errand.waiting.switch)
                    errand.waiting = None
            self._hand_over()

    def _hand_over(self) -> None:
        """Let the first of those who came meanwhile lead; nobody came: the next one to come will."""
        for errand in self._errands:
            if errand.waiting is not None:
                get_hub().loop.run_callback(errand.waiting.switch)
                errand.waiting = None  # it knows by this that it is to lead
                return
        self._led = False
        if self._errands:
            self._led = True
            gevent.spawn(self._lead)
