"""Booking what is billed later: from a provider's report of a job to END records of this worker's journal, each once.

What passes by here was used long ago, and by whoever began the job; so nothing is admitted or held. A result that
nobody has booked is taken (`provider_jobs`), and BEGIN and END of it are written one after the other: whoever dies in
between leaves a BEGIN whose bound is the very cost.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import gevent

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.ledger_rows import Line
from proxyd.accounting.limited_models import LimitsOf, RowsOfTold, limits_of_nobody
from proxyd.accounting.membership import Membership
from proxyd.accounting.provider_jobs import Job, ProviderJobs, ResultsFile, Taken
from proxyd.accounting.records import Attempt, LedgerUnavailable, Settlement

log = logging.getLogger(__name__)

RESULTS_AT_ONCE = 250  # in one question to the database
RETRY_SECONDS = 1.0
LOOK_SECONDS = 0.1
WAIT_SECONDS = 5.0  # for what another one has taken; whose journal is closed within that if it died
MAX_WAITING = 10_000  # of jobs that could not be noted
MAX_DOUBTFUL = 100_000

Asked = Callable[..., Any]  # runs a blocking function in a thread; raises LedgerUnavailable


class JobBooker:
    """Of one worker. Used from one thread, by greenlets."""

    def __init__(
        self,
        accounting: Accounting,
        membership: Membership,
        jobs: ProviderJobs,
        asked: Asked,
        *,
        limits_of: LimitsOf = limits_of_nobody,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._accounting = accounting
        self._membership = membership
        self._jobs = jobs
        self._asked = asked
        self._rows = RowsOfTold(limits_of, lambda: membership.generation)
        self._wait_seconds = wait_seconds
        self._waiting: list[Job] = []  # could not be noted yet
        self._doubtful: set[str] = set()  # it is not known whether they were taken

    def register(self, job: Job) -> None:
        """Note whose job it is, before anybody is told its name. Never fails: it is tried again in the background."""
        try:
            self._asked(self._jobs.register, job)
        except LedgerUnavailable as error:
            log.warning("whose job it is cannot be noted, and is tried again: %s", error)
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(job)
            if len(self._waiting) == 1:
                gevent.spawn_later(RETRY_SECONDS, self._register_waiting)

    def _register_waiting(self) -> None:
        try:
            while self._waiting:
                self._asked(self._jobs.register, self._waiting[0])
                del self._waiting[0]
        except LedgerUnavailable:
            gevent.spawn_later(RETRY_SECONDS, self._register_waiting)

    def learn(self, org_id: str, provider: str, results: Mapping[str, ResultsFile]) -> None:
        """Note in which files the results of jobs come, and of which model. Raises LedgerUnavailable."""
        self._asked(self._jobs.learn, org_id, provider, results)

    def find(self, org_id: str, provider: str, name: str) -> Job | None:
        """The job of this name; None: it was not begun here. Raises LedgerUnavailable."""
        found: Job | None = self._asked(self._jobs.find, org_id, provider, name)
        return found

    def find_by_results(self, org_id: str, provider: str, name: str) -> Job | None:
        """The job whose results come in the file of this name. Raises LedgerUnavailable."""
        found: Job | None = self._asked(self._jobs.find_by_results, org_id, provider, name)
        return found

    def has_open_batches(self, org_id: str, provider: str) -> bool:
        """Whether there are batches whose file of results is not known. Raises LedgerUnavailable."""
        found: bool = self._asked(self._jobs.has_open_batches, org_id, provider)
        return found

    def book(self, lines: Sequence[Line]) -> int:
        """Book those of these results that nobody has booked; answers with how many.

        Raises LedgerUnavailable. Then some may be booked; who comes again with the same ones books the others.
        """
        by_id = {line[0].id: line for line in lines}
        ids = list(by_id)
        booked = 0
        for first in range(0, len(ids), RESULTS_AT_ONCE):
            booked += self._book_or_wait(by_id, ids[first : first + RESULTS_AT_ONCE])
            gevent.sleep(0)
        return booked

    def _book_or_wait(self, by_id: Mapping[str, Line], ids: Sequence[str]) -> int:
        """As `book`. What another one has taken is waited for: until it is written nobody knows that it will be."""
        booked, undecided = self._book(by_id, ids)
        deadline = time.monotonic() + self._wait_seconds
        while undecided:
            if time.monotonic() >= deadline:
                raise LedgerUnavailable("somebody else books these results, and does not get on with it")
            gevent.sleep(LOOK_SECONDS)
            more, undecided = self._book(by_id, sorted(undecided))
            booked += more
        return booked

    def _book(self, by_id: Mapping[str, Line], ids: Sequence[str]) -> tuple[int, set[str]]:
        journal = self._membership.journal
        if journal is None or not self._membership.generation:
            raise LedgerUnavailable("the journal is not open yet")
        # While they are asked about, nobody else here takes them for doubtful.
        again = self._doubtful.intersection(ids)
        self._doubtful -= again
        try:
            taken: Taken = self._asked(self._jobs.take, ids, journal.worker_id, again)
        except BaseException:
            self._doubt(ids)
            raise
        try:
            rows = self._rows.of([by_id[id_][0] for id_ in taken.mine])
        except LedgerUnavailable:
            self._doubt(taken.mine)
            raise
        left = [id_ for id_ in ids if id_ in taken.mine]
        try:
            for id_ in tuple(left):
                self._write(*by_id[id_], rows.get(id_, ()))
                left.remove(id_)
        except JournalUnavailable as error:
            self._doubt(left)
            raise LedgerUnavailable(str(error)) from error
        if taken.mine:
            with suppress(LedgerUnavailable):  # then the ledger tells, some moments later
                self._asked(self._jobs.wrote, taken.mine, journal.worker_id)
        return len(taken.mine), taken.undecided

    def _write(self, attempt: Attempt, settlement: Settlement, rows: tuple[str, ...]) -> None:
        seq, _ = self._accounting.new_id()
        self._accounting.begin_unheld(seq, attempt, rows)
        self._accounting.settle(seq, settlement)

    def _doubt(self, ids: Collection[str]) -> None:
        if len(self._doubtful) < MAX_DOUBTFUL:
            self._doubtful.update(ids)
