"""The accounting of one worker: requests are admitted in batches, and each attempt ends exactly once.

A batch is one transaction of the counters and one write of the journal. It carries what has ended since the last one.
An END is written at once, before the last byte of its answer goes out, and told to the counters with the next batch, or
some milliseconds later. Whatever fails leaves the journal to the ledger writer: a crash costs and counts nothing twice.

The counters may be lost, replaced or behind: then they refuse (`CountersLost`), we ask for new ones, and bring into
those what the ledger did not know at their cut (see `membership`).
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import gevent
from ulid import ULID

from proxyd.accounting.end_queue import EndQueue
from proxyd.accounting.group_commit import GroupCommit, Interrupted
from proxyd.accounting.journal import Journal, JournalUnavailable
from proxyd.accounting.maintenance import LINGER_SECONDS, Maintenance
from proxyd.accounting.membership import Membership
from proxyd.accounting.pending_admission import PendingAdmission, may_fit_soon
from proxyd.accounting.records import Attempt, Settlement
from proxyd.accounting.seeding import Seeding, Seeds
from shared.counters import (
    Admitted,
    Batch,
    Charge,
    Counters,
    CountersLost,
    CountersUnavailable,
    Decision,
    Rebuilding,
    Stale,
    Unseeded,
)
from shared.organization_limits import is_limited

log = logging.getLogger(__name__)
REBUILD_WAIT_SECONDS = 2.0  # a request with a limit, for counters that are being rebuilt
POLL_SECONDS = 0.01
BREAKER_SECONDS = 0.5  # counters that did not answer are not asked again for so long
TOLD_SECONDS = 3 * LINGER_SECONDS  # by then another worker has told of an END, if nothing keeps it


class Accounting:
    """Used from one thread, by greenlets. `seeds` asks the database and may raise LedgerUnavailable."""

    def __init__(
        self,
        membership: Membership,
        counters: Counters,
        seeds: Seeds,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        on_batch: Callable[[list[PendingAdmission]], None] | None = None,
    ) -> None:
        self._membership, self._counters, self._seeding = membership, counters, Seeding(counters, seeds)
        self._now, self._monotonic = now, monotonic
        self._batch_number = 0  # of our last batch in this generation
        self._seq = 0
        self._id = str(ULID())  # of this worker, in the ids of its requests
        self._ends = EndQueue(membership.recent.record_end)
        self._in_doubt: Batch | None = None  # its answer was lost: it is repeated before anything else
        self._commit: GroupCommit[PendingAdmission] = GroupCommit(self._run, on_batch)
        self._journal_failed = False
        self._breaker_open_until = 0.0
        self.maintenance = Maintenance(
            membership, self._ends, self._commit_pending, lambda: self._in_doubt is not None, monotonic=monotonic
        )

    # What the gateway calls

    def new_id(self) -> tuple[int, str]:
        """A number of this worker's and the id made of it: unique, in order, without a lock."""
        self._seq += 1
        return self._seq, f"{self._id}{self._seq:08x}"

    def admit(
        self, seq: int, charge: Charge, attempt_of: Callable[[Admitted], Attempt], holds_until: float | None = None
    ) -> Decision:
        """Charge a request and, if it is admitted, write BEGIN before a byte of it is sent.

        Waits up to two seconds for counters that are being rebuilt, if there is a limit to judge by; where that took
        until `holds_until`, in Unix seconds, the charge is of a policy that has ended: `Stale`. Raises
        CountersUnavailable, or JournalUnavailable; then nothing is held and nothing has begun.
        """
        deadline, tries, waited = 0.0, 0, False
        while True:
            if tries and holds_until is not None and self._now() >= holds_until:
                return Stale()
            tries += 1
            lost = None
            try:
                decision = self._submit(seq, charge, attempt_of)
            except CountersLost as error:
                if not is_limited(charge):
                    raise
                decision, lost = None, error
            if isinstance(decision, Admitted):
                return decision
            if not waited and may_fit_soon(decision):
                waited = True  # what refuses it may have ended on another worker, which is about to tell
                gevent.sleep(TOLD_SECONDS)
                continue
            if isinstance(decision, Unseeded):
                self._seeding.seed(decision, charge)
            elif decision is not None and not isinstance(decision, Rebuilding):
                return decision
            at = self._monotonic()
            deadline = deadline or at + REBUILD_WAIT_SECONDS
            if at >= deadline:
                raise lost or CountersUnavailable("they are being rebuilt")
            if not isinstance(decision, Unseeded):
                gevent.sleep(POLL_SECONDS)

    def begin_unheld(self, seq: int, attempt: Attempt, rows: tuple[str, ...] = ()) -> None:
        """Begin an attempt that the counters were not asked about; `rows` as of an END. Raises JournalUnavailable."""
        self._journal().begin([(seq, attempt)])
        if rows:
            self._ends.count_on(seq, rows)

    def settle(self, seq: int, settlement: Settlement | None) -> None:
        """Close an attempt at its true cost. Never fails: what cannot be written now is written later."""
        if not self._ends.write(self._membership.journal, seq, settlement):
            self._journal_failed = True

    def void(self, seq: int) -> None:
        """Close an attempt of which nothing reached the provider: no row, no cost, no hold."""
        self.settle(seq, None)

    def note_progress(self, seq: int, cost_nanos: int) -> None:
        """Note what an attempt has cost so far, for whoever ends it if we die."""
        try:
            self._journal().note_progress(seq, cost_nanos)
        except JournalUnavailable:
            pass  # the bound stands in its place

    def flush(self) -> None:
        """Tell the counters now of all that has ended. Raises CountersUnavailable."""
        if self._ends.pending or self._commit.running:  # a batch may be under way with some of them
            self._commit_pending()
        elif self._in_doubt is not None:
            with suppress(CountersUnavailable):  # all ends are told; at most too much is held
                self._commit_pending()

    def tell(self) -> None:
        """The same where nobody depends on it, as far as it goes: what is not told now is told later."""
        with suppress(CountersUnavailable, JournalUnavailable, Interrupted):
            self.flush()

    # Its life

    def start(self) -> None:
        """Enter, or keep trying in the background while something is missing; then keep going."""
        self._membership.enter()
        self.maintenance.start()

    def stop(self) -> None:
        """Write and tell what is left. The ledger writer takes over what cannot be."""
        self.maintenance.stop()
        self._ends.write_unwritten(self._membership.journal)
        try:
            self.flush()
        except (CountersUnavailable, JournalUnavailable) as error:
            log.warning("the counters hear of the last ends from the ledger writer: %s", error)
        if self._membership.journal is not None:
            self._membership.journal.close()

    def faults(self) -> dict[str, str]:
        """What keeps this worker from admitting; empty when nothing does."""
        found = {}
        try:
            self._journal().check()
        except JournalUnavailable as error:
            found["journal"] = str(error)
        try:
            if not self._membership.complete or not self._counters.check():
                found["counters"] = "being rebuilt"
        except CountersUnavailable as error:
            found["counters"] = str(error)
        return found

    def _journal(self) -> Journal:
        journal = self._membership.journal
        if journal is None:
            raise JournalUnavailable("it is not open yet")
        return journal

    # Admission

    def _commit_pending(self) -> None:
        self._commit.submit(PendingAdmission(0, None, None), alone=True)

    def _submit(self, seq: int, charge: Charge, attempt_of: Callable[[Admitted], Attempt]) -> Decision:
        admission = PendingAdmission(seq, charge, attempt_of)
        journal = self._membership.journal
        try:
            self._commit.submit(admission, alone=journal is None or not journal.open)
        except Interrupted as error:
            raise CountersUnavailable("the batch was cut off") from error
        except BaseException:
            # Cut off while it waited: what was admitted meanwhile, or still will be, ends without having been sent.
            admission.abandoned = True
            if admission.done and isinstance(admission.decision, Admitted) and admission.failure is None:
                self.void(seq)
            raise
        assert admission.decision is not None  # noqa: S101 - what was done has a decision or raised
        return admission.decision

    def _run(self, admissions: list[PendingAdmission]) -> None:
        """One batch: the counters, then the journal. Nothing of it is sent before both have it."""
        membership, journal = self._membership, self._journal()
        if not membership.complete:
            raise CountersUnavailable("the worker is not in yet")
        if self._monotonic() < self._breaker_open_until:
            raise CountersUnavailable("they did not answer a moment ago")
        if membership.current_generation != membership.generation:
            self._join(journal)
        if self._in_doubt is not None:
            self._resolve_in_doubt(self._in_doubt)
        asked = [admission for admission in admissions if admission.charge is not None]
        if self._journal_failed and asked:
            journal.check()  # what is bound to be refused is not charged
            self._journal_failed = False
        ends, charges = self._ends.take(), [one.charge for one in asked if one.charge is not None]
        batch = Batch(journal.worker_id, membership.generation, self._batch_number + 1, ends, charges)
        try:
            decisions = self._apply(batch)
        except BaseException:
            self._ends.requeue(ends)
            raise
        for admission, decision in zip(asked, decisions, strict=True):
            admission.decision = decision
        self._begin(journal, asked)

    def _apply(self, batch: Batch) -> list[Decision]:
        try:
            decisions = self._counters.apply_batch(batch)
        except CountersLost as error:
            self._membership.request_rebuild(error)
            raise
        except CountersUnavailable as error:
            if error.in_doubt:
                self._in_doubt = batch
            self._breaker_open_until = self._monotonic() + BREAKER_SECONDS
            raise
        self._batch_number = batch.number
        return decisions

    def _resolve_in_doubt(self, batch: Batch) -> None:
        """Find out whether a batch was applied whose answer was lost: whoever it admitted was told otherwise.

        It is sent again without its charges. If it was applied, the decisions of then come back.
        """
        try:
            decisions = self._apply(replace(batch, charges=()))
        except CountersUnavailable:
            self._in_doubt = batch  # whom it may have admitted is not forgotten, however often this has no answer
            raise
        self._in_doubt = None
        self._ends.acknowledge(len(batch.ends))
        for charge, decision in zip(batch.charges, decisions, strict=False):
            if isinstance(decision, Admitted):
                self._ends.release(charge, decision)

    def _join(self, journal: Journal) -> None:
        joined = self._membership.join(journal, lambda: self._ends.counts_models)
        self._batch_number, self._in_doubt = 0, None
        self._ends.joined(joined)

    def _begin(self, journal: Journal, asked: list[PendingAdmission]) -> None:
        begun: list[tuple[int, Attempt]] = []
        try:
            begun += [
                (admission.seq, admission.attempt_of(admission.decision))
                for admission in asked
                if isinstance(admission.decision, Admitted) and admission.attempt_of is not None
            ]
            if begun:
                journal.begin(begun)
        except Exception as error:  # noqa: BLE001 - whatever it was, what was charged has not begun
            self._journal_failed = isinstance(error, JournalUnavailable)
            for admission in asked:
                if isinstance(admission.decision, Admitted) and admission.charge is not None:
                    admission.failure = error
                    self._ends.release(admission.charge, admission.decision)
            return
        for _, attempt in begun:
            self._membership.recent.record(attempt)
        for admission in asked:
            if admission.charge is not None and admission.charge.model_limits:
                self._ends.begun(admission)
            if admission.abandoned and isinstance(admission.decision, Admitted):
                self.void(admission.seq)
