"""Doing together what many requests want at the same moment: one transaction for all of them instead of one for each.

A commit costs several times what the statements inside it cost. So a greenlet that wants something written submits it;
the first one to come leads: it lets everybody else who is ready submit theirs, runs all of them as one batch, and wakes
the others. Whoever comes while a batch runs waits for the next one, and the first of those leads it. A single request
on a quiet worker waits for nobody.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import gevent
from gevent import get_hub, getcurrent
from greenlet import greenlet
from msgspec import Struct

from proxyd.hub import call_each

# A batch keeps all others waiting, at a server those of all workers: of a thousand that come at once each takes a part.
MAX_BATCH = 100


class Interrupted(Exception):
    """The batch was cut off before it was done."""


class Submission(Struct, eq=False, kw_only=True):
    """Something to be done in a batch, submitted once. `failure` is raised to whoever submitted it."""

    done: bool = False
    leads: bool = False  # its greenlet is to lead the next batch
    failure: Exception | None = None
    waiting: greenlet | None = None


S = TypeVar("S", bound=Submission)


class GroupCommit(Generic[S]):
    """Batches submissions, the first to come first, `MAX_BATCH` at most.

    `run` gets all of a batch and marks each by its outcome; what it raises, everyone gets.
    """

    def __init__(self, run: Callable[[list[S]], None], on_batch: Callable[[list[S]], None] | None = None) -> None:
        """`on_batch` sees each batch that was run, and must not raise."""
        self._run = run if on_batch is None else _told(run, on_batch)
        self._submitted: list[S] = []
        self._has_leader = False

    @property
    def running(self) -> bool:
        """Whether a batch is under way, or about to be."""
        return self._has_leader

    def submit(self, submission: S, *, alone: bool = False) -> None:
        """Return when `submission` was done; raises its failure. Greenlets only, not from the hub.

        `alone` says that nobody else can have anything to submit just now, so there is no one to let go first.
        """
        self._submitted.append(submission)
        if self._has_leader:
            self._wait(submission)
        else:
            self._has_leader = True
            try:
                if not alone:
                    gevent.sleep(0)  # all who are ready now submit theirs
            except BaseException:
                self._withdraw(submission)
                self._hand_over()
                raise
        if not submission.done:
            self._lead()
        if submission.failure is not None:
            raise submission.failure

    def _wait(self, submission: S) -> None:
        """Sleep until the submission is done, or until its greenlet is the one to lead."""
        submission.waiting = getcurrent()
        try:
            get_hub().switch()
        except BaseException:
            submission.waiting = None
            self._withdraw(submission)
            if submission.leads and not submission.done:
                self._hand_over()
            raise

    def _withdraw(self, submission: S) -> None:
        """Take back what nobody has begun: its request was cut off."""
        if submission in self._submitted:
            self._submitted.remove(submission)

    def _lead(self) -> None:
        batch, self._submitted = self._submitted[:MAX_BATCH], self._submitted[MAX_BATCH:]
        try:
            self._run(batch)
        except BaseException as error:
            # Whoever leads may be cut off itself; the others are told that nothing was done for them.
            failure = error if isinstance(error, Exception) else Interrupted()
            for submission in batch:
                submission.failure = submission.failure or failure
            raise
        finally:
            for submission in batch:
                submission.done = True
            if len(batch) > 1:
                get_hub().loop.run_callback(call_each, _wake, batch)
            self._hand_over()

    def _hand_over(self) -> None:
        """Let the first of those who came meanwhile lead; nobody came: the next one to come will."""
        for submission in self._submitted:
            if submission.waiting is not None:
                submission.leads = True
                get_hub().loop.run_callback(_wake, submission)
                return
        self._has_leader = False
        if self._submitted:
            self._has_leader = True
            gevent.spawn(self._lead)


def _told(run: Callable[[list[S]], None], on_batch: Callable[[list[S]], None]) -> Callable[[list[S]], None]:
    def run_and_tell(batch: list[S]) -> None:
        run(batch)
        on_batch(batch)

    return run_and_tell


def _wake(submission: Submission) -> None:
    """Go on in the greenlet that waits, unless it was cut off meanwhile and waits for something else by now."""
    waiting, submission.waiting = submission.waiting, None
    if waiting is not None:
        waiting.switch()
